// What tests/parallel/CMakeLists.txt runs under mpirun: `test_mpi CLAIM direct|window|messages|nccl`, the last on GPUs.
// Exits 0 if the claim holds on this rank, 1 if not, and as `trireme` would (4) after a PeerError.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <mpi.h>

#include "monitoring/error.h"
#include "parallel/comm/mesh_communicators.h"
#include "parallel/comm/mpi.h"
#include "tests/parallel/comm/tree_reference.h"
#include "tests/parallel/process_rank.h"

namespace trireme {
namespace {

using Rank = ProcessRank;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::_Exit(1);
}

// Sizes below, at and beyond a piece of either transport.
void sums(Rank& self) {
  const int size = self.comm->size();
  const auto me = static_cast<std::uint64_t>(self.comm->rank());
  for (std::size_t count : {0u, 1u, 17u, 5003u, 262144u, 3u * 1048576u + 77u}) {
    const Tensor x = self.floats(uneven_values(count, 5 + me));
    self.comm->all_reduce(self.stream, x, Reduction::kSum, {1, "x"});
    expect(self.read<float>(x) == summed_values(count, 5, size), "all_reduce gives the bits of the tree");
  }
  for (std::size_t part : {0u, 5u, 700001u}) {
    const std::size_t count = part * static_cast<std::size_t>(size);
    const auto rows = static_cast<std::int64_t>(part);
    const Tensor from = self.tensor<float>({size, rows}, DType::kF32, uneven_values(count, 9 + me));
    const Tensor to = self.floats(std::vector<float>(part));
    self.comm->reduce_scatter(self.stream, to, from, {1, "y"});
    const std::vector<float> sum = summed_values(count, 9, size);
    const auto begin = sum.begin() + static_cast<std::ptrdiff_t>(me * part);
    expect(self.read<float>(to) == std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(part)),
           "reduce_scatter gives each rank its part of the tree");
  }
  const Tensor tokens = self.tensor<std::int64_t>({1}, DType::kI64, {std::int64_t{1} << (40 + me)});
  self.comm->all_reduce(self.stream, tokens, Reduction::kSum, {1, "tokens"});
  expect(self.read<std::int64_t>(tokens)[0] == ((std::int64_t{1} << size) - 1) << 40, "integers are summed exactly");
  const Tensor flag = self.tensor<std::int32_t>({1}, DType::kI32, {self.comm->rank() + 1 == size});
  self.comm->all_reduce(self.stream, flag, Reduction::kMax, {1, "flag"});
  expect(self.read<std::int32_t>(flag)[0] == 1, "one rank's flag is every rank's");
}

void moves(Rank& self) {
  const int size = self.comm->size();
  const int me = self.comm->rank();
  for (std::int64_t count : {0, 3, 300001}) {
    const auto value = [&](int rank, int row, std::int64_t i) { return rank * 1000 + row * 100000 + i; };
    std::vector<std::int64_t> mine, all, out, expected;
    for (std::int64_t i = 0; i < count; ++i) mine.push_back(value(me, 0, i));
    for (int peer = 0; peer < size; ++peer)
      for (std::int64_t i = 0; i < count; ++i) {
        all.push_back(value(peer, 0, i));
        out.push_back(value(me, peer, i));
        expected.push_back(value(peer, me, i));
      }
    const Tensor from = self.tensor({count}, DType::kI64, mine);
    const Tensor to = self.tensor({size, count}, DType::kI64, std::vector<std::int64_t>(all.size()));
    self.comm->all_gather(self.stream, to, from, {2, "gather"});
    expect(self.read<std::int64_t>(to) == all, "all_gather moves every byte");
    const Tensor sent = self.tensor({size, count}, DType::kI64, out);
    self.comm->all_to_all(self.stream, to, sent, {2, "all to all"});
    expect(self.read<std::int64_t>(to) == expected, "all_to_all moves every byte");
    self.comm->broadcast(self.stream, from, size - 1, {2, "broadcast"});
    expect(self.read<std::int64_t>(from) == std::vector<std::int64_t>(all.end() - count, all.end()),
           "broadcast moves every byte");

    const int next = (me + 1) % size;
    const int previous = (me + size - 1) % size;
    const Tensor spare = self.tensor({1, count}, DType::kI64, std::vector<std::int64_t>(mine.size()));
    self.comm->exchange(self.stream, {{{sent, next}, {sent.rows(0, 1), next}}}, {{{to, previous}, {spare, previous}}},
                        {2, "ring"});
    std::vector<std::int64_t> theirs;
    for (int peer = 0; peer < size; ++peer)
      for (std::int64_t i = 0; i < count; ++i) theirs.push_back(value(previous, peer, i));
    expect(self.read<std::int64_t>(to) == theirs, "a ring of exchanges ends");
    theirs.resize(mine.size());
    expect(self.read<std::int64_t>(spare) == theirs, "messages between two ranks keep their order");
  }
  const auto texts = self.comm->gather_to_all(std::string(static_cast<std::size_t>(me) * 7, 'x'), {2, "texts"});
  for (int rank = 0; rank < size; ++rank)
    expect(texts.at(static_cast<std::size_t>(rank)) == std::string(static_cast<std::size_t>(rank) * 7, 'x'),
           "gather_to_all gives each rank's text");
}

void results(Rank& self) {
  sums(self);
  moves(self);
}

// dp x tp and dp x pp of these ranks, as even as can be.
std::vector<MeshShape> meshes(int ranks) {
  int first = 1;
  for (int each = 1; each * each <= ranks; ++each)
    if (ranks % each == 0) first = each;
  const int rest = ranks / first;
  return {{first, 1, 1, rest, 1}, {rest, first, 1, 1, 1}, {1, rest, 1, first, 1}};
}

// Of all groups of a rank, at the same time and on streams of their own; the world's after theirs.
void groups(Rank& self) {
  const int me = self.comm->rank();
  for (const MeshShape& mesh : meshes(self.comm->size())) {
    const MeshCommunicators all(mesh, *self.comm);
    struct Sum {
      Axis axis;
      Communicator& comm;
      Stream stream;
      Tensor x;
    };
    std::vector<Sum> sums = {{Axis::kDp, all.dp(), self.stream, {}},
                             {Axis::kPp, all.pp(), self.transfers, {}},
                             {Axis::kTp, all.tp(), self.compute, {}},
                             {Axis::kTp, all.tp_gradients(), self.stream, {}}};
    constexpr std::size_t kCount = 300007;
    constexpr int kTimes = 5;
    for (Sum& sum : sums) sum.x = self.floats(uneven_values(kCount, 70 + static_cast<std::uint64_t>(me)));
    self.device->synchronize(self.stream);
    for (Sum& sum : sums)
      for (int i = 0; i < kTimes; ++i) sum.comm.all_reduce(sum.stream, sum.x, Reduction::kMax, {i, "maximum"});
    self.device->synchronize(self.transfers);
    for (Sum& sum : sums) {
      std::vector<float> expected(kCount, -1e30f);
      for (int rank : peers(mesh, sum.axis, me)) {
        const std::vector<float> theirs = uneven_values(kCount, 70 + static_cast<std::uint64_t>(rank));
        for (std::size_t i = 0; i < kCount; ++i) expected[i] = std::max(expected[i], theirs[i]);
      }
      expect(self.read<float>(sum.x) == expected, "a group reduces over its own ranks alone");
      sum.comm.all_reduce(sum.stream, sum.x, Reduction::kSum, {kTimes, "sum"});
      self.device->synchronize(sum.stream);
      for (float& each : expected) each *= static_cast<float>(sum.comm.size());
      const std::vector<float> got = self.read<float>(sum.x);
      const bool power_of_two = (sum.comm.size() & (sum.comm.size() - 1)) == 0;  // else the sum of equals rounds
      expect(!power_of_two || got == expected, "a group sums over its own ranks alone");
    }
    const auto names = self.comm->gather_to_all(std::to_string(me), {kTimes, "names"});
    for (int rank = 0; rank < self.comm->size(); ++rank)
      expect(names.at(static_cast<std::size_t>(rank)) == std::to_string(rank), "the world works beside its groups");
  }
}

// Of 4 ranks in a square, 0 and 3 wait in dp for 2 and 1, who wait in tp for them.
void crossing(Rank& self) {
  const MeshCommunicators all({2, 1, 1, 2, 1}, *self.comm);
  const Tensor x = self.floats(std::vector<float>(64));
  const bool in_dp = self.comm->rank() == 0 || self.comm->rank() == 3;
  (in_dp ? all.dp() : all.tp()).all_reduce(self.stream, x, Reduction::kSum, {7, in_dp ? "layers.0.weight" : "output"});
  self.device->synchronize(self.stream);
}

// Collectives alike and unlike behind one another, with no wait between them.
void orders(Rank& self) {
  const std::int64_t me = self.comm->rank(), last = self.comm->size() - 1;
  const Tensor a = self.tensor<std::int64_t>({1}, DType::kI64, {10 + me});
  const Tensor b = self.tensor<std::int64_t>({1}, DType::kI64, {20 + me});
  const Tensor c = self.tensor<std::int64_t>({1}, DType::kI64, {30 + me});
  self.comm->all_reduce(self.stream, a, Reduction::kMax, {7, "a"});
  self.comm->all_reduce(self.stream, b, Reduction::kMax, {7, "b"});
  self.comm->broadcast(self.stream, c, 0, {7, "c"});
  expect(self.read<std::int64_t>(a)[0] == 10 + last && self.read<std::int64_t>(b)[0] == 20 + last &&
             self.read<std::int64_t>(c)[0] == 30,
         "each call meets its own on the other ranks");
}

// Rank 0 waits for what rank 1 never sends; rank 2 has nothing to do with it.
void unmatched(Rank& self) {
  const Tensor x = self.floats(std::vector<float>(64));
  self.comm->all_reduce(self.stream, x, Reduction::kSum, {6, "layers.0.weight"});
  self.device->synchronize(self.stream);
  if (self.comm->rank() == 0) self.comm->exchange(self.stream, {}, {{{x, 1}}}, {7, "activations"});
  self.device->synchronize(self.stream);
  if (self.comm->rank() > 0) std::this_thread::sleep_for(std::chrono::seconds(30));
}

// Rank 0 makes another call than the others; all say so and end.
void mismatch(Rank& self) {
  const Tensor x = self.floats(std::vector<float>(64));
  self.comm->all_reduce(self.stream, x, Reduction::kSum, {6, "layers.0.weight"});
  if (self.comm->rank() == 0)
    self.comm->broadcast(self.stream, x, 0, {7, "layers.1.weight"});
  else
    self.comm->all_reduce(self.stream, x, Reduction::kSum, {7, "layers.0.weight"});
  self.device->synchronize(self.stream);
}

// Rank 0 stays away; the others report it at the timeout.
void absence(Rank& self) {
  const Tensor x = self.floats(std::vector<float>(64));
  self.comm->all_reduce(self.stream, x, Reduction::kSum, {6, "layers.0.weight"});
  self.device->synchronize(self.stream);
  if (self.comm->rank() == 0) std::this_thread::sleep_for(std::chrono::seconds(30));
  self.comm->all_reduce(self.stream, x, Reduction::kSum, {7, "layers.1.weight"});
  self.device->synchronize(self.stream);
}

// The last rank is killed in the middle of a step, within a call of its dp group or between calls; the others say what
// it was doing before mpirun ends them.
void killed_in(Rank& self, bool within) {
  signal(SIGTERM, SIG_IGN);  // as `trireme train` goes on for a while
  const int size = self.comm->size();
  const MeshCommunicators all({size, 1, 1, 1, 1}, *self.comm);
  const Tensor x = self.floats(std::vector<float>(64));
  all.dp().all_reduce(self.stream, x, Reduction::kSum, {6, "layers.0.weight"});
  self.device->synchronize(self.stream);
  if (self.comm->rank() == size - 1 && !within) raise(SIGKILL);
  if (self.comm->rank() == size - 1)
    std::thread([] {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      raise(SIGKILL);
    }).detach();
  if (self.comm->rank() == 0 && within) std::this_thread::sleep_for(std::chrono::seconds(20));
  all.dp().all_reduce(self.stream, x, Reduction::kSum, {7, "layers.1.weight"});
  self.device->synchronize(self.stream);
}
void killed_between(Rank& self) { killed_in(self, false); }
void killed_within(Rank& self) { killed_in(self, true); }

// The last rank is killed while all of them are in one sum of a large tensor after another.
void killed_copying(Rank& self) {
  signal(SIGTERM, SIG_IGN);
  const Tensor x = self.floats(std::vector<float>(std::size_t{4} << 20));
  self.device->synchronize(self.stream);
  if (self.comm->rank() == self.comm->size() - 1)
    std::thread([] {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      raise(SIGKILL);
    }).detach();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (std::chrono::steady_clock::now() < end) {
    self.comm->all_reduce(self.stream, x, Reduction::kSum, {7, "layers.0.weight"});
    self.device->synchronize(self.stream);
  }
}

// Bytes by the median of the times, in GB/s.
double rate(std::size_t bytes, std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return static_cast<double>(bytes) / 1e9 / seconds[seconds.size() / 2];
}

// Prints how fast collectives are, in turn with Open MPI's own and with their floor: the memory that any way must
// touch, read and written once by all ranks at the same time. Rates are of the whole tensor's bytes.
void speed(Rank& self) {
  const int size = self.comm->size();
  const auto ranks = static_cast<std::size_t>(size);
  for (std::size_t megabytes : {1u, 4u, 64u}) {
    const std::size_t count = (megabytes << 18) / ranks * ranks;
    const std::size_t bytes = count * sizeof(float);
    const auto part = static_cast<std::int64_t>(count / ranks);
    const Tensor x = self.floats(std::vector<float>(count)), y = self.floats(std::vector<float>(count));
    const Tensor rows = x.view({size, part}), to_rows = y.view({size, part});
    const Tensor row = rows.rows(0, 1), to_row = to_rows.rows(0, 1);
    self.device->synchronize(self.stream);
    const auto time = [&](std::vector<double>& seconds, const std::function<void()>& work) {
      MPI_Barrier(MPI_COMM_WORLD);
      const auto begin = std::chrono::steady_clock::now();
      work();
      self.device->synchronize(self.stream);
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    };
    const auto on_stream = [&](const std::function<void()>& work) { self.device->run(self.stream, work); };
    struct Row {
      const char* name;
      std::function<void()> ours, theirs, floor;
      std::vector<double> our_seconds{}, their_seconds{}, floor_seconds{};
    };
    const int n = static_cast<int>(count), n_part = static_cast<int>(part);
    const auto copy = [](const Tensor& to, const Tensor& from) { std::memcpy(to.data, from.data, from.bytes()); };
    Row table[] = {
        {"all_reduce",
         [&] {
           self.comm->all_reduce(self.stream, x, Reduction::kSum, {1, "x"});
         },
         [&] { on_stream([&] { MPI_Allreduce(x.data, y.data, n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD); }); },
         [&] {
           on_stream([&] {
             auto* values = reinterpret_cast<std::uint64_t*>(x.data);
             for (std::size_t i = 0; i < bytes / sizeof(std::uint64_t); ++i)
               values[i] ^= 0x8000000080000000;  // signs: no denormals
           });
         }},
        {"reduce_scatter",
         [&] {
           self.comm->reduce_scatter(self.stream, to_row, rows, {1, "x"});
         },
         [&] {
           on_stream([&] { MPI_Reduce_scatter_block(x.data, y.data, n_part, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD); });
         },
         [&] {
           on_stream([&] {
             for (int i = 0; i < size; ++i) copy(to_row, rows.rows(i, i + 1));
           });
         }},
        {"all_gather",
         [&] {
           self.comm->all_gather(self.stream, to_rows, row, {1, "x"});
         },
         [&] {
           on_stream([&] { MPI_Allgather(x.data, n_part, MPI_FLOAT, y.data, n_part, MPI_FLOAT, MPI_COMM_WORLD); });
         },
         [&] {
           on_stream([&] {
             for (int i = 0; i < size; ++i) copy(to_rows.rows(i, i + 1), row);
           });
         }},
    };
    for (int i = 0; i < 15; ++i)
      for (Row& each : table) {
        time(each.our_seconds, each.ours);
        time(each.their_seconds, each.theirs);
        time(each.floor_seconds, each.floor);
      }
    for (const Row& each : table) {
      const double ours = rate(bytes, each.our_seconds), theirs = rate(bytes, each.their_seconds);
      const double floor = rate(bytes, each.floor_seconds);
      if (self.comm->rank() == 0)
        std::printf("%-14s of %2zu MB: %5.2f GB/s, %2.0f%% of its floor's %5.2f, %4.1f times Open MPI's %5.2f\n",
                    each.name, megabytes, ours, 100 * ours / floor, floor, ours / theirs, theirs);
    }
  }
}

int run(int argc, char** argv) {
  const std::map<std::string, void (*)(Rank&)> claims = {{"results", results},
                                                         {"groups", groups},
                                                         {"mismatch", mismatch},
                                                         {"absence", absence},
                                                         {"orders", orders},
                                                         {"unmatched", unmatched},
                                                         {"crossing", crossing},
                                                         {"killed-between", killed_between},
                                                         {"speed", speed},
                                                         {"killed-within", killed_within},
                                                         {"killed-copying", killed_copying}};
  const auto claim = argc == 3 ? claims.find(argv[1]) : claims.end();
  if (claim == claims.end()) {
    std::fprintf(stderr, "usage: test_mpi CLAIM direct|window|messages|nccl, where CLAIM is one of");
    for (const auto& [name, body] : claims) std::fprintf(stderr, " %s", name.c_str());
    std::fprintf(stderr, "\n");
    return 2;
  }
  MpiOptions options;
  if (std::strcmp(argv[2], "window") == 0) options.path = MpiOptions::Path::kWindow;
  if (std::strcmp(argv[2], "messages") == 0) options.path = MpiOptions::Path::kMessages;
  MpiWorld world(options);
  try {
    const bool on_gpu = std::strcmp(argv[2], "nccl") == 0;
    Rank self(world, on_gpu                   ? RankKind::kGpu
                     : claim->second == speed ? RankKind::kHost  // guarding takes time
                                              : RankKind::kGuardedHost);
    claim->second(self);
    self.device->synchronize(self.stream);
    self.comm->gather_to_all("", {-1, "end of the test"});
    if (world.rank() == 0) std::printf("%s holds with %d ranks\n", argv[1], world.size());
    return 0;
  } catch (const PeerError& error) {
    std::fprintf(stderr, "rank %d: %s\n", world.rank(), error.what());
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // let the others say it too
    world.abort(static_cast<int>(error.code()));
  }
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) { return trireme::run(argc, argv); }
