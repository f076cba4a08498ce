// The pieces of a text are what merges never cross. Encoding and training must cut alike, or a tokenizer would be
// trained on words that it never meets; so both cut here.
//
// The pieces, joined, are the text again, except that add_prefix_space puts a space before pieces that start without
// one. A run of bytes that is not UTF-8 is a piece. Immutable; each thread splits through its own Scratch.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataloader/tokenizer/split_pattern.h"
#include "dataloader/tokenizer/utf8.h"

namespace trireme {

struct TokenizerSpec;

class PieceSplitter {
 public:
  // Throws UserError if a pattern is malformed or not supported.
  explicit PieceSplitter(const TokenizerSpec& spec);

  struct Scratch {
    SplitPattern::Scratch match;
    std::string prefixed;
  };

  // Calls on_piece(std::string_view) for each piece in order; none is empty. The view lives until the call returns.
  template <class OnPiece>
  void split(std::string_view text, Scratch& scratch, OnPiece&& on_piece) const {
    while (!text.empty()) {
      const std::string_view good = text.substr(0, well_formed_prefix(text));
      if (!good.empty()) split_from(0, good, scratch, on_piece);
      text.remove_prefix(good.size());
      const std::string_view bad = text.substr(0, malformed_prefix(text));
      if (!bad.empty()) on_piece(bad);
      text.remove_prefix(bad.size());
    }
  }

 private:
  // Applies splits_[level..], then the byte-level rules.
  template <class OnPiece>
  void split_from(std::size_t level, std::string_view text, Scratch& scratch, OnPiece&& on_piece) const {
    if (level == splits_.size()) {
      byte_level(text, scratch, on_piece);
    } else {
      isolate(splits_[level], text, scratch,
              [&](std::string_view part) { split_from(level + 1, part, scratch, on_piece); });
    }
  }

  template <class OnPiece>
  void byte_level(std::string_view text, Scratch& scratch, OnPiece&& on_piece) const {
    if (add_prefix_space_ && text.front() != ' ') {
      scratch.prefixed.assign(1, ' ').append(text);
      text = scratch.prefixed;
    }
    if (byte_level_pattern_) {
      isolate(*byte_level_pattern_, text, scratch, on_piece);
    } else {
      on_piece(text);
    }
  }

  template <class OnPart>
  static void isolate(const SplitPattern& pattern, std::string_view text, Scratch& scratch, OnPart&& on_part) {
    for (std::size_t done = 0; done < text.size();) {
      const SplitPattern::Match match = pattern.find(text, done, scratch.match);
      if (done < match.start) on_part(text.substr(done, match.start - done));
      if (match.start < match.stop) on_part(text.substr(match.start, match.stop - match.start));
      done = match.stop;
    }
  }

  std::vector<SplitPattern> splits_;
  std::optional<SplitPattern> byte_level_pattern_;
  bool add_prefix_space_ = false;
};

}  // namespace trireme
