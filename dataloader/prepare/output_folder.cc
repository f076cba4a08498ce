#include "dataloader/prepare/output_folder.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataloader/shard/durable_file.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

[[noreturn]] void failed(const std::filesystem::path& path, const std::string& what, int error) {
  throw UserError(path.string() + ": " + what + ": " + std::strerror(error) +
                  "; choose a folder that can be written, on a disk with room");
}

// `path` without a final slash.
std::filesystem::path plain(const std::filesystem::path& path) {
  const std::filesystem::path normal = std::filesystem::absolute(path).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

}  // namespace

OutputFolder::OutputFolder(const std::filesystem::path& out) : out_(plain(out)), partial_(out_.string() + ".partial") {
  std::error_code error;
  std::filesystem::create_directories(out_.parent_path(), error);
  if (error) failed(out_.parent_path(), "cannot be made", error.value());
  if (::mkdir(partial_.c_str(), 0777) != 0 && errno != EEXIST) failed(partial_, "cannot be made", errno);
  lock_ = ::open(partial_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0) failed(partial_, "cannot be opened", errno);
  struct stat locked {
  }, there{};
  // The second test: the run that held the lock may have renamed the folder away between our open and our lock.
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0 || ::fstat(lock_, &locked) != 0 || ::stat(partial_.c_str(), &there) != 0 ||
      locked.st_ino != there.st_ino) {
    ::close(lock_);
    throw UserError(partial_.string() + " is being written by another run; wait for it to end");
  }
  for (const auto& left : std::filesystem::directory_iterator(partial_)) std::filesystem::remove_all(left.path());
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!published_) std::filesystem::remove_all(partial_, ignored);
  ::close(lock_);
}

void OutputFolder::publish() {
  sync_folder(partial_);
  if (std::rename(partial_.c_str(), out_.c_str()) != 0) {
    if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR) {
      throw UserError(out_.string() + " has come to exist meanwhile; remove it, or choose another folder");
    }
    failed(out_, "cannot be given its name", errno);
  }
  published_ = true;
  sync_folder(out_.parent_path());
}

}  // namespace trireme
