// The table of instruction models: opcode and modifiers, without hints, to a function over lanes and the widths of its
// operands. To add an instruction, add an entry in its family's file; nothing else knows opcodes, except what moves the
// program counter (decode.cc).
//
// Operands are a letter each: p a predicate, h 16 bits, w 32, d 64, a an address, v a vector that is as long as the
// text says, x any register (the model reads Instruction::bytes), i an immediate that the model reads from the
// statement, m the mask of lanes that must come together, ? before what may be missing.
#pragma once

#include <bit>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "tests/gpu/execute/instruction.h"
#include "tests/gpu/execute/warp.h"

namespace trireme::gpu {

struct Entry {
  Model model = nullptr;
  std::string operands{};
  Flow flow = Flow::kNext;
  std::uint8_t extra = 0;
};

class ModelTable {
 public:
  void add(const std::string& name, Entry entry) { entries_[name] = std::move(entry); }
  void remove(const std::string& name) { entries_.erase(name); }
  const Entry* find(const std::string& name) const;
  const std::map<std::string, Entry>& entries() const { return entries_; }

 private:
  std::map<std::string, Entry> entries_{};
};

const ModelTable& model_table();

// The table's name for a statement: "ld.global.v4.f32" for ld.global.L1::no_allocate.v4.f32.
std::string model_name(const Statement& statement);

void add_integer_models(ModelTable& table);
void add_bit_models(ModelTable& table);
void add_floating_models(ModelTable& table);
void add_rounded_models(ModelTable& table);
void add_half_models(ModelTable& table);
void add_approximate_models(ModelTable& table);
void add_comparison_models(ModelTable& table);
void add_conversion_models(ModelTable& table);
void add_narrow_conversion_models(ModelTable& table);
void add_move_models(ModelTable& table);
void add_memory_models(ModelTable& table);
void add_atomic_models(ModelTable& table);
void add_control_models(ModelTable& table);
void add_warp_models(ModelTable& table);
void add_matrix_models(ModelTable& table);
void add_async_copy_models(ModelTable& table);

// slots[0] = function(slots[1], slots[2], ...), lane by lane. The function must be defined for every bit pattern: lanes
// that take no part are computed too, and left as they were.
template <class Out, class... In>
struct Elementwise {
  template <auto kFunction>
  static void run(Warp& warp, const Instruction& instruction, Mask lanes) {
    run_at<kFunction>(warp, instruction, lanes, std::index_sequence_for<In...>{});
  }

 private:
  template <auto kFunction, std::size_t... kIndex>
  static void run_at(Warp& warp, const Instruction& instruction, Mask lanes, std::index_sequence<kIndex...>) {
    Out* out = warp.lanes<Out>(instruction.slots[0]);
    const auto compute = [&](const In*... in) {
      if (lanes == kAllLanes) {
#pragma GCC ivdep
        for (int lane = 0; lane < kLanes; ++lane) out[lane] = kFunction(in[lane]...);
        return;
      }
#pragma GCC ivdep
      for (int lane = 0; lane < kLanes; ++lane) out[lane] = lanes >> lane & 1 ? kFunction(in[lane]...) : out[lane];
    };
    compute(warp.lanes<In>(instruction.slots[kIndex + 1])...);
  }
};

// Calls visit(lane) for each lane of the mask.
template <class Visit>
void for_each_lane(Mask lanes, const Visit& visit) {
  for (; lanes != 0; lanes &= lanes - 1) visit(std::countr_zero(lanes));
}

}  // namespace trireme::gpu
