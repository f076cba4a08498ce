// The Communicator of GPUs. What moves bytes goes to NCCL as it is; a sum of f32 does so in fast numerics only. In
// exact numerics it is an all-to-all of slices, our own tree kernel on each rank's slice, and the slices' way back, so
// that its bits are those of every other communicator and depend on the number of ranks alone.
//
// The slices of the others need memory: `kStagingBytes` a group, of the run's one piece of device memory, in which
// tensors are summed piece by piece. A group of one rank needs neither links nor memory.
//
// Beside the links stands a group of the same ranks over the host, for what is said and not computed: unique ids, and
// gather_to_all.
#pragma once

#include <cstddef>
#include <memory>

#include "cuda/ops/kernels.h"
#include "parallel/comm/nccl_watch.h"

namespace trireme {

// Handed out a group at a time; the memory comes later than the groups, and before their first sum.
class NcclStaging {
 public:
  static constexpr std::size_t kStagingBytes = std::size_t{16} << 20;  // of a group
  static constexpr int kGroups = 6;                                    // the world, and a mesh's five
  static constexpr std::size_t kBytes = kGroups * kStagingBytes;

  void place(std::byte* memory) { memory_ = memory; }
  int take();  // a place; CHECKs that one is free
  void give_back(int place) { taken_[place] = false; }
  std::byte* of(int place) const;

 private:
  std::byte* memory_ = nullptr;
  bool taken_[kGroups] = {};
};

// What the groups of a rank share.
struct NcclShared {
  Device& device;
  const Kernels& ops;
  bool tree_sums = true;               // of f32, by us; else NCCL's
  NcclLibrary* library = nullptr;      // null: this is the only rank
  std::unique_ptr<NcclWatch> watch{};  // likewise
  NcclStaging staging{};
};

// Of the ranks of `host`, a group over the host with streams of its own device. Collective.
std::unique_ptr<Communicator> make_nccl_communicator(std::shared_ptr<NcclShared> shared,
                                                     std::unique_ptr<Communicator> host, Members members);

}  // namespace trireme
