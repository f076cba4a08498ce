#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/device/error.cuh"
#include "cuda/device/gemm.cuh"
#include "cuda/device/scratch.h"

namespace trireme::cuda {
namespace {

struct OfStream {
  std::vector<std::byte*> blocks{};  // the last is the largest, and in use
  std::size_t bytes = 0;             // of the last
  std::size_t all_bytes = 0;
  std::unique_ptr<Gemms> gemms{};
};

// CUDA's streams carry nothing of ours, and a Stream is one of them: hence one table for the process.
struct Table {
  std::mutex mutex;
  std::map<void*, OfStream> streams;
  std::size_t bytes = 0;
};
Table& table() {
  static Table of_this_process;
  return of_this_process;
}

}  // namespace

std::byte* scratch(Stream stream, std::size_t bytes) {
  std::lock_guard lock(table().mutex);
  OfStream& mine = table().streams[stream.handle];
  if (mine.blocks.empty() || mine.bytes < bytes) {
    const std::size_t size = std::max(kScratchBytes, bytes);
    mine.blocks.push_back(allocate(size, table().bytes));
    mine.bytes = size;
    mine.all_bytes += size;
    table().bytes += size;
  }
  return mine.blocks.back();
}

Gemms& gemms(Stream stream) {
  std::lock_guard lock(table().mutex);
  OfStream& mine = table().streams[stream.handle];
  if (!mine.gemms) mine.gemms = std::make_unique<Gemms>();
  return *mine.gemms;
}

void forget_stream(Stream stream) {
  std::lock_guard lock(table().mutex);
  const auto mine = table().streams.find(stream.handle);
  if (mine == table().streams.end()) return;
  for (std::byte* block : mine->second.blocks) check(cudaFree(block), "cudaFree");
  table().bytes -= mine->second.all_bytes;
  table().streams.erase(mine);
}

std::size_t scratch_bytes() {
  std::lock_guard lock(table().mutex);
  return table().bytes;
}

}  // namespace trireme::cuda
