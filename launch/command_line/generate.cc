#include <memory>

#include "dataloader/tokenizer/tokenizer.h"
#include "launch/command_line/commands.h"
#include "launch/command_line/output.h"
#include "launch/train/model_directory.h"
#include "launch/train/rank.h"
#include "trainer/generate/inference_model.h"

namespace trireme {
namespace {

struct GenerateFlags {
  std::string model;
  std::string prompt;
  std::int64_t tokens = 200;
  int samples = 1;
  SamplingOptions sampling;
  int threads = 0;
};

// What `buffer` holds up to its last whole UTF-8 character; the rest stays for the next token.
std::string take_whole_characters(std::string& buffer) {
  std::size_t end = buffer.size();
  for (std::size_t back = 1; back <= 3 && back <= buffer.size(); ++back) {
    const auto byte = static_cast<unsigned char>(buffer[buffer.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    if (length > back) end = buffer.size() - back;
    break;
  }
  std::string whole = buffer.substr(0, end);
  buffer.erase(0, end);
  return whole;
}

void generate(const GenerateFlags& flags) {
  check_sampling(flags.sampling);
  const ModelDirectory directory = open_model_directory(flags.model);
  const Tokenizer tokenizer = Tokenizer::load(directory.path / "tokenizer.json");
  MpiWorld world;
  if (world.size() > 1) throw UserError("generate runs on one rank: start it without mpirun");
  Rank rank(world, config::auto_, flags.threads > 0 ? flags.threads : default_threads(world));
  InferenceModel model(*rank.context().device, *rank.context().ops, directory.model, directory.path);

  // As in training, a document begins after the token that ends one.
  std::vector<TokenId> prompt;
  const std::optional<TokenId> end = tokenizer.end_of_document();
  if (end) prompt.push_back(*end);
  for (const TokenId id : tokenizer.encode(flags.prompt)) prompt.push_back(id);
  if (prompt.empty()) throw UserError("give a --prompt: this tokenizer has no token that begins a document");

  for (int sample = 0; sample < flags.samples; ++sample) {
    SamplingOptions sampling = flags.sampling;
    sampling.seed += static_cast<std::uint64_t>(sample);
    if (flags.samples > 1) write_output("--- sample " + std::to_string(sample + 1) + "\n");
    write_output(flags.prompt);
    std::string waiting;
    const std::vector<std::int32_t> ids(prompt.begin(), prompt.end());
    model.generate(ids, flags.tokens, sampling, [&](std::int32_t id) {
      if (end && static_cast<TokenId>(id) == *end) return false;
      waiting += tokenizer.bytes(static_cast<TokenId>(id));
      write_output(take_whole_characters(waiting));
      flush_output();
      return true;
    });
    write_output(waiting + "\n");
  }
}

}  // namespace

void add_generate_command(Command& program, ExitCode&) {
  auto flags = std::make_shared<GenerateFlags>();
  Command command = program.subcommand("generate", "Continue a text with a trained model");
  command.footer("\nThe same seed gives the same text. It ends early where the model ends the document.");
  command.option("MODEL", flags->model, "A run, a checkpoint, or a Hugging Face directory").required();
  command.option("--prompt", flags->prompt, "The text to continue (default: the beginning of a document)");
  command.option("--tokens", flags->tokens, "How many tokens at most").positive().shows_default();
  command.option("--samples", flags->samples, "How many texts").positive().shows_default();
  command.option("--temperature", flags->sampling.temperature, "0: always the likeliest").shows_default();
  command.option("--top-k", flags->sampling.top_k, "Only of the likeliest so many (0: all)").shows_default();
  command.option("--top-p", flags->sampling.top_p, "Only of the likeliest that reach this probability together")
      .shows_default();
  command.option("--seed", flags->sampling.seed, "Of the choice").shows_default();
  command.option("--threads", flags->threads, "Compute threads (default: all cores)").positive();
  command.runs([flags] { generate(*flags); });
}

}  // namespace trireme
