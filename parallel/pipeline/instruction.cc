#include "parallel/pipeline/instruction.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

constexpr std::string_view kLetters = "FBWSRsr";

// Digits at the front of `text`, at most six.
int take_number(std::string_view& text, std::string_view word, std::size_t place) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto digits = static_cast<std::size_t>(end - text.data());
  if (error != std::errc() || text[0] == '-' || digits > 6)
    throw UserError("schedule: \"" + std::string(word) + "\" at character " + std::to_string(place) +
                    " is not an instruction like 2F0 (stage, one of " + std::string(kLetters) + ", micro-batch)");
  text.remove_prefix(digits);
  return number;
}

Instruction parse_word(std::string_view word, std::size_t place) {
  std::string_view rest = word;
  Instruction instruction;
  instruction.joined = rest.starts_with('+');
  if (instruction.joined) rest.remove_prefix(1);
  instruction.stage = take_number(rest, word, place);
  const char kind = rest.empty() ? ' ' : rest[0];
  if (kLetters.find(kind) == std::string_view::npos)
    throw UserError("schedule: \"" + std::string(word) + "\" at character " + std::to_string(place) +
                    " has none of the letters " + std::string(kLetters) + " after its stage");
  instruction.kind = static_cast<Instruction::Kind>(kind);
  if (instruction.joined && !instruction.is_transfer())
    throw UserError("schedule: \"" + std::string(word) + "\" at character " + std::to_string(place) +
                    " has a plus, but is no transfer");
  rest.remove_prefix(1);
  instruction.micro_batch = take_number(rest, word, place);
  if (!rest.empty())
    throw UserError("schedule: \"" + std::string(word) + "\" at character " + std::to_string(place) +
                    " goes on after its micro-batch");
  return instruction;
}

}  // namespace

std::string to_string(const Instruction& instruction) {
  std::string text = instruction.joined ? "+" : "";
  text += std::to_string(instruction.stage);
  text += static_cast<char>(instruction.kind);
  return text + std::to_string(instruction.micro_batch);
}

Instruction counterpart(const Instruction& transfer) {
  using Kind = Instruction::Kind;
  switch (transfer.kind) {
    case Kind::kSendOutput:
      return {transfer.stage + 1, Kind::kReceiveInput, transfer.micro_batch};
    case Kind::kReceiveInput:
      return {transfer.stage - 1, Kind::kSendOutput, transfer.micro_batch};
    case Kind::kSendGradient:
      return {transfer.stage - 1, Kind::kReceiveGradient, transfer.micro_batch};
    case Kind::kReceiveGradient:
      return {transfer.stage + 1, Kind::kSendGradient, transfer.micro_batch};
    default:
      CHECK(false, to_string(transfer), " is no transfer");
      return {};
  }
}

bool fused_backward(const Schedule& schedule, std::size_t index) {
  const Instruction& now = schedule.at(index);
  return now.kind == Instruction::Kind::kBackwardInput && index + 1 < schedule.size() &&
         schedule[index + 1] == Instruction{now.stage, Instruction::Kind::kBackwardWeight, now.micro_batch};
}

std::string to_string(const Schedule& schedule) {
  std::string text;
  for (const Instruction& instruction : schedule) {
    if (!text.empty()) text += ' ';
    text += to_string(instruction);
  }
  return text;
}

Schedule parse_schedule(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  Schedule schedule;
  std::size_t at = text.find_first_not_of(kBlanks);
  while (at != std::string_view::npos) {
    const std::size_t end = std::min(text.find_first_of(kBlanks, at), text.size());
    schedule.push_back(parse_word(text.substr(at, end - at), at + 1));
    at = text.find_first_not_of(kBlanks, end);
  }
  return schedule;
}

Schedule one_stage(int micro_batches) {
  using Kind = Instruction::Kind;
  Schedule schedule;
  for (int m = 0; m < micro_batches; ++m)
    for (const Kind kind : {Kind::kForward, Kind::kBackwardInput, Kind::kBackwardWeight})
      schedule.push_back({0, kind, m});
  return schedule;
}

void check_schedule(const Schedule& schedule) {
  constexpr std::string_view kOrder = "FBW";
  std::map<std::pair<int, int>, std::size_t> next;  // (stage, micro-batch) -> which of F, B, W comes now
  for (const Instruction& instruction : schedule) {
    if (instruction.is_transfer()) continue;
    std::size_t& done = next[{instruction.stage, instruction.micro_batch}];
    if (done == kOrder.size() || kOrder[done] != static_cast<char>(instruction.kind))
      throw UserError("schedule: " + to_string(instruction) + " comes " +
                      (done == kOrder.size() ? "after its micro-batch is finished"
                                             : std::string("where ") + kOrder[done] + " is due"));
    ++done;
  }
  for (const auto& [which, done] : next)
    if (done != kOrder.size())
      throw UserError("schedule: micro-batch " + std::to_string(which.second) + " of stage " +
                      std::to_string(which.first) + " ends without its " + kOrder[done]);
}

}  // namespace trireme
