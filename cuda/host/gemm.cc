#include "cuda/host/gemm.h"

#include <map>
#include <unordered_map>

#include <oneapi/dnnl/dnnl.hpp>

#include "cuda/host/scratch.h"

namespace trireme::host {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

memory::data_type type_of(DType dtype) {
  CHECK(dtype == DType::kF32 || dtype == DType::kBF16, "oneDNN multiplies no ", name_of(dtype));
  return dtype == DType::kF32 ? memory::data_type::f32 : memory::data_type::bf16;
}

// oneDNN's handles are shared by threads, but not its streams.
struct Library {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::map<Gemm, std::unique_ptr<const GemmPlan>> plans;
  Scratch scratch;  // of one multiplication: a copy of a panel of a and b for each thread, a few MiB
};
Library& library() {
  static thread_local Library of_this_thread;
  return of_this_thread;
}

void* writable(const void* data) { return const_cast<void*>(data); }

}  // namespace

struct GemmPlan::Parts {
  dnnl::matmul::primitive_desc decided;
  dnnl::matmul multiply;
  memory::desc plain_b;
  dnnl::reorder pack;
  memory::desc bias;
  memory::desc residual;
};

GemmPlan::GemmPlan(const Gemm& gemm) : parts_(std::make_unique<Parts>()) {
  const dnnl::engine& engine = library().engine;
  const auto operands = type_of(gemm.operands);
  const auto result = type_of(gemm.result);
  const memory::desc a({gemm.m, gemm.k}, operands, memory::dims{gemm.a_row, gemm.a_column});
  const memory::desc b({gemm.k, gemm.n}, operands, memory::dims{gemm.b_row, gemm.b_column});
  const memory::desc c({gemm.m, gemm.n}, result, memory::dims{gemm.c_row, 1});
  const memory::desc any_b({gemm.k, gemm.n}, operands, Tag::any);

  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::post_ops after;
  if (gemm.joined == Joined::kWhatCHeld) after.append_sum(1.0f);
  if (gemm.joined == Joined::kResidual) after.append_binary(dnnl::algorithm::binary_add, c);
  attributes.set_post_ops(after);

  parts_->plain_b = b;
  parts_->residual = c;
  if (gemm.biased) {
    parts_->bias = memory::desc({1, gemm.n}, operands, Tag::ab);
    parts_->decided = {{a, gemm.packed ? any_b : b, parts_->bias, c}, attributes, engine};
  } else {
    parts_->decided = {{a, gemm.packed ? any_b : b, c}, attributes, engine};
  }
  parts_->multiply = dnnl::matmul(parts_->decided);
  if (gemm.packed)
    parts_->pack = dnnl::reorder(dnnl::reorder::primitive_desc(engine, b, engine, parts_->decided.weights_desc()));
}

GemmPlan::~GemmPlan() = default;

const GemmPlan& GemmPlan::of(const Gemm& gemm) {
  constexpr std::size_t kPlansKept = 512;
  auto& plans = library().plans;
  const auto found = plans.find(gemm);
  if (found != plans.end()) return *found->second;
  if (plans.size() >= kPlansKept) plans.clear();
  auto& plan = plans[gemm];
  plan.reset(new GemmPlan(gemm));
  return *plan;
}

std::size_t GemmPlan::packed_bytes() const { return parts_->decided.weights_desc().get_size(); }

void GemmPlan::pack(void* packed, const void* b) const {
  Library& own = library();
  memory from(parts_->plain_b, own.engine, writable(b));
  memory to(parts_->decided.weights_desc(), own.engine, packed);
  parts_->pack.execute(own.stream, from, to);
  own.stream.wait();
}

void GemmPlan::run(void* c, const void* a, const void* b, const void* bias, const void* residual) const {
  Library& own = library();
  const auto& decided = parts_->decided;
  const memory::desc scratchpad = decided.scratchpad_desc();
  std::unordered_map<int, memory> arguments = {
      {DNNL_ARG_SRC, memory(decided.src_desc(), own.engine, writable(a))},
      {DNNL_ARG_WEIGHTS, memory(decided.weights_desc(), own.engine, writable(b))},
      {DNNL_ARG_DST, memory(decided.dst_desc(), own.engine, c)},
      {DNNL_ARG_SCRATCHPAD, memory(scratchpad, own.engine, own.scratch.get(scratchpad.get_size()))},
  };
  if (bias != nullptr) arguments[DNNL_ARG_BIAS] = memory(parts_->bias, own.engine, writable(bias));
  if (residual != nullptr)
    arguments[DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1] =
        memory(parts_->residual, own.engine, writable(residual));
  parts_->multiply.execute(own.stream, arguments);
  own.stream.wait();
}

bool library_multiplies(DType dtype) {
  if (dtype == DType::kF32) return true;
  static const bool bf16 = [] {
    const auto isa = static_cast<int>(dnnl::get_effective_cpu_isa());
    const auto needed = static_cast<int>(dnnl::cpu_isa::avx512_core);
    return (isa & needed) == needed;
  }();
  return dtype == DType::kBF16 && bf16;
}

}  // namespace trireme::host
