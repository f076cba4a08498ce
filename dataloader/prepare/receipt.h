// Running the same command twice must not do the work twice, and running another one must not mix two corpora in a
// folder. The receipt, prepare.json, says what a folder was made from: everything that its contents are a function of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "dataloader/prepare/prepare.h"

namespace trireme {

inline constexpr char kReceiptFile[] = "prepare.json";

// The file's bytes. `tokenizer_sha256`: of the tokenizer given, empty if one is trained. `digests`: of the inputs.
std::string receipt_json(const PrepareOptions& options, const std::string& tokenizer_sha256,
                         const std::vector<std::string>& digests, const PrepareSummary& summary);

// What options.out holds: nothing yet (no summary), or just what these options would make there (its summary; reads the
// inputs to be sure). Throws UserError saying what differs if it holds anything else, and DamagedDataError if its
// shards are not whole.
std::optional<PrepareSummary> prepared_before(const PrepareOptions& options, const std::string& tokenizer_sha256);

}  // namespace trireme
