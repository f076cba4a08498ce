#include <cmath>
#include <memory>
#include <numbers>

#include "dataloader/shard/dataset.h"
#include "launch/command_line/commands.h"
#include "launch/command_line/output.h"
#include "launch/train/model_directory.h"
#include "launch/train/rank.h"
#include "monitoring/log.h"
#include "trainer/generate/inference_model.h"
#include "trainer/loop/validate.h"

namespace trireme {
namespace {

struct EvalFlags {
  std::string model;
  std::string data;
  std::string split = "validation";
  std::string attention = "document";
  std::int64_t max_samples = 0;
  std::int64_t micro_batch = 4;
  int threads = 0;
};

void evaluate(const EvalFlags& flags) {
  MpiWorld world;
  whereabouts().rank = world.rank();
  configure_log({.ranks = world.size()});
  const ModelDirectory directory = open_model_directory(flags.model);
  const Dataset dataset(flags.data);
  const TokenStream& stream = dataset.split(flags.split);
  if (dataset.manifest().vocab_size > static_cast<std::uint32_t>(directory.model.vocab_size()))
    throw UserError(
        fmt::format("{} has {} kinds of token, but the model in {} knows {}: they belong to other tokenizers",
                    flags.data, dataset.manifest().vocab_size, directory.path.string(), directory.model.vocab_size()));
  Rank rank(world, config::auto_, flags.threads > 0 ? flags.threads : default_threads(world));
  InferenceModel model(*rank.context().device, *rank.context().ops, directory.model, directory.path, flags.micro_batch);
  const ValidationBatches batches(stream, directory.model.sequence_length(),
                                  static_cast<std::int32_t>(dataset.manifest().end_of_document),
                                  flags.attention == "sample" ? AttentionScope::kSample : AttentionScope::kDocument);
  const ValidationLoss loss = validate(
      model.context(), rank.peers(), windows_of(batches),
      [&](const Batch& batch) { return model.sample_losses(batch); }, flags.max_samples, flags.micro_batch, -1);
  if (world.rank() != 0) return;
  const double mean = loss.sum / loss.tokens;
  write_output(fmt::format("model: {}\ntokens: {:.0f}\nloss: {:.6f} nats per token\nperplexity: {:.4f}\n",
                           directory.path.string(), loss.tokens, mean, std::exp(mean)));
  if (loss.whole)
    write_output(fmt::format("bits per byte: {:.4f}\n",
                             loss.sum / std::numbers::ln2 / static_cast<double>(stream.entry().text_bytes)));
  else
    write_output("bits per byte: not known, because only a part of the split was read (--max-samples)\n");
}

}  // namespace

void add_eval_command(Command& program, ExitCode&) {
  auto flags = std::make_shared<EvalFlags>();
  Command command = program.subcommand("eval", "Print a model's loss, perplexity and bits per byte on a data set");
  command.footer("\nThe sum is over every token of the split, predicted from its own document alone.");
  command.option("MODEL", flags->model, "A run, a checkpoint, or a Hugging Face directory").required();
  command.option("--data", flags->data, "A folder written by `trireme prepare`").required();
  command.option("--split", flags->split, "Which split of it").shows_default();
  command.option("--attention", flags->attention, "What a token attends to: its document, or its whole sample")
      .one_of({"document", "sample"})
      .shows_default();
  command.option("--max-samples", flags->max_samples, "Read only so many samples (0: all)")
      .not_negative()
      .shows_default();
  command.option("--micro-batch", flags->micro_batch, "Samples at once").positive().shows_default();
  command.option("--threads", flags->threads, "Compute threads (default: all cores)").positive();
  command.runs([flags] { evaluate(*flags); });
}

}  // namespace trireme
