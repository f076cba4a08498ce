#include "tests/gpu/execute/one_instruction.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "tests/gpu/execute/coverage.h"
#include "tests/gpu/execute/launch.h"
#include "tests/gpu/ptx/module.h"

namespace trireme::gpu {
namespace {

constexpr std::size_t kValueBytes = 8;

std::string bits_of(char letter) { return letter == 'h' ? "16" : letter == 'd' ? "64" : "32"; }

// %v1 for $1.
std::string with_registers(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '$') {
      out.append("%v");
    } else {
      out.push_back(c);
    }
  }
  return out;
}

std::string each_guarded(const std::string& text, Guard guard) {
  std::string out;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    if (line.find(';') != std::string::npos && guard == Guard::kPredicate) out.append("@%take ");
    out.append(line).append("\n");
    begin = end + 1;
  }
  return out;
}

void load_value(std::string& text, std::size_t number, char letter, std::size_t record_place) {
  const std::string value = "%v" + std::to_string(number);
  const std::string from = "[%record+" + std::to_string(record_place * kValueBytes) + "];\n";
  if (letter == 'p') {
    text.append("ld.global.b32 %flag, ").append(from);
    text.append("setp.ne.b32 ").append(value).append(", %flag, 0;\n");
  } else {
    text.append("ld.global.b").append(bits_of(letter)).append(" ").append(value).append(", ").append(from);
  }
}

void store_value(std::string& text, std::size_t number, char letter) {
  const std::string value = "%v" + std::to_string(number);
  const std::string to = "[%results+" + std::to_string(number * kValueBytes) + "], ";
  if (letter == 'p') {
    text.append("selp.b32 %flag, 1, 0, ").append(value).append(";\n");
    text.append("st.global.b32 ").append(to).append("%flag;\n");
  } else {
    text.append("st.global.b").append(bits_of(letter)).append(" ").append(to).append(value).append(";\n");
  }
}

// Of the lines between the labels.
std::vector<std::string> exercised_models(const Module& module) {
  Module alone;
  auto function = std::make_unique<Function>();
  bool inside = false;
  for (const auto& statement : module.find("one")->statements) {
    if (statement.label == "EXERCISED") inside = true;
    if (statement.label == "DONE") inside = false;
    if (inside && statement.label.empty()) function->statements.push_back(statement);
  }
  alone.functions.push_back(std::move(function));
  return models(alone);
}

std::byte* upload(GlobalMemory& memory, const Operation& operation, const void* data, std::size_t bytes) {
  std::byte* at = memory.allocate(std::max<std::size_t>(bytes, 16));
  if (bytes > 0) std::memcpy(memory.write(operation, at, bytes), data, bytes);
  return at;
}

}  // namespace

std::string module_text(const OneInstruction& instruction, Guard guard) {
  const std::string letters = instruction.results + instruction.operands;
  const std::string record_bytes = std::to_string((letters.size() + 1) * kValueBytes);
  const std::string result_bytes = std::to_string(std::max<std::size_t>(instruction.results.size(), 1) * kValueBytes);
  std::string text = ".version 9.0\n.target sm_80\n.address_size 64\n" + instruction.variables +
                     "\n.visible .entry one(.param .u64 one_records, .param .u64 one_results, .param .u64 one_buffer,\n"
                     ".param .align 16 .b8 one_bytes[64])\n{\n";
  text.append(
      ".reg .pred %take;\n.reg .b32 %index, %blocks, %threads, %flag;\n.reg .b64 %record, %results, %buffer, %at;\n");
  for (std::size_t i = 0; i < letters.size(); ++i) {
    text.append(letters[i] == 'p' ? ".reg .pred" : ".reg .b" + bits_of(letters[i]));
    text.append(" %v").append(std::to_string(i)).append(";\n");
  }
  text.append(instruction.declared).append("\n");
  text.append("ld.param.u64 %record, [one_records];\nld.param.u64 %results, [one_results];\n");
  text.append("ld.param.u64 %buffer, [one_buffer];\n");
  text.append("mov.u32 %index, %tid.x;\nmov.u32 %blocks, %ctaid.x;\nmov.u32 %threads, %ntid.x;\n");
  text.append("mad.lo.s32 %index, %blocks, %threads, %index;\n");
  text.append("mul.wide.u32 %at, %index, ").append(record_bytes).append(";\nadd.s64 %record, %record, %at;\n");
  text.append("mul.wide.u32 %at, %index, ").append(result_bytes).append(";\nadd.s64 %results, %results, %at;\n");
  text.append("ld.global.b32 %flag, [%record];\nsetp.ne.b32 %take, %flag, 0;\n");
  for (std::size_t i = 0; i < letters.size(); ++i) load_value(text, i, letters[i], i + 1);
  text.append(with_registers(instruction.before)).append("\nEXERCISED:\n");
  text.append(each_guarded(with_registers(instruction.text), guard)).append("DONE:\n");
  text.append(with_registers(instruction.after)).append("\n");
  for (std::size_t i = 0; i < instruction.results.size(); ++i) store_value(text, i, letters[i]);
  return text.append("ret;\n}\n");
}

std::byte parameter_byte(std::size_t i) { return static_cast<std::byte>(17 * i + 131); }

Outcome run_one(const OneInstruction& instruction, const std::vector<Thread>& threads, Guard guard,
                const std::vector<std::byte>& buffer, const Shape& shape) {
  const Module module = parse(module_text(instruction, guard));
  const std::size_t results = std::max<std::size_t>(instruction.results.size(), 1);
  const std::size_t operands = instruction.operands.size();
  const std::size_t record = 1 + instruction.results.size() + operands;
  const std::size_t blocks = (threads.size() + shape.block - 1) / shape.block;
  const std::size_t all = blocks * shape.block;

  std::vector<std::uint64_t> records(all * record);
  for (std::size_t i = 0; i < all; ++i) {
    const Thread& thread = threads[std::min(i, threads.size() - 1)];
    std::uint64_t* values = records.data() + i * record;
    values[0] = thread.takes_part ? 1 : 0;
    for (std::size_t r = 0; r < std::min(thread.kept.size(), instruction.results.size()); ++r)
      values[1 + r] = thread.kept[r];
    for (std::size_t o = 0; o < operands; ++o) values[1 + instruction.results.size() + o] = thread.operands.at(o);
  }

  GlobalMemory memory(std::size_t{1} << 30, Races::kIgnored);
  Operation operation{.stream = 0, .number = 1, .label = "one instruction"};
  const std::vector<std::uint64_t> zeros(all * results);
  std::byte* record_place = upload(memory, operation, records.data(), records.size() * kValueBytes);
  std::byte* result_place = upload(memory, operation, zeros.data(), zeros.size() * kValueBytes);
  std::byte* buffer_place = upload(memory, operation, buffer.data(), buffer.size());
  ++operation.number;
  const auto variables = load_variables(module, memory, operation);

  struct Parameters {
    std::array<const std::byte*, 4> pointers{};
    std::array<std::byte, kParameterBytes> bytes{};
  } parameters;
  parameters.pointers = {record_place, result_place, buffer_place};
  for (std::size_t i = 0; i < kParameterBytes; ++i) parameters.bytes[i] = parameter_byte(i);
  const Launch launch{.program = decode(module, *module.find("one")),
                      .grid = {static_cast<std::uint32_t>(blocks), 1, 1},
                      .block = {shape.block, 1, 1},
                      .dynamic_shared_bytes = shape.dynamic_shared_bytes,
                      .dynamic_shared_limit = shape.dynamic_shared_bytes,
                      .parameters = std::as_bytes(std::span(&parameters, 1)),
                      .variables = &variables};
  ++operation.number;
  run(launch, memory, operation, shape.seed);
  ++operation.number;

  std::vector<std::uint64_t> values(all * results);
  std::memcpy(values.data(), memory.read(operation, result_place, values.size() * kValueBytes),
              values.size() * kValueBytes);
  Outcome outcome;
  for (std::size_t i = 0; i < threads.size(); ++i) {
    const auto* first = values.data() + i * results;
    outcome.results.emplace_back(first, first + instruction.results.size());
  }
  outcome.buffer.resize(buffer.size());
  if (!buffer.empty())
    std::memcpy(outcome.buffer.data(), memory.read(operation, buffer_place, buffer.size()), buffer.size());
  for (const auto& name : exercised_models(module)) record_exercised(name);
  return outcome;
}

}  // namespace trireme::gpu
