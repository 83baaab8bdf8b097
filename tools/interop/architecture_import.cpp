// A config.json as a model of Monge's. Every key there must be known: one that is not might change what the model does.
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "tools/interop/architecture.h"

namespace monge::tools {
namespace {

/// Keys that say nothing about what the model computes of its tokens.
const std::set<std::string> ignored{"architectures",
                                    "model_type",
                                    "torch_dtype",
                                    "dtype",
                                    "transformers_version",
                                    "use_cache",
                                    "bos_token_id",
                                    "eos_token_id",
                                    "pad_token_id",
                                    "unk_token_id",
                                    "sep_token_id",
                                    "decoder_start_token_id",
                                    "initializer_range",
                                    "_name_or_path",
                                    "name_or_path",
                                    "task_specific_params",
                                    "summary_activation",
                                    "summary_first_dropout",
                                    "summary_proj_to_labels",
                                    "summary_type",
                                    "summary_use_proj",
                                    "gradient_checkpointing",

                                    "attention_dropout",
                                    "return_dict",
                                    "output_hidden_states",
                                    "output_attentions",
                                    "id2label",
                                    "label2id",
                                    "problem_type",
                                    "finetuning_task",
                                    "is_llama_config",
                                    "max_window_layers",
                                    "pruned_heads",
                                    "_attn_implementation_autoset",
                                    "n_ctx",
                                    "chunk_size_feed_forward",
                                    "use_bfloat16",
                                    "tie_encoder_decoder",
                                    "transformers.js_config"};

class Keys {
 public:
  Keys(const Json& config, std::string file) : config_(config), file_(std::move(file)) {}

  [[noreturn]] void refuse(const std::string& key, const std::string& why) const {
    throw InputError(fmt::format("{}: {} {}", file_, key, why));
  }

  /// Null where it is absent or null.
  const Json& value(const std::string& key) {
    static const Json null;
    asked_.insert(key);
    const auto found = config_.find(key);
    return found == config_.end() ? null : *found;
  }
  std::int64_t size(const std::string& key, std::optional<std::int64_t> otherwise = std::nullopt) {
    const Json& v = value(key);
    if (v.is_null() && otherwise) return *otherwise;
    if (!v.is_number_integer() || v < 1 || v > 1000000000) {
      refuse(key, fmt::format("is {}; it must be a whole number from 1", v.is_null() ? "missing" : json_text(v)));
    }
    return v.get<std::int64_t>();
  }
  double share(const std::string& key, double otherwise) {
    const Json& v = value(key);
    if (v.is_null()) return otherwise;
    if (!v.is_number() || v.get<double>() < 0.0 || v.get<double>() > 0.95) {
      refuse(key, fmt::format("is {}; it must be a number from 0 to 0.95", json_text(v)));
    }
    return v.get<double>();
  }
  double number(const std::string& key, double otherwise) {
    const Json& v = value(key);
    if (v.is_null()) return otherwise;
    if (!v.is_number() || !(v.get<double>() > 0.0))
      refuse(key, fmt::format("is {}; it must be a positive number", json_text(v)));
    return v.get<double>();
  }
  bool flag(const std::string& key, bool otherwise) {
    const Json& v = value(key);
    if (v.is_null()) return otherwise;
    if (!v.is_boolean()) refuse(key, fmt::format("is {}; it must be true or false", json_text(v)));
    return v.get<bool>();
  }
  std::string text(const std::string& key, const std::string& otherwise) {
    const Json& v = value(key);
    if (v.is_null()) return otherwise;
    if (!v.is_string()) refuse(key, fmt::format("is {}; it must be a text", json_text(v)));
    return v.get<std::string>();
  }
  /// What Monge's models do, or absent or null, which mean the same.
  void must_be(const std::string& key, const Json& only) {
    const Json& v = value(key);
    if (v.is_null() || v == only) return;
    refuse(key, fmt::format("is {}, and Monge has no such model; allowed: {}", json_text(v), json_text(only)));
  }
  void must_be_absent(const std::string& key) {
    const Json& v = value(key);
    if (!v.is_null()) refuse(key, fmt::format("is {}, and Monge has no such model; allowed: null", json_text(v)));
  }
  void must_be_all() const {
    for (const auto& [key, v] : config_.items()) {
      if (v.is_null() || asked_.contains(key) || ignored.contains(key)) continue;
      refuse(key, fmt::format("({}) is a key that Monge does not know, and it may change what the model does; where it "
                              "does not, take it out",
                              json_text(v).substr(0, 60)));
    }
  }

 private:
  const Json& config_;
  std::string file_;
  std::set<std::string> asked_;
};

std::string number_text(double x) {
  std::string out = fmt::format("{}", x);  // the shortest that reads back as the same
  if (out.find_first_of(".") == std::string::npos) {
    const auto e = out.find('e');
    out.insert(e == std::string::npos ? out.size() : e, ".0");
  }
  return out;
}

struct Sizes {
  std::int64_t layers, heads, kv_heads, width, context, hidden;
  bool bias, tied;
  double dropout = 0.0;
};

std::string yaml_of(const Sizes& s, const std::string& position, const std::string& norm, double eps,
                    const std::string& mlp) {
  return fmt::format(
      "{{layers: {}, heads: {}, kv_heads: {}, width: {}, context: {}, position: {}, norm: {{kind: {}, eps: {}}}, mlp: "
      "{{{}, ratio: {}}}, bias: {}, tied_head: {}, dropout: {}}}",
      s.layers, s.heads, s.kv_heads, s.width, s.context, position, norm, number_text(eps), mlp,
      number_text(static_cast<double>(s.hidden) / static_cast<double>(s.width)), s.bias, s.tied,
      number_text(s.dropout));
}

std::string gpt2(Keys& keys) {
  for (const char* key : {"scale_attn_weights"}) keys.must_be(key, true);
  for (const char* key : {"scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention",
                          "is_encoder_decoder", "is_decoder"}) {
    keys.must_be(key, false);
  }
  // One rate there is in Monge; where there are several, none of them.
  const double residual = keys.share("resid_pdrop", 0.1);
  const bool alike = keys.share("embd_pdrop", 0.1) == residual && keys.share("attn_pdrop", 0.1) == residual;
  const std::int64_t width = keys.size("n_embd", 768), heads = keys.size("n_head", 12);
  const Sizes s{.layers = keys.size("n_layer", 12),
                .heads = heads,
                .kv_heads = heads,
                .width = width,
                .context = keys.size("n_positions", 1024),
                .hidden = keys.size("n_inner", 4 * width),
                .bias = true,
                .tied = keys.flag("tie_word_embeddings", true),
                .dropout = alike ? residual : 0.0};
  const std::string activation = keys.text("activation_function", "gelu_new");
  const bool tanh = activation == "gelu_new" || activation == "gelu_pytorch_tanh";
  if (!tanh && activation != "gelu") {
    keys.refuse("activation_function", fmt::format("is {}; allowed: gelu, gelu_new, gelu_pytorch_tanh", activation));
  }
  return yaml_of(s, "learned", "layernorm", keys.number("layer_norm_epsilon", 1e-5),
                 fmt::format("kind: gelu, tanh: {}", tanh));
}

/// Rotations of one base, not scaled.
double rope_base(Keys& keys) {
  double base = keys.number("rope_theta", 10000.0);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const Json& v = keys.value(key);
    if (v.is_null()) continue;
    if (!v.is_object()) keys.refuse(key, "must be an object or null");
    for (const auto& [name, setting] : v.items()) {
      if (name == "rope_theta" && setting.is_number()) {
        base = setting.get<double>();
      } else if (!((name == "rope_type" || name == "type") && setting == "default") &&
                 !(name == "partial_rotary_factor" && setting == 1.0)) {
        keys.refuse(std::string(key) + "." + name, fmt::format("is {}, and Monge's rope is not scaled; allowed: "
                                                               "rope_type default and rope_theta",
                                                               json_text(setting)));
      }
    }
  }
  return base;
}

std::string llama(Keys& keys, const std::string& type) {
  for (const char* key :
       {"rope_interleaved", "use_sliding_window", "is_decoder", "is_encoder_decoder", "add_cross_attention"}) {
    keys.must_be(key, false);
  }
  keys.must_be("pretraining_tp", 1);
  keys.must_be("partial_rotary_factor", 1.0);
  keys.must_be("hidden_act", "silu");
  // Qwen2 names a window that it does not use.
  if (type != "qwen2")
    keys.must_be_absent("sliding_window");
  else
    keys.value("sliding_window");
  const Json& layer_types = keys.value("layer_types");
  for (const Json& layer : layer_types.is_array() ? layer_types : Json::array()) {
    if (layer != "full_attention")
      keys.refuse("layer_types", "has others than full_attention, which is what is allowed");
  }
  const std::int64_t heads = keys.size("num_attention_heads");
  Sizes s{.layers = keys.size("num_hidden_layers"),
          .heads = heads,
          .kv_heads = keys.size("num_key_value_heads", heads),
          .width = keys.size("hidden_size"),
          .context = keys.size("max_position_embeddings", type == "qwen2" ? 32768 : 2048),
          .hidden = keys.size("intermediate_size"),
          .bias = keys.flag("attention_bias", type == "qwen2"),
          .tied = keys.flag("tie_word_embeddings", false)};
  const bool mlp_bias = keys.flag("mlp_bias", false);
  if (type == "qwen2") {
    s.bias = true;  // of q, k and v; the others are 0 at first
  } else if (mlp_bias != s.bias) {
    keys.refuse("mlp_bias",
                fmt::format("is {} and attention_bias is {}; Monge's model.bias is for both", mlp_bias, s.bias));
  }
  if (keys.size("head_dim", s.width / s.heads) * s.heads != s.width) {
    keys.refuse("head_dim", fmt::format("must be hidden_size / num_attention_heads, {} / {}", s.width, s.heads));
  }
  return yaml_of(s, fmt::format("{{kind: rope, base: {}}}", number_text(rope_base(keys))), "rmsnorm",
                 keys.number("rms_norm_eps", 1e-6), "kind: swiglu");
}

}  // namespace

ImportedModel imported_model(const Json& config, const std::string& file) {
  if (!config.is_object()) throw InputError(fmt::format("{} does not hold a JSON object", file));
  Keys keys(config, file);
  const std::string type = keys.text("model_type", "");
  const std::vector<std::string> like_llama{"llama", "mistral", "qwen2"};
  ImportedModel out;
  out.vocab = keys.size("vocab_size");
  if (type == "gpt2") {
    out.yaml = gpt2(keys);
  } else if (std::ranges::find(like_llama, type) != like_llama.end()) {
    out.yaml = llama(keys, type);
  } else {
    keys.refuse("model_type", fmt::format("is '{}'; allowed: gpt2, {}", type, fmt::join(like_llama, ", ")));
  }
  keys.must_be_all();
  return out;
}

}  // namespace monge::tools
