#include "dataloader/batch/ledger.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "monitoring/check.h"
#include "monitoring/error.h"
#include "monitoring/read_file.h"

namespace trireme {

namespace {

constexpr std::size_t kMaxBytes = std::size_t{8} << 30;  // a hundred million steps

[[noreturn]] void failed(const std::filesystem::path& path, const char* what, int error) {
  throw UserError(fmt::format("{}: cannot {} the ledger: {}. Check the folder's permissions and the room on its disk.",
                              path.string(), what, std::strerror(error)));
}

[[noreturn]] void damaged(const std::filesystem::path& path, std::size_t line, const std::string& what) {
  throw DamagedDataError(
      fmt::format("{}: line {}: {}. The ledger was changed by something else than a run; move it away "
                  "to begin a new one.",
                  path.string(), line, what));
}

LedgerLine parse_line(std::string_view text, const std::filesystem::path& path, std::size_t number) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto field = [&](const char* name) {
    if (!json.is_object() || !json.contains(name) || !json[name].is_number_integer())
      damaged(path, number, fmt::format("'{}' has no whole number \"{}\"", text.substr(0, 100), name));
    return json[name].get<std::int64_t>();
  };
  const LedgerLine line{field("step"), field("begin"), field("end")};
  if (line.step < 0 || line.begin < 0 || line.end <= line.begin)
    damaged(path, number, fmt::format("'{}' is no range of samples", text.substr(0, 100)));
  return line;
}

// The whole lines of a file, and where each ends in it, in bytes.
struct Lines {
  std::vector<LedgerLine> lines;
  std::vector<std::size_t> ends;
};
Lines parse(std::string_view text, const std::filesystem::path& path) {
  Lines out;
  for (std::size_t begin = 0, newline; (newline = text.find('\n', begin)) != std::string_view::npos;
       begin = newline + 1) {
    out.lines.push_back(parse_line(text.substr(begin, newline - begin), path, out.lines.size() + 1));
    out.ends.push_back(newline + 1);
  }
  return out;
}

}  // namespace

Ledger::Ledger(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) failed(path_, "open", errno);
  const std::string text = read_file(path_, kMaxBytes);
  const std::size_t whole = text.rfind('\n') + 1;  // 0 when there is none
  if (whole < text.size() && ::ftruncate(descriptor_, static_cast<off_t>(whole)) != 0) {
    const int error = errno;
    ::close(descriptor_);
    failed(path_, "mend", error);
  }
}

Ledger::~Ledger() { ::close(descriptor_); }

void Ledger::append(const LedgerLine& line) {
  CHECK(line.step >= 0 && 0 <= line.begin && line.begin < line.end, line.step, ": ", line.begin, " to ", line.end);
  const std::string text = fmt::format("{{\"step\":{},\"begin\":{},\"end\":{}}}\n", line.step, line.begin, line.end);
  ssize_t written;
  do written = ::write(descriptor_, text.data(), text.size());
  while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(text.size())) return;
  const int error = written < 0 ? errno : ENOSPC;
  // A torn line inside the file would make it unreadable, so what got through is taken back.
  const off_t end = ::lseek(descriptor_, 0, SEEK_END);
  if (written > 0 && end >= written && ::ftruncate(descriptor_, end - written) != 0) failed(path_, "mend", errno);
  failed(path_, "append to", error);
}

void Ledger::sync() {
  if (::fdatasync(descriptor_) != 0) failed(path_, "make durable", errno);
}

void Ledger::truncate_to(std::int64_t cursor) {
  const Lines parsed = parse(read_file(path_, kMaxBytes), path_);
  std::size_t kept = 0;
  while (kept < parsed.lines.size() && parsed.lines[kept].end <= cursor) ++kept;
  if (kept < parsed.lines.size() && parsed.lines[kept].begin < cursor)
    damaged(path_, kept + 1,
            fmt::format("step {} took the samples {} to {}, and the checkpoint's next sample is {}",
                        parsed.lines[kept].step, parsed.lines[kept].begin, parsed.lines[kept].end, cursor));
  const std::size_t bytes = kept == 0 ? 0 : parsed.ends[kept - 1];
  if (::ftruncate(descriptor_, static_cast<off_t>(bytes)) != 0) failed(path_, "cut", errno);
  sync();
}

std::vector<LedgerLine> read_ledger(const std::filesystem::path& path) {
  return parse(read_file(path, kMaxBytes), path).lines;
}

void check_each_sample_once(const std::vector<LedgerLine>& lines, const std::filesystem::path& path,
                            std::int64_t first) {
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].begin != first)
      damaged(path, i + 1,
              fmt::format("step {} begins with sample {}, and the samples before it end at {}", lines[i].step,
                          lines[i].begin, first));
    if (i > 0 && lines[i].step != lines[i - 1].step + 1)
      damaged(path, i + 1, fmt::format("step {} comes after step {}", lines[i].step, lines[i - 1].step));
    first = lines[i].end;
  }
}

}  // namespace trireme
