#include "dataloader/shard/dataset.h"

#include <algorithm>
#include <thread>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "monitoring/error.h"
#include "tests/dataloader/shard/corpora.h"
#include "tests/dataloader/shard/full_disk.h"

namespace trireme {

using ::testing::HasSubstr;

namespace {

std::vector<std::int32_t> flat(const Documents& documents) {
  std::vector<std::int32_t> tokens;
  for (const auto& document : documents) tokens.insert(tokens.end(), document.begin(), document.end());
  return tokens;
}

// Small shards and blocks, so that few tokens cross many of both.
ShardWriterOptions small_options(std::uint32_t vocab_size) {
  return {.vocab_size = vocab_size, .shard_bytes = 400, .block_bytes = 64};
}

}  // namespace

RC_GTEST_PROP(Dataset, ReadsBackEveryRangeOfTokensAndDocumentEnds, ()) {
  const Corpus& written = corpus(*rc::gen::inRange(0, kCorpora));
  const auto& [tokens, ends] = std::tie(written.tokens, written.ends);
  const Dataset dataset(written.folder.path());
  const TokenStream& train = dataset.split("train");
  RC_ASSERT(train.tokens() == tokens.size());
  RC_ASSERT(train.shards().size() > 1);
  for (int trial = 0; trial < 20; ++trial) {
    const auto begin = *rc::gen::inRange<std::uint64_t>(0, tokens.size() + 1);
    const auto end = *rc::gen::inRange<std::uint64_t>(begin, tokens.size() + 1);
    std::vector<std::int32_t> out(end - begin);
    train.read(begin, out);
    RC_ASSERT(std::equal(out.begin(), out.end(), tokens.begin() + static_cast<std::ptrdiff_t>(begin)));
    std::vector<std::uint64_t> expected;
    for (const std::uint64_t e : ends)
      if (begin < e && e <= end) expected.push_back(e);
    RC_ASSERT(train.document_ends(begin, end) == expected);
    RC_ASSERT(train.count_document_ends(begin, end) == expected.size());
  }
}

TEST(ShardWriter, BeginsANewShardBeforeTheLimitAndKeepsDocumentsWhole) {
  const ScratchFolder folder;
  const Documents documents = counting_documents({100, 100, 100, 900, 1, 199}, 300);
  const SplitEntry entry = write_split(folder.path(), "train", documents, small_options(300));
  std::vector<std::uint64_t> tokens;
  for (const ShardEntry& shard : entry.shards) tokens.push_back(shard.tokens);
  EXPECT_EQ(tokens, (std::vector<std::uint64_t>{200, 100, 900, 200}));
  EXPECT_EQ(entry.tokens, 1400u);
  EXPECT_EQ(entry.documents, 6u);
  EXPECT_EQ(entry.shards[0].file, "train-00000.shard");
  EXPECT_EQ(entry.shards[0].bytes, std::filesystem::file_size(folder.path() / entry.shards[0].file));
}

TEST(ShardWriter, LeavesNoFileBehindWhenItIsAbandoned) {
  const ScratchFolder folder;
  {
    ShardWriter writer(folder.path(), "train", small_options(300));
    writer.add_document(std::vector<std::uint32_t>(50, 1));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(ShardWriter, NamesTheFileWhenTheFolderCannotBeWritten) {
  const ScratchFolder folder;
  ShardWriter writer(folder.path() / "absent", "train", small_options(300));
  const std::string message = message_of<UserError>([&] { writer.add_document(std::vector<std::uint32_t>{1, 0}); });
  EXPECT_THAT(message, HasSubstr("absent/train-00000.shard"));
  EXPECT_THAT(message, HasSubstr("No such file or directory"));
}

TEST(ShardWriter, NamesFileAndByteWhenTheDiskIsFullAndLeavesNothingHalfWritten) {
  const ScratchFolder folder;
  std::string message;
  {
    const FullDisk full(1000);
    ShardWriter writer(folder.path(), "train", {.vocab_size = 300, .block_bytes = 64});
    message = message_of<UserError>([&] { writer.add_document(std::vector<std::uint32_t>(2000, 1)); });
  }
  EXPECT_THAT(message, HasSubstr("train-00000.shard.partial: cannot write at byte 1000"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(ShardWriter, WritesTheBytesThatTheFormatStates) {
  const ScratchFolder folder;
  write_split(folder.path(), "t", {{1, 2, 0}, {3, 0}}, {.vocab_size = 300, .block_bytes = 16});
  const std::string bytes = read_bytes(folder.path() / "t-00000.shard");
  const std::string tokens("\1\0\2\0\0\0\3\0\0\0\0\0\0\0\0\0", 16);  // 5 tokens, then zeros to a multiple of 8
  const std::string ends("\3\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0", 16);
  ASSERT_EQ(bytes.size(), 64 + 16 + 16 + 2 * 8 + 16u);
  EXPECT_EQ(bytes.substr(0, 8), "TRISHARD");
  EXPECT_EQ(bytes.substr(8, 16), std::string("\1\0\0\0\2\0\0\0\5\0\0\0\0\0\0\0", 16));
  EXPECT_EQ(bytes.substr(24, 16), std::string("\2\0\0\0\0\0\0\0\20\0\0\0\0\0\0\0", 16));
  EXPECT_EQ(bytes.substr(64, 16), tokens);
  EXPECT_EQ(bytes.substr(80, 16), ends);
}

TEST(Shard, EveryFlippedBitIsFoundAndTheByteLiesInWhatIsNamed) {
  const ScratchFolder folder;
  write_split(folder.path(), "t", counting_documents({30, 40, 1, 60}, 300), small_options(300));
  const std::filesystem::path path = folder.path() / "t-00000.shard";
  const std::string intact = read_bytes(path);
  const ShardHeader header = Shard(path).header();
  for (std::size_t byte = 0; byte < intact.size(); ++byte) {
    std::string bytes = intact;
    bytes[byte] = static_cast<char>(bytes[byte] ^ (1 << (byte % 8)));
    write_bytes(path, bytes);
    const std::string message = message_of<DamagedDataError>([&] { Shard(path).verify(); });
    ASSERT_THAT(message, HasSubstr(path.string())) << "byte " << byte;
    if (byte < kShardHeaderBytes) {
      ASSERT_TRUE(message.find("header") != std::string::npos || message.find("TRISHARD") != std::string::npos);
    } else if (byte < header.checksums_begin()) {
      const std::uint64_t block = (byte - 64) / 64;
      ASSERT_THAT(message, HasSubstr("block " + std::to_string(block) + " (bytes " + std::to_string(64 + block * 64)));
    } else {
      ASSERT_THAT(message, HasSubstr("bytes " + std::to_string(header.checksums_begin()) + " to " +
                                     std::to_string(intact.size() - 1)));
    }
  }
}

TEST(Shard, EveryTruncationAndEveryExtraByteIsFound) {
  const ScratchFolder folder;
  write_split(folder.path(), "t", counting_documents({30, 40}, 300), small_options(300));
  const std::filesystem::path path = folder.path() / "t-00000.shard";
  const std::string intact = read_bytes(path);
  for (std::size_t size = 0; size < intact.size(); ++size) {
    write_bytes(path, intact.substr(0, size));
    const std::string message = message_of<DamagedDataError>([&] { Shard shard(path); });
    ASSERT_THAT(message, HasSubstr("byte " + std::to_string(size))) << size;
  }
  write_bytes(path, intact + '\0');
  EXPECT_THROW(Shard{path}, DamagedDataError);
}

TEST(Shard, DamageInABlockIsFoundByAReadOfThatBlockAndOnlyThen) {
  const ScratchFolder folder;
  write_split(folder.path(), "t", counting_documents({130, 1}, 300), small_options(300));
  const std::filesystem::path path = folder.path() / "t-00000.shard";
  std::string bytes = read_bytes(path);
  bytes[64 + 3 * 64 + 5] ^= 1;  // block 3: tokens 96 to 127
  write_bytes(path, bytes);
  const Shard shard(path);
  std::vector<std::int32_t> out(96);
  shard.read(0, 300, out);
  std::vector<std::int32_t> one(1);
  EXPECT_THAT(message_of<DamagedDataError>([&] { shard.read(127, 300, one); }),
              HasSubstr("block 3 (bytes 256 to 319) does not match its checksum"));
  EXPECT_THROW(shard.read(96, 300, one), DamagedDataError) << "a damaged block must never count as verified";
  shard.read(128, 300, one);
}

TEST(Shard, ATokenOutsideTheVocabularyIsDamage) {
  const ScratchFolder folder;
  write_split(folder.path(), "t", {{1, 2, 299, 0}}, small_options(300));
  const Shard shard(folder.path() / "t-00000.shard");
  std::vector<std::int32_t> out(4);
  EXPECT_THAT(message_of<DamagedDataError>([&] { shard.read(0, 299, out); }),
              HasSubstr("byte 68: token 2 is 299, and the vocabulary has 299"));
}

TEST(Shard, ThreadsMayVerifyAndReadAtOnce) {
  const ScratchFolder folder;
  const Documents documents = counting_documents(std::vector<int>(100, 40), 300);
  write_split(folder.path(), "t", documents, {.vocab_size = 300, .block_bytes = 64});
  const Shard shard(folder.path() / "t-00000.shard");
  const std::vector<std::int32_t> tokens = flat(documents);
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      std::vector<std::int32_t> out(tokens.size());
      shard.read(0, 300, out);
      if (out == tokens && shard.document_of(79) == 1) ++right;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 4);
}

// Any damage, anywhere in the folder: whatever is read without an error is what was written.
RC_GTEST_PROP(Dataset, RandomDamageIsFoundBeforeAWrongTokenIsReturned, ()) {
  const Corpus& written = corpus(*rc::gen::inRange(0, kCorpora));
  const std::vector<std::int32_t>& tokens = written.tokens;
  const ScratchFolder folder;
  std::filesystem::copy(written.folder.path(), folder.path());
  const auto shards = read_manifest(folder.path()).splits[0].shards;
  const std::string file = (*rc::gen::elementOf(shards)).file;
  const std::filesystem::path path = folder.path() / file;
  std::string bytes = read_bytes(path);
  const auto size = bytes.size();
  if (*rc::gen::arbitrary<bool>()) {
    bytes.resize(*rc::gen::inRange<std::size_t>(0, size));
  } else {
    for (int flips = *rc::gen::inRange(1, 9); flips > 0; --flips)
      bytes[*rc::gen::inRange<std::size_t>(0, size)] ^= static_cast<char>(1 << *rc::gen::inRange(0, 8));
    RC_PRE(bytes != read_bytes(path));
  }
  write_bytes(path, bytes);
  bool found = false;
  try {
    const Dataset dataset(folder.path());
    const TokenStream& train = dataset.split("train");
    for (std::uint64_t begin = 0; begin < tokens.size(); begin += 16) {
      std::vector<std::int32_t> out(std::min<std::uint64_t>(16, tokens.size() - begin));
      try {
        train.read(begin, out);
        RC_ASSERT(std::equal(out.begin(), out.end(), tokens.begin() + static_cast<std::ptrdiff_t>(begin)));
      } catch (const DamagedDataError& error) {
        found = true;
        RC_ASSERT(std::string(error.what()).find(file) != std::string::npos);
      }
    }
    for (const std::unique_ptr<Shard>& shard : train.shards()) shard->verify();
  } catch (const DamagedDataError& error) {
    found = true;
    RC_ASSERT(std::string(error.what()).find(file) != std::string::npos);
  }
  RC_ASSERT(found);
}

TEST(Dataset, AMissingFolderManifestShardOrSplitIsTheUsersMistakeAndNamed) {
  const ScratchFolder folder;
  EXPECT_THAT(message_of<UserError>([&] { Dataset(folder.path() / "absent"); }), HasSubstr("absent"));
  EXPECT_THAT(message_of<UserError>([&] { Dataset dataset(folder.path()); }), HasSubstr(kManifestFile));
  write_dataset(folder.path(), counting_documents({9, 9}, 300), counting_documents({5}, 300), small_options(300));
  EXPECT_THAT(message_of<UserError>([&] { Dataset(folder.path()).split("test"); }), HasSubstr("train, validation"));
  std::filesystem::remove(folder.path() / "train-00000.shard");
  EXPECT_THAT(message_of<UserError>([&] { Dataset dataset(folder.path()); }), HasSubstr("train-00000.shard"));
}

TEST(Dataset, TheTokenizerMustBeTheOneThatMadeTheTokens) {
  const ScratchFolder folder;
  write_dataset(folder.path(), {{1, 2, 0}}, {{1, 0}}, small_options(300));
  DatasetManifest manifest = read_manifest(folder.path());
  // Of "abc", FIPS 180-2.
  manifest.tokenizer_sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  write_manifest(folder.path(), manifest);
  const Dataset dataset(folder.path());
  EXPECT_THAT(message_of<UserError>([&] { dataset.tokenizer_json(); }), HasSubstr("tokenizer.json"));
  write_bytes(folder.path() / "tokenizer.json", "abc");
  EXPECT_EQ(dataset.tokenizer_json(), "abc");
  write_bytes(folder.path() / "tokenizer.json", "abd");
  EXPECT_THAT(message_of<DamagedDataError>([&] { dataset.tokenizer_json(); }), HasSubstr("tokenizer.json"));
}

TEST(Dataset, AShardOfAnotherDataSetIsRefused) {
  const ScratchFolder folder, other;
  write_dataset(folder.path(), {{1, 2, 0}}, {{1, 0}}, small_options(300));
  write_dataset(other.path(), {{1, 3, 0}}, {{1, 0}}, small_options(300));  // same sizes, another token
  std::filesystem::copy_file(other.path() / "train-00000.shard", folder.path() / "train-00000.shard",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(message_of<DamagedDataError>([&] { Dataset dataset(folder.path()); }), HasSubstr("digest"));
}

}  // namespace trireme
