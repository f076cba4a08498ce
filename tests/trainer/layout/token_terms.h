// How far may roundings move a gradient? It is a sum over rows of what each gives to it, and its bound is a multiple of
// the sum of their sizes, however little is left of them when they cancel.
#pragma once

#include "tests/trainer/oracle/decoder.h"
#include "tests/trainer/small_model.h"

namespace trireme {

// |difference| <= kRoundings u terms, u = 2^-24 in fp32.
inline constexpr double kRoundings = 2048;

// Of each element of each gradient, the sum over rows of |what the row gives to it|, from the fp64 model at these
// parameters. Of a tensor's largest sum an element has at least a sixteenth: softmax makes a row's gradient of scores
// as a difference of nearly equal numbers, so what a row gives to K may be all rounding, of numbers as large as those
// that V gets. A row of an embedding may have been used by a single token, whose own sum over columns cancels in one of
// them: there the row's largest stands for all of it.
oracle::Tensors token_terms(const Experiment& experiment, const oracle::Tensors& parameters, const Batch& batch);

}  // namespace trireme
