// What ends or orders, and needs no code of its own in decode.cc: traps, barriers of the block, fences.
#include "tests/gpu/execute/block.h"
#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

void trap(Warp& warp, const Instruction& instruction, Mask lanes) {
  warp.fault(Finding::kTrap, std::countr_zero(lanes), "the kernel stopped itself", instruction);
}

// A fence orders memory, not threads: who relies on it still needs a barrier, and the race detector still asks for one.
void nothing(Warp&, const Instruction&, Mask) {}

}  // namespace

void add_control_models(ModelTable& table) {
  table.add("trap", {trap, ""});
  const auto barrier = [&](const std::string& name, const std::string& operands, BarrierKind kind) {
    for (const char* prefix : {"bar.", "barrier.", "bar.cta.", "barrier.cta."}) {
      for (const char* suffix : {"", ".aligned"}) {
        std::string whole = prefix + name;
        const std::size_t type = whole.find(".pred") < whole.size() ? whole.find(".pred") : whole.find(".u32");
        whole.insert(std::min(type, whole.size()), suffix);
        table.add(whole, {nothing, operands, Flow::kBarrier, static_cast<std::uint8_t>(kind)});
      }
    }
  };
  barrier("sync", "w?w", BarrierKind::kSync);
  barrier("arrive", "ww", BarrierKind::kArrive);
  barrier("red.popc.u32", "ww?wp", BarrierKind::kCount);
  barrier("red.and.pred", "pw?wp", BarrierKind::kAnd);
  barrier("red.or.pred", "pw?wp", BarrierKind::kOr);
  for (const char* name : {"membar.cta", "membar.gl", "membar.sys", "fence.acq_rel.cta", "fence.acq_rel.gpu",
                           "fence.acq_rel.sys", "fence.sc.cta", "fence.sc.gpu", "fence.sc.sys"}) {
    table.add(name, {nothing, ""});
  }
}

}  // namespace trireme::gpu
