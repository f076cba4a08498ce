// What the stand-in's NCCL promises, claim by claim, on ranks that are processes: test_gpu_nccl CLAIM under mpirun.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>
#include <mpi.h>
#include <nccl.h>

namespace {

int world = 1;
int me = 0;

#define MUST(condition)                                                                         \
  do {                                                                                          \
    if (!(condition)) {                                                                         \
      std::fprintf(stderr, "rank %d: %s:%d: not so: %s\n", me, __FILE__, __LINE__, #condition); \
      std::fflush(stderr);                                                                      \
      std::_Exit(1);                                                                            \
    }                                                                                           \
  } while (false)
#define CUDA(call) MUST((call) == cudaSuccess)
#define NCCL(call) MUST((call) == ncclSuccess)

struct Floats {  // on the device
  explicit Floats(std::vector<float> values) : count(values.size()) {
    CUDA(cudaMalloc(&data, count * sizeof(float)));
    CUDA(cudaMemcpy(data, values.data(), count * sizeof(float), cudaMemcpyHostToDevice));
    CUDA(cudaDeviceSynchronize());
  }
  ~Floats() { cudaFree(data); }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;
  std::vector<float> values() const {
    std::vector<float> host(count);
    CUDA(cudaMemcpy(host.data(), data, count * sizeof(float), cudaMemcpyDeviceToHost));
    return host;
  }
  std::size_t count;
  void* data = nullptr;
  float* at(std::size_t i) const { return static_cast<float*>(data) + i; }
};

ncclUniqueId shared_id() {
  ncclUniqueId id;
  if (me == 0) NCCL(ncclGetUniqueId(&id));
  MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
  return id;
}

ncclResult_t settled(ncclComm_t comm) {
  ncclResult_t state = ncclInProgress;
  while (state == ncclInProgress) NCCL(ncclCommGetAsyncError(comm, &state));
  return state;
}

ncclComm_t everybody(int blocking = 1) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = blocking;
  ncclComm_t comm = nullptr;
  const ncclResult_t result = ncclCommInitRankConfig(&comm, world, shared_id(), me, &config);
  MUST(result == (blocking != 0 ? ncclSuccess : ncclInProgress));
  MUST(settled(comm) == ncclSuccess);
  return comm;
}

// Rank r's element i: no two alike, and sums that fp32 rounds.
float element(int rank, std::size_t i) {
  return 1.0F + 0.1F * static_cast<float>(rank) + 0.01F * static_cast<float>(i);
}
std::vector<float> of_rank(int rank, std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = element(rank, i);
  return values;
}
float sum_in_order(std::size_t i) {
  float sum = element(0, i);
  for (int rank = 1; rank < world; ++rank) sum += element(rank, i);
  return sum;
}

template <class Expected>
void must_be(const Floats& floats, std::size_t count, const Expected& expected) {
  const std::vector<float> values = floats.values();
  for (std::size_t i = 0; i < count; ++i) MUST(values[i] == expected(i));
}

void results() {
  ncclComm_t comm = everybody();
  cudaStream_t stream = nullptr;
  CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  int count = 0;
  int rank = -1;
  int device = -1;
  NCCL(ncclCommCount(comm, &count));
  NCCL(ncclCommUserRank(comm, &rank));
  NCCL(ncclCommCuDevice(comm, &device));
  MUST(count == world && rank == me && device == me);
  const auto ranks = static_cast<std::size_t>(world);
  for (const std::size_t size : {std::size_t{1}, std::size_t{7}, std::size_t{1001}}) {
    const Floats mine(of_rank(me, size));
    const Floats all(std::vector<float>(size * ranks, -1.0F));
    NCCL(ncclAllReduce(mine.data, all.data, size, ncclFloat, ncclSum, comm, stream));
    CUDA(cudaStreamSynchronize(stream));
    must_be(all, size, sum_in_order);
    NCCL(ncclAllReduce(mine.data, all.data, size, ncclFloat, ncclMax, comm, stream));
    CUDA(cudaStreamSynchronize(stream));
    MUST(all.values()[size - 1] == element(world - 1, size - 1));
    NCCL(ncclAllGather(mine.data, all.data, size, ncclFloat, comm, stream));
    CUDA(cudaStreamSynchronize(stream));
    must_be(all, size * ranks, [&](std::size_t i) { return element(static_cast<int>(i / size), i % size); });
    // In place, from everybody's whole to everybody's part.
    const Floats whole(of_rank(me, size * ranks));
    NCCL(ncclReduceScatter(whole.data, whole.at(static_cast<std::size_t>(me) * size), size, ncclFloat, ncclSum, comm,
                           stream));
    CUDA(cudaStreamSynchronize(stream));
    const std::vector<float> parts = whole.values();
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t place = static_cast<std::size_t>(me) * size + i;
      MUST(parts[place] == sum_in_order(place));
    }
    const int root = world - 1;
    NCCL(ncclReduce(mine.data, all.data, size, ncclFloat, ncclSum, root, comm, stream));
    NCCL(ncclBroadcast(all.data, all.data, size, ncclFloat, root, comm, stream));
    CUDA(cudaStreamSynchronize(stream));
    must_be(all, size, sum_in_order);
  }
  CUDA(cudaStreamDestroy(stream));
  NCCL(ncclCommDestroy(comm));
}

// Everybody sends to both neighbours and receives from both, two messages to the next.
void group() {
  ncclComm_t comm = everybody();
  cudaStream_t stream = nullptr;
  CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  const int next = (me + 1) % world;
  const int last = (me + world - 1) % world;
  const Floats mine(of_rank(me, 12));
  const Floats theirs(std::vector<float>(12, -1.0F));
  NCCL(ncclGroupStart());
  NCCL(ncclSend(mine.at(0), 4, ncclFloat, next, comm, stream));
  NCCL(ncclSend(mine.at(4), 4, ncclFloat, next, comm, stream));
  NCCL(ncclSend(mine.at(8), 4, ncclFloat, last, comm, stream));
  NCCL(ncclRecv(theirs.at(0), 4, ncclFloat, last, comm, stream));
  NCCL(ncclRecv(theirs.at(4), 4, ncclFloat, last, comm, stream));
  NCCL(ncclRecv(theirs.at(8), 4, ncclFloat, next, comm, stream));
  NCCL(ncclGroupEnd());
  CUDA(cudaStreamSynchronize(stream));
  must_be(theirs, 12, [&](std::size_t i) { return element(i < 8 ? last : next, i); });
  CUDA(cudaStreamDestroy(stream));
  NCCL(ncclCommDestroy(comm));
}

// Odd and even ranks, each backwards; the last rank in neither.
void split() {
  ncclComm_t comm = everybody();
  const bool out = me == world - 1;
  ncclComm_t part = nullptr;
  NCCL(ncclCommSplit(comm, out ? NCCL_SPLIT_NOCOLOR : me % 2, -me, &part, nullptr));
  MUST((part == nullptr) == out);
  if (!out) {
    const int size = (world - 1 - me % 2 + 1) / 2;
    int count = 0;
    int rank = -1;
    NCCL(ncclCommCount(part, &count));
    NCCL(ncclCommUserRank(part, &rank));
    MUST(count == size && rank == size - 1 - me / 2);
    const Floats value({static_cast<float>(me)});
    NCCL(ncclAllReduce(value.data, value.data, 1, ncclFloat, ncclSum, part, nullptr));
    CUDA(cudaDeviceSynchronize());
    float sum = 0;
    for (int rank_of_part = me % 2; rank_of_part < world - 1; rank_of_part += 2)
      sum += static_cast<float>(rank_of_part);
    MUST(value.values()[0] == sum);
    NCCL(ncclCommDestroy(part));
  }
  NCCL(ncclCommDestroy(comm));
}

void nonblocking() {
  ncclComm_t comm = everybody(0);
  const Floats value({1.0F});
  int later = 0;
  for (int i = 0; i < 20; ++i) {
    const ncclResult_t result = ncclAllReduce(value.data, value.data, 1, ncclFloat, ncclMax, comm, nullptr);
    MUST(result == ncclSuccess || result == ncclInProgress);
    later += result == ncclInProgress ? 1 : 0;
    if (i == 0) MUST(result == ncclInProgress);
    MUST(settled(comm) == ncclSuccess);
  }
  CUDA(cudaDeviceSynchronize());
  MUST(later > 1 && value.values()[0] == 1.0F);
  MUST(ncclCommFinalize(comm) == ncclInProgress);
  MUST(settled(comm) == ncclSuccess);
  NCCL(ncclCommDestroy(comm));
}

void mismatch() {
  ncclComm_t comm = everybody();
  const Floats values(of_rank(me, 8));
  NCCL(ncclAllReduce(values.data, values.data, 8, ncclFloat, ncclSum, comm, nullptr));
  if (me == 1)
    NCCL(ncclBroadcast(values.data, values.data, 8, ncclFloat, 1, comm, nullptr));
  else
    NCCL(ncclAllReduce(values.data, values.data, 8, ncclFloat, ncclSum, comm, nullptr));
  CUDA(cudaDeviceSynchronize());
}

void count() {
  ncclComm_t comm = everybody();
  const Floats values(of_rank(me, 9));
  NCCL(ncclAllReduce(values.data, values.data, me == 0 ? 8 : 9, ncclFloat, ncclSum, comm, nullptr));
  CUDA(cudaDeviceSynchronize());
}

// Rank 0 gives up; the others wait in a collective that it never joins, see why, and abort too.
void abort_claim() {
  ncclComm_t comm = everybody(0);
  MPI_Barrier(MPI_COMM_WORLD);  // an abort that comes before a peer is ready ends its init instead
  const Floats value({1.0F});
  if (me != 0) {
    ncclAllReduce(value.data, value.data, 1, ncclFloat, ncclSum, comm, nullptr);
    ncclResult_t state = ncclSuccess;
    while (state == ncclSuccess || state == ncclInProgress) NCCL(ncclCommGetAsyncError(comm, &state));
    MUST(state == ncclRemoteError);
    MUST(std::strstr(ncclGetLastError(comm), "rank ") != nullptr);
  }
  NCCL(ncclCommAbort(comm));
  CUDA(cudaDeviceSynchronize());
}

void dead() {
  ncclComm_t comm = everybody(0);
  const Floats value({1.0F});
  ncclResult_t state = ncclSuccess;
  for (int i = 0; i < 2; ++i) {
    ncclAllReduce(value.data, value.data, 1, ncclFloat, ncclSum, comm, nullptr);
    MUST(settled(comm) == ncclSuccess || i == 1);
  }
  while (me != 1 && (state == ncclSuccess || state == ncclInProgress)) NCCL(ncclCommGetAsyncError(comm, &state));
  MUST(me == 1 || state == ncclRemoteError);
  MPI_Barrier(MPI_COMM_WORLD);
  NCCL(ncclCommAbort(comm));
  CUDA(cudaDeviceSynchronize());
}

void duplicate() {
  CUDA(cudaSetDevice(0));
  ncclComm_t comm = nullptr;
  MUST(ncclCommInitRank(&comm, world, shared_id(), me) == ncclInvalidUsage);
  NCCL(ncclCommAbort(comm));
}

// The stream of the collective does not wait for the one that makes its input.
void race() {
  ncclComm_t comm = everybody();
  cudaStream_t compute = nullptr;
  cudaStream_t communicate = nullptr;
  CUDA(cudaStreamCreateWithFlags(&compute, cudaStreamNonBlocking));
  CUDA(cudaStreamCreateWithFlags(&communicate, cudaStreamNonBlocking));
  const Floats values(of_rank(me, 1000));
  CUDA(cudaMemsetAsync(values.data, 0, 4000, compute));
  NCCL(ncclAllReduce(values.data, values.data, 1000, ncclFloat, ncclSum, comm, communicate));
  CUDA(cudaDeviceSynchronize());
}

void early() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t comm = nullptr;
  MUST(ncclCommInitRankConfig(&comm, world, shared_id(), me, &config) == ncclInProgress);
  const Floats value({1.0F});
  MUST(ncclAllReduce(value.data, value.data, 1, ncclFloat, ncclSum, comm, nullptr) == ncclInvalidUsage ||
       settled(comm) == ncclSuccess);
  MUST(settled(comm) == ncclSuccess);
  MPI_Barrier(MPI_COMM_WORLD);
  NCCL(ncclCommAbort(comm));
}

void leak() { everybody(); }

const std::vector<std::pair<const char*, void (*)()>> kClaims = {
    {"results", results},     {"group", group}, {"split", split},       {"nonblocking", nonblocking},
    {"mismatch", mismatch},   {"count", count}, {"abort", abort_claim}, {"dead", dead},
    {"duplicate", duplicate}, {"race", race},   {"early", early},       {"leak", leak},
};

}  // namespace

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
  MPI_Comm_size(MPI_COMM_WORLD, &world);
  MPI_Comm_rank(MPI_COMM_WORLD, &me);
  for (const auto& [name, claim] : kClaims) {
    if (argc != 2 || std::string(argv[1]) != name) continue;
    int devices = 0;
    CUDA(cudaGetDeviceCount(&devices));
    CUDA(cudaSetDevice(me % devices));
    claim();
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    if (me == 0) std::printf("%s holds\n", name);
    return 0;
  }
  std::fprintf(stderr, "usage: test_gpu_nccl CLAIM, under mpirun\n");
  return 2;
}
