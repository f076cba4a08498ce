#include "dataloader/prepare/byte_source.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{256} << 10;

class File : public ByteSource {
 public:
  explicit File(const std::filesystem::path& path) : name_(path.string()), hash_(XXH3_createState()) {
    CHECK(hash_ != nullptr, "out of memory");
    XXH3_128bits_reset(hash_);
    // Not blocking: a named pipe must be refused, not waited for.
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status {};
    std::string wrong;
    if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0) {
      wrong = std::string("cannot be read: ") + std::strerror(errno) + "; check the path and its permissions";
    } else if (S_ISDIR(status.st_mode)) {
      wrong = "is a directory; name the files in it, such as " + name_ + "/*.jsonl";
    } else if (!S_ISREG(status.st_mode)) {
      wrong = "is not a regular file; inputs are read more than once, so write it to a file first";
    }
    if (!wrong.empty()) {
      close();
      throw UserError(name_ + " " + wrong);
    }
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() override { close(); }

  std::size_t read(std::span<char> out) override {
    ssize_t count;
    do {
      count = ::read(descriptor_, out.data(), out.size());
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
      throw DamagedDataError(name_ + " cannot be read at byte " + std::to_string(read_) + ": " + std::strerror(errno));
    }
    XXH3_128bits_update(hash_, out.data(), static_cast<std::size_t>(count));
    read_ += static_cast<std::uint64_t>(count);
    return static_cast<std::size_t>(count);
  }
  std::uint64_t file_bytes_read() const override { return read_; }
  std::string file_digest() const override {
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, XXH3_128bits_digest(hash_));
    std::string hex;
    for (const unsigned char byte : bytes.digest) {
      hex += "0123456789abcdef"[byte >> 4];
      hex += "0123456789abcdef"[byte & 15];
    }
    return hex;
  }
  const std::string& name() const { return name_; }

 private:
  void close() {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
    XXH3_freeState(hash_);
    hash_ = nullptr;
  }
  std::string name_;
  XXH3_state_t* hash_;
  int descriptor_ = -1;
  std::uint64_t read_ = 0;
};

// What both decompressors share: a block of the file, and complaints that name a byte of it.
class Compressed : public ByteSource {
 public:
  explicit Compressed(const std::filesystem::path& path) : file_(path), block_(kBlockBytes) {}
  std::uint64_t file_bytes_read() const override { return file_.file_bytes_read(); }
  std::string file_digest() const override { return file_.file_digest(); }

 protected:
  // True if there are bytes in [at_, end_).
  bool refill() {
    if (at_ < end_) return true;
    at_ = 0;
    end_ = file_.read(block_);
    return end_ > 0;
  }
  [[noreturn]] void damaged(const std::string& what) const {
    const std::uint64_t byte = file_.file_bytes_read() - (end_ - at_);
    throw DamagedDataError(file_.name() + " " + what + " at byte " + std::to_string(byte) +
                           "; fetch or compress it again");
  }

  File file_;
  std::vector<char> block_;
  std::size_t at_ = 0;
  std::size_t end_ = 0;
};

class Gzip : public Compressed {
 public:
  explicit Gzip(const std::filesystem::path& path) : Compressed(path) {
    constexpr int kGzipOnly = 15 + 16;
    CHECK(inflateInit2(&stream_, kGzipOnly) == Z_OK, "zlib cannot start");
  }
  ~Gzip() override { inflateEnd(&stream_); }

  std::size_t read(std::span<char> out) override {
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(std::min<std::size_t>(out.size(), 1u << 30));
    const uInt wanted = stream_.avail_out;
    while (stream_.avail_out == wanted) {
      if (!refill()) {
        if (within_) damaged("ends within a gzip stream: it is cut short");
        return 0;
      }
      if (!within_ && started_ && block_[at_] == 0) {  // gzip's own tool skips zeros after the last stream, as on tapes
        ++at_;
        continue;
      }
      within_ = started_ = true;
      stream_.next_in = reinterpret_cast<Bytef*>(block_.data() + at_);
      stream_.avail_in = static_cast<uInt>(end_ - at_);
      const int result = inflate(&stream_, Z_NO_FLUSH);
      at_ = end_ - stream_.avail_in;
      if (result == Z_STREAM_END) {
        within_ = false;
        CHECK(inflateReset(&stream_) == Z_OK, "zlib cannot start again");
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        damaged(std::string("is not a whole gzip file (") + (stream_.msg != nullptr ? stream_.msg : "damaged") + ")");
      }
    }
    return wanted - stream_.avail_out;
  }

 private:
  z_stream stream_{};
  bool within_ = false;   // a stream has begun and not ended
  bool started_ = false;  // a stream has begun
};

class Zstd : public Compressed {
 public:
  explicit Zstd(const std::filesystem::path& path) : Compressed(path), stream_(ZSTD_createDStream()) {
    CHECK(stream_ != nullptr, "out of memory");
  }
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;
  ~Zstd() override { ZSTD_freeDStream(stream_); }

  std::size_t read(std::span<char> out) override {
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    while (output.pos == 0) {
      const bool more = refill();
      // Without input the decoder may still hold text that had no room before.
      ZSTD_inBuffer input{block_.data(), end_, at_};
      const std::size_t result = ZSTD_decompressStream(stream_, &output, &input);
      if (ZSTD_isError(result)) damaged(std::string("is not a whole zstd file (") + ZSTD_getErrorName(result) + ")");
      if (at_ != input.pos || output.pos != 0) within_ = result != 0;
      at_ = input.pos;
      if (!more && output.pos == 0) {
        if (within_) damaged("ends within a zstd frame: it is cut short");
        return 0;
      }
    }
    return output.pos;
  }

 private:
  ZSTD_DStream* stream_;
  bool within_ = false;  // a frame has begun and not ended
};

}  // namespace

std::unique_ptr<ByteSource> ByteSource::open(const std::filesystem::path& path) {
  if (path.extension() == ".gz") return std::make_unique<Gzip>(path);
  if (path.extension() == ".zst") return std::make_unique<Zstd>(path);
  return open_raw(path);
}

std::unique_ptr<ByteSource> ByteSource::open_raw(const std::filesystem::path& path) {
  return std::make_unique<File>(path);
}

std::filesystem::path without_compression(const std::filesystem::path& path) {
  const bool compressed = path.extension() == ".gz" || path.extension() == ".zst";
  return compressed ? path.parent_path() / path.stem() : path;
}

}  // namespace trireme
