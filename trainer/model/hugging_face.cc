#include "trainer/model/hugging_face.h"

#include <string>

#include <nlohmann/json.hpp>

namespace trireme {
namespace {

// All of a parameter, as it is.
FileBox all(const ParamSpec& spec, const std::string& tensor) {
  const Shape matrix = spec.matrix();
  const Shape theirs = spec.row_dims == 0 ? Shape{matrix[1]} : matrix;
  return {.tensor = tensor, .tensor_shape = theirs, .row = 0, .rows = matrix[0]};
}

// Half `index` of a parameter whose first dim is 2: K or V, gate or up.
FileBox half(const ParamSpec& spec, std::int64_t index, const std::string& tensor) {
  const Shape matrix = spec.matrix();
  const std::int64_t rows = matrix[0] / 2;
  return {.tensor = tensor, .tensor_shape = {rows, matrix[1]}, .row = index * rows, .rows = rows};
}

// GPT-2 keeps linears as [in, out]; our rows are columns of theirs, from `at` on.
FileBox conv1d(const ParamSpec& spec, const std::string& tensor, std::int64_t columns, std::int64_t at) {
  const Shape matrix = spec.matrix();
  return {.tensor = tensor,
          .tensor_shape = {matrix[1], columns},
          .row = 0,
          .rows = matrix[0],
          .at_row = 0,
          .at_column = at,
          .transposed = true};
}

// A vector that is elements [at, at + n) of theirs.
FileBox slice(const std::string& tensor, std::int64_t elements, std::int64_t at) {
  return {.tensor = tensor, .tensor_shape = {elements}, .row = 0, .rows = 1, .at_row = 0, .at_column = at};
}

std::vector<FileBox> gpt2_files(const config::Model& model, const ParamSpec& spec, const std::string& layer,
                                const std::string& part) {
  const std::string block = "transformer.h." + layer + ".";
  const std::int64_t q = std::int64_t{model.heads()} * model.head_dim();
  if (part == "embedding.tokens.weight") return {all(spec, "transformer.wte.weight")};
  if (part == "embedding.positions.weight") return {all(spec, "transformer.wpe.weight")};
  if (part == "final_norm.weight") return {all(spec, "transformer.ln_f.weight")};
  if (part == "final_norm.bias") return {all(spec, "transformer.ln_f.bias")};
  if (part == "head.weight") return {all(spec, "lm_head.weight")};
  if (part == "attention_norm.weight") return {all(spec, block + "ln_1.weight")};
  if (part == "attention_norm.bias") return {all(spec, block + "ln_1.bias")};
  if (part == "mlp_norm.weight") return {all(spec, block + "ln_2.weight")};
  if (part == "mlp_norm.bias") return {all(spec, block + "ln_2.bias")};
  if (part == "attention.q.weight") return {conv1d(spec, block + "attn.c_attn.weight", 3 * q, 0)};
  if (part == "attention.kv.weight") return {conv1d(spec, block + "attn.c_attn.weight", 3 * q, q)};
  if (part == "attention.q.bias") return {slice(block + "attn.c_attn.bias", 3 * q, 0)};
  if (part == "attention.kv.bias") return {slice(block + "attn.c_attn.bias", 3 * q, q)};
  if (part == "attention.out.weight") return {conv1d(spec, block + "attn.c_proj.weight", model.hidden_size(), 0)};
  if (part == "attention.out.bias") return {all(spec, block + "attn.c_proj.bias")};
  if (part == "mlp.up.weight") return {conv1d(spec, block + "mlp.c_fc.weight", model.ffn_size(), 0)};
  if (part == "mlp.up.bias") return {all(spec, block + "mlp.c_fc.bias")};
  if (part == "mlp.down.weight") return {conv1d(spec, block + "mlp.c_proj.weight", model.hidden_size(), 0)};
  if (part == "mlp.down.bias") return {all(spec, block + "mlp.c_proj.bias")};
  return {};
}

std::vector<FileBox> llama_files(const ParamSpec& spec, const std::string& layer, const std::string& part) {
  const std::string block = "model.layers." + layer + ".";
  if (part == "embedding.tokens.weight") return {all(spec, "model.embed_tokens.weight")};
  if (part == "final_norm.weight") return {all(spec, "model.norm.weight")};
  if (part == "head.weight") return {all(spec, "lm_head.weight")};
  if (part == "attention_norm.weight") return {all(spec, block + "input_layernorm.weight")};
  if (part == "mlp_norm.weight") return {all(spec, block + "post_attention_layernorm.weight")};
  if (part == "attention.q.weight") return {all(spec, block + "self_attn.q_proj.weight")};
  if (part == "attention.kv.weight")
    return {half(spec, 0, block + "self_attn.k_proj.weight"), half(spec, 1, block + "self_attn.v_proj.weight")};
  if (part == "attention.out.weight") return {all(spec, block + "self_attn.o_proj.weight")};
  if (part == "mlp.gate_up.weight")
    return {half(spec, 0, block + "mlp.gate_proj.weight"), half(spec, 1, block + "mlp.up_proj.weight")};
  if (part == "mlp.down.weight") return {all(spec, block + "mlp.down_proj.weight")};
  return {};
}

}  // namespace

void name_files(const config::Model& model, std::vector<ParamSpec>& specs) {
  for (ParamSpec& spec : specs) {
    if (!spec.tied_to.empty()) continue;
    std::string layer;
    std::string part = spec.name;
    if (part.starts_with("layers.")) {
      const std::size_t dot = part.find('.', 7);
      layer = part.substr(7, dot - 7);
      part = part.substr(dot + 1);
    }
    spec.files =
        model.family() == config::Model::gpt2 ? gpt2_files(model, spec, layer, part) : llama_files(spec, layer, part);
    CHECK(!spec.files.empty(), spec.name, " has no name in Hugging Face's files");
  }
}

std::string hugging_face_config(const config::Model& model, DType dtype, std::int64_t end_of_document) {
  nlohmann::ordered_json json;
  if (model.family() == config::Model::gpt2) {
    json = {{"architectures", {"GPT2LMHeadModel"}},
            {"model_type", "gpt2"},
            {"activation_function", "gelu_new"},
            {"n_embd", model.hidden_size()},
            {"n_layer", model.layers()},
            {"n_head", model.heads()},
            {"n_inner", model.ffn_size()},
            {"n_positions", model.sequence_length()},
            {"layer_norm_epsilon", model.norm_epsilon()},
            {"embd_pdrop", model.dropout()},
            {"resid_pdrop", model.dropout()},
            {"attn_pdrop", model.attention_dropout()}};
  } else {
    json = {{"architectures", {"LlamaForCausalLM"}},
            {"model_type", "llama"},
            {"hidden_act", "silu"},
            {"hidden_size", model.hidden_size()},
            {"intermediate_size", model.ffn_size()},
            {"num_hidden_layers", model.layers()},
            {"num_attention_heads", model.heads()},
            {"num_key_value_heads", model.kv_heads()},
            {"head_dim", model.head_dim()},
            {"max_position_embeddings", model.sequence_length()},
            {"rms_norm_eps", model.norm_epsilon()},
            {"rope_theta", model.rope_theta()},
            {"rope_scaling", nullptr},
            {"attention_bias", false},
            {"mlp_bias", false},
            {"attention_dropout", model.attention_dropout()}};
  }
  json["initializer_range"] = model.init_std();
  json["vocab_size"] = model.vocab_size();
  json["tie_word_embeddings"] = model.tied_embeddings();
  json["bos_token_id"] = end_of_document;
  json["eos_token_id"] = end_of_document;
  json["torch_dtype"] = dtype == DType::kF32 ? "float32" : dtype == DType::kBF16 ? "bfloat16" : "float16";
  json["use_cache"] = true;
  return json.dump(2) + "\n";
}

}  // namespace trireme
