#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iterator>
#include <new>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "launch/command_line/commands.h"
#include "launch/command_line/output.h"
#include "launch/config/problems.h"
#include "launch/verify/verify_run.h"

namespace trireme {
namespace {

constexpr const char* kVersion = "0.1.0";

// In the order of a first day with the program.
constexpr AddCommand kCommands[] = {
    add_prepare_command, add_config_command,   add_check_command,   add_train_command,
    add_eval_command,    add_generate_command, add_inspect_command, add_plot_command,
    add_resave_command,  add_schedule_command, add_bench_command,
};

constexpr const char* kFooter = R"(
A first run:
  ./launch/quickstart                                    all of it, on a small corpus
or by hand:
  trireme prepare book.txt --out data/book --vocab-size 4096
  trireme config my.yaml                                 the whole configuration, what it costs, or what is wrong with it
  trireme check my.yaml --ranks 4096                     whether so many ranks would run, and the memory of each
  mpirun -n 2 trireme train my.yaml --set data.path=data/book

Exit codes: 0 done; 1 verify or check found a difference; 2 a mistake in flags, configuration or files; 3 damaged data or no usable checkpoint;
4 another rank or a device failed; 75 stopped by a signal after saving (run it again to continue).)";

void print_paragraph(const std::string& text) { std::fprintf(stderr, "trireme: %s\n", text.c_str()); }

// The names of a command's flags or subcommands, for suggestions.
std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

const CLI::App& innermost(const CLI::App& app) {
  const auto commands = app.get_subcommands();
  return commands.empty() ? app : innermost(*commands.front());
}

// "trireme bench step"
std::string typed(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name() : typed(*app.get_parent()) + " " + app.get_name();
}

// CLI11 says what it did not expect; the nearest name that exists is what helps.
std::string explain(const CLI::App& program, const CLI::ParseError& error) {
  const CLI::App& app = innermost(program);
  std::string text;
  if (dynamic_cast<const CLI::ExtrasError*>(&error)) {
    for (const std::string& extra : app.remaining()) {
      const std::string nearest =
          extra.starts_with('-') ? nearest_name(extra.substr(0, extra.find('=')), names_of(app)) : "";
      text += (text.empty() ? "" : "; ") + quote_text(extra) + " is not expected" +
              (nearest.empty() ? "" : ", did you mean " + nearest + "?");
    }
  }
  if (text.empty()) text = error.what();
  const char* end = text.ends_with('?') || text.ends_with('.') ? " " : ". ";
  return text + end + "`" + typed(app) + " --help` says what there is.";
}

// CLI11 reports an unknown command only as a missing one.
void require_known_command(const CLI::App& program, const std::vector<std::string>& arguments) {
  const std::string& first = arguments.front();
  const std::vector<std::string> names = names_of(program);
  if (first == "-h" || std::find(names.begin(), names.end(), first) != names.end()) return;
  const std::string nearest = nearest_name(first, names);
  throw UserError(quote_text(first) + (first.starts_with('-') ? " is no flag" : " is no command") +
                  (nearest.empty() ? ". " : ", did you mean " + nearest + "? ") +
                  "`trireme --help` says what there is.");
}

int run_parsed(CLI::App& program, std::vector<std::string> arguments, ExitCode& exit_code) {
  require_known_command(program, arguments);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them off the back
  try {
    program.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    write_output(program.help());  // of the command that was named
  } catch (const CLI::CallForVersion&) {
    write_output(std::string("trireme ") + kVersion + "\n");
  } catch (const CLI::ParseError& error) {
    throw UserError(explain(program, error));
  }
  flush_output();
  return static_cast<int>(exit_code);
}

}  // namespace

int run_program(const std::vector<std::string>& arguments, std::span<const Plant> plants) {
  std::signal(SIGPIPE, SIG_IGN);  // a log whose reader has gone must not kill training; see output.h for the rest
  constexpr int kUnforeseen = 1;
  try {
    CLI::App program("Trireme pretrains language models: alone on a laptop, or on many ranks under mpirun.", "trireme");
    program.set_version_flag("--version", kVersion, "Print the version and exit");
    program.set_help_flag("-h,--help", "Print this help, or a command's: trireme COMMAND --help");
    program.require_subcommand(1);
    program.footer(kFooter);
    ExitCode exit_code = ExitCode::kDone;
    Command root(program);
    for (AddCommand add : kCommands) add(root, exit_code);
    add_verify_command(root, exit_code, plants);
    if (arguments.empty()) {
      write_output(program.help());
      flush_output();
      return static_cast<int>(ExitCode::kUserError);
    }
    return run_parsed(program, arguments, exit_code);
  } catch (const OutputClosed&) {
    return static_cast<int>(ExitCode::kDone);
  } catch (const Error& error) {
    print_paragraph(error.what());
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    print_paragraph(
        "out of memory. A smaller micro_batch or model needs less; `trireme config FILE` estimates how much.");
  } catch (const std::exception& error) {
    print_paragraph(std::string("unforeseen: ") + error.what() +
                    ". This is a bug of Trireme's if the message does not help.");
  }
  return kUnforeseen;
}

}  // namespace trireme
