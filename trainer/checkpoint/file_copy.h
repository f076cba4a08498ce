// A rank holds boxes of our parameters; a file holds Hugging Face's tensors, in which several of ours may lie, some
// transposed. These copy what both have in common, and are all that stands between the two layouts.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "parallel/placement/param_spec.h"

namespace trireme {

// The Hugging Face tensors that hold parts of `spec`, each once, by its first file box.
std::vector<const FileBox*> file_tensors(const ParamSpec& spec);

// Whether `tensor` is the whole of `spec`, element for element in the same order.
bool is_same_tensor(const ParamSpec& spec, const FileBox& tensor);

// `ours`: the values of `box` of the parameter, row-major. `theirs`: the values of the whole tensor of that name,
// row-major. Return the number of elements copied: those that both have.
std::int64_t copy_to_file(const ParamSpec& spec, const Box& box, const std::string& tensor, std::span<const float> ours,
                          std::span<float> theirs);
std::int64_t copy_from_file(const ParamSpec& spec, const Box& box, const std::string& tensor, std::span<float> ours,
                            std::span<const float> theirs);

}  // namespace trireme
