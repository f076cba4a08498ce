#include "dataloader/tokenizer/piece_splitter.h"

#include "dataloader/tokenizer/tokenizer_json.h"

namespace trireme {

PieceSplitter::PieceSplitter(const TokenizerSpec& spec) : add_prefix_space_(spec.add_prefix_space) {
  for (const SplitSpec& split : spec.splits) {
    splits_.push_back(split.regex ? SplitPattern(split.pattern) : SplitPattern::literal(split.pattern));
  }
  if (spec.byte_level_regex) byte_level_pattern_.emplace(kGpt2SplitPattern);
}

}  // namespace trireme
