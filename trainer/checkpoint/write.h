// The tensors' files of a save: room is taken for all of them before a byte is written, each rank writes its tensors
// into them, and what a rank reports as written is on the disk, read back from it and equal to the snapshot.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "trainer/checkpoint/file_plan.h"
#include "trainer/checkpoint/snapshot.h"

namespace trireme {

// A tensor that some rank has written durably, and the digests of what it meant to write.
struct WrittenTensor {
  std::size_t file = 0;
  std::size_t entry = 0;
  std::vector<std::string> block_digests;
};
std::string encode_written(const std::vector<WrittenTensor>& written);
std::vector<WrittenTensor> decode_written(const std::string& text);

// All throw UserError naming the file, the byte and the reason.

// Makes `folder`, which must not exist, and in it the files with their headers, at their full size. The leader's.
void prepare_files(const std::filesystem::path& folder, const std::vector<PlannedFile>& files);

// Digests come from the snapshot, before it is written. `tensors` are in the order of the files.
std::vector<WrittenTensor> write_tensors(const std::filesystem::path& folder, const std::vector<PlannedFile>& files,
                                         std::span<const TensorBytes> tensors);

// Makes durable what prepare_files wrote: it may lie on another machine than the writers' tensors. The leader's.
void sync_files(const std::filesystem::path& folder, const std::vector<PlannedFile>& files);

}  // namespace trireme
