// `trireme` is one program with a word for each thing it does. A subcommand is a file here, with one function that
// declares its flags and what to do; the table in program.cc lists them, and nothing else knows them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/command_line/command.h"
#include "monitoring/error.h"

namespace trireme {

struct Plant;  // trainer/verify/trial.h

// The exit code of commands that prove something, where it does not hold.
inline constexpr auto kDoesNotHold = static_cast<ExitCode>(1);

// Declares the subcommand on `program`. Its callback runs during parsing, throws Error for what is not right (main
// prints it), and may set `exit_code`, which is kDone before. Flags it owns must outlive the parsing: keep them in a
// shared_ptr.
using AddCommand = void (*)(Command& program, ExitCode& exit_code);

void add_bench_command(Command& program, ExitCode& exit_code);
void add_check_command(Command& program, ExitCode& exit_code);
void add_config_command(Command& program, ExitCode& exit_code);
void add_eval_command(Command& program, ExitCode& exit_code);
void add_generate_command(Command& program, ExitCode& exit_code);
void add_inspect_command(Command& program, ExitCode& exit_code);
void add_plot_command(Command& program, ExitCode& exit_code);
void add_prepare_command(Command& program, ExitCode& exit_code);
void add_resave_command(Command& program, ExitCode& exit_code);
void add_schedule_command(Command& program, ExitCode& exit_code);
void add_train_command(Command& program, ExitCode& exit_code);
// With plants, which outlive the parsing: also the flags to plant them.
void add_verify_command(Command& program, ExitCode& exit_code, std::span<const Plant> plants);

// Runs the program as main does, but for the process: returns the exit code, writes to stdout and stderr.
// `arguments`: without the program's name. `plants`: mistakes for `verify` to find; a user's program has none.
int run_program(const std::vector<std::string>& arguments, std::span<const Plant> plants = {});

}  // namespace trireme
