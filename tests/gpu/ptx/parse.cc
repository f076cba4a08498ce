#include <algorithm>
#include <cstring>
#include <set>

#include "tests/gpu/ptx/body.h"
#include "tests/gpu/ptx/declarations.h"
#include "tests/gpu/ptx/module.h"
#include "tests/gpu/ptx/reader.h"

namespace trireme::gpu {
namespace {

class ModuleParser {
 public:
  explicit ModuleParser(std::string_view text) : reader_(text) {}

  Module parse() {
    while (!reader_.at_end()) directive();
    for (const auto& function : module_.functions) count_shared(*function);
    return std::move(module_);
  }

 private:
  void directive() {
    const int line = reader_.peek().line;
    const std::string word = reader_.word();
    if (word == ".version") {
      module_.version = reader_.next().text;
    } else if (word == ".target") {
      module_.target = reader_.word();
      while (reader_.accept(",")) reader_.word();
    } else if (word == ".address_size") {
      if (reader_.integer() != 64) reader_.fail("addresses must have 64 bits");
    } else if (word == ".visible" || word == ".weak" || word == ".common") {
      // Linkage: one module is all there is.
    } else if (word == ".extern") {
      external_ = true;
    } else if (word == ".entry" || word == ".func") {
      function(word == ".entry", line);
      external_ = false;
    } else if (word == ".global" || word == ".const" || word == ".shared") {
      Variable variable = read_variable(reader_, word);
      variable.external = external_;
      external_ = false;
      module_.variables.push_back(std::move(variable));
    } else if (word == ".file" || word == ".loc") {
      while (reader_.peek().line == line && !reader_.at_end()) reader_.next();
    } else if (word == ".section") {
      reader_.skip_past("}");
    } else if (word == ".pragma") {
      reader_.skip_past(";");
    } else {
      reader_.fail("directive " + word + " is not known here");
    }
  }

  void function(bool is_kernel, int line) {
    auto function = std::make_unique<Function>();
    function->is_kernel = is_kernel;
    function->line = line;
    std::uint32_t ignored = 0;
    if (!is_kernel && reader_.accept("(")) function->results = read_parameters(reader_, ignored);
    function->name = reader_.word();
    if (reader_.accept("(")) function->parameters = read_parameters(reader_, function->parameter_bytes);
    while (reader_.peek().text != "{" && reader_.peek().text != ";") function_directive(*function);
    if (!reader_.accept(";")) {
      function->defined = true;
      read_body(reader_, *function);
    }
    const auto declared = std::find_if(module_.functions.begin(), module_.functions.end(),
                                       [&](const auto& other) { return other->name == function->name; });
    if (declared == module_.functions.end()) {
      module_.functions.push_back(std::move(function));
    } else if (function->defined) {
      *declared = std::move(function);
    }
  }

  void function_directive(Function& function) {
    const std::string word = reader_.word();
    if (word == ".maxntid" || word == ".reqntid") {
      function.max_threads = static_cast<std::uint32_t>(reader_.integer());
      while (reader_.accept(",")) function.max_threads *= static_cast<std::uint32_t>(reader_.integer());
    } else if (word == ".minnctapersm") {
      function.min_blocks = static_cast<std::uint32_t>(reader_.integer());
    } else if (word == ".maxnreg") {
      reader_.integer();
    } else if (word == ".pragma") {
      reader_.skip_past(";");
    } else if (word != ".noreturn") {
      reader_.fail("directive " + word + " of a function is not known");
    }
  }

  // A module's .shared variable counts for the kernels that name it.
  void count_shared(Function& function) const {
    std::set<std::string> named;
    for (const auto& statement : function.statements) {
      for (const auto& operand : statement.operands) collect_names(operand, named);
    }
    for (const auto& variable : module_.variables) {
      if (variable.space != Space::kShared || variable.external || named.count(variable.name) == 0) continue;
      function.static_shared_bytes = round_up(function.static_shared_bytes, variable.alignment) + variable.bytes;
    }
  }

  static void collect_names(const Operand& operand, std::set<std::string>& names) {
    if (operand.kind == Operand::Kind::kName) names.insert(operand.name);
    for (const auto& part : operand.parts) collect_names(part, names);
  }

  Reader reader_;
  Module module_{};
  bool external_ = false;
};

}  // namespace

const Function* Module::find(std::string_view name) const {
  for (const auto& function : functions) {
    if (function->name == name) return function.get();
  }
  return nullptr;
}

std::vector<const Function*> Module::kernels() const {
  std::vector<const Function*> found;
  for (const auto& function : functions) {
    if (function->is_kernel) found.push_back(function.get());
  }
  return found;
}

Module parse(std::string_view ptx) { return ModuleParser(ptx.substr(0, ptx.find('\0'))).parse(); }

}  // namespace trireme::gpu
