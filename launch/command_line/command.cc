#include "launch/command_line/command.h"

#include <cstdint>
#include <utility>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

namespace trireme {

Flag& Flag::required() {
  option_->required();
  return *this;
}
Flag& Flag::value_name(const std::string& name) {
  option_->type_name(name);
  return *this;
}
Flag& Flag::shows_default() {
  option_->capture_default_str();
  return *this;
}
Flag& Flag::excludes(const Flag& other) {
  option_->excludes(other.option_);
  return *this;
}
Flag& Flag::one_a_time() {
  option_->expected(1)->allow_extra_args(false)->take_all();
  return *this;
}
Flag& Flag::between(int least, int most) {
  option_->check(CLI::Range(least, most));
  return *this;
}
Flag& Flag::between(double least, double most) {
  option_->check(CLI::Range(least, most));
  return *this;
}
Flag& Flag::positive() {
  option_->check(CLI::PositiveNumber);
  return *this;
}
Flag& Flag::not_negative() {
  option_->check(CLI::NonNegativeNumber);
  return *this;
}
Flag& Flag::one_of(const std::vector<std::string>& values) {
  option_->check(CLI::IsMember(values));
  return *this;
}

Command Command::subcommand(const std::string& name, const std::string& does) {
  return Command(*app_->add_subcommand(name, does));
}
Command& Command::needs_subcommand() {
  app_->require_subcommand(1);
  return *this;
}
Command& Command::hidden() {
  app_->group("");
  return *this;
}
Command& Command::footer(const std::string& text) {
  app_->footer(text);
  return *this;
}
Command& Command::runs(std::function<void()> what) {
  app_->callback(std::move(what));
  return *this;
}

template <class T>
Flag Command::option(const std::string& name, T& value, const std::string& text) {
  return Flag(app_->add_option(name, value, text));
}
template Flag Command::option(const std::string&, std::string&, const std::string&);
template Flag Command::option(const std::string&, std::vector<std::string>&, const std::string&);
template Flag Command::option(const std::string&, int&, const std::string&);
template Flag Command::option(const std::string&, std::int64_t&, const std::string&);
template Flag Command::option(const std::string&, std::uint64_t&, const std::string&);
template Flag Command::option(const std::string&, double&, const std::string&);

Flag Command::flag(const std::string& name, bool& value, const std::string& text) {
  return Flag(app_->add_flag(name, value, text));
}

}  // namespace trireme
