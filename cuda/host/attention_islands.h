// Rows of attention that share keys depend on one another in the backward pass; rows that do not are free of one
// another, and of where they stand in the batch. An island is a run of rows whose key ranges hang together: a document,
// as a rule. Work is shared out by islands, and tiles of keys start where the island's keys do, so that a document's
// results do not depend on what is packed or batched beside it.
//
// Internal to cuda/host.
#pragma once

#include <cstdint>
#include <vector>

namespace trireme::host {

struct Island {
  std::int64_t row = 0;  // [row, row_end)
  std::int64_t row_end = 0;
  std::int64_t key = 0;  // [key, key_end): all that its rows attend to
  std::int64_t key_end = 0;
};

// keys [rows, 2]. CHECKs that both ends never fall and stay within [0, all_keys]. Islands are in order and their keys
// disjoint; a row with an empty range belongs to the island before it, or begins one without keys.
std::vector<Island> find_islands(const std::int32_t* keys, std::int64_t rows, std::int64_t all_keys);

}  // namespace trireme::host
