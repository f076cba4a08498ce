#include "dataloader/batch/loader.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "monitoring/error.h"
#include "tests/dataloader/shard/corpora.h"

namespace trireme {

using ::testing::HasSubstr;

namespace {

constexpr LoaderOptions kOptions{.sequence_length = 16, .seed = 9, .prefetch = 3};

void append(Batch& all, const Batch& batch) {
  const auto add = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  all.samples += batch.samples;
  all.sequence_length = batch.sequence_length;
  add(all.tokens, batch.tokens);
  add(all.targets, batch.targets);
  add(all.loss_mask, batch.loss_mask);
  add(all.positions, batch.positions);
  add(all.key_begin, batch.key_begin);
  add(all.sample_index, batch.sample_index);
}

}  // namespace

RC_GTEST_PROP(Loader, ResumingWithOtherRanksAndMicroBatchesGivesWhatOneRankWouldHaveHad, ()) {
  const auto global_batch = *rc::gen::inRange<std::int64_t>(1, 13);
  constexpr std::int64_t kSteps = 9;
  const Batch expected = TrainingBatches(corpus(3).train(), kOptions.sequence_length, kOptions.seed, kOptions.scope)
                             .build({0, kSteps * global_batch});
  Batch all;
  for (std::int64_t step = 0; step < kSteps;) {  // several lives, each with its own layout
    const auto dp = *rc::gen::inRange<std::int64_t>(1, global_batch + 1);
    const auto micro_batch = *rc::gen::inRange<std::int64_t>(1, 6);
    const std::int64_t end = std::min(kSteps, step + *rc::gen::inRange(1, 6));
    std::vector<std::unique_ptr<Loader>> ranks;
    for (std::int64_t rank = 0; rank < dp; ++rank)
      ranks.push_back(
          std::make_unique<Loader>(corpus(3).train(), kOptions, BatchPlan{global_batch, micro_batch, dp, rank}, step));
    for (; step < end; ++step) {
      std::int64_t unmasked = 0;
      for (const std::unique_ptr<Loader>& rank : ranks)
        for (std::int64_t m = 0; m < rank->plan().micro_batches(); ++m) {
          const MicroBatch batch = rank->next();
          RC_ASSERT(batch.step == step);
          RC_ASSERT(batch.index == m);
          if (m == 0) unmasked += batch.step_unmasked_tokens;
          append(all, batch.batch);
        }
      RC_ASSERT(unmasked == global_batch * kOptions.sequence_length);
    }
  }
  RC_ASSERT(all == expected);
}

TEST(Loader, StopsCleanlyWhenNothingWasTaken) {
  for (int i = 0; i < 20; ++i) Loader(corpus(3).train(), kOptions, {.global_batch = 4, .micro_batch = 2}, i);
}

TEST(Loader, DamageFoundOnItsThreadIsThrownByNextAfterTheIntactBatches) {
  const ScratchFolder folder;
  write_dataset(folder.path(), counting_documents(std::vector<int>(20, 50), 500), {{1, 0}},
                {.vocab_size = 500, .block_bytes = 128});
  {
    std::fstream file(folder.path() / "train-00000.shard", std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(64 + 5 * 128 + 7);
    file.put('\x7f');
  }
  const Dataset dataset(folder.path());
  Loader loader(dataset.split("train"), kOptions, {.global_batch = 2, .micro_batch = 1}, 0);
  std::string message;
  int intact = 0;
  for (; intact < 1000 && message.empty(); ++intact) message = message_of<DamagedDataError>([&] { loader.next(); });
  EXPECT_THAT(message, HasSubstr("train-00000.shard: block 5 (bytes 704 to 831)"));
  EXPECT_LE(intact, 63);  // an epoch has 62 samples, and one of them holds the block
  EXPECT_THROW(loader.next(), DamagedDataError) << "it must not be swallowed by being thrown once";
}

TEST(Loader, RoomForOneBatchIsEnough) {
  LoaderOptions options = kOptions;
  options.prefetch = 1;
  Loader loader(corpus(3).train(), options, {.global_batch = 1, .micro_batch = 1}, 0);
  for (std::int64_t step = 0; step < 200; ++step) EXPECT_EQ(loader.next().step, step);
}

TEST(Loader, ASplitShorterThanASampleIsTheUsersMistake) {
  EXPECT_THROW(Loader(corpus(3).train(), {.sequence_length = 5000}, {}, 0), UserError);
}

}  // namespace trireme
