// What tests/parallel/CMakeLists.txt runs under mpirun: `test_mpi CLAIM window|messages`. Exits 0 if the claim holds on
// this rank, 1 if not, and as `trireme` would (4) after a PeerError.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <mpi.h>

#include "cuda/host/host_device.h"
#include "monitoring/error.h"
#include "parallel/comm/mpi.h"
#include "tests/parallel/comm/tree_reference.h"

namespace trireme {
namespace {

struct Rank {
  explicit Rank(MpiWorld& world)
      : device(make_host_device({.guard_memory = true})),
        stream(device->create_stream(StreamKind::kCommunication, "communication")),
        comm(world.world(*device)) {}
  ~Rank() {
    comm.reset();
    device->destroy_stream(stream);
    for (std::byte* block : blocks) device->release(block);
  }
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;

  template <class T>
  Tensor tensor(const Shape& shape, DType dtype, const std::vector<T>& values) {
    Tensor made{nullptr, dtype, shape};
    CHECK(made.bytes() == values.size() * sizeof(T), "values of another size");
    made.data = device->allocate(made.bytes());
    blocks.push_back(made.data);
    device->upload(stream, made, values.data());
    return made;
  }
  Tensor floats(const std::vector<float>& values) {
    return tensor<float>({static_cast<std::int64_t>(values.size())}, DType::kF32, values);
  }
  template <class T>
  std::vector<T> read(const Tensor& from) {
    std::vector<T> values(from.bytes() / sizeof(T));
    device->download(stream, values.data(), from);
    device->synchronize(stream);
    return values;
  }

  std::unique_ptr<Device> device;
  Stream stream;
  std::unique_ptr<Communicator> comm;
  std::vector<std::byte*> blocks;
};

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

void death(Rank& self) {
  const Tensor x = self.floats(std::vector<float>(64));
  if (self.comm->rank() == 0) std::_Exit(4);
  self.comm->all_reduce(self.stream, x, Reduction::kSum, {7, "layers.1.weight"});
  self.device->synchronize(self.stream);
}

// By the median and by the shortest time.
std::string rates(std::size_t bytes, std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  char text[64];
  const double gigabytes = static_cast<double>(bytes) / 1e9;
  std::snprintf(text, sizeof text, "%.2f GB/s (best %.2f)", gigabytes / seconds[seconds.size() / 2],
                gigabytes / seconds[0]);
  return text;
}

// Prints how fast 1, 4 and 64 MB are summed, in turn with Open MPI's own: bytes of the tensor by time.
void speed(Rank& self) {
  for (std::size_t megabytes : {1u, 4u, 64u}) {
    const Tensor x = self.floats(std::vector<float>(megabytes << 18));
    self.device->synchronize(self.stream);
    std::vector<double> ours, theirs;
    const auto time = [&](std::vector<double>& seconds, const auto& work) {
      MPI_Barrier(MPI_COMM_WORLD);
      const auto begin = std::chrono::steady_clock::now();
      work();
      self.device->synchronize(self.stream);
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    };
    std::vector<float> sum(x.bytes() / sizeof(float));
    for (int i = 0; i < 21; ++i) {
      time(ours, [&] { self.comm->all_reduce(self.stream, x, Reduction::kSum, {i, "x"}); });
      time(theirs, [&] {
        self.device->run(self.stream, [&] {
          MPI_Allreduce(x.data, sum.data(), static_cast<int>(sum.size()), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        });
      });
    }
    if (self.comm->rank() == 0)
      std::printf("all_reduce of %zu MB: %s; MPI_Allreduce %s\n", megabytes, rates(x.bytes(), ours).c_str(),
                  rates(x.bytes(), theirs).c_str());
  }
}

int run(int argc, char** argv) {
  const std::map<std::string, void (*)(Rank&)> claims = {
      {"results", results}, {"mismatch", mismatch}, {"absence", absence}, {"death", death}, {"speed", speed}};
  const auto claim = argc == 3 ? claims.find(argv[1]) : claims.end();
  if (claim == claims.end()) {
    std::fprintf(stderr, "usage: test_mpi results|mismatch|absence|death|speed window|messages\n");
    return 2;
  }
  MpiOptions options;
  if (std::strcmp(argv[2], "messages") == 0) options.path = MpiOptions::Path::kMessages;
  MpiWorld world(options);
  try {
    Rank self(world);
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
