#include "dataloader/tokenizer/added_tokens.h"

#include <algorithm>

#include "dataloader/tokenizer/utf8.h"

namespace trireme {
namespace {

// Where the run of white space that ends `text` starts.
std::size_t trailing_space(std::string_view text) {
  std::size_t start = text.size();
  while (start > 0) {
    std::size_t previous = start - 1;
    while (previous > 0 && start - previous < 4 && (static_cast<unsigned char>(text[previous]) & 0xC0) == 0x80) {
      --previous;
    }
    const std::string_view last = text.substr(previous, start - previous);
    if (well_formed_prefix(last) != last.size() || !is_white_space(first_code_point(last).value)) break;
    start = previous;
  }
  return start;
}

// Length of the run of white space that starts `text`.
std::size_t leading_space(std::string_view text) {
  std::size_t length = 0;
  while (length < text.size()) {
    const std::string_view rest = text.substr(length);
    if (malformed_prefix(rest) != 0) break;
    const CodePoint c = first_code_point(rest);
    if (!is_white_space(c.value)) break;
    length += c.bytes;
  }
  return length;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (std::uint32_t i = 0; i < tokens_.size(); ++i) {
    if (tokens_[i].content.empty()) continue;
    Round& round = tokens_[i].normalized ? normalized_ : raw_;
    round.starting_with[static_cast<unsigned char>(tokens_[i].content[0])].push_back(i);
    round.empty = false;
  }
  const auto longer = [&](std::uint32_t a, std::uint32_t b) {
    return tokens_[a].content.size() > tokens_[b].content.size();
  };
  for (Round* round : {&raw_, &normalized_}) {
    for (auto& list : round->starting_with) std::stable_sort(list.begin(), list.end(), longer);
  }
}

void AddedTokenMatcher::split(std::string_view text, SpecialTokens special, std::vector<Section>& out) const {
  out.clear();
  if (text.empty()) return;
  if (normalized_.empty || raw_.empty) {
    split_round(raw_.empty ? normalized_ : raw_, text, special, out);
    return;
  }
  std::vector<Section> first;
  split_round(raw_, text, special, first);
  for (const Section& section : first) {
    if (section.token != nullptr) {
      out.push_back(section);
    } else {
      split_round(normalized_, section.text, special, out);
    }
  }
}

void AddedTokenMatcher::split_round(const Round& round, std::string_view text, SpecialTokens special,
                                    std::vector<Section>& out) const {
  std::size_t done = 0;  // text before this is in `out`
  for (std::size_t i = 0; !round.empty && i < text.size();) {
    const AddedToken* match = nullptr;
    for (const std::uint32_t candidate : round.starting_with[static_cast<unsigned char>(text[i])]) {
      if (text.substr(i).starts_with(tokens_[candidate].content)) {
        match = &tokens_[candidate];
        break;
      }
    }
    if (match == nullptr) {
      ++i;
      continue;
    }
    std::size_t start = i;
    std::size_t stop = i + match->content.size();
    i = stop;
    if (match->special && special == SpecialTokens::kPlainText) continue;
    if (match->lstrip) start = std::max(done, trailing_space(text.substr(0, start)));
    if (match->rstrip) stop += leading_space(text.substr(stop));
    i = stop;
    if (done < start) out.push_back({text.substr(done, start - done), nullptr});
    out.push_back({text.substr(start, stop - start), match});
    done = stop;
  }
  if (done < text.size()) out.push_back({text.substr(done), nullptr});
}

}  // namespace trireme
