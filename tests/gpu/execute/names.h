// What a name in a function's text stands for: a register's slot, the place of a variable, a parameter, a special
// register. Slots and places are handed out here, for a kernel and the device functions that it calls together.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "tests/gpu/execute/program.h"
#include "tests/gpu/memory/fault.h"
#include "tests/gpu/ptx/module.h"

namespace trireme::gpu {

// The slots of a program being decoded.
class Slots {
 public:
  explicit Slots(Program& program);

  Slot add(std::uint8_t bytes);  // of a lane's value; 0: a predicate
  Slot constant(std::uint64_t bits, std::uint8_t bytes);
  Slot address(const std::string& variable, std::int64_t addend);
  Slot special(Special special);
  Slot scratch() const { return 0; }  // for results that nobody wants; as wide as any

 private:
  Program& program_;
  std::map<std::pair<std::uint64_t, std::uint8_t>, Slot> constants_{};
  std::map<std::pair<std::string, std::int64_t>, Slot> addresses_{};
  std::map<Special, Slot> specials_{};
};

struct Register {
  Slot slot = 0;
  std::uint8_t bytes = 4;
};

// Where a variable or parameter lies, in its space; of global and constant ones only the module's name is known.
struct Place {
  Space space = Space::kLocal;
  std::uint32_t offset = 0;
  std::uint32_t bytes = 0;
};

// The names of one function.
struct Names {
  std::map<std::string, Register> registers{};
  std::map<std::string, Place> places{};
  Slot way_back = 0;  // of a device function
};

// Hands out registers and places to a function; shared and local bytes so far are `program`'s.
Names names_of(const Module& module, const Function& function, Program& program, Slots& slots);

const std::map<std::string, Special>& special_registers();

}  // namespace trireme::gpu
