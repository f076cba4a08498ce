#include "trainer/checkpoint/write.h"

#include <cerrno>
#include <cstring>
#include <sstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitoring/check.h"
#include "monitoring/error.h"
#include "trainer/checkpoint/digest.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

std::string reason(int error) { return std::strerror(error); }

// An open file that is closed when it goes.
class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : value_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (value_ < 0) throw UserError(fmt::format("cannot open {}: {}", path.string(), reason(errno)));
  }
  ~Descriptor() { close(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

void write_fully(int file, const fs::path& path, std::span<const std::byte> bytes, std::uint64_t at) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0)
      throw UserError(
          fmt::format("cannot write byte {} of {}: {}", at, path.string(), reason(written < 0 ? errno : ENOSPC)));
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    at += static_cast<std::uint64_t>(written);
  }
}

void sync_file(int file, const fs::path& path) {
  // After a failed fsync the kernel may hold pages to be clean that are not on the disk: this file is given up, never
  // synced again.
  if (fsync(file) != 0) throw UserError(fmt::format("cannot make {} durable: {}", path.string(), reason(errno)));
}

// From the disk, where the system can be asked to forget what it holds in memory of a file that is clean.
void read_back(int file, const fs::path& path, const PlannedFile& plan, std::span<const WrittenTensor> written) {
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  for (const WrittenTensor& tensor : written) {
    const SafetensorsEntry& entry = plan.entries[tensor.entry];
    const std::string problem =
        damaged_block(file, plan.header.size() + entry.begin, entry.bytes(), tensor.block_digests);
    if (!problem.empty())
      throw UserError(fmt::format("{}, read back after it was written: tensor {}, {}. The disk may be failing",
                                  path.string(), entry.name, problem));
  }
}

}  // namespace

std::string encode_written(const std::vector<WrittenTensor>& written) {
  std::string text;
  for (const WrittenTensor& tensor : written) {
    text += fmt::format("{} {} {}", tensor.file, tensor.entry, tensor.block_digests.size());
    for (const std::string& digest : tensor.block_digests) text += " " + digest;
    text += "\n";
  }
  return text;
}

std::vector<WrittenTensor> decode_written(const std::string& text) {
  std::vector<WrittenTensor> written;
  std::istringstream in(text);
  WrittenTensor tensor;
  std::size_t digests = 0;
  while (in >> tensor.file >> tensor.entry >> digests) {
    tensor.block_digests.resize(digests);
    for (std::string& digest : tensor.block_digests) in >> digest;
    CHECK(!in.fail(), "a rank's list of written tensors ends early");
    written.push_back(tensor);
  }
  return written;
}

void prepare_files(const fs::path& folder, const std::vector<PlannedFile>& files) {
  if (mkdir(folder.c_str(), 0755) != 0)
    throw UserError(fmt::format("cannot make {}: {}", folder.string(), reason(errno)));
  for (const PlannedFile& file : files) {
    const fs::path path = folder / file.name;
    const Descriptor descriptor(path, O_WRONLY | O_CREAT | O_EXCL);
    // A full disk shows here, before anything is written.
    const int failed = posix_fallocate(descriptor.get(), 0, static_cast<off_t>(file.bytes()));
    if (failed != 0)
      throw UserError(fmt::format("no room for the {} bytes of {}: {}", file.bytes(), path.string(), reason(failed)));
    write_fully(descriptor.get(), path, std::as_bytes(std::span(file.header)), 0);
  }
}

std::vector<WrittenTensor> write_tensors(const fs::path& folder, const std::vector<PlannedFile>& files,
                                         std::span<const TensorBytes> tensors) {
  std::vector<WrittenTensor> written;
  while (!tensors.empty()) {
    const std::size_t f = tensors.front().file;
    const fs::path path = folder / files[f].name;
    const Descriptor descriptor(path, O_RDWR);
    const std::size_t first = written.size();
    for (; !tensors.empty() && tensors.front().file == f; tensors = tensors.subspan(1)) {
      const TensorBytes& tensor = tensors.front();
      written.push_back({f, tensor.entry, block_digests(tensor.bytes())});
      write_fully(descriptor.get(), path, tensor.bytes(),
                  files[f].header.size() + files[f].entries[tensor.entry].begin);
    }
    sync_file(descriptor.get(), path);
    read_back(descriptor.get(), path, files[f], std::span(written).subspan(first));
  }
  return written;
}

void sync_files(const fs::path& folder, const std::vector<PlannedFile>& files) {
  for (const PlannedFile& file : files) {
    const fs::path path = folder / file.name;
    sync_file(Descriptor(path, O_RDWR).get(), path);
  }
}

}  // namespace trireme
