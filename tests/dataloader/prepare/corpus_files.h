// Small corpora in every form that prepare reads.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <zlib.h>
#include <zstd.h>

#include "dataloader/shard/dataset.h"
#include "dataloader/tokenizer/tokenizer.h"
#include "tests/dataloader/shard/folder.h"

namespace trireme {

// Returns the path.
inline std::filesystem::path write_file(const std::filesystem::path& path, const std::string& bytes) {
  write_bytes(path, bytes);
  return path;
}

inline std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline std::string zstd(const std::string& text) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress2(context, out.data(), out.size(), text.data(), text.size()));
  ZSTD_freeCCtx(context);
  return out;
}

inline std::string json_lines(const std::vector<std::string>& texts) {
  std::string lines;
  for (const std::string& text : texts) {
    lines += nlohmann::json{{"text", text}, {"meta", {{"text", 1}, {"tags", {"a", nullptr}}}}}.dump() + "\n";
  }
  return lines;
}

inline std::string joined(const std::vector<std::string>& texts, const std::string& separator) {
  std::string all;
  for (std::size_t i = 0; i < texts.size(); ++i) all += (i == 0 ? "" : separator) + texts[i];
  return all;
}

// The documents of a split, decoded; the end-of-document token is checked and cut off.
inline std::vector<std::string> documents_of(const std::filesystem::path& folder, const std::string& split) {
  const Dataset dataset(folder);
  const Tokenizer tokenizer = Tokenizer::load(folder / dataset.manifest().tokenizer_file);
  if (!dataset.has_split(split)) return {};
  const TokenStream& stream = dataset.split(split);
  std::vector<std::string> texts;
  std::uint64_t begin = 0;
  for (const std::uint64_t end : stream.document_ends(0, stream.tokens())) {
    std::vector<std::int32_t> tokens(end - begin);
    stream.read(begin, tokens);
    EXPECT_EQ(static_cast<std::uint32_t>(tokens.back()), dataset.manifest().end_of_document);
    tokens.pop_back();
    texts.push_back(tokenizer.decode(std::vector<TokenId>(tokens.begin(), tokens.end())));
    begin = end;
  }
  return texts;
}

// Every file of a folder, by name.
inline std::map<std::string, std::string> contents_of(const std::filesystem::path& folder) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    contents[entry.path().filename().string()] = read_bytes(entry.path());
  }
  return contents;
}

// Deterministic prose of a small vocabulary, some of it not ASCII; never empty, without blank lines.
inline std::vector<std::string> some_texts(int count) {
  const char* words[] = {"oar",   "galley", "trireme",   "rows",         "the",
                         "three", "banks",  "K\u00f6ln", "\u65e5\u672c", "42"};
  std::uint64_t state = 7;
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    std::string text = "Document " + std::to_string(i);
    for (int length = 3 + i % 40; length > 0; --length) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      text += length % 9 == 0 ? "\n" : " ";
      text += words[(state >> 33) % 10];
    }
    texts.push_back(text);
  }
  return texts;
}

}  // namespace trireme
