// `trireme inspect PATH` says what a file or folder of ours holds. Each kind of thing has its function here; inspect.cc
// looks which one PATH is.
#pragma once

#include <filesystem>
#include <string>

namespace trireme {

// What inspect was asked for beside the path.
struct InspectOptions {
  std::string text_of_split;  // write that split's text instead; "": no
  bool verify = false;        // read everything and hold it against its checksums
  bool tensors = false;       // of a checkpoint: list its weights
};

// A folder that `trireme prepare` wrote, or one of its shards. Throw UserError or DamagedDataError; write to standard
// output.
void inspect_dataset(const std::filesystem::path& folder, const InspectOptions& options);
void inspect_shard(const std::filesystem::path& file, const InspectOptions& options);
// One checkpoint; a run's folder, of which the newest is shown. Likewise.
void inspect_checkpoint(const std::filesystem::path& folder, const InspectOptions& options);
void inspect_run(const std::filesystem::path& run, const InspectOptions& options);

}  // namespace trireme
