// "Every sample is trained on exactly once" is a promise, and a promise wants an account. The ledger is a file in the
// run's folder, a line a step: {"step":7,"begin":448,"end":512}, the global samples [begin, end) that the step took.
//
// Lines are only appended, each by one write; when a run resumes, what lies behind its checkpoint is cut away, for
// those steps will be taken again. A last line that a crash tore is cut away when the file is opened. One process, one
// thread. Throws UserError when the file cannot be read or written, DamagedDataError naming file and line when it is
// not a ledger.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace trireme {

struct LedgerLine {
  std::int64_t step = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool operator==(const LedgerLine&) const = default;
};

class Ledger {
 public:
  explicit Ledger(std::filesystem::path path);  // created if absent
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  void append(const LedgerLine& line);
  void sync();  // durable, for a checkpoint must not outlive the lines before it
  // After resuming with this cursor (the next global sample): keeps the lines with end <= cursor, durably. Throws
  // DamagedDataError when a step lies across the cursor.
  void truncate_to(std::int64_t cursor);

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

// All whole lines.
std::vector<LedgerLine> read_ledger(const std::filesystem::path& path);

// Throws DamagedDataError naming the line, unless the lines take each sample from `first` on exactly once, in order,
// with steps that count up by one.
void check_each_sample_once(const std::vector<LedgerLine>& lines, const std::filesystem::path& path,
                            std::int64_t first = 0);

}  // namespace trireme
