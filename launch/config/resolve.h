// A configuration says little; a run needs everything. Resolving writes every default out, so that what runs can be
// printed, compared, and loaded again to the same thing.
#pragma once

#include <optional>
#include <string>

#include "launch/config/problems.h"
#include "launch/config/read.h"
#include "launch/run.pb.h"

namespace trireme {

// What the user's fields leave open is decided in this order: model.from, then what follows from other fields
// (kv_heads, head_dim, ffn_size, tied_embeddings, exact_groups), the vocabulary of the data set if data.path can be
// read, mesh.dp if `ranks` is known, and then the schema's defaults. What depends on the machine (run.threads), and
// what cannot be known yet, stays unset.
void resolve(config::Run& run, std::optional<int> ranks, const Sources& sources, Problems& problems);

}  // namespace trireme
