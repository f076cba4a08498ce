#include "dataloader/tokenizer/tokenizer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>

#include "dataloader/tokenizer/bpe.h"
#include "dataloader/tokenizer/byte_alphabet.h"
#include "dataloader/tokenizer/piece_splitter.h"
#include "dataloader/tokenizer/tokenizer_json.h"
#include "monitoring/check.h"
#include "monitoring/error.h"
#include "monitoring/read_file.h"

namespace trireme {
namespace {

std::array<TokenId, 256> byte_ids(const TokenizerSpec& spec) {
  std::array<TokenId, 256> ids{};
  std::array<bool, 256> found{};
  for (const auto& [token, id] : spec.vocabulary) {
    const auto bytes = from_byte_alphabet(token);
    if (!bytes || bytes->size() != 1) continue;
    ids[static_cast<unsigned char>(bytes->front())] = id;
    found[static_cast<unsigned char>(bytes->front())] = true;
  }
  CHECK(std::count(found.begin(), found.end(), true) == 256, "a vocabulary without all bytes");
  return ids;
}

}  // namespace

struct Tokenizer::Parts {
  explicit Parts(const TokenizerSpec& spec)
      : added(spec.added_tokens),
        splitter(spec),
        model(byte_ids(spec), spec.merges),
        prefix(spec.prefix),
        suffix(spec.suffix) {
    std::size_t size = 0;
    for (const auto& [token, id] : spec.vocabulary) size = std::max<std::size_t>(size, id + 1);
    for (const AddedToken& token : spec.added_tokens) size = std::max<std::size_t>(size, token.id + 1);
    bytes.resize(size);
    exists.resize(size);
    for (const auto& [token, id] : spec.vocabulary) {
      const auto in_alphabet = from_byte_alphabet(token);
      bytes[id] = in_alphabet.value_or(token);  // as Hugging Face's ByteLevel decoder does
      exists[id] = true;
      if (spec.ignore_merges && in_alphabet && !bytes[id].empty()) whole_pieces.emplace(bytes[id], id);
    }
    for (const AddedToken& token : spec.added_tokens) {
      bytes[token.id] = token.content;
      exists[token.id] = true;
    }
  }

  AddedTokenMatcher added;
  PieceSplitter splitter;
  BpeModel model;
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
  std::vector<std::string> bytes;  // by id
  std::vector<bool> exists;        // by id
  // With ignore_merges: pieces that are tokens as they are. Own copies: an added token may take over an id's bytes.
  std::unordered_map<std::string, TokenId> whole_pieces;
};

Tokenizer::Tokenizer(const TokenizerSpec& spec) : parts_(std::make_shared<const Parts>(spec)) {}

Tokenizer Tokenizer::parse(std::string_view json, const std::string& name) {
  const TokenizerSpec spec = parse_tokenizer_json(json, name);
  try {
    return Tokenizer(spec);
  } catch (const UserError& error) {
    throw UserError(name + ": pre_tokenizer: " + error.what());
  }
}

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  return parse(read_file(path, kMaxTokenizerJsonBytes, "Is it a tokenizer.json?"), path.string());
}

std::int64_t Tokenizer::vocab_size() const { return static_cast<std::int64_t>(parts_->bytes.size()); }

std::vector<TokenId> Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  std::vector<TokenId> ids;
  Encoder(*this).encode(text, special, ids);
  return ids;
}

std::string_view Tokenizer::bytes(TokenId id) const {
  if (id >= parts_->bytes.size() || !parts_->exists[id]) {
    throw UserError("token " + std::to_string(id) + " is not in the tokenizer, whose ids end at " +
                    std::to_string(vocab_size() - 1) + "; was the text encoded with another tokenizer?");
  }
  return parts_->bytes[id];
}

std::string Tokenizer::decode(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) text += bytes(id);
  return text;
}

std::optional<TokenId> Tokenizer::added_token(std::string_view content) const {
  for (const AddedToken& token : parts_->added.tokens()) {
    if (token.content == content) return token.id;
  }
  return std::nullopt;
}

bool Tokenizer::is_special(TokenId id) const {
  const auto& tokens = parts_->added.tokens();
  return std::any_of(tokens.begin(), tokens.end(), [&](const AddedToken& t) { return t.id == id && t.special; });
}

std::optional<TokenId> Tokenizer::end_of_document() const {
  for (const char* name : {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>"}) {
    if (const auto id = added_token(name)) return id;
  }
  return std::nullopt;
}

std::span<const TokenId> Tokenizer::prefix() const { return parts_->prefix; }
std::span<const TokenId> Tokenizer::suffix() const { return parts_->suffix; }

namespace {

constexpr std::size_t kCachedBytes = 16;  // longest piece in the cache
constexpr std::size_t kCachedIds = 6;
constexpr std::size_t kCacheSlotsLog2 = 16;  // 3 MiB an encoder
constexpr int kPiecesBeforeCache = 1024;     // an encoder of a short text is not worth that

// A piece and its ids. Words repeat (Zipf), so a direct-mapped table answers most pieces of ordinary text.
struct CacheSlot {
  std::uint64_t key[2] = {0, 0};
  std::uint32_t length = 0;  // of the piece; 0: the slot is empty
  std::uint32_t count = 0;   // of ids
  TokenId ids[kCachedIds] = {};
};

}  // namespace

struct Encoder::State {
  explicit State(Tokenizer tokenizer_) : tokenizer(std::move(tokenizer_)) {}

  void encode_piece(std::string_view piece, std::vector<TokenId>& out) {
    if (piece.size() > kCachedBytes) return encode_uncached(piece, out);
    if (cache.empty()) {
      if (++pieces_before_cache <= kPiecesBeforeCache) return encode_uncached(piece, out);
      cache.resize(std::size_t{1} << kCacheSlotsLog2);
    }
    std::uint64_t key[2] = {0, 0};
    std::memcpy(key, piece.data(), piece.size());
    const std::uint64_t hash = (key[0] ^ (key[1] * 0xC2B2AE3D27D4EB4Fu + piece.size())) * 0x9E3779B97F4A7C15u;
    CacheSlot& slot = cache[hash >> (64 - kCacheSlotsLog2)];
    if (slot.length == piece.size() && slot.key[0] == key[0] && slot.key[1] == key[1]) {
      out.insert(out.end(), slot.ids, slot.ids + slot.count);
      return;
    }
    const std::size_t before = out.size();
    encode_uncached(piece, out);
    const std::size_t count = out.size() - before;
    if (count > kCachedIds) return;
    slot.key[0] = key[0];
    slot.key[1] = key[1];
    slot.length = static_cast<std::uint32_t>(piece.size());
    slot.count = static_cast<std::uint32_t>(count);
    std::copy(out.begin() + static_cast<std::ptrdiff_t>(before), out.end(), slot.ids);
  }

  void encode_uncached(std::string_view piece, std::vector<TokenId>& out) {
    const Tokenizer::Parts& parts = *tokenizer.parts_;
    if (!parts.whole_pieces.empty()) {
      whole.assign(piece);
      const auto found = parts.whole_pieces.find(whole);
      if (found != parts.whole_pieces.end()) return out.push_back(found->second);
    }
    parts.model.encode(piece, bpe, out);
  }

  Tokenizer tokenizer;
  int pieces_before_cache = 0;
  std::vector<CacheSlot> cache;
  std::vector<AddedTokenMatcher::Section> sections;
  PieceSplitter::Scratch pieces;
  BpeModel::Scratch bpe;
  std::string whole;
};

Encoder::Encoder(Tokenizer tokenizer) : state_(std::make_unique<State>(std::move(tokenizer))) {}
Encoder::Encoder(Encoder&&) noexcept = default;
Encoder& Encoder::operator=(Encoder&&) noexcept = default;
Encoder::~Encoder() = default;

void Encoder::encode(std::string_view text, SpecialTokens special, std::vector<TokenId>& out) {
  const Tokenizer::Parts& parts = *state_->tokenizer.parts_;
  parts.added.split(text, special, state_->sections);
  for (const AddedTokenMatcher::Section& section : state_->sections) {
    if (section.token != nullptr) {
      out.push_back(section.token->id);
    } else {
      parts.splitter.split(section.text, state_->pieces,
                           [&](std::string_view piece) { state_->encode_piece(piece, out); });
    }
  }
}

}  // namespace trireme
