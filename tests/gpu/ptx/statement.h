// One instruction of PTX as text taken apart: what the parser hands to the decoder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme::gpu {

// `.reg .b32 %r<5>` declares %r0 ... %r4; `.reg .pred p` one. Names are unique in a function: those of an inner block
// that hide an outer one's have been renamed.
struct RegisterDeclaration {
  std::string name{};
  std::string type{};       // "pred", "b32", "f64", ...
  std::uint32_t count = 0;  // 0: a single register called `name`
};

struct Operand {
  enum class Kind {
    kName,       // register, special register, variable, label or function
    kImmediate,  // bits of an integer, or of a float of `float_bytes`
    kAddress,    // [parts[0] + offset]; parts[0] is a name or an immediate
    kVector,     // {a, b, c, d}
    kPair,       // d|p
    kList,       // (a, b) of a call
    kSink,       // _
  };
  Kind kind = Kind::kName;
  std::string name{};
  std::uint64_t bits = 0;
  int float_bytes = 0;  // 4: 0f..., 8: 0d..., 0: an integer
  std::int64_t offset = 0;
  bool negated = false;  // !p
  std::vector<Operand> parts{};
};

struct Statement {
  std::string label{};  // not empty: this is a label, and nothing else is set
  std::string guard{};  // predicate, empty: none
  bool guard_negated = false;
  std::string opcode{};                  // "ld"
  std::vector<std::string> modifiers{};  // "global", "nc", "v4", "u32"
  std::vector<Operand> operands{};
  std::vector<std::string> targets{};  // of brx.idx: the labels of its .branchtargets
  int line = 0;                        // in the module's text, from 1
  std::string text{};                  // as written, for messages
};

}  // namespace trireme::gpu
