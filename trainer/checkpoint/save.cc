#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataloader/shard/durable_file.h"
#include "monitoring/error.h"
#include "monitoring/log.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/commit.h"
#include "trainer/checkpoint/snapshot.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

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
    if (written <= 0) throw UserError(fmt::format("cannot write byte {} of {}: {}", at, path.string(), reason(errno)));
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    at += static_cast<std::uint64_t>(written);
  }
}

void sync_file(int file, const fs::path& path) {
  // After a failed fsync the kernel may hold pages to be clean that are not on the disk: this file is given up, never
  // synced again.
  if (fsync(file) != 0) throw UserError(fmt::format("cannot make {} durable: {}", path.string(), reason(errno)));
}

}  // namespace

struct CheckpointSaver::Job {
  Context& context;
  Communicator& world;
  fs::path folder;
  Retention retention;
  int attempt;

  std::atomic<State> state{State::kIdle};
  std::jthread thread{};
  // Of the save under way; the thread alone touches the last two while it writes.
  Clock::time_point begin{};
  CheckpointState what{};  // its params are gone: only what the manifest needs
  std::vector<PlannedFile> files{};
  fs::path temporary{};
  std::vector<TensorBytes> tensors{};
  std::vector<WrittenTensor> written{};
  std::string error{};

  RunObserver* observer = nullptr;

  bool leads() const { return world.rank() == 0; }
  void enter(RunPhase phase) const {
    if (observer != nullptr) observer->enter(phase, what.step);
  }

  void prepare_files() {
    std::error_code gone;
    fs::remove_all(temporary, gone);
    if (mkdir(temporary.c_str(), 0755) != 0)
      throw UserError(fmt::format("cannot make {}: {}", temporary.string(), reason(errno)));
    for (const PlannedFile& file : files) {
      const fs::path path = temporary / file.name;
      const Descriptor descriptor(path, O_WRONLY | O_CREAT | O_EXCL);
      // The room is taken before a byte is written: a full disk shows here, and nothing is lost.
      const int failed = posix_fallocate(descriptor.get(), 0, static_cast<off_t>(file.bytes()));
      if (failed != 0)
        throw UserError(fmt::format("no room for the {} bytes of {}: {}", file.bytes(), path.string(), reason(failed)));
      write_fully(descriptor.get(), path, std::as_bytes(std::span(file.header)), 0);
    }
  }

  void write_tensors() {
    std::size_t at = 0;
    for (std::size_t f = 0; f < files.size(); ++f) {
      const bool mine = leads() || (at < tensors.size() && tensors[at].file == f);
      if (!mine) continue;
      const fs::path path = temporary / files[f].name;
      const Descriptor descriptor(path, O_WRONLY);
      for (; at < tensors.size() && tensors[at].file == f; ++at) {
        const TensorBytes& tensor = tensors[at];
        written.push_back({f, tensor.entry, block_digests(tensor.bytes)});
        write_fully(descriptor.get(), path, tensor.bytes,
                    files[f].header.size() + files[f].entries[tensor.entry].begin);
      }
      sync_file(descriptor.get(), path);
    }
  }

  // What every rank agrees on: the first rank's error, or none.
  std::string first_error(const std::string& mine, std::string_view call) {
    const std::vector<std::string> all = world.gather_to_all(mine, {what.step, call});
    for (std::size_t rank = 0; rank < all.size(); ++rank)
      if (!all[rank].empty()) return all.size() == 1 ? all[rank] : fmt::format("rank {}: {}", rank, all[rank]);
    return "";
  }

  void collect_leftovers() const {
    std::error_code error_code;
    for (const auto& entry : fs::directory_iterator(folder, error_code))
      if (entry.path().filename().string().starts_with(".step-")) {
        fs::remove_all(entry.path(), error_code);
        log_info("removed {}, which an attempt left unfinished", entry.path().string());
      }
  }

  // A writer of an earlier attempt that still lives, on a node thought dead, must not commit over a later one.
  void claim_attempt() const {
    const fs::path path = folder / "attempt";
    int seen = 0;
    if (std::ifstream in(path); in) in >> seen;
    if (attempt < seen)
      throw UserError(
          fmt::format("{} belongs to attempt {} by now, and this is attempt {}", folder.string(), seen, attempt));
    write_file_durably(path, std::to_string(attempt) + "\n");
  }
  void check_attempt() const {
    int seen = 0;
    if (std::ifstream in(folder / "attempt"); in) in >> seen;
    if (seen != attempt)
      throw UserError(fmt::format("attempt {} has taken {} over from this one, {}", seen, folder.string(), attempt));
  }
};

CheckpointSaver::CheckpointSaver(Context& context, Communicator& world, fs::path folder, Retention retention,
                                 int attempt)
    : job_(new Job{.context = context,
                   .world = world,
                   .folder = std::move(folder),
                   .retention = retention,
                   .attempt = attempt}) {
  std::string error;
  if (job_->leads()) {
    try {
      std::error_code failed;
      fs::create_directories(job_->folder, failed);
      if (failed) throw UserError(fmt::format("cannot make {}: {}", job_->folder.string(), failed.message()));
      job_->claim_attempt();
      job_->collect_leftovers();
    } catch (const Error& failure) {
      error = failure.what();
    }
  }
  error = job_->first_error(error, "checkpoint folder");
  if (!error.empty()) throw UserError(error);
}

CheckpointSaver::~CheckpointSaver() {
  if (job_->thread.joinable()) job_->thread.join();
  std::error_code gone;
  if (job_->leads() && job_->state != State::kIdle) fs::remove_all(job_->temporary, gone);
}

void CheckpointSaver::save(const CheckpointState& state) {
  Job& job = *job_;
  CHECK(job.state == State::kIdle, "a save is under way");
  job.begin = Clock::now();
  job.what = state;
  job.what.params.clear();
  job.written.clear();
  std::vector<const ParamSpec*> specs;
  for (const CheckpointParam& param : state.params) specs.push_back(param.spec);
  job.files = plan_files(specs, state.dtype);
  job.temporary = job.folder / fmt::format(".{}.attempt-{}", checkpoint_name(state.step), job.attempt);

  job.enter(RunPhase::kSnapshot);
  job.error.clear();
  if (job.leads()) {
    try {
      if (!state.veto.empty()) throw UserError(state.veto);
      job.check_attempt();
      job.prepare_files();
    } catch (const Error& failure) {
      job.error = failure.what();
    }
  }
  if (!job.first_error(job.error, "checkpoint room").empty()) {  // finish() says it
    job.state = State::kFailed;
    return;
  }
  job.tensors = take_snapshot(job.context, job.world, state, job.files);
  job.state = State::kWriting;
  if (job.thread.joinable()) job.thread.join();
  job.thread = std::jthread([&job, at = whereabouts()] {
    whereabouts() = at;
    job.enter(RunPhase::kWriting);
    try {
      job.write_tensors();
    } catch (const Error& failure) {
      job.error = failure.what();
    }
    job.tensors.clear();
    job.state = job.error.empty() ? State::kWritten : State::kFailed;
  });
}

void CheckpointSaver::set_observer(RunObserver* observer) { job_->observer = observer; }

CheckpointSaver::State CheckpointSaver::state() const { return job_->state; }

void CheckpointSaver::wait() {
  if (job_->thread.joinable()) job_->thread.join();
}

CheckpointSaver::Outcome CheckpointSaver::finish() {
  Job& job = *job_;
  wait();
  CHECK(job.state == State::kWritten || job.state == State::kFailed, "no save has ended");
  Outcome outcome{.step = job.what.step, .error = "", .path = job.folder / checkpoint_name(job.what.step)};
  outcome.error = job.first_error(job.error, "checkpoint writing");
  if (outcome.error.empty()) {
    job.enter(RunPhase::kCommit);
    const std::vector<std::string> parts =
        job.world.gather_to_all(encode_written(job.written), {job.what.step, "checkpoint digests"});
    std::string error;
    if (job.leads()) {
      try {
        job.check_attempt();
        commit_checkpoint(job.folder, job.temporary, job.what, job.files, parts);
        remove_old_checkpoints(job.folder, job.what.step, job.retention);
      } catch (const Error& failure) {
        error = failure.what();
      }
    }
    outcome.error = job.first_error(error, "checkpoint commit");
  }
  if (!outcome.error.empty() && job.leads()) {
    std::error_code gone;
    fs::remove_all(job.temporary, gone);
  }
  for (const PlannedFile& file : job.files) outcome.bytes += file.bytes();
  outcome.seconds = std::chrono::duration<double>(Clock::now() - job.begin).count();
  job.state = State::kIdle;
  return outcome;
}

}  // namespace trireme
