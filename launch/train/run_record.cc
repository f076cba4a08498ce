#include "launch/train/run_record.h"

#include <chrono>
#include <ctime>

#include <nlohmann/json.hpp>

#include "dataloader/shard/durable_file.h"
#include "monitoring/error.h"
#include "monitoring/read_file.h"

namespace trireme {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

std::string now_utc() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

nlohmann::ordered_json read(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return {{"attempts", nlohmann::ordered_json::array()}};
  auto record = nlohmann::ordered_json::parse(
      read_file(path, kMaxBytes, "It holds the run's attempts: make it readable, or move it away to begin another."),
      nullptr, false);
  if (!record.is_object() || !record.contains("attempts") || !record["attempts"].is_array())
    throw DamagedDataError(path.string() +
                           " is not a run's record (an object with \"attempts\"); move it away to go on");
  return record;
}

}  // namespace

RunRecord::RunRecord(const std::filesystem::path& dir, const Attempt& attempt) : path_(dir / "run.json") {
  nlohmann::ordered_json record = read(path_);
  attempt_ = static_cast<int>(record["attempts"].size()) + 1;
  record["attempts"].push_back({{"attempt", attempt_},
                                {"began", now_utc()},
                                {"layout", attempt.layout},
                                {"hosts", attempt.hosts},
                                {"configuration", attempt.configuration}});
  write_file_durably(path_, record.dump(2) + "\n");
}

void RunRecord::ended(std::int64_t step, const std::string& how) {
  nlohmann::ordered_json record = read(path_);
  auto& attempt = record["attempts"][static_cast<std::size_t>(attempt_) - 1];
  attempt["ended"] = now_utc();
  attempt["step"] = step;
  attempt["how"] = how;
  write_file_durably(path_, record.dump(2) + "\n");
}

}  // namespace trireme
