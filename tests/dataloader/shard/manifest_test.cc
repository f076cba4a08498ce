#include "dataloader/shard/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "monitoring/error.h"
#include "tests/dataloader/shard/folder.h"
#include "tests/dataloader/shard/sealed.h"

namespace trireme {

using ::testing::HasSubstr;

namespace {

DatasetManifest example() {
  return {.tokenizer_file = "tokenizer.json",
          .tokenizer_sha256 = std::string(64, '0'),
          .vocab_size = 1000,
          .end_of_document = 999,
          .splits = {{"train",
                      30,
                      3,
                      100,
                      {{"train-00000.shard", 20, 2, 200, std::string(32, 'a')},
                       {"train-00001.shard", 10, 1, 150, std::string(32, 'b')}}},
                     {"validation", 0, 0, 0, {}}}};
}

std::string complaint(const std::string& text) {
  return message_of<DamagedDataError>([&] { parse_manifest(text, "m"); });
}

}  // namespace

TEST(Manifest, IsReadBackAsItWasWrittenAndItsTextDoesNotVary) {
  EXPECT_EQ(parse_manifest(manifest_text(example()), "m"), example());
  EXPECT_EQ(manifest_text(example()), manifest_text(parse_manifest(manifest_text(example()), "m")));
  const ScratchFolder folder;
  write_manifest(folder.path(), example());
  write_manifest(folder.path(), example());  // replaces it
  EXPECT_EQ(read_manifest(folder.path()), example());
}

TEST(Manifest, EveryFlippedBitAndEveryTruncationIsFound) {
  const std::string intact = manifest_text(example());
  for (std::size_t byte = 0; byte < intact.size(); ++byte) {
    std::string text = intact;
    text[byte] = static_cast<char>(text[byte] ^ 1 << byte % 8);
    ASSERT_THAT(complaint(text), HasSubstr("m: ")) << "byte " << byte;
    ASSERT_THAT(complaint(intact.substr(0, byte)), HasSubstr("m: ")) << "cut at byte " << byte;
  }
}

TEST(Manifest, EveryImpossibleValueIsRefusedAndNamed) {
  const std::string body = manifest_text(example()).substr(manifest_text(example()).find('\n') + 1);
  const auto edited = [&](const char* from, const char* to) {
    std::string text = body;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return complaint(sealed_manifest(text.replace(at, std::string(from).size(), to)));
  };
  EXPECT_EQ(complaint(sealed_manifest(body)), "");
  EXPECT_THAT(edited("version: 1", "version: 2"), HasSubstr("version 2"));
  EXPECT_THAT(edited("version: 1", "colour: 1"), HasSubstr("line 2, column 7: "));
  EXPECT_THAT(edited("vocab_size: 1000", "vocab_size: 0"), HasSubstr("vocab_size is 0"));
  EXPECT_THAT(edited("vocab_size: 1000", "vocab_size: 999"), HasSubstr("end_of_document 999"));
  EXPECT_THAT(edited("vocab_size: 1000", "vocab_size: 4294967295"), HasSubstr("vocab_size"));
  EXPECT_THAT(edited("vocab_size: 1000", "vocab_size: many"), HasSubstr("line 5"));
  EXPECT_THAT(edited("tokenizer.json", "../tokenizer.json"), HasSubstr("'../tokenizer.json'"));
  EXPECT_THAT(edited("train-00001.shard", ".."), HasSubstr("'..'"));
  EXPECT_THAT(edited("train-00001.shard", "train-00000.shard"), HasSubstr("train-00000.shard is there twice"));
  EXPECT_THAT(edited("name: \"validation\"", "name: \"train\""), HasSubstr("train is there twice"));
  EXPECT_THAT(edited("tokens: 30", "tokens: 31"), HasSubstr("split train has 31 tokens"));
  EXPECT_THAT(edited("documents: 3", "documents: 2"), HasSubstr("2 documents"));
  EXPECT_THAT(edited("tokens: 20", "tokens: 18446744073709551606"), HasSubstr("18446744073709551606"));
  EXPECT_THAT(edited("aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaA"), HasSubstr("digest"));
  EXPECT_THAT(edited("tokenizer_sha256: \"0", "tokenizer_sha256: \""), HasSubstr("tokenizer_sha256"));
}

TEST(Manifest, AnUnwritableFolderIsTheUsersMistake) {
  const ScratchFolder folder;
  EXPECT_THAT(message_of<UserError>([&] { write_manifest(folder.path() / "absent", example()); }), HasSubstr("absent"));
}

}  // namespace trireme
