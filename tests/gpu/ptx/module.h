// PTX as nvcc writes it, taken apart once: kernels with the places of their parameters, device functions, variables,
// and every instruction with its opcode, modifiers and operands as text. What an instruction means is none of this
// folder's business (tests/gpu/execute), so a module with instructions nobody knows parses; launching one of them
// fails.
//
// `parse` throws Fault (kBadPtx) naming the line. A Module owns all that it points to; it never changes after parsing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/gpu/ptx/statement.h"

namespace trireme::gpu {

struct Parameter {
  std::string name{};
  std::uint32_t offset = 0;  // bytes from the start of the parameter buffer
  std::uint32_t bytes = 0;
};

enum class Space { kGlobal, kConst, kShared, kLocal, kParam, kGeneric };

// A variable of the module's or of a function's scope.
struct Variable {
  // At `offset`, the address of another variable (plus `addend`) in 8 bytes.
  struct AddressOf {
    std::uint32_t offset = 0;
    std::string name{};
    std::int64_t addend = 0;
  };

  std::string name{};
  Space space = Space::kGlobal;
  std::uint32_t bytes = 0;  // 0: extern __shared__, as long as the launch says
  std::uint32_t alignment = 1;
  bool external = false;
  std::vector<std::byte> initial{};  // empty, or `bytes` long; global and constant variables start as zeros otherwise
  std::vector<AddressOf> addresses{};
};

// A kernel (.entry) or a device function (.func).
struct Function {
  std::string name{};
  bool is_kernel = false;
  bool defined = false;  // false: a declaration only (vprintf, __assertfail)
  std::vector<Parameter> parameters{};
  std::vector<Parameter> results{};  // of a device function
  std::uint32_t parameter_bytes = 0;
  std::vector<Variable> variables{};  // .shared, .local and .param of its body
  std::vector<RegisterDeclaration> registers{};
  std::vector<Statement> statements{};
  std::uint32_t static_shared_bytes = 0;  // of its own and of the module's .shared variables that it names
  std::uint32_t local_bytes = 0;          // a thread; what ptxas cannot keep in registers shows here
  std::uint32_t max_threads = 0;          // .maxntid, 0: not said
  std::uint32_t min_blocks = 0;           // .minnctapersm, 0: not said
  int line = 0;
};

struct Module {
  std::string version{};  // "9.0"
  std::string target{};   // "sm_80"
  std::vector<Variable> variables{};
  std::vector<std::unique_ptr<Function>> functions{};

  const Function* find(std::string_view name) const;  // null: no such function
  std::vector<const Function*> kernels() const;
};

Module parse(std::string_view ptx);

}  // namespace trireme::gpu
