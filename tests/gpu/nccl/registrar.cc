#include "tests/gpu/nccl/registrar.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include <mpi.h>
#include <unistd.h>

#include "tests/gpu/nccl/mpi_gate.h"

namespace trireme::gpu::nccl {
namespace {

constexpr std::uint64_t kMagic = 0x7472697265676964;
constexpr int kApplicationTag = 0x10000000;
constexpr int kAnswerTag = 0x18000000;         // + number of the application of its sender
constexpr int kCommunicatorTags = 0x20000000;  // two for each communicator
constexpr int kCommunicatorsOfARank = 4096;

struct Form {               // an application, as it is sent
  std::int64_t kind = 0;    // 0: of an identity, 1: of a split
  std::int64_t group = 0;   // the identity's serial, or the parent's tag
  std::int64_t number = 0;  // of the split
  std::int32_t applicants = 0;
  std::int32_t color = 0;
  std::int32_t key = 0;
  std::int32_t rank = 0;  // of the parent, or as wished
  std::int32_t world = 0;
  std::int32_t answer_tag = 0;
  std::int32_t device = 0;
  char host[64] = {};
};

struct Answer {  // followed by a Form for each rank of the new communicator
  std::int32_t ranks = 0;
  std::int32_t rank = 0;
  std::int32_t tag = 0;
};

std::atomic<int> identities{0};
std::atomic<int> applications{0};

int world_rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

// Sends bytes that live until MPI has read them: for a few small messages at set-up.
void send_and_forget(const std::vector<std::byte>& bytes, int to, int tag) {
  auto* kept = new std::vector<std::byte>(bytes);
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Isend(kept->data(), static_cast<int>(kept->size()), MPI_BYTE, to, tag, MPI_COMM_WORLD, &request);
  MPI_Request_free(&request);
}

class Registrar {
 public:
  static void start() {
    static const bool started = [] {
      close_at_finalize([] {
        if (const std::string left = communicators_left_behind(); !left.empty())
          end_with_finding(left + " before MPI_Finalize");
      });
      auto* registrar = new Registrar;
      Gpu::of_process().streams.run_beside([registrar] { return registrar->look(); });
      return true;
    }();
    static_cast<void>(started);
  }

 private:
  Progress look() {
    const MpiUse use;
    if (!use.open()) return Progress::kDone;
    for (int arrived = 1; arrived != 0;) {
      MPI_Status status;
      MPI_Iprobe(MPI_ANY_SOURCE, kApplicationTag, MPI_COMM_WORLD, &arrived, &status);
      if (arrived == 0) break;
      Form form;
      MPI_Recv(&form, sizeof form, MPI_BYTE, status.MPI_SOURCE, kApplicationTag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      std::vector<Form>& group = waiting_[{form.kind, form.group, form.number}];
      group.push_back(form);
      if (group.size() < static_cast<std::size_t>(form.applicants)) continue;
      answer(group);
      waiting_.erase({form.kind, form.group, form.number});
    }
    return Progress::kLater;
  }

  void answer(std::vector<Form> forms) {
    std::map<int, std::vector<Form>> by_color;
    for (const Form& form : forms) by_color[form.color].push_back(form);
    for (auto& [color, members] : by_color) {
      std::sort(members.begin(), members.end(),
                [](const Form& a, const Form& b) { return std::tie(a.key, a.rank) < std::tie(b.key, b.rank); });
      const int serial = made_++;
      if (serial >= kCommunicatorsOfARank) end_with_finding("NCCL's stand-in has no more tags for communicators");
      Answer answer;
      answer.ranks = color == NCCL_SPLIT_NOCOLOR ? 0 : static_cast<int>(members.size());
      answer.tag = kCommunicatorTags + 2 * (world_rank() * kCommunicatorsOfARank + serial);
      for (std::size_t i = 0; i < members.size(); ++i) {
        answer.rank = static_cast<int>(i);
        std::vector<std::byte> bytes(sizeof answer + members.size() * sizeof(Form));
        std::memcpy(bytes.data(), &answer, sizeof answer);
        std::memcpy(bytes.data() + sizeof answer, members.data(), members.size() * sizeof(Form));
        send_and_forget(bytes, members[i].world, members[i].answer_tag);
      }
    }
  }

  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, std::vector<Form>> waiting_;
  int made_ = 0;
};

// Two ranks on one device do not work, and the real library says it in these words.
std::string duplicate(const std::vector<Form>& members) {
  for (std::size_t i = 0; i < members.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (members[i].device == members[j].device && std::strcmp(members[i].host, members[j].host) == 0)
        return "Duplicate GPU detected : rank " + std::to_string(j) + " and rank " + std::to_string(i) +
               " both on CUDA device " + std::to_string(members[i].device) + " of " + members[i].host;
  return "";
}

void become(ncclComm* comm, const Application& application, const std::vector<std::byte>& bytes) {
  Answer answer;
  std::memcpy(&answer, bytes.data(), sizeof answer);
  std::vector<Form> members((bytes.size() - sizeof answer) / sizeof(Form));
  std::memcpy(members.data(), bytes.data() + sizeof answer, members.size() * sizeof(Form));
  const std::string twice = duplicate(members);
  bool watched = false;
  {
    const std::lock_guard lock(comm->mutex);
    comm->ranks = answer.ranks;
    comm->tag = answer.tag;
    for (const Form& member : members) comm->world.push_back(member.world);
    if (application.parent == nullptr && answer.rank != comm->rank) {
      comm->state = ncclInvalidArgument;
      comm->error = "two ranks of the communicator gave the same number, or one that is too large";
    } else if (!twice.empty()) {
      comm->state = ncclInvalidUsage;
      comm->error = twice;
    } else {
      comm->rank = answer.rank;
      comm->state = ncclSuccess;
      watched = answer.ranks > 0;
    }
  }
  if (watched) watch(comm);
}

}  // namespace

Identity new_identity() {
  int initialized = 0;
  MPI_Initialized(&initialized);
  int level = MPI_THREAD_SINGLE;
  if (initialized != 0) MPI_Query_thread(&level);
  if (level < MPI_THREAD_MULTIPLE)
    throw Failure(ncclSystemError,
                  "NCCL's stand-in talks over MPI; call MPI_Init_thread with MPI_THREAD_MULTIPLE before it");
  Registrar::start();
  return {kMagic, world_rank(), identities++};
}

Identity read_identity(const ncclUniqueId& id) {
  Identity identity;
  std::memcpy(&identity, id.internal, sizeof identity);
  if (identity.magic != kMagic) throw Failure(ncclInvalidArgument, "the unique id did not come from ncclGetUniqueId");
  return identity;
}

void write_identity(const Identity& identity, ncclUniqueId& id) {
  std::memset(id.internal, 0, sizeof id.internal);
  std::memcpy(id.internal, &identity, sizeof identity);
}

void apply(ncclComm* comm, const Application& application) {
  Registrar::start();
  Form form;
  int registrar = application.identity.registrar;
  form.group = application.identity.serial;
  form.applicants = comm->ranks;
  form.rank = form.key = comm->rank;
  if (const ncclComm* parent = application.parent) {
    form.kind = 1;
    form.group = parent->tag;
    form.number = static_cast<std::int64_t>(application.number);
    form.applicants = parent->ranks;
    form.color = application.color;
    form.key = application.key;
    form.rank = parent->rank;
    registrar = parent->world.front();
  }
  form.world = world_rank();
  form.answer_tag = kAnswerTag + applications++ % (kCommunicatorTags - kAnswerTag);
  form.device = Gpu::of_process().devices.physical(comm->device);
  ::gethostname(form.host, sizeof form.host - 1);
  const auto* begin = reinterpret_cast<const std::byte*>(&form);
  send_and_forget({begin, begin + sizeof form}, registrar, kApplicationTag);
  Gpu::of_process().streams.run_beside([comm, application, registrar, tag = form.answer_tag] {
    {
      const std::lock_guard lock(comm->mutex);
      if (comm->aborted) return Progress::kDone;
    }
    const MpiUse use;
    if (!use.open()) return Progress::kDone;
    int arrived = 0;
    MPI_Status status;
    MPI_Iprobe(registrar, tag, MPI_COMM_WORLD, &arrived, &status);
    if (arrived == 0) return Progress::kLater;
    int bytes = 0;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    std::vector<std::byte> answer(static_cast<std::size_t>(bytes));
    MPI_Recv(answer.data(), bytes, MPI_BYTE, registrar, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    become(comm, application, answer);
    return Progress::kDone;
  });
}

}  // namespace trireme::gpu::nccl
