#include <atomic>
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "dataloader/shard/durable_file.h"
#include "monitoring/error.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/commit.h"
#include "trainer/checkpoint/snapshot.h"
#include "trainer/checkpoint/write.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// What `work` fails with; empty: nothing. Whatever it is, training goes on.
template <class Work>
std::string error_of(const Work& work) {
  try {
    work();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace

struct CheckpointSaver::Job {
  Context& context;
  Communicator& world;
  const fs::path folder;
  const Retention retention;
  const int attempt;
  const std::uint64_t max_file_bytes;

  RunObserver* observer = nullptr;
  std::atomic<State> state{State::kIdle};
  // Of the save under way. While the thread runs, it alone touches the last three.
  Clock::time_point begin{};
  CheckpointState what{};  // its params and specs are gone: only what the manifest needs
  std::vector<PlannedFile> files{};
  fs::path temporary{};
  std::vector<TensorBytes> tensors{};
  std::vector<WrittenTensor> written{};
  std::string error{};
  std::jthread thread{};

  bool leads() const { return world.rank() == 0; }
  void enter(RunPhase phase) const {
    if (observer != nullptr) observer->enter(phase, what.step);
  }

  // What every rank agrees on: the first rank's error, or none.
  std::string first_error(const std::string& mine, std::string_view call) {
    const std::vector<std::string> all = world.gather_to_all(mine, {what.step, call});
    for (std::size_t rank = 0; rank < all.size(); ++rank)
      if (!all[rank].empty()) return all.size() == 1 ? all[rank] : fmt::format("rank {}: {}", rank, all[rank]);
    return "";
  }

  void claim_folder() const {
    if (!fs::exists(folder)) {
      fs::create_directories(folder);
      sync_folder(fs::absolute(folder).parent_path());
    }
    claim_attempt(folder, attempt);
    collect_leftovers(folder);
  }

  void take_room() const {
    if (!what.veto.empty()) throw UserError(what.veto);
    check_attempt(folder, attempt);
    fs::remove_all(temporary);
    prepare_files(temporary, files);
  }

  void write() {
    written = write_tensors(temporary, files, tensors);
    if (leads()) sync_files(temporary, files);
  }

  void commit(const std::vector<std::string>& parts) const {
    check_attempt(folder, attempt);
    commit_checkpoint(folder, temporary, what, files, parts);
    remove_old_checkpoints(folder, what.step, retention);
  }
};

CheckpointSaver::CheckpointSaver(Context& context, Communicator& world, fs::path folder, Retention retention,
                                 int attempt, std::uint64_t max_file_bytes)
    : job_(new Job{.context = context,
                   .world = world,
                   .folder = std::move(folder),
                   .retention = retention,
                   .attempt = attempt,
                   .max_file_bytes = max_file_bytes}) {
  std::string error;
  if (job_->leads()) error = error_of([&] { job_->claim_folder(); });
  error = job_->first_error(error, "checkpoint folder");
  if (!error.empty()) throw UserError(error);
}

CheckpointSaver::~CheckpointSaver() {
  wait();
  std::error_code gone;
  if (job_->leads() && job_->state != State::kIdle) fs::remove_all(job_->temporary, gone);
}

void CheckpointSaver::save(const CheckpointState& state) {
  Job& job = *job_;
  CHECK(job.state == State::kIdle, "a save is under way");
  job.begin = Clock::now();
  job.what = state;
  job.what.params.clear();
  job.what.specs.clear();
  job.written.clear();
  job.files = plan_files(state.specs, state.dtype, job.max_file_bytes);
  job.temporary = job.folder / fmt::format(".{}.attempt-{}", checkpoint_name(state.step), job.attempt);

  job.enter(RunPhase::kSnapshot);
  job.error = job.leads() ? error_of([&] { job.take_room(); }) : "";
  if (!job.first_error(job.error, "checkpoint room").empty()) {  // finish() says it
    job.state = State::kFailed;
    return;
  }
  job.tensors = take_snapshot(job.context, job.world, state, job.files);
  job.state = State::kWriting;
  job.thread = std::jthread([&job, at = whereabouts()] {
    whereabouts() = at;
    job.enter(RunPhase::kWriting);
    job.error = error_of([&] { job.write(); });
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
    const std::string error = job.leads() ? error_of([&] { job.commit(parts); }) : "";
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
