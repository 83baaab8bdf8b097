#include "tools/interop/architecture.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/options/yaml.h"
#include "train/config/config_changes.h"

namespace monge::tools {
namespace {

/// The keys of a resolved configuration, of which each must be asked for.
class Keys {
 public:
  explicit Keys(train::Config config) {
    for (const auto& [key, value] : train::flat_config(write_yaml(config))) {
      if (key.starts_with("model.")) left_[key] = value;
    }
  }

  std::string text(const std::string& key) {
    const auto found = left_.find("model." + key);
    if (found == left_.end()) throw InputError(fmt::format("this model has no model.{}", key));
    return left_.extract(found).mapped();
  }
  std::int64_t integer(const std::string& key) { return std::stoll(text(key)); }
  double number(const std::string& key) { return std::stod(text(key)); }
  bool flag(const std::string& key) { return text(key) == "true"; }

  void must_be(const std::string& key, const std::string& only, const std::string& in) {
    const std::string value = text(key);
    if (value == only) return;
    throw InputError(fmt::format("model.{} is {}, and no {} of Hugging Face's is like that; allowed for export: {}",
                                 key, value, in, only));
  }
  void must_be_zero(const std::string& key, const std::string& in) {
    const std::string value = text(key);
    if (std::stod(value) == 0.0) return;
    throw InputError(
        fmt::format("model.{} is {}, and no {} of Hugging Face's is like that; allowed for export: 0", key, value, in));
  }
  void must_be_all(const std::string& in) const {
    if (left_.empty()) return;
    throw InputError(
        fmt::format("{} ({}) has no place in a {} of Hugging Face's", left_.begin()->first, left_.begin()->second, in));
  }

 private:
  std::map<std::string, std::string> left_;
};

/// What both families share.
struct Sizes {
  std::int64_t layers, heads, kv_heads, width, context, hidden;
  double dropout;
  bool bias, tied;

  Sizes(Keys& keys, const std::string& family)
      : layers(keys.integer("layers")),
        heads(keys.integer("heads")),
        kv_heads(keys.integer("kv_heads")),
        width(keys.integer("width")),
        context(keys.integer("context")),
        hidden(std::max<std::int64_t>(1, std::llround(keys.number("mlp.ratio") * static_cast<double>(width)))),
        dropout(keys.number("dropout")),
        bias(keys.flag("bias")),
        tied(keys.flag("tied_head")) {
    if (kv_heads == 0) kv_heads = heads;
    keys.must_be("attention.kind", "softmax", family);
    for (const char* key : {"qk_norm", "relative_prior", "key_prior"}) {
      keys.must_be(std::string("attention.") + key, "false", family);
    }
    keys.must_be("block.kind", "prenorm", family);
    keys.must_be_zero("block.layer_scale", family);
    keys.must_be("block.hybrid_norm", "false", family);
  }
  std::int64_t head_dim() const { return width / heads; }
};

/// What config.json says of any model of ours: no token has a meaning of its own.
Json common_config(const std::string& type, const std::string& architecture, const Sizes& s, std::int64_t vocab) {
  return {{"model_type", type},      {"architectures", {architecture}}, {"vocab_size", vocab},
          {"bos_token_id", nullptr}, {"eos_token_id", nullptr},         {"pad_token_id", nullptr},
          {"use_cache", true},       {"tie_word_embeddings", s.tied},   {"initializer_range", 0.02}};
}

ForeignModel gpt2(Keys& keys, std::int64_t vocab) {
  const Sizes s(keys, "gpt2");
  keys.must_be("norm.kind", "layernorm", "gpt2");
  keys.must_be("mlp.kind", "gelu", "gpt2");
  if (s.kv_heads != s.heads) {
    throw InputError(
        fmt::format("model.kv_heads is {}, and a gpt2 of Hugging Face's has as many key heads as query heads "
                    "({}); shared ones need model.position rope, norm rmsnorm and mlp swiglu (llama)",
                    s.kv_heads, s.heads));
  }
  ForeignModel out{common_config("gpt2", "GPT2LMHeadModel", s, vocab), {}};
  out.config.update({{"n_positions", s.context},
                     {"n_embd", s.width},
                     {"n_layer", s.layers},
                     {"n_head", s.heads},
                     {"n_inner", s.hidden},
                     {"activation_function", keys.flag("mlp.tanh") ? "gelu_new" : "gelu"},
                     {"layer_norm_epsilon", keys.number("norm.eps")},
                     {"resid_pdrop", s.dropout},
                     {"embd_pdrop", s.dropout},
                     {"attn_pdrop", s.dropout}});
  const auto add = [&](const std::string& name, const std::string& parameter, bool transposed = false) {
    out.tensors.push_back({.name = "transformer." + name, .parameter = parameter, .transposed = transposed});
  };
  const auto add_bias = [&](const std::string& name, const std::string& parameter, std::int64_t size) {
    if (s.bias) return add(name, parameter);
    out.tensors.push_back({.name = "transformer." + name, .parameter = "", .zeros = {size}});
  };
  add("wte.weight", "wte.weight");
  add("wpe.weight", "position.weight");
  for (std::int64_t i = 0; i < s.layers; ++i) {
    const std::string there = fmt::format("h.{}.", i), here = fmt::format("blocks.{}.", i);
    add(there + "ln_1.weight", here + "norm1.gain");
    add_bias(there + "ln_1.bias", here + "norm1.bias", s.width);
    add(there + "attn.c_attn.weight", here + "attention.qkv.weight", true);
    add_bias(there + "attn.c_attn.bias", here + "attention.qkv.bias", 3 * s.width);
    add(there + "attn.c_proj.weight", here + "attention.out.weight", true);
    add_bias(there + "attn.c_proj.bias", here + "attention.out.bias", s.width);
    add(there + "ln_2.weight", here + "norm2.gain");
    add_bias(there + "ln_2.bias", here + "norm2.bias", s.width);
    add(there + "mlp.c_fc.weight", here + "mlp.up.weight", true);
    add_bias(there + "mlp.c_fc.bias", here + "mlp.up.bias", s.hidden);
    add(there + "mlp.c_proj.weight", here + "mlp.down.weight", true);
    add_bias(there + "mlp.c_proj.bias", here + "mlp.down.bias", s.width);
  }
  add("ln_f.weight", "norm.gain");
  add_bias("ln_f.bias", "norm.bias", s.width);
  if (!s.tied) out.tensors.push_back({.name = "lm_head.weight", .parameter = "head.weight"});
  return out;
}

ForeignModel llama(Keys& keys, std::int64_t vocab) {
  const Sizes s(keys, "llama");
  keys.must_be("norm.kind", "rmsnorm", "llama");
  keys.must_be("mlp.kind", "swiglu", "llama");
  ForeignModel out{common_config("llama", "LlamaForCausalLM", s, vocab), {}};
  const double base = keys.number("position.base");
  out.config.update({{"max_position_embeddings", s.context},
                     {"hidden_size", s.width},
                     {"intermediate_size", s.hidden},
                     {"num_hidden_layers", s.layers},
                     {"num_attention_heads", s.heads},
                     {"num_key_value_heads", s.kv_heads},
                     {"head_dim", s.head_dim()},
                     {"hidden_act", "silu"},
                     {"rms_norm_eps", keys.number("norm.eps")},
                     {"rope_theta", base},
                     {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", base}}},
                     {"attention_bias", s.bias},
                     {"mlp_bias", s.bias},
                     {"attention_dropout", s.dropout}});
  const auto add = [&](const std::string& name, const std::string& parameter) {
    out.tensors.push_back({.name = name, .parameter = parameter});
  };
  add("model.embed_tokens.weight", "wte.weight");
  const std::int64_t query_rows = s.width, key_rows = s.kv_heads * s.head_dim();
  for (std::int64_t i = 0; i < s.layers; ++i) {
    const std::string there = fmt::format("model.layers.{}.", i), here = fmt::format("blocks.{}.", i);
    const auto linear = [&](const std::string& name, const std::string& parameter) {
      add(there + name + ".weight", here + parameter + ".weight");
      if (s.bias) add(there + name + ".bias", here + parameter + ".bias");
    };
    add(there + "input_layernorm.weight", here + "norm1.gain");
    std::int64_t first = 0;
    for (const auto& [name, rows] : {std::pair{"q_proj", query_rows}, {"k_proj", key_rows}, {"v_proj", key_rows}}) {
      for (const char* what : {"weight", "bias"}) {
        if (std::string(what) == "bias" && !s.bias) continue;
        out.tensors.push_back({.name = fmt::format("{}self_attn.{}.{}", there, name, what),
                               .parameter = fmt::format("{}attention.qkv.{}", here, what),
                               .first_row = first,
                               .rows = rows});
      }
      first += rows;
    }
    linear("self_attn.o_proj", "attention.out");
    add(there + "post_attention_layernorm.weight", here + "norm2.gain");
    linear("mlp.gate_proj", "mlp.gate");
    linear("mlp.up_proj", "mlp.up");
    linear("mlp.down_proj", "mlp.down");
  }
  add("model.norm.weight", "norm.gain");
  if (!s.tied) add("lm_head.weight", "head.weight");
  return out;
}

}  // namespace

ForeignModel foreign_model(const train::Config& config, std::int64_t vocab) {
  Keys keys(config);
  keys.must_be("kind", "gpt", "causal language model");
  const std::string position = keys.text("position.kind");
  if (position != "learned" && position != "rope") {
    throw InputError(fmt::format(
        "model.position is {}; allowed for export to Hugging Face: learned (gpt2) and rope (llama)", position));
  }
  const bool is_gpt2 = position == "learned";
  ForeignModel out = is_gpt2 ? gpt2(keys, vocab) : llama(keys, vocab);
  keys.must_be_all(is_gpt2 ? "gpt2" : "llama");
  return out;
}

}  // namespace monge::tools
