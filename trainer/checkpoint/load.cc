#include <algorithm>
#include <cstring>
#include <map>
#include <sstream>

#include <fmt/format.h>

#include "monitoring/error.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/commit.h"
#include "trainer/checkpoint/file_copy.h"
#include "trainer/checkpoint/snapshot.h"
#include "trainer/checkpoint/verify.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

// "a {\n  b: 1\n}" -> {"a.b: 1"}, so that a line says where it stands. Other text is left as it is.
std::vector<std::string> full_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::vector<std::string> inside;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    line.erase(0, line.find_first_not_of(' '));
    if (line == "}" && !inside.empty()) {
      inside.pop_back();
    } else if (line.ends_with(" {")) {
      inside.push_back(line.substr(0, line.size() - 2));
    } else {
      std::string path;
      for (const std::string& block : inside) path += block + ".";
      lines.push_back(path + line);
    }
  }
  return lines;
}

// The lines that are not in both, as "- this run" and "+ the checkpoint".
std::string difference(const std::string& mine, const std::string& theirs) {
  const std::vector<std::string> a = full_lines(mine), b = full_lines(theirs);
  const auto only = [](const std::vector<std::string>& these, const std::vector<std::string>& those, char mark) {
    std::string text;
    for (const std::string& line : these)
      if (std::find(those.begin(), those.end(), line) == those.end()) text += fmt::format("\n  {} {}", mark, line);
    return text;
  };
  const std::string text = only(a, b, '-') + only(b, a, '+');
  return text.empty() ? "\n  the same lines, in another order or number" : text;
}

// One value for all ranks: the first that is not empty.
std::string first_of(Communicator& world, const std::string& mine, std::string_view call) {
  for (const std::string& text : world.gather_to_all(mine, {-1, call}))
    if (!text.empty()) return text;
  return "";
}

// The f32 values of a Hugging Face tensor: as they lie there, or converted into `converted`.
std::span<const float> values_of(std::span<const std::byte> bytes, DType dtype, std::vector<float>& converted) {
  const std::size_t count = bytes.size() / bytes_of(dtype);
  if (dtype == DType::kF32 && reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(float) == 0)
    return {reinterpret_cast<const float*>(bytes.data()), count};
  converted.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (dtype == DType::kF32) {
      std::memcpy(&converted[i], bytes.data() + 4 * i, 4);
    } else {
      std::uint16_t bits = 0;
      std::memcpy(&bits, bytes.data() + 2 * i, 2);
      converted[i] = dtype == DType::kBF16 ? from_bf16(bits) : from_fp16(bits);
    }
  }
  return converted;
}

struct StoredTensor {
  std::span<const std::byte> bytes;
  DType dtype = DType::kF32;
};

// find(file) -> StoredTensor, of the shape that `file` says. Uploads the box.
template <class Find>
void fill(Context& context, const CheckpointParam& param, Tensor to, Find find) {
  if (param.box.empty()) return;
  std::vector<float> ours(static_cast<std::size_t>(param.box.elements()));
  std::vector<float> converted;
  std::int64_t filled = 0;
  for (const FileBox* file : file_tensors(*param.spec)) {
    const StoredTensor stored = find(*file);
    const std::span<const float> theirs = values_of(stored.bytes, stored.dtype, converted);
    filled += copy_from_file(*param.spec, param.box, file->tensor, ours, theirs);
  }
  CHECK(filled == param.box.elements(), param.spec->name, ": ", filled, " of ", param.box.elements(),
        " elements loaded");
  context.device->upload(context.compute, to, ours.data());
}

void load_tensors(Context& context, const OpenCheckpoint& checkpoint, const CheckpointState& state,
                  const fs::path& path) {
  const auto load = [&](const CheckpointParam& param, Tensor to, TensorKind kind) {
    fill(context, param, to, [&](const FileBox& file) {
      const SafetensorsEntry& entry = checkpoint.entry(file_stem(kind), file.tensor);
      if (!(entry.shape == file.tensor_shape) || entry.dtype != DType::kF32)
        throw DamagedDataError(fmt::format("{}: tensor {} is {} {} instead of fp32 {}", path.string(), file.tensor,
                                           name_of(entry.dtype), to_string(entry.shape), to_string(file.tensor_shape)));
      return StoredTensor{checkpoint.bytes(file_stem(kind), file.tensor), DType::kF32};
    });
  };
  for (const CheckpointParam& param : state.params) {
    load(param, param.master, checkpoint.has_masters() ? TensorKind::kMaster : TensorKind::kModel);
    load(param, param.first_moment, TensorKind::kFirstMoment);
    load(param, param.second_moment, TensorKind::kSecondMoment);
  }
  context.device->synchronize(context.compute);
}

}  // namespace

Resumed load_checkpoint(Context& context, Communicator& world, const fs::path& path, const CheckpointState& state) {
  // All ranks see the same files, but each finds out for itself; they agree before any of them goes on.
  std::optional<OpenCheckpoint> checkpoint;
  std::string damage;
  try {
    checkpoint.emplace(path);
    damage = checkpoint->tensor_damage(world.rank(), world.size());
  } catch (const std::exception& error) {
    damage = error.what();
  }
  damage = first_of(world, damage, "checkpoint verification");
  if (!damage.empty()) throw DamagedDataError(damage);

  const proto::CheckpointManifest& manifest = checkpoint->manifest();
  if (manifest.experiment() != state.experiment)
    throw UserError(
        fmt::format("{} belongs to another experiment (- this run, + the checkpoint):{}\nGive this run another "
                    "run.dir, or the configuration that it was begun with",
                    path.string(), difference(state.experiment, manifest.experiment())));
  load_tensors(context, *checkpoint, state, path);
  return {path, manifest.step(), manifest.cursor(), progress_of(manifest)};
}

std::optional<Resumed> load_newest(Context& context, Communicator& world, const fs::path& folder,
                                   const CheckpointState& state, std::vector<PassedOver>& passed_over) {
  // The leader's list is everybody's: a network file system may show others an old one.
  std::string names;
  for (const fs::path& path : list_checkpoints(folder)) names += path.filename().string() + "\n";
  std::istringstream lines(world.gather_to_all(names, {-1, "checkpoints"})[0]);
  std::vector<fs::path> paths;
  for (std::string name; std::getline(lines, name);) paths.push_back(folder / name);
  for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
    try {
      return load_checkpoint(context, world, *path, state);
    } catch (const DamagedDataError& error) {
      passed_over.push_back({*path, error.what()});
    }
  }
  if (paths.empty()) return std::nullopt;
  std::string reasons;
  for (const PassedOver& one : passed_over) reasons += "\n  " + one.reason;
  throw DamagedDataError(fmt::format("none of the {} checkpoints in {} can be used:{}\nMove them away to begin anew",
                                     paths.size(), folder.string(), reasons));
}

void load_weights(Context& context, const fs::path& directory, const std::vector<CheckpointParam>& params) {
  std::vector<std::unique_ptr<SafetensorsFile>> files;
  std::map<std::string, std::pair<const SafetensorsFile*, const SafetensorsEntry*>> tensors;
  std::vector<fs::path> paths;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("model") && name.ends_with(".safetensors")) paths.push_back(entry.path());
  }
  if (paths.empty()) throw UserError(directory.string() + " holds no model*.safetensors");
  for (const fs::path& path : paths) {
    files.push_back(std::make_unique<SafetensorsFile>(path));
    for (const SafetensorsEntry& entry : files.back()->entries())
      if (!tensors.emplace(entry.name, std::pair(files.back().get(), &entry)).second)
        throw UserError(fmt::format("{} holds tensor {} in two files", directory.string(), entry.name));
  }
  // Some files name GPT-2's tensors without their first word, and some Llama's with a tied head beside.
  const auto find = [&](const std::string& name) {
    constexpr std::string_view kPrefix = "transformer.";
    auto found = tensors.find(name);
    if (found == tensors.end() && name.starts_with(kPrefix)) found = tensors.find(name.substr(kPrefix.size()));
    return found;
  };
  for (const CheckpointParam& param : params)
    fill(context, param, param.master, [&](const FileBox& file) {
      const auto found = find(file.tensor);
      if (found == tensors.end())
        throw UserError(
            fmt::format("{} has no tensor {}, which {} needs", directory.string(), file.tensor, param.spec->name));
      const auto [holder, entry] = found->second;
      if (!(entry->shape == file.tensor_shape))
        throw UserError(fmt::format("{}: tensor {} is {} instead of {}", directory.string(), file.tensor,
                                    to_string(entry->shape), to_string(file.tensor_shape)));
      if (entry->dtype != DType::kF32 && entry->dtype != DType::kBF16 && entry->dtype != DType::kF16)
        throw UserError(
            fmt::format("{}: tensor {} holds {}, not weights", directory.string(), file.tensor, name_of(entry->dtype)));
      return StoredTensor{holder->bytes_of_entry(*entry), entry->dtype};
    });
  context.device->synchronize(context.compute);
}

}  // namespace trireme
