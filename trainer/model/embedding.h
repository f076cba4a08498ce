// Tokens, and in GPT-2 their positions, to vectors. Tensor parallelism cuts the vocabulary: each rank looks up its part
// for all rows, and the sum over ranks, in which one term is not zero, is exact. Positions and dropout see the rows
// held here.
#pragma once

#include <optional>
#include <string>

#include "trainer/model/pass.h"

namespace trireme {

class Embedding {
 public:
  struct Saved {
    ArenaTensor dy;  // [share, C], from backward_input until backward_weight
  };
  struct Options {
    std::int64_t vocabulary = 0;
    std::int64_t hidden_size = 0;
    std::optional<std::int64_t> learned_positions;  // how many
    float dropout = 0;
    float init_std = 0;
  };

  Embedding(ParamList& list, const std::string& name, const Options& options);

  ArenaTensor forward(const Pass& pass) const;  // [share, C]
  void backward_input(const Pass& pass, ArenaTensor dy, Saved& saved) const;
  void backward_weight(const Pass& pass, Saved& saved) const;

 private:
  Dropout dropout(const Pass& pass) const;
  std::int64_t first_token(const Pass& pass) const;  // of this rank's part of the vocabulary

  std::string name_;
  std::string sum_, gradient_;  // what the calls are for
  Options options_;
  ParamIndex tokens_;
  ParamIndex positions_ = 0;
};

}  // namespace trireme
