#include "dataloader/shard/durable_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {

namespace {

[[noreturn]] void failed(const std::filesystem::path& path, const std::string& what, int error) {
  throw UserError(fmt::format("{}: {}: {}. Make room or choose another folder, and run the command again.",
                              path.string(), what, std::strerror(error)));
}

}  // namespace

DurableFile::DurableFile(std::filesystem::path path) : path_(std::move(path)), partial_(path_.string() + ".partial") {
  ::unlink(partial_.c_str());
  descriptor_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) failed(partial_, "cannot create the file", errno);
}

DurableFile::~DurableFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(partial_.c_str());
}

void DurableFile::append(std::span<const std::byte> bytes) {
  write_at(size_, bytes);
  size_ += bytes.size();
}

void DurableFile::overwrite(std::uint64_t at, std::span<const std::byte> bytes) {
  CHECK(at + bytes.size() <= size_, "at ", at, " of ", size_);
  write_at(at, bytes);
}

void DurableFile::write_at(std::uint64_t at, std::span<const std::byte> bytes) {
  CHECK(descriptor_ >= 0, path_.string(), " is finished");
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) failed(partial_, fmt::format("cannot write at byte {}", at), written < 0 ? errno : ENOSPC);
    at += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void DurableFile::finish() {
  CHECK(descriptor_ >= 0, path_.string(), " is finished");
  if (::fsync(descriptor_) != 0) failed(partial_, "cannot make the file durable", errno);
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) failed(partial_, "cannot read the file's size", errno);
  if (static_cast<std::uint64_t>(status.st_size) != size_)
    failed(partial_, fmt::format("{} bytes were written and the file has {}", size_, status.st_size), EIO);
  if (::rename(partial_.c_str(), path_.c_str()) != 0) failed(path_, "cannot rename the finished file", errno);
  ::close(std::exchange(descriptor_, -1));
  sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

void write_file_durably(const std::filesystem::path& path, std::string_view contents) {
  DurableFile file(path);
  file.append(std::as_bytes(std::span(contents)));
  file.finish();
}

void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) failed(folder, "cannot open the folder", errno);
  const int result = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  // Some network file systems cannot sync a folder and say EINVAL: nothing more can be done there.
  if (result != 0 && error != EINVAL) failed(folder, "cannot make the folder durable", error);
}

}  // namespace trireme
