#include "tests/gpu/ptx/body.h"

#include <algorithm>
#include <map>
#include <set>

#include "tests/gpu/ptx/declarations.h"

namespace trireme::gpu {
namespace {

// inline assembly and calls open blocks whose names may hide others: those get the block's number as a suffix.
struct Scope {
  std::string suffix{};
  std::map<std::string, std::uint32_t> names{};  // declared here; of a numbered register, how many
  std::set<std::string> labels{};
  std::size_t first_statement = 0;
};

class BodyParser {
 public:
  BodyParser(Reader& reader, Function& function) : reader_(reader), function_(function) {}

  void parse() {
    reader_.expect("{");
    scopes_.push_back({});
    while (!scopes_.empty()) statement();
    for (auto& statement : function_.statements) {
      if (statement.opcode != "brx" || statement.operands.size() != 2) continue;
      const auto targets = branch_targets_.find(statement.operands[1].name);
      if (targets != branch_targets_.end()) statement.targets = targets->second;
    }
  }

 private:
  void statement() {
    if (reader_.accept("{")) {
      Scope scope;
      scope.suffix.append("@").append(std::to_string(++blocks_));
      scope.first_statement = function_.statements.size();
      scopes_.push_back(std::move(scope));
    } else if (reader_.accept("}")) {
      close_scope();
    } else if (reader_.accept(";")) {
      // nvcc writes empty statements after inline assembly.
    } else if (reader_.peek().text.starts_with('.')) {
      directive();
    } else if (reader_.peek(1).text == ":") {
      label();
    } else {
      instruction();
    }
  }

  void directive() {
    const int line = reader_.peek().line;
    const std::string word = reader_.word();
    if (word == ".reg") {
      registers();
    } else if (word == ".shared" || word == ".local" || word == ".param") {
      variable(word);
    } else if (word == ".loc" || word == ".file") {
      while (reader_.peek().line == line) reader_.next();
    } else if (word == ".pragma") {
      reader_.skip_past(";");
    } else {
      reader_.fail("directive " + word + " is not known in a body");
    }
  }

  void registers() {
    const std::string type = reader_.word().substr(1);
    if (bytes_of_type(type) == 0) reader_.fail("registers of type " + type);
    do {
      RegisterDeclaration declaration{.name = reader_.word(), .type = type};
      if (reader_.accept("<")) {
        declaration.count = static_cast<std::uint32_t>(reader_.integer());
        reader_.expect(">");
      }
      scopes_.back().names[declaration.name] = declaration.count;
      declaration.name += scopes_.back().suffix;
      function_.registers.push_back(declaration);
    } while (reader_.accept(","));
    reader_.expect(";");
  }

  void variable(const std::string& space) {
    Variable variable = read_variable(reader_, space);
    scopes_.back().names[variable.name] = 0;
    variable.name += scopes_.back().suffix;
    auto& bytes = variable.space == Space::kShared ? function_.static_shared_bytes : function_.local_bytes;
    if (variable.space != Space::kParam) bytes = round_up(bytes, variable.alignment) + variable.bytes;
    function_.variables.push_back(std::move(variable));
  }

  void label() {
    Statement statement{.label = reader_.word(), .line = reader_.peek().line};
    reader_.expect(":");
    if (reader_.accept(".branchtargets")) {
      auto& targets = branch_targets_[statement.label];
      do targets.push_back(reader_.word());
      while (reader_.accept(","));
      reader_.expect(";");
    } else if (reader_.peek().text == ".callprototype" || reader_.peek().text == ".calltargets") {
      reader_.skip_past(";");  // a call through a pointer: decoding refuses the call itself
    } else {
      scopes_.back().labels.insert(statement.label);
      function_.statements.push_back(std::move(statement));
    }
  }

  void instruction() {
    const Token first = reader_.peek();
    Statement statement{.line = first.line};
    if (reader_.accept("@")) {
      statement.guard_negated = reader_.accept("!");
      statement.guard = resolve(reader_.word());
    }
    auto words = split_at_dots(reader_.word());
    statement.opcode = words.front();
    statement.modifiers.assign(words.begin() + 1, words.end());
    while (reader_.peek().text != ";") {
      statement.operands.push_back(reader_.operand());
      resolve(statement.operands.back());
      if (reader_.peek().text != ";") reader_.expect(",");
    }
    statement.text = reader_.text_from(first);
    reader_.expect(";");
    function_.statements.push_back(std::move(statement));
  }

  // %r12 of `.reg .b32 %r<20>` in an inner block becomes %r@3 12: "%r@312" would be another; the number stays last.
  std::string resolve(const std::string& name) const {
    const std::size_t digits = name.find_last_not_of("0123456789") + 1;
    const std::string stem = name.substr(0, digits);
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend() && !scope->suffix.empty(); ++scope) {
      const auto whole = scope->names.find(name);
      if (whole != scope->names.end() && whole->second == 0) return name + scope->suffix;
      const auto numbered = scope->names.find(stem);
      if (digits < name.size() && numbered != scope->names.end() &&
          std::stoul(name.substr(digits)) < numbered->second) {
        return stem + scope->suffix + "#" + name.substr(digits);
      }
    }
    return name;
  }

  void resolve(Operand& operand) const {
    if (operand.kind == Operand::Kind::kName) operand.name = resolve(operand.name);
    for (auto& part : operand.parts) resolve(part);
  }

  void close_scope() {
    const Scope scope = std::move(scopes_.back());
    scopes_.pop_back();
    if (scope.suffix.empty()) return;
    for (std::size_t i = scope.first_statement; i < function_.statements.size(); ++i) {
      Statement& statement = function_.statements[i];
      if (scope.labels.count(statement.label) > 0) statement.label += scope.suffix;
      for (auto& operand : statement.operands) {
        if (operand.kind == Operand::Kind::kName && scope.labels.count(operand.name) > 0) operand.name += scope.suffix;
      }
    }
  }

  Reader& reader_;
  Function& function_;
  std::vector<Scope> scopes_{};
  std::map<std::string, std::vector<std::string>> branch_targets_{};
  int blocks_ = 0;
};

}  // namespace

void read_body(Reader& reader, Function& function) { BodyParser(reader, function).parse(); }

}  // namespace trireme::gpu
