// How a subcommand declares what it takes. CLI11 parses and writes the help, and is known to command.cc and program.cc
// alone: a source that includes it takes several times as long to compile.
//
// Ownership: a program owns its commands and flags; Command and Flag are handles to copy, good as long as the program.
// What a flag writes to must outlive the parsing.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace trireme {

// An option or a positional argument.
class Flag {
 public:
  explicit Flag(CLI::Option* option) : option_(option) {}

  Flag& required();
  Flag& value_name(const std::string& name);  // in the help: --out DIR
  Flag& shows_default();                      // in the help: the variable's value at this call
  Flag& excludes(const Flag& other);
  Flag& one_a_time();  // --set A --set B, where `--set A B` leaves B to a positional argument

  // What the value must be, said where it is not. Bounds are included.
  Flag& between(int least, int most);
  Flag& between(double least, double most);
  Flag& positive();
  Flag& not_negative();
  Flag& one_of(const std::vector<std::string>& values);

 private:
  CLI::Option* option_;
};

class Command {
 public:
  explicit Command(CLI::App& app) : app_(&app) {}

  Command subcommand(const std::string& name, const std::string& does);
  Command& needs_subcommand();
  Command& hidden();  // from the help of its parent
  Command& footer(const std::string& text);
  // After the parsing of its flags, if it was named.
  Command& runs(std::function<void()> what);

  // "--out", or "FILE" for a positional argument. T: std::string, int, std::int64_t, std::uint64_t, double, or a vector
  // of strings, which takes any number.
  template <class T>
  Flag option(const std::string& name, T& value, const std::string& text = "");
  // "--verify", without a value.
  Flag flag(const std::string& name, bool& value, const std::string& text);

 private:
  CLI::App* app_;
};

}  // namespace trireme
