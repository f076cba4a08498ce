// `layout_mpi [SEED [CASES]]` under mpirun: random models on random layouts, ranks as processes, against one rank. Case
// k is drawn from SEED + k and the number of ranks, and runs on as many of them as it needs, beside others on the rest.
// Exits 0 if all hold, 1 if not. A case is told with the command that runs it alone, before it runs.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <sstream>
#include <thread>

#include <fmt/format.h>

#include "cuda/host/host_device.h"
#include "monitoring/error.h"
#include "parallel/comm/mpi.h"
#include "tests/trainer/layout/drawn_layout.h"
#include "tests/trainer/layout/one_rank.h"

namespace trireme {
namespace {

constexpr std::uint64_t kSeed = 2026;
constexpr int kCases = 30;
// A rank may wait for one that is held up by an earlier case's reference.
constexpr std::chrono::minutes kPatience{5};

struct Asked {
  std::uint64_t seed = kSeed;
  int cases = kCases;
};

template <class Number>
bool read_number(const char* text, Number& number) {
  const char* end = text + std::strlen(text);
  const auto [stopped, error] = std::from_chars(text, end, number);
  return error == std::errc() && stopped == end;
}

bool read_arguments(int count, char** arguments, Asked& asked) {
  if (count > 1 && !read_number(arguments[1], asked.seed)) return false;
  if (count > 2 && !read_number(arguments[2], asked.cases)) return false;
  return count <= 3 && asked.cases >= 1;
}

// What a rank saw of the cases that it was the first rank of.
struct Seen {
  double nearest = 0;
  std::string failures;
};

// `again`: the command that runs the case alone.
void run_case(const std::string& again, const DrawnLayout& drawn, Device& device, Communicator& peers, Seen& seen) {
  const bool compares = peers.rank() == 0;
  std::ostringstream described;
  described << again << ": " << drawn << "\n";
  if (compares) std::cout << described.str() << std::flush;  // before it runs: it may end the process
  OneRank one(drawn);
  const Trial many = run_trial(one.experiment(), drawn.layout, one.options(), device, peers);
  if (!compares) return;
  const std::string wrong = one.wrong_with(many);
  seen.nearest = std::max(seen.nearest, one.nearest());
  if (!wrong.empty()) seen.failures += fmt::format("{}  {}\n", described.str(), wrong);
}

int run(const Asked& asked, MpiWorld& mpi) {
  const std::unique_ptr<Device> device = make_host_device({.threads = 1});
  const std::unique_ptr<Communicator> world = mpi.world(*device);
  whereabouts().rank = world->rank();
  Coverage coverage;
  Seen seen;
  int next = 0;  // the first rank of the next case
  for (int k = 0; k < asked.cases; ++k) {
    const std::uint64_t seed = asked.seed + static_cast<std::uint64_t>(k);
    const DrawnLayout drawn = drawn_layout(seed, world->size());
    coverage.add(drawn);
    const int ranks = drawn.layout.mesh.ranks();
    const int first = next + ranks <= world->size() ? next : 0;
    next = first + ranks;
    if (world->rank() < first || world->rank() >= next) continue;
    std::vector<int> members;
    for (int rank = first; rank < next; ++rank) members.push_back(rank);
    const std::unique_ptr<Communicator> peers = world->subgroup(members, fmt::format("case {}", seed));
    run_case(fmt::format("mpirun -n {} layout_mpi {} 1", world->size(), seed), drawn, *device, *peers, seen);
  }

  std::string failures;
  for (const std::string& each : world->gather_to_all(seen.failures, {-1, "what failed"})) failures += each;
  double nearest = 0;
  for (const std::string& each :
       world->gather_to_all(fmt::format("{}", seen.nearest), {-1, "the nearest to its bound"}))
    nearest = std::max(nearest, std::stod(each));
  if (world->rank() == 0) {
    std::cout << coverage.table() << "the gradient nearest to its bound: " << nearest << " of it\n";
    if (failures.empty())
      std::cout << fmt::format("the layout holds in {} cases on {} ranks\n", asked.cases, world->size());
    else
      std::cout << "FAILED:\n" << failures;
    std::cout << std::flush;
  }
  return failures.empty() ? 0 : 1;
}

}  // namespace
}  // namespace trireme

int main(int count, char** arguments) {
  trireme::Asked asked;
  if (!trireme::read_arguments(count, arguments, asked)) {
    std::fprintf(stderr, "usage: mpirun -n 8 layout_mpi [SEED [CASES]]\n");
    return 2;
  }
  trireme::MpiWorld mpi({.timeout = trireme::kPatience});
  try {
    return trireme::run(asked, mpi);
  } catch (const trireme::PeerError& error) {
    std::fprintf(stderr, "rank %d: %s\n", mpi.rank(), error.what());
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // let the others say it too
    mpi.abort(static_cast<int>(error.code()));
  }
}
