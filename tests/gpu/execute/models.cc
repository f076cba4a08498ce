#include "tests/gpu/execute/models.h"

#include <algorithm>
#include <set>

#include "tests/gpu/execute/launch.h"

namespace trireme::gpu {
namespace {

// Where data should be kept, or how branches go: nothing that a result depends on.
bool is_hint(const Statement& statement, const std::string& modifier) {
  static const std::set<std::string> caching = {"ca", "cg", "cs", "lu", "cv", "wb", "wt", "weak"};
  if (modifier.starts_with("L1::") || (modifier.starts_with("L2::") && modifier != "L2::cache_hint")) return true;
  if (statement.opcode == "ld" || statement.opcode == "st") return caching.count(modifier) > 0;
  if (statement.opcode == "bra" || statement.opcode == "call") return modifier == "uni";
  return false;
}

}  // namespace

const Entry* ModelTable::find(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

const ModelTable& model_table() {
  static const ModelTable table = [] {
    ModelTable filled;
    add_integer_models(filled);
    add_bit_models(filled);
    add_floating_models(filled);
    add_rounded_models(filled);
    add_half_models(filled);
    add_approximate_models(filled);
    add_comparison_models(filled);
    add_conversion_models(filled);
    add_move_models(filled);
    add_memory_models(filled);
    add_atomic_models(filled);
    add_control_models(filled);
    add_warp_models(filled);
    add_matrix_models(filled);
    add_async_copy_models(filled);
    return filled;
  }();
  return table;
}

std::string model_name(const Statement& statement) {
  std::string name = statement.opcode;
  for (const auto& modifier : statement.modifiers) {
    if (is_hint(statement, modifier)) continue;
    name.append(".").append(modifier == "shared::cta" ? "shared" : modifier);
  }
  if (statement.opcode != "mov" || statement.operands.size() != 2) return name;
  for (std::size_t i = 0; i < 2; ++i) {
    if (statement.operands[i].kind != Operand::Kind::kVector) continue;
    name.append(i == 0 ? ".unpack" : ".pack").append(std::to_string(statement.operands[i].parts.size()));
  }
  return name;
}

std::vector<std::string> models(const Module& module) {
  std::set<std::string> names;
  for (const auto& function : module.functions) {
    for (const auto& statement : function->statements) {
      if (statement.label.empty()) names.insert(model_name(statement));
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace trireme::gpu
