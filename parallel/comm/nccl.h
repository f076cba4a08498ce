// Ranks whose streams are a GPU's talk by NCCL; the processes and the words between them stay MPI's. The program links
// no NCCL: libtrireme_nccl.so lies beside it and is opened when there is more than one rank.
//
// The world made here is a Communicator as MpiWorld's is, and so are its subgroups. Sums of f32 over several ranks need
// memory: `staging_bytes` of it, which the run takes together with the rest and hands over before its first step.
//
// A peer that fails, a call that others do not make, or one that is not over by the timeout, ends as a PeerError on
// every rank (nccl_watch.h); MPI must then be ended with MpiWorld::abort.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cuda/ops/kernels.h"
#include "parallel/comm/communicator.h"
#include "parallel/comm/mpi.h"

namespace trireme {

struct NcclShared;

class NcclWorld {
 public:
  // Collective. `words` is the communicator of `world`, with streams of a host device; that device, `device` and `ops`,
  // which are the GPU's, and `world` outlive this.
  // With Order::kExact sums are our tree, else NCCL's. Throws UserError where NCCL is not to be had, PeerError where it
  // fails.
  NcclWorld(MpiWorld& world, std::unique_ptr<Communicator> words, Device& device, const Kernels& ops, Order sums);
  ~NcclWorld();
  NcclWorld(const NcclWorld&) = delete;
  NcclWorld& operator=(const NcclWorld&) = delete;

  // The group of all ranks; lives no longer than this. Once.
  std::unique_ptr<Communicator> world();
  std::size_t staging_bytes() const;  // 0 where nothing is summed over ranks by us
  void take_staging(std::byte* memory);
  std::string description() const;  // "NCCL 2.28.9", "" of one rank

 private:
  std::shared_ptr<NcclShared> shared_;
  std::unique_ptr<Communicator> world_;
};

}  // namespace trireme
