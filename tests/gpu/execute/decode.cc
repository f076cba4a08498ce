#include <algorithm>
#include <functional>
#include <set>

#include "tests/gpu/execute/launch.h"
#include "tests/gpu/execute/models.h"
#include "tests/gpu/execute/names.h"
#include "tests/gpu/ptx/declarations.h"
#include "tests/gpu/ptx/reader.h"

namespace trireme::gpu {
namespace {

void refuse_execution(Warp& warp, const Instruction& instruction, Mask lanes) {
  const std::string& text = instruction.statement->text;
  const bool trap = text.find("vprintf") == std::string::npos;
  warp.fault(trap ? Finding::kTrap : Finding::kUnknownInstruction, std::countr_zero(lanes),
             trap ? "an assertion of the kernel's failed" : "printf: the stand-in has none");
}

// An argument or a result of a call, from local byte slots[0] to slots[1].
void copy_local(Warp& warp, const Instruction& instruction, Mask lanes) {
  for_each_lane(lanes, [&](int lane) {
    std::copy_n(warp.local(lane) + instruction.slots[0], instruction.offsets[0],
                warp.local(lane) + instruction.slots[1]);
  });
}

class Decoder {
 public:
  Decoder(const Module& module, const Function& kernel, Program& program)
      : module_(module), program_(program), slots_(program) {
    program.kernel = &kernel;
    place_shared(kernel);
    add(kernel);
    for (const auto& [instruction, function, label] : jumps_) resolve_jump(instruction, *function, label);
    program.entry = starts_.at(&kernel);
    program.dynamic_shared_offset = round_up(program.dynamic_shared_offset, 16);
    for (const auto& [slot, bytes] : dynamic_shared_) {
      program.constants.push_back({.slot = slot, .bytes = bytes, .bits = program.dynamic_shared_offset});
    }
  }

 private:
  struct Jump {
    std::size_t instruction = 0;
    const Function* function = nullptr;
    std::string label{};
  };

  // A module's .shared variables belong to every kernel that may name them.
  void place_shared(const Function& kernel) {
    std::uint32_t bytes = 0;
    for (const auto& variable : module_.variables) {
      if (variable.space != Space::kShared || variable.external) continue;
      bytes = round_up(bytes, variable.alignment);
      module_shared_[variable.name] = {.space = Space::kShared, .offset = bytes, .bytes = variable.bytes};
      bytes += variable.bytes;
    }
    if (kernel.static_shared_bytes == 0) bytes = 0;
    program_.dynamic_shared_offset = bytes;
  }

  void add(const Function& function) {
    if (starts_.count(&function) > 0) return;
    if (!open_.insert(&function).second) {
      throw Fault(Finding::kUnknownInstruction, "recursion in " + function.name + ": the stand-in has none");
    }
    names_[&function] = names_of(module_, function, program_, slots_);
    for (const auto& statement : function.statements) {
      if (statement.opcode != "call") continue;
      const Function* callee = called(statement);
      if (callee->defined) add(*callee);
    }
    open_.erase(&function);
    starts_[&function] = static_cast<std::uint32_t>(program_.code.size());
    function_ = &function;
    for (const auto& statement : function.statements) {
      statement_ = &statement;
      if (!statement.label.empty()) {
        labels_[{&function, statement.label}] = static_cast<std::uint32_t>(program_.code.size());
      } else {
        instruction(statement);
      }
    }
    if (!function.statements.empty()) leave(function);  // text that ends without ret
  }

  void leave(const Function& function) {
    Instruction& end = program_.code.emplace_back();
    end.flow = function.is_kernel ? Flow::kExit : Flow::kReturn;
    end.slots[0] = names_.at(&function).way_back;
    end.statement = &function.statements.back();
  }

  void instruction(const Statement& statement) {
    Instruction decoded;
    decoded.statement = &statement;
    if (!statement.guard.empty()) {
      decoded.guard = reg(statement.guard).slot;
      decoded.guard_negated = statement.guard_negated;
    }
    if (statement.opcode == "call") {
      call(statement, decoded);
    } else if (statement.opcode == "ret" || statement.opcode == "exit") {
      const bool leaves = statement.opcode == "exit" || function_->is_kernel;
      decoded.flow = leaves ? Flow::kExit : Flow::kReturn;
      decoded.slots[0] = names_.at(function_).way_back;
      program_.code.push_back(decoded);
    } else if (statement.opcode == "bra") {
      decoded.flow = Flow::kBranch;
      jumps_.push_back({program_.code.size(), function_, statement.operands.at(0).name});
      program_.code.push_back(decoded);
    } else if (statement.opcode == "brx") {
      decoded.flow = Flow::kTable;
      decoded.slots[0] = reg(statement.operands.at(0).name).slot;
      decoded.target = static_cast<std::uint32_t>(program_.tables.size());
      program_.tables.emplace_back(statement.targets.size());
      for (std::size_t i = 0; i < statement.targets.size(); ++i) {
        jumps_.push_back({program_.code.size(), function_, statement.targets[i]});
      }
      program_.code.push_back(decoded);
    } else {
      by_table(statement, decoded);
    }
  }

  void by_table(const Statement& statement, Instruction& decoded) {
    const std::string name = local_name(statement);
    const Entry* entry = model_table().find(name);
    if (entry == nullptr) fail(Finding::kUnknownInstruction, "no model for " + name);
    decoded.model = entry->model;
    decoded.flow = entry->flow;
    decoded.extra = entry->extra;
    operands(statement, entry->operands, decoded);
    program_.code.push_back(decoded);
  }

  // Parameters of calls are a thread's own memory; only a kernel's own are the launch's.
  std::string local_name(const Statement& statement) const {
    std::string name = model_name(statement);
    if (!name.starts_with("ld.param") && !name.starts_with("st.param")) return name;
    const Operand& address = statement.operands.at(name[0] == 'l' ? 1 : 0).parts.at(0);
    const auto place = names_.at(function_).places.find(address.name);
    const bool named = place != names_.at(function_).places.end();
    const bool is_launch = named ? place->second.space == Space::kParam : function_->is_kernel;
    if (!is_launch) name.replace(3, 5, "local");
    return name;
  }

  void operands(const Statement& statement, const std::string& letters, Instruction& decoded) {
    std::size_t optional = 0;
    const auto wanted =
        static_cast<std::size_t>(std::count_if(letters.begin(), letters.end(), [](char c) { return c != '?'; }));
    if (statement.operands.size() < wanted) optional = wanted - statement.operands.size();
    std::size_t next = 0;
    std::size_t slot = 0;
    for (std::size_t i = 0; i < letters.size(); ++i) {
      if (letters[i] == '?') {
        if (optional == 0) continue;
        --optional;
        ++i;
        put(decoded, slot, {.slot = kNoSlot, .bytes = 0});
        continue;
      }
      if (next == statement.operands.size()) fail(Finding::kBadPtx, "an operand is missing");
      operand(statement.operands[next++], letters[i], decoded, slot);
    }
    if (next != statement.operands.size()) fail(Finding::kUnknownInstruction, "more operands than the model takes");
  }

  void put(Instruction& decoded, std::size_t& slot, const Register& value) const {
    if (slot == decoded.slots.size()) fail(Finding::kUnknownInstruction, "too many registers");
    decoded.slots[slot] = value.slot;
    decoded.bytes[slot++] = value.bytes;
  }

  void operand(const Operand& operand, char letter, Instruction& decoded, std::size_t& slot) {
    switch (letter) {
      case 'P':
      case 'W': {  // a result, and perhaps a predicate beside it
        const std::uint8_t bytes = letter == 'P' ? 0 : 4;
        const bool pair = operand.kind == Operand::Kind::kPair;
        put(decoded, slot, value(pair ? operand.parts[0] : operand, bytes));
        put(decoded, slot, pair ? value(operand.parts[1], 0) : Register{.slot = slots_.scratch(), .bytes = 0});
        return;
      }
      case 'a':
        if (operand.kind != Operand::Kind::kAddress) fail(Finding::kBadPtx, "an address expected");
        decoded.offsets.at(decoded.addresses++) = operand.offset;
        put(decoded, slot, address(operand));
        return;
      case 'v': {
        const std::vector<Operand> one{operand};
        const auto& parts = operand.kind == Operand::Kind::kVector ? operand.parts : one;
        decoded.count = static_cast<std::uint8_t>(parts.size());
        for (const auto& part : parts) put(decoded, slot, value(part, element_bytes(parts.size())));
        return;
      }
      case 'm':
        decoded.mask_slot = value(operand, 4).slot;
        return;
      case 'i':
        put(decoded, slot, {.slot = static_cast<Slot>(operand.bits), .bytes = 4});
        return;
      case 'x':
        put(decoded, slot, any(operand));
        return;
      default:
        break;
    }
    const std::uint8_t bytes = letter == 'p' ? 0 : letter == 'h' ? 2 : letter == 'w' ? 4 : 8;
    const Register found = value(operand, bytes);
    if (found.bytes != bytes) fail(Finding::kBadPtx, "a register of another width");
    put(decoded, slot, found);
  }

  // Of a vector: its type's, or for mov, whose type is the whole's, a part.
  std::uint8_t element_bytes(std::size_t parts) const {
    const std::uint8_t bytes = type_bytes();
    return static_cast<std::uint8_t>(statement_->opcode == "mov" ? bytes / parts : bytes);
  }
  std::uint8_t type_bytes() const {
    for (auto modifier = statement_->modifiers.rbegin(); modifier != statement_->modifiers.rend(); ++modifier) {
      if (const std::uint32_t bytes = bytes_of_type(*modifier); bytes != 0) return static_cast<std::uint8_t>(bytes);
    }
    return 4;
  }

  Register any(const Operand& operand) { return value(operand, type_bytes()); }

  Register address(const Operand& operand) {
    const Operand& base = operand.parts.at(0);
    if (base.kind == Operand::Kind::kImmediate) return {.slot = slots_.constant(base.bits, 8), .bytes = 8};
    return value(base, 8);
  }

  Register value(const Operand& operand, std::uint8_t bytes) {
    if (operand.kind == Operand::Kind::kSink) return {.slot = slots_.scratch(), .bytes = bytes};
    if (operand.kind == Operand::Kind::kImmediate)
      return {.slot = slots_.constant(operand.bits, bytes), .bytes = bytes};
    if (operand.kind != Operand::Kind::kName) fail(Finding::kUnknownInstruction, "an operand of another kind");
    if (operand.negated) return negated(operand.name);
    if (const auto special = special_registers().find(operand.name); special != special_registers().end()) {
      return {.slot = slots_.special(special->second), .bytes = 4};
    }
    if (const auto place = names_.at(function_).places.find(operand.name); place != names_.at(function_).places.end()) {
      return variable(operand, place->second, bytes);
    }
    if (const auto place = module_shared_.find(operand.name); place != module_shared_.end()) {
      return {.slot = slots_.constant(place->second.offset + static_cast<std::uint64_t>(operand.offset), bytes),
              .bytes = bytes};
    }
    for (const auto& outer : module_.variables) {
      if (outer.space != Space::kShared || !outer.external || outer.name != operand.name) continue;
      dynamic_shared_.emplace_back(slots_.add(bytes), bytes);
      return {.slot = dynamic_shared_.back().first, .bytes = bytes};
    }
    return reg(operand.name);
  }

  Register variable(const Operand& operand, const Place& place, std::uint8_t bytes) {
    if (place.space == Space::kGlobal || place.space == Space::kConst) {
      return {.slot = slots_.address(operand.name, operand.offset), .bytes = 8};
    }
    const std::uint64_t bits = place.offset + static_cast<std::uint64_t>(operand.offset);
    return {.slot = slots_.constant(bits, bytes), .bytes = bytes};
  }

  Register negated(const std::string& name) {
    const Entry* entry = model_table().find("not.pred");
    Instruction decoded;
    decoded.model = entry->model;
    decoded.slots[0] = slots_.add(0);
    decoded.slots[1] = reg(name).slot;
    decoded.statement = statement_;
    program_.code.push_back(decoded);
    return {.slot = decoded.slots[0], .bytes = 0};
  }

  Register reg(const std::string& name) {
    auto& registers = names_.at(function_).registers;
    const auto found = registers.find(name);
    if (found == registers.end()) fail(Finding::kUnknownInstruction, "what is " + name + "?");
    if (found->second.slot == kNoSlot) found->second.slot = slots_.add(found->second.bytes);
    return found->second;
  }

  const Function* called(const Statement& statement) {
    statement_ = &statement;
    for (const auto& operand : statement.operands) {
      if (operand.kind != Operand::Kind::kName) continue;
      if (const Function* callee = module_.find(operand.name)) return callee;
    }
    fail(Finding::kUnknownInstruction, "a call through a pointer");
  }

  void call(const Statement& statement, Instruction& decoded) {
    const Function& callee = *called(statement);
    if (!callee.defined) {
      if (callee.name != "vprintf" && callee.name != "__assertfail") {
        fail(Finding::kUnknownInstruction, "a call of " + callee.name + ", which the module does not define");
      }
      decoded.model = refuse_execution;
      program_.code.push_back(decoded);
      return;
    }
    const bool has_results = statement.operands[0].kind == Operand::Kind::kList;
    if (statement.operands.back().kind == Operand::Kind::kList && statement.operands.size() > (has_results ? 2u : 1u)) {
      copies(statement.operands.back().parts, callee.parameters, callee, decoded, true);
    }
    decoded.flow = Flow::kCall;
    decoded.slots[0] = names_.at(&callee).way_back;
    decoded.target = starts_.at(&callee);
    program_.code.push_back(decoded);
    decoded.flow = Flow::kNext;
    if (has_results) copies(statement.operands[0].parts, callee.results, callee, decoded, false);
  }

  void copies(const std::vector<Operand>& actual, const std::vector<Parameter>& formal, const Function& callee,
              Instruction decoded, bool into) {
    if (actual.size() != formal.size())
      fail(Finding::kBadPtx, "another number of arguments than " + callee.name + " takes");
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const auto own = names_.at(function_).places.find(actual[i].name);
      if (own == names_.at(function_).places.end()) fail(Finding::kUnknownInstruction, "an argument that is no .param");
      const Place& there = names_.at(&callee).places.at(formal[i].name);
      decoded.model = copy_local;
      decoded.slots[0] = into ? own->second.offset : there.offset;
      decoded.slots[1] = into ? there.offset : own->second.offset;
      decoded.offsets[0] = there.bytes;
      program_.code.push_back(decoded);
    }
  }

  void resolve_jump(std::size_t at, const Function& function, const std::string& label) {
    Instruction& jump = program_.code[at];
    statement_ = jump.statement;
    const auto found = labels_.find({&function, label});
    if (found == labels_.end()) fail(Finding::kBadPtx, "no label " + label);
    if (jump.flow == Flow::kBranch) {
      jump.target = found->second;
    } else {
      auto& table = program_.tables[jump.target];
      for (std::size_t i = 0; i < table.size(); ++i) {
        if (jump.statement->targets[i] == label) table[i] = found->second;
      }
    }
  }

  [[noreturn]] void fail(Finding finding, const std::string& what) const {
    throw Fault(finding, std::string(name(finding)) + ": kernel " + program_.kernel->name + ", PTX line " +
                             std::to_string(statement_->line) + " (" + statement_->text + "): " + what);
  }

  const Module& module_;
  Program& program_;
  Slots slots_;
  const Function* function_ = nullptr;
  const Statement* statement_ = nullptr;
  std::map<const Function*, Names> names_{};
  std::map<const Function*, std::uint32_t> starts_{};
  std::set<const Function*> open_{};
  std::map<std::pair<const Function*, std::string>, std::uint32_t> labels_{};
  std::map<std::string, Place> module_shared_{};
  std::vector<std::pair<Slot, std::uint8_t>> dynamic_shared_{};
  std::vector<Jump> jumps_{};
};

}  // namespace

std::shared_ptr<const Program> decode(const Module& module, const Function& kernel) {
  auto program = std::make_shared<Program>();
  Decoder(module, kernel, *program);
  return program;
}

}  // namespace trireme::gpu
