#include "launch/config/hugging_face.h"

#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>
#include <set>

#include <nlohmann/json.hpp>

#include "launch/config/fields.h"
#include "monitoring/error.h"
#include "monitoring/read_file.h"

namespace trireme {
namespace {

using nlohmann::json;

// Keys that do not change what the model computes: bookkeeping, token ids, settings of generation and of heads that are
// not the language model's. Older versions of transformers wrote all of them into every file.
constexpr std::array kWithoutEffect = {"_name_or_path",
                                       "architectures",
                                       "auto_map",
                                       "bad_words_ids",
                                       "begin_suppress_tokens",
                                       "bos_token_id",
                                       "cache_implementation",
                                       "chunk_size_feed_forward",
                                       "cross_attention_hidden_size",
                                       "decoder_start_token_id",
                                       "diversity_penalty",
                                       "do_sample",
                                       "dtype",
                                       "early_stopping",
                                       "encoder_no_repeat_ngram_size",
                                       "eos_token_id",
                                       "exponential_decay_length_penalty",
                                       "finetuning_task",
                                       "forced_bos_token_id",
                                       "forced_eos_token_id",
                                       "id2label",
                                       "is_decoder",
                                       "keys_to_ignore_at_inference",
                                       "label2id",
                                       "length_penalty",
                                       "max_length",
                                       "min_length",
                                       "model_type",
                                       "n_ctx",
                                       "no_repeat_ngram_size",
                                       "num_beam_groups",
                                       "num_beams",
                                       "num_return_sequences",
                                       "output_attentions",
                                       "output_hidden_states",
                                       "output_scores",
                                       "pad_token_id",
                                       "prefix",
                                       "pretraining_tp",
                                       "problem_type",
                                       "remove_invalid_values",
                                       "repetition_penalty",
                                       "return_dict",
                                       "return_dict_in_generate",
                                       "sep_token_id",
                                       "summary_activation",
                                       "summary_first_dropout",
                                       "summary_proj_to_labels",
                                       "summary_type",
                                       "summary_use_proj",
                                       "suppress_tokens",
                                       "task_specific_params",
                                       "temperature",
                                       "tf_legacy_loss",
                                       "tokenizer_class",
                                       "top_k",
                                       "top_p",
                                       "torch_dtype",
                                       "torchscript",
                                       "transformers_version",
                                       "typical_p",
                                       "use_bfloat16",
                                       "use_cache"};

// Looks keys up, remembers which were asked for, and reports what has the wrong type.
class ConfigFile {
 public:
  ConfigFile(const json& object, const std::string& file, Problems& problems)
      : object_(object), file_(file), problems_(problems) {}

  void refuse(const std::string& key, const std::string& reason) {
    problems_.add(file_, "model.from", key + " = " + shown(key) + ": " + reason);
  }
  const json* find(const std::string& key) {
    seen_.insert(key);
    const auto at = object_.find(key);
    return at == object_.end() || at->is_null() ? nullptr : &*at;
  }
  std::optional<int> size(const std::string& key) {
    const json* value = find(key);
    if (!value) return std::nullopt;
    if (value->is_number_integer() && *value > 0 && *value <= std::numeric_limits<int>::max()) return value->get<int>();
    refuse(key, "a positive whole number is expected");
    return std::nullopt;
  }
  int size_or(const std::string& key, int otherwise) { return size(key).value_or(otherwise); }
  double number_or(const std::string& key, double otherwise) {
    const json* value = find(key);
    if (!value) return otherwise;
    if (value->is_number() && std::isfinite(value->get<double>())) return value->get<double>();
    refuse(key, "a number is expected");
    return otherwise;
  }
  bool flag_or(const std::string& key, bool otherwise) {
    const json* value = find(key);
    if (!value) return otherwise;
    if (value->is_boolean()) return value->get<bool>();
    refuse(key, "true or false is expected");
    return otherwise;
  }
  void require_flag(const std::string& key, bool otherwise, bool wanted) {
    if (flag_or(key, otherwise) != wanted) {
      refuse(key, std::string("not implemented; it must be ") + (wanted ? "true" : "false"));
    }
  }
  void require_word(const std::string& key, const std::set<std::string>& implemented) {
    const json* value = find(key);
    if (!value || (value->is_string() && implemented.contains(value->get<std::string>()))) return;
    std::string list;
    for (const std::string& word : implemented) list += (list.empty() ? "" : " and ") + word;
    refuse(key, "not implemented; there is " + list);
  }
  void refuse_if_set(const std::string& key) {
    if (find(key)) refuse(key, "not implemented; only null is");
  }
  // What nobody asked for might change the model.
  void refuse_unknown_keys() {
    const std::set<std::string, std::less<>> harmless(kWithoutEffect.begin(), kWithoutEffect.end());
    for (const auto& [key, value] : object_.items()) {
      const bool off = value.is_null() || value == false;
      if (seen_.contains(key) || harmless.contains(key) || off) continue;
      refuse(printable(key), "not known here; remove it from the file if it does not change the model");
    }
  }

 private:
  static std::string printable(const std::string& key) {
    const std::string text = quote_text(key);
    return text.size() == key.size() + 2 ? key : text;
  }
  std::string shown(const std::string& key) const {
    const auto at = object_.find(key);
    if (at == object_.end()) return "(default)";
    if (at->is_array()) return "[...]";
    if (at->is_object()) return "{...}";  // never printed whole: it may be nested without end
    return at->is_string() ? quote_text(at->get_ref<const std::string&>()) : at->dump();
  }

  const json& object_;
  const std::string& file_;
  Problems& problems_;
  std::set<std::string, std::less<>> seen_;
};

config::Model translate_gpt2(ConfigFile& file) {
  config::Model model;
  model.set_family(config::Model::gpt2);
  const int hidden = file.size_or("n_embd", 768);
  const int heads = file.size_or("n_head", 12);
  model.set_layers(file.size_or("n_layer", 12));
  model.set_hidden_size(hidden);
  model.set_heads(heads);
  model.set_kv_heads(heads);
  if (hidden % heads == 0) model.set_head_dim(hidden / heads);
  const std::int64_t four_times = std::int64_t{4} * hidden;
  const auto inner = file.size("n_inner");
  if (inner || four_times <= std::numeric_limits<int>::max())
    model.set_ffn_size(inner.value_or(static_cast<int>(four_times)));
  model.set_vocab_size(file.size_or("vocab_size", 50257));
  model.set_sequence_length(file.size_or("n_positions", 1024));
  model.set_norm_epsilon(file.number_or("layer_norm_epsilon", 1e-5));
  model.set_init_std(file.number_or("initializer_range", 0.02));
  model.set_tied_embeddings(file.flag_or("tie_word_embeddings", true));
  const double embedding_dropout = file.number_or("embd_pdrop", 0.1);
  model.set_dropout(file.number_or("resid_pdrop", 0.1));
  model.set_attention_dropout(file.number_or("attn_pdrop", 0.1));
  if (embedding_dropout != model.dropout()) file.refuse("embd_pdrop", "not implemented unless it equals resid_pdrop");
  file.require_word("activation_function", {"gelu_new", "gelu_pytorch_tanh"});
  file.require_flag("scale_attn_weights", true, true);
  file.require_flag("scale_attn_by_inverse_layer_idx", false, false);
  file.require_flag("reorder_and_upcast_attn", false, false);
  file.require_flag("add_cross_attention", false, false);
  file.require_flag("is_encoder_decoder", false, false);
  return model;
}

// rope_theta stood at the top until transformers 5, which moved it into rope_parameters.
double translate_rope(ConfigFile& file) {
  double theta = file.number_or("rope_theta", 10000);
  for (const std::string key : {"rope_scaling", "rope_parameters"}) {
    const json* rope = file.find(key);
    if (!rope) continue;
    if (!rope->is_object()) {
      file.refuse(key, "an object is expected");
      continue;
    }
    for (const auto& [name, value] : rope->items()) {
      if (name == "rope_type" || name == "type") {
        const std::string kind = value.is_string() ? quote_text(value.get_ref<const std::string&>()) : "(not a word)";
        if (kind != "\"default\"") file.refuse(key, "the kind " + kind + " is not implemented; only \"default\" is");
      } else if (name == "rope_theta" && value.is_number()) {
        theta = value.get<double>();
      } else if (!value.is_null() && name != "original_max_position_embeddings" && !rope->contains("rope_type") &&
                 !rope->contains("type")) {
        file.refuse(key, quote_text(name) + " is not implemented");
      }
    }
  }
  return theta;
}

config::Model translate_llama(ConfigFile& file) {
  config::Model model;
  model.set_family(config::Model::llama);
  const int hidden = file.size_or("hidden_size", 4096);
  const int heads = file.size_or("num_attention_heads", 32);
  model.set_layers(file.size_or("num_hidden_layers", 32));
  model.set_hidden_size(hidden);
  model.set_heads(heads);
  model.set_kv_heads(file.size_or("num_key_value_heads", heads));
  if (const auto head_dim = file.size("head_dim")) {
    model.set_head_dim(*head_dim);
  } else if (hidden % heads == 0) {
    model.set_head_dim(hidden / heads);
  }
  model.set_ffn_size(file.size_or("intermediate_size", 11008));
  model.set_vocab_size(file.size_or("vocab_size", 32000));
  model.set_sequence_length(file.size_or("max_position_embeddings", 2048));
  model.set_norm_epsilon(file.number_or("rms_norm_eps", 1e-6));
  model.set_init_std(file.number_or("initializer_range", 0.02));
  model.set_tied_embeddings(file.flag_or("tie_word_embeddings", false));
  model.set_attention_dropout(file.number_or("attention_dropout", 0));
  model.set_rope_theta(translate_rope(file));
  file.require_word("hidden_act", {"silu", "swish"});
  file.require_flag("attention_bias", false, false);
  file.require_flag("mlp_bias", false, false);
  file.require_flag("is_encoder_decoder", false, false);
  file.refuse_if_set("sliding_window");
  if (file.number_or("partial_rotary_factor", 1) != 1)
    file.refuse("partial_rotary_factor", "not implemented; only 1 is");
  return model;
}

// nlohmann keeps the last of duplicate keys in silence, and nests as deep as the file says.
json parse_json(std::string_view text, const std::string& path, Problems& problems) {
  constexpr int kMaxDepth = 32;
  std::set<std::string> top_keys;
  auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxDepth) throw UserError("nested more than " + std::to_string(kMaxDepth) + " deep");
    if (event == json::parse_event_t::key && depth == 1 && !top_keys.insert(parsed.get<std::string>()).second) {
      problems.add(path, "model.from", quote_text(parsed.get<std::string>()) + " stands there twice; keep one of them");
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), watch);
  } catch (const json::exception& error) {
    std::string reason = error.what();  // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    const std::size_t bracket = reason.find("] ");
    if (bracket != std::string::npos) reason.erase(0, bracket + 2);
    const std::size_t detail = reason.find("; last read:");  // quotes the file's bytes as they are
    if (detail != std::string::npos) reason.resize(detail);
    problems.add(path, "model.from", "not JSON: " + reason);
  } catch (const UserError& error) {
    problems.add(path, "model.from", error.what());
  }
  return json();
}

}  // namespace

config::Model translate_hugging_face_config(std::string_view text, const std::string& path, Problems& problems) {
  const std::size_t before = problems.size();
  const json object = parse_json(text, path, problems);
  if (!object.is_object()) {
    if (problems.size() == before) problems.add(path, "model.from", "an object { ... } is expected");
    return {};
  }
  ConfigFile file(object, path, problems);
  const json* type = file.find("model_type");
  config::Model model;
  if (type && *type == "gpt2") {
    model = translate_gpt2(file);
  } else if (type && *type == "llama") {
    model = translate_llama(file);
  } else {
    file.refuse("model_type", "not implemented; there are gpt2 and llama");
    return {};
  }
  file.refuse_unknown_keys();
  return model;
}

HuggingFaceModel read_hugging_face_directory(const std::string& dir, Problems& problems) {
  namespace fs = std::filesystem;
  HuggingFaceModel found;
  const std::string path = (fs::path(dir) / "config.json").string();
  try {
    found.model = translate_hugging_face_config(read_file(path, kMaxHuggingFaceConfigBytes), path, problems);
  } catch (const UserError& error) {
    problems.add(path, "model.from",
                 std::string(error.what()) + ". A Hugging Face directory with config.json is expected");
    return found;
  }
  std::error_code ignored;
  if (fs::exists(fs::path(dir) / "model.safetensors", ignored) ||
      fs::exists(fs::path(dir) / "model.safetensors.index.json", ignored)) {
    found.weights = WeightFiles::kSafetensors;
  } else if (fs::exists(fs::path(dir) / "pytorch_model.bin", ignored) ||
             fs::exists(fs::path(dir) / "pytorch_model.bin.index.json", ignored)) {
    found.weights = WeightFiles::kOtherFormats;
  }
  return found;
}

void merge_hugging_face_model(const config::Model& theirs, config::Run& run, const Sources& sources,
                              Problems& problems) {
  config::Run translated;
  *translated.mutable_model() = theirs;
  for (const Field& field : all_fields()) {
    if (!field.section || field.section->name() != "model" || !has_value(translated, field)) continue;
    const std::string value = value_text(translated, field);
    const std::string range_reason = out_of_range(translated, field);
    if (!range_reason.empty()) {
      problems.add(sources.of("model.from"), field.path, "from config.json: " + range_reason);
      continue;
    }
    if (!sources.by_user(field.path)) {
      set_value(run, field, value, false);
      continue;
    }
    const bool may_differ = field.path == "model.dropout" || field.path == "model.attention_dropout" ||
                            field.path == "model.init_std" ||
                            (field.path == "model.sequence_length" && theirs.family() == config::Model::llama &&
                             run.model().sequence_length() <= theirs.sequence_length());
    if (!may_differ && !problems.concerns(field.path) && value_text(run, field) != value) {
      problems.add(sources.of(field.path), field.path,
                   value_text(run, field) + " disagrees with model.from, whose config.json says " + value +
                       "; leave this field out");
    }
  }
}

}  // namespace trireme
