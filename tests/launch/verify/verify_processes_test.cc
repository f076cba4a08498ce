// `trireme verify` under mpirun: ranks that are processes find what ranks that are threads find, and say it alike.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/end_to_end/command.h"
#include "tests/paths.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kPipelineAndTensor[] =
    "data: {path: /nonexistent}\n"
    "model: {family: llama, layers: 2, hidden_size: 16, heads: 2, kv_heads: 1, ffn_size: 24, vocab_size: 33,\n"
    "  sequence_length: 6, tied_embeddings: true, dropout: 0.1, attention_dropout: 0.2}\n"
    "train: {steps: 3, global_batch: 8, micro_batch: 1, label_smoothing: 0.1, z_loss: 0.01, precision: bf16}\n"
    "mesh: {pp: 2, tp: 2}\n"
    "recompute: [full, none]\n";

std::string planted_program() { return quoted(PLANTED_BINARY) + " verify "; }

// Of ranks as threads what they are as processes.
std::string as_processes(std::string text) {
  const std::size_t at = text.find("as threads");
  return at == std::string::npos ? text : text.replace(at, 10, "as processes");
}

TEST(MpiVerify, SaysWhatThreadsSay) {
  const ScratchFolder workspace;
  const auto file = workspace / "run.yaml";
  write_bytes(file, kPipelineAndTensor);
  const std::string command = quoted(TRIREME_BINARY) + " verify " + quoted(file);
  const CommandResult threads = run_command(command);
  ASSERT_EQ(threads.exit_code, 0) << threads.output;
  EXPECT_THAT(threads.output, HasSubstr("4 ranks as threads"));
  const CommandResult processes = run_command(under_mpi(5) + command);  // one more than the layout has
  EXPECT_EQ(processes.exit_code, 0) << processes.output;
  EXPECT_EQ(processes.output, as_processes(threads.output));
}

TEST(MpiVerify, FindsAPlantedMistakeAndItsAxisAsThreadsDo) {
  const ScratchFolder workspace;
  const auto file = workspace / "run.yaml";
  write_bytes(file, kPipelineAndTensor);
  const std::string command = planted_program() + quoted(file) + " --plant kv-replicas-not-summed";
  const CommandResult threads = run_command(command);
  ASSERT_EQ(threads.exit_code, 1) << threads.output;
  const CommandResult processes = run_command(under_mpi(4) + command);
  EXPECT_EQ(processes.exit_code, 1) << processes.output;
  EXPECT_THAT(processes.output, AllOf(HasSubstr("Without mesh.tp = 2 it agrees."), HasSubstr("DIFFERS"),
                                      HasSubstr("The layout CHANGES what is learned")));
  const std::string found = as_processes(threads.output);
  EXPECT_THAT(processes.output, HasSubstr(found)) << found;  // mpirun adds that ranks returned 1
}

TEST(MpiVerify, SaysHowManyRanksItNeeds) {
  const ScratchFolder workspace;
  const auto file = workspace / "run.yaml";
  write_bytes(file, kPipelineAndTensor);
  const CommandResult few = run_command(under_mpi(2) + quoted(TRIREME_BINARY) + " verify " + quoted(file));
  EXPECT_EQ(few.exit_code, 2) << few.output;
  EXPECT_THAT(few.output, AllOf(HasSubstr("4 ranks, but there are 2 processes. Start 4 of them (mpirun -n 4"),
                                Not(HasSubstr("unforeseen"))));
}

TEST(MpiVerify, RefusesRanksThatReadUnlikeConfigurations) {
  const ScratchFolder workspace;
  const auto file = workspace / "run.yaml";
  write_bytes(file, kPipelineAndTensor);
  const std::string verify = quoted(TRIREME_BINARY) + " verify " + quoted(file);
  const CommandResult unlike = run_command(under_mpi(3) + verify + " : -n 1 " + verify + " --set model.ffn_size=30");
  EXPECT_EQ(unlike.exit_code, 2) << unlike.output;
  EXPECT_THAT(unlike.output, HasSubstr("rank 3 read another configuration than rank 0"));
}

// A mistake on one rank alone, whose calls then match nobody's: processes cannot go on after it, and say so at once.
TEST(MpiVerify, SaysWhichRanksDidNotGetThrough) {
  const ScratchFolder workspace;
  const auto file = workspace / "run.yaml";
  write_bytes(file, kPipelineAndTensor);
  const CommandResult lost =
      run_command(under_mpi(3) + quoted(TRIREME_BINARY) + " verify " + quoted(file) + " : -n 1 " + planted_program() +
                  quoted(file) + " --plant kv-replicas-not-summed");
  EXPECT_EQ(lost.exit_code, 1) << lost.output;
  EXPECT_THAT(lost.output,
              AllOf(HasSubstr("4 ranks as processes"), HasSubstr("A rank did not get through"),
                    HasSubstr("ranks 2 and 3 make different calls"), HasSubstr("The layout was not tried to the end")));
}

}  // namespace
}  // namespace trireme
