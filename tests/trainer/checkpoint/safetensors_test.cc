#include "trainer/checkpoint/safetensors.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "monitoring/error.h"
#include "tests/trainer/checkpoint/scratch.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string bytes(8, '\0');
  for (std::size_t byte = 0; byte < 8; ++byte) bytes[byte] = static_cast<char>(length >> (8 * byte) & 0xFF);
  return bytes + rest;
}
std::string file_of(const std::string& header, std::size_t data = 0) {
  return with_length(header.size(), header + std::string(data, 'd'));
}
SafetensorsHeader parse(const std::string& bytes) { return parse_safetensors(std::as_bytes(std::span(bytes)), "f.st"); }
std::string refusal(const std::string& bytes) {
  return message_of<Error>([&] { parse(bytes); });
}
std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

// https://github.com/huggingface/safetensors#format, written by hand.
TEST(Safetensors, HeadersAreTheseBytes) {
  const std::string text = R"({"__metadata__":{"format":"pt"},)"
                           R"("a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                           R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})";
  std::string padded = text;
  while (padded.size() % 8 != 0) padded += ' ';
  EXPECT_EQ(safetensors_header({{.name = "a.weight", .dtype = DType::kF32, .shape = {2, 3}, .begin = 0},
                                {.name = "b", .dtype = DType::kBF16, .shape = {4}, .begin = 24}}),
            with_length(padded.size(), padded));
}

TEST(Safetensors, NamesAreEscaped) {
  const std::string header = safetensors_header({{.name = "a\"\\\n", .dtype = DType::kF32, .shape = {1}, .begin = 0}});
  EXPECT_EQ(parse(header + "dddd").entries.at(0).name, "a\"\\\n");
}

TEST(Safetensors, ReadsTensorsInAnyOrderOfTheHeader) {
  const SafetensorsHeader header =
      parse(file_of("{" + entry("late", "I64", "[1]", "[6,14]") + "," + entry("none", "F32", "[0,7]", "[6,6]") + "," +
                        entry("early", "F16", "[3,1]", "[0,6]") + R"(,"__metadata__":{"by":"hand"}}   )",
                    14));
  ASSERT_EQ(header.entries.size(), 3u);
  EXPECT_EQ(header.entries[0].name, "early");
  EXPECT_EQ(header.entries[0].dtype, DType::kF16);
  EXPECT_EQ(header.entries[0].shape, (Shape{3, 1}));
  EXPECT_EQ(header.entries[1].name, "none");
  EXPECT_EQ(header.entries[2].begin, 6u);
  EXPECT_EQ(parse(file_of("{}")).entries.size(), 0u);
  EXPECT_EQ(parse(file_of("{" + entry("scalar", "F32", "[]", "[0,4]") + "}", 4)).entries[0].bytes(), 4u);
}

TEST(Safetensors, LengthsThatDoNotFitAreRefused) {
  EXPECT_THAT(refusal(""), AllOf(HasSubstr("f.st"), HasSubstr("0 bytes")));
  EXPECT_THAT(refusal("1234567"), HasSubstr("7 bytes"));
  EXPECT_THAT(refusal(with_length(3, "{}")), HasSubstr("ends at byte 10"));
  EXPECT_THAT(refusal(with_length(100'000'001, "{}")), HasSubstr("100000001 bytes"));
  EXPECT_THAT(refusal(with_length(~std::uint64_t{0}, "{}")), HasSubstr("18446744073709551615 bytes"));
  EXPECT_THAT(refusal(with_length(0, "{}")), HasSubstr("byte 8"));
}

TEST(Safetensors, HeadersThatAreNotOneObjectAreRefused) {
  EXPECT_THAT(refusal(file_of(" {}")), HasSubstr("byte 8"));
  EXPECT_THAT(refusal(file_of("{}\n")), HasSubstr("byte 10"));
  EXPECT_THAT(refusal(file_of(std::string("{}\0", 3))), HasSubstr("byte 10"));
  EXPECT_THAT(refusal(file_of("{}{}")), HasSubstr("not JSON"));
  EXPECT_THAT(refusal(file_of("{\"a\":}")), HasSubstr("not JSON"));
  EXPECT_THAT(refusal(file_of("{\"\xff\":1}")), HasSubstr("not JSON"));
  EXPECT_THAT(refusal(file_of("{\"a\":[1]}")), HasSubstr("tensor a has no \"dtype\""));
  EXPECT_THAT(refusal(file_of("{\"a\":1,\"a\":2}")), HasSubstr("\"a\" twice"));
  EXPECT_THAT(refusal(file_of("{\"__metadata__\":{\"a\":1}}")), HasSubstr("__metadata__"));
  EXPECT_THAT(refusal(file_of(R"({"a":{"dtype":"F32","dtype":"F32"}})")), HasSubstr("\"dtype\" twice"));
  const std::string deep(1'000'000, '[');
  EXPECT_THAT(refusal(file_of("{\"a\":" + deep + "}")), HasSubstr("nested too deeply"));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_THAT(refusal(file_of(objects + "}")), HasSubstr("nested too deeply"));
}

TEST(Safetensors, HostileTensorsAreRefusedByName) {
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return refusal(file_of("{" + entry("evil", dtype, shape, offsets) + "}", 8));
  };
  for (const auto& [message, part] : std::vector<std::pair<std::string, std::string>>{
           {one("F32", "[4294967296,4294967296]", "[0,0]"), "more than 64 bits"},
           {one("F32", "[4611686018427387904]", "[0,0]"), "more than 64 bits"},
           {one("F32", "[9223372036854775808]", "[0,8]"), "more than 64 bits"},
           {one("F32", "[18446744073709551616]", "[0,8]"), "not a number from 0 up"},
           {one("F32", "[-1]", "[0,8]"), "not a number from 0 up"},
           {one("F32", "[2.0]", "[0,8]"), "not a number from 0 up"},
           {one("F32", "[\"2\"]", "[0,8]"), "not a number from 0 up"},
           {one("F32", "2", "[0,8]"), "not a list"},
           {one("F32", "[1,1,1,1,1,2]", "[0,8]"), "not a list"},
           {one("F32", "[2]", "[-8,0]"), "not a number from 0 up"},
           {one("F32", "[2]", "[8,0]"), "bytes 8 to 0"},
           {one("F32", "[2]", "[0,16]"), "bytes 0 to 16 of 8"},
           {one("F32", "[2]", "[18446744073709551608,18446744073709551615]"), "of 8 bytes of data"},
           {one("F32", "[2]", "[0,4]"), "4 bytes for a shape of 8"},
           {one("F32", "[2]", "[0]"), "not two numbers"},
           {one("F32", "[2]", "[0,8,8]"), "not two numbers"},
           {one("F33", "[2]", "[0,8]"), "dtype F33"},
           {one("F32", "[1]", "[4,8]"), "begins at byte 4 of the data, where 0 is due"}})
    EXPECT_THAT(message, AllOf(HasSubstr("f.st"), HasSubstr("tensor evil"), HasSubstr(part)));
}

TEST(Safetensors, HolesOverlapsAndRestsAreRefused) {
  const auto two = [](const std::string& first, const std::string& second, std::size_t data) {
    return refusal(file_of("{" + entry("a", "F32", "[2]", first) + "," + entry("b", "F32", "[2]", second) + "}", data));
  };
  EXPECT_EQ(two("[0,8]", "[8,16]", 16), "");
  EXPECT_THAT(two("[0,8]", "[12,20]", 20), HasSubstr("tensor b begins at byte 12 of the data, where 8 is due"));
  EXPECT_THAT(two("[0,8]", "[4,12]", 12), HasSubstr("tensor b begins at byte 4 of the data, where 8 is due"));
  EXPECT_THAT(two("[0,8]", "[0,8]", 8), HasSubstr("where 8 is due"));
  EXPECT_THAT(two("[0,8]", "[8,16]", 17), HasSubstr("its tensors have 16 bytes, its data 17"));
  EXPECT_THAT(refusal(file_of("{}", 1)), HasSubstr("its tensors have 0 bytes, its data 1"));
}

TEST(Safetensors, FilesAreMappedAndWhatIsNoFileIsNamed) {
  const ScratchFolder folder;
  write_bytes(folder.path() / "good", file_of("{" + entry("a", "F32", "[1]", "[0,4]") + "}", 4));
  const SafetensorsFile file(folder.path() / "good");
  const auto bytes = file.bytes_of_entry(file.entries()[0]);
  EXPECT_EQ(std::memcmp(bytes.data(), "dddd", 4), 0);
  EXPECT_THAT(message_of<UserError>([&] { SafetensorsFile{folder.path() / "none"}; }), HasSubstr("none: No such file"));
  EXPECT_THAT(message_of<UserError>([&] { SafetensorsFile{folder.path()}; }), HasSubstr("is not a file"));
  write_bytes(folder.path() / "empty", "");
  EXPECT_THAT(message_of<DamagedDataError>([&] { SafetensorsFile{folder.path() / "empty"}; }), HasSubstr("0 bytes"));
}

}  // namespace
}  // namespace trireme
