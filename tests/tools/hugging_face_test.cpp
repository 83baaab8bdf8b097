// Folders of Hugging Face's transformers. Whether that program agrees is what tools/interop/transformers_check.py finds
// out; here is what it found, as far as it can be said without it.
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "core/safetensors.h"
#include "support/expect_error.h"
#include "support/tiny_run.h"
#include "tools/interop/hugging_face.h"
#include "tools/interop/tokenizer_json.h"
#include "train/tokenizer/bpe_tokenizer.h"
#include "train/tokenizer/char_tokenizer.h"

namespace monge::tools {
namespace {

using nlohmann::json;
using test::TempDirectory;

constexpr Device host{DeviceKind::cpu};

using Overrides = std::vector<std::string>;

const Overrides llama{"model.position={kind: rope, base: 300}", "model.norm={kind: rmsnorm, eps: 1.0e-6}",
                      "model.mlp={kind: swiglu, ratio: 2.0}", "model.kv_heads=1", "model.tied_head=false"};

/// A trained model and the folder that it was exported to.
struct Exported {
  TempDirectory dir;
  train::SavedModel saved;
  json config;
  SafeTensors there;

  explicit Exported(const Overrides& overrides, DType dtype = DType::f32)
      : saved(train_and_export(overrides, dtype)),
        config(json::parse(test::read_file(dir / "hf/config.json"))),
        there(dir / "hf/model.safetensors") {}

  std::vector<double> here(const std::string& name) const {
    return saved.store->value(saved.store->entry(name)).values();
  }
  std::vector<double> foreign(const std::string& name) const { return there.tensor(name, host).values(); }

 private:
  train::SavedModel train_and_export(const Overrides& overrides, DType dtype) {
    test::train_tiny(dir / "run", overrides);
    train::SavedModel model = train::load_model(dir / "run");
    export_to_hugging_face(model, dir / "hf", dtype);
    return model;
  }
};

TEST(HuggingFaceExport, GptWithLearnedPositionsIsGpt2) {
  const Exported e({"model.bias=true"});
  EXPECT_EQ(e.config["model_type"], "gpt2");
  EXPECT_EQ(e.config["n_embd"], 16);
  EXPECT_EQ(e.config["n_inner"], 64);
  EXPECT_EQ(e.config["activation_function"], "gelu");
  EXPECT_EQ(e.config["tie_word_embeddings"], true);
  EXPECT_EQ(e.config["eos_token_id"], nullptr);
  EXPECT_EQ(e.there.metadata().at("format"), "pt");
  EXPECT_EQ(e.foreign("transformer.wte.weight"), e.here("wte.weight"));
  EXPECT_EQ(e.foreign("transformer.h.1.attn.c_attn.bias"), e.here("blocks.1.attention.qkv.bias"));
  EXPECT_EQ(e.there.entry("transformer.h.0.attn.c_attn.weight").shape, Shape({16, 48}));
  const auto ours = e.here("blocks.0.attention.qkv.weight"), theirs = e.foreign("transformer.h.0.attn.c_attn.weight");
  for (std::size_t out = 0; out < 48; ++out) {
    for (std::size_t in = 0; in < 16; ++in) EXPECT_EQ(theirs[in * 48 + out], ours[out * 16 + in]);
  }
  EXPECT_FALSE(e.there.contains("lm_head.weight"));
}

TEST(HuggingFaceExport, BiasesThatTheModelDoesWithoutAreZero) {
  const Exported e({"model.tied_head=false", "model.mlp={kind: gelu, tanh: true}"});
  EXPECT_EQ(e.config["activation_function"], "gelu_new");
  for (const auto& [name, entry] : e.there.entries()) {
    if (!name.ends_with(".bias")) continue;
    EXPECT_EQ(e.foreign(name), std::vector<double>(static_cast<std::size_t>(entry.shape.numel()))) << name;
  }
  EXPECT_EQ(e.foreign("transformer.h.1.mlp.c_fc.bias").size(), 64u);
  EXPECT_EQ(e.foreign("lm_head.weight"), e.here("head.weight"));
}

TEST(HuggingFaceExport, GptWithRopeIsLlama) {
  const Exported e(llama);
  EXPECT_EQ(e.config["model_type"], "llama");
  EXPECT_EQ(e.config["intermediate_size"], 32);
  EXPECT_EQ(e.config["num_key_value_heads"], 1);
  EXPECT_EQ(e.config["rope_theta"], 300.0);
  EXPECT_EQ(e.config["rms_norm_eps"], 1e-6);
  std::vector<double> stacked;
  for (const char* part : {"q_proj", "k_proj", "v_proj"}) {
    const auto values = e.foreign(fmt::format("model.layers.1.self_attn.{}.weight", part));
    stacked.insert(stacked.end(), values.begin(), values.end());
  }
  EXPECT_EQ(stacked, e.here("blocks.1.attention.qkv.weight"));
  EXPECT_EQ(e.foreign("model.layers.0.mlp.gate_proj.weight"), e.here("blocks.0.mlp.gate.weight"));
  EXPECT_EQ(e.foreign("lm_head.weight"), e.here("head.weight"));
}

TEST(HuggingFaceExport, WeightsMayBeRounded) {
  const Exported e(llama, DType::bf16);
  EXPECT_EQ(e.config["dtype"], "bfloat16");
  EXPECT_EQ(e.there.entry("model.norm.weight").dtype, "BF16");
  const auto rounded = e.foreign("model.embed_tokens.weight"), exact = e.here("wte.weight");
  for (std::size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(rounded[i], exact[i], std::abs(exact[i]) / 256.0);
}

// Each key that another program's model does not have, named.
TEST(HuggingFaceExport, WhatCannotBeSaidThereIsRefusedWithItsKey) {
  const std::string rope = "model.position=rope";
  for (const auto& [overrides, part] : std::initializer_list<std::pair<Overrides, const char*>>{
           {{"model.position=alibi"}, "model.position is alibi; allowed for export to Hugging Face: learned (gpt2)"},
           {{"model.attention.kind=sparsemax"}, "model.attention.kind is sparsemax"},
           {{"model.attention.qk_norm=true"}, "model.attention.qk_norm is true"},
           {{"model.attention.key_prior=true"}, "model.attention.key_prior is true"},
           {{"model.block.layer_scale=0.5"}, "model.block.layer_scale is 0.5"},
           {{"model.mlp=relu"}, "model.mlp.kind is relu"},
           {{"model.norm=rmsnorm"}, "model.norm.kind is rmsnorm"},
           {{"model.kv_heads=1"}, "model.kv_heads is 1"},
           {{rope}, "model.norm.kind is layernorm"},
           {{rope, "model.norm=rmsnorm"}, "model.mlp.kind is gelu"}}) {
    const TempDirectory dir;
    Overrides once = overrides;
    once.push_back("train.steps=1");
    test::train_tiny(dir / "run", once);
    const train::SavedModel saved = train::load_model(dir / "run");
    const std::string message = error_of([&] { export_to_hugging_face(saved, dir / "hf", DType::f32); });
    EXPECT_HAS(message, part);
    EXPECT_FALSE(std::filesystem::exists(dir / "hf"));
  }
}

TEST(HuggingFaceExport, WhatIsThereIsLeftAlone) {
  const TempDirectory dir;
  test::train_tiny(dir / "run", {"train.steps=1"});
  std::filesystem::create_directory(dir / "hf");
  const train::SavedModel saved = train::load_model(dir / "run");
  EXPECT_HAS(error_of([&] { export_to_hugging_face(saved, dir / "hf", DType::f32); }), "there is something at");
  EXPECT_HAS(error_of([&] { export_to_hugging_face(saved, dir / "run", DType::f32); }), "there is something at");
  EXPECT_TRUE(std::filesystem::is_empty(dir / "hf"));
}

// --- import ---

/// A folder with a model, as export writes it.
struct Folder : Exported {
  explicit Folder(const Overrides& overrides, DType dtype = DType::f32) : Exported(overrides, dtype) {}

  std::string import_error() const {
    const std::string message = error_of([&] { import_from_hugging_face(dir / "hf", dir / "back"); });
    EXPECT_FALSE(std::filesystem::exists(dir / "back"));
    return message;
  }
  void change_config(const std::function<void(json&)>& change) const {
    json changed = config;
    change(changed);
    test::write_file(dir / "hf/config.json", changed.dump());
  }
};

TEST(HuggingFaceImport, GivesBackWhatWasExported) {
  Overrides llama_without_dropout = llama;  // of which that model has but one of three
  llama_without_dropout.push_back("model.dropout=0");
  for (const Overrides& overrides : {Overrides{"model.bias=true", "model.tied_head=false"}, llama_without_dropout}) {
    const Folder e(overrides);
    import_from_hugging_face(e.dir / "hf", e.dir / "back");
    const train::SavedModel back = train::load_model(e.dir / "back");
    EXPECT_EQ(back.state.step, 0);
    ASSERT_EQ(back.store->entries().size(), e.saved.store->entries().size());
    for (const auto& entry : back.store->entries()) EXPECT_EQ(back.store->value(entry).values(), e.here(entry.name));
    EXPECT_EQ(back.tokenizer->encode("abcf"), e.saved.tokenizer->encode("abcf"));
    export_to_hugging_face(back, e.dir / "again", DType::f32);
    for (const char* file : {"config.json", "model.safetensors"}) {
      EXPECT_EQ(test::read_file(e.dir / "again" / file), test::read_file(e.dir / "hf" / file)) << file;
    }
  }
}

/// The tensors of `e` in two files with an index.
json split(const Folder& e) {
  std::vector<NamedTensor> parts[2];
  json map;
  for (const auto& [name, entry] : e.there.entries()) {
    const std::size_t which = map.size() % 2;
    parts[which].push_back({name, e.there.tensor(name, host)});
    map[name] = fmt::format("part{}.safetensors", which);
  }
  for (const int which : {0, 1}) {
    write_safetensors(e.dir / fmt::format("hf/part{}.safetensors", which), parts[which]);
  }
  std::filesystem::remove(e.dir / "hf/model.safetensors");
  return {{"weight_map", map}};
}

TEST(HuggingFaceImport, ReadsSeveralFilesByTheirIndex) {
  const Folder e(llama, DType::bf16);
  const json index = split(e);
  const std::string file = e.dir / "hf/model.safetensors.index.json";
  test::write_file(file, index.dump());
  import_from_hugging_face(e.dir / "hf", e.dir / "ok");
  const train::SavedModel back = train::load_model(e.dir / "ok");
  EXPECT_EQ(back.store->value(back.store->entry("head.weight")).values(), e.foreign("lm_head.weight"));

  const auto error_with = [&](const std::string& name, const json& value) {
    json changed = index;
    changed["weight_map"][name] = value;
    test::write_file(file, changed.dump());
    return e.import_error();
  };
  EXPECT_HAS(error_with("model.norm.weight", "../hf/part0.safetensors"), "must be a file of the folder");
  EXPECT_HAS(error_with("model.norm.weight", "model.safetensors.index.json"), "model.safetensors.index.json");
  EXPECT_HAS(error_with("model.norm.weight", "gone.safetensors"), "gone.safetensors");
  EXPECT_HAS(error_with("model.norm.weight", 3), "weight_map.model.norm.weight is 3");
  EXPECT_HAS(error_with("no.such", "part0.safetensors"), "'no.such' is in part0.safetensors, which does not have it");
  test::write_file(file, "{}");
  EXPECT_HAS(e.import_error(), "weight_map must be an object");
}

// Whatever config.json says and Monge does not know may change what the model does.
TEST(HuggingFaceImport, RefusesWhatItDoesNotKnowByName) {
  const Folder e(llama);
  for (const auto& [key, value, part] : std::initializer_list<std::tuple<const char*, json, const char*>>{
           {"model_type", "bert", "model_type is 'bert'; allowed: gpt2, llama, mistral, qwen2"},
           {"rope_scaling", {{"rope_type", "linear"}, {"factor", 2.0}}, "rope_scaling."},
           {"rope_parameters", {{"rope_type", "yarn"}}, "rope_parameters.rope_type is \"yarn\""},
           {"sliding_window", 4096, "sliding_window is 4096"},
           {"hidden_act", "gelu", "hidden_act is \"gelu\""},
           {"mlp_bias", true, "mlp_bias is true and attention_bias is false"},
           {"head_dim", 3, "head_dim must be hidden_size / num_attention_heads"},
           {"logit_softcapping", 30.0, "logit_softcapping (30.0) is a key that Monge does not know"},
           {"hidden_size", -1, "hidden_size is -1"},
           {"hidden_size", "16", "hidden_size is \"16\""},
           {"num_hidden_layers", 3, "has no tensor 'model.layers.2."},
           {"num_hidden_layers", 1, "is not one of the model that config.json describes"},
           {"intermediate_size", 24, "has shape (32, 16), but (24, 16) is needed"},
           {"vocab_size", 5, "has 6 tokens, and vocab_size of config.json is 5"},
           {"vocab_size", nullptr, "vocab_size is missing"}}) {
    e.change_config([&](json& config) { config[key] = value; });
    const std::string message = e.import_error();
    EXPECT_HAS(message, part) << key;
    EXPECT_HAS(message, "hf") << key;
  }
  e.change_config([](json& config) { config["architectures"] = nullptr; });
  import_from_hugging_face(e.dir / "hf", e.dir / "back");
}

TEST(HuggingFaceImport, RefusesDamagedFolders) {
  const Folder e({});
  const auto damage = [&](const std::string& file, const std::string& content) {
    const std::string before = test::read_file(e.dir / "hf" / file);
    test::write_file(e.dir / "hf" / file, content);
    const std::string message = e.import_error();
    test::write_file(e.dir / "hf" / file, before);
    return message;
  };
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"}) {
    const std::string whole = test::read_file(e.dir / "hf" / file);
    for (const std::string& content : {std::string(), std::string("[1]"), whole.substr(0, whole.size() / 2)}) {
      EXPECT_HAS(damage(file, content), file);
    }
  }
  std::filesystem::remove(e.dir / "hf/model.safetensors");
  EXPECT_HAS(e.import_error(), "has neither model.safetensors nor model.safetensors.index.json");
  EXPECT_HAS(error_of([&] { import_from_hugging_face(e.dir / "nowhere", e.dir / "back"); }), "there is no folder");
}

// --- tokenizer.json ---

TEST(TokenizerJson, HasTheIdsOfTheCharacters) {
  const json out = json::parse(tokenizer_json(train::CharTokenizer(U"\nae\u00fc")));
  EXPECT_EQ(out["model"]["vocab"], json::parse(R"({"\n": 0, "a": 1, "e": 2, "ü": 3})"));
  EXPECT_EQ(out["pre_tokenizer"], nullptr);
  EXPECT_EQ(out["decoder"]["type"], "Fuse");
}

// GPT-2's visible characters for bytes: a space is U+0120, a line break U+010A.
TEST(TokenizerJson, HasBytesAndMerges) {
  const json model = json::parse(tokenizer_json(train::BpeTokenizer({{' ', 't'}, {256, 'h'}, {'\n', '\n'}})))["model"];
  EXPECT_EQ(model["vocab"].size(), 259u);
  EXPECT_EQ(model["vocab"]["a"], 97);
  EXPECT_EQ(model["vocab"]["\u0120"], 32);
  EXPECT_EQ(model["vocab"]["\u0120th"], 257);
  EXPECT_EQ(model["merges"], json::parse(R"([["\u0120", "t"], ["\u0120t", "h"], ["\u010a", "\u010a"]])"));
}

TEST(TokenizerJson, TwoTokensOfTheSameBytesAreRefused) {
  const train::BpeTokenizer twice({{'a', 'b'}, {'b', 'c'}, {256, 'c'}, {'a', 257}});
  EXPECT_HAS(error_of([&] { tokenizer_json(twice); }), "two tokens for the bytes 'abc' (258 and 259)");
}

}  // namespace
}  // namespace monge::tools
