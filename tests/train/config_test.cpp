#include "train/config/config.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/options/yaml.h"
#include "nn/gpt.h"

namespace monge::train {
namespace {

Config read(std::string_view yaml, const std::vector<std::string>& overrides = {}) {
  Config config;
  read_yaml_text(yaml, "run.yaml", overrides, config);
  return config;
}

std::string refusal(std::string_view yaml, const std::vector<std::string>& overrides = {}) {
  try {
    read(yaml, overrides);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Config, OnlyDataIsRequired) {
  Config config = read("data: grammar\n");
  EXPECT_EQ(config.data.kind, "grammar");
  EXPECT_EQ(config.model.kind, "gpt");
  EXPECT_EQ(dynamic_cast<const nn::GptOptions&>(*config.model.options).mlp.kind, "gelu");
  EXPECT_EQ(config.optimizer.rule.kind, "adamw");
  EXPECT_EQ(precision_of(config), nn::Precision::float32);
  EXPECT_NE(refusal("model: {}\n")
                .find("data: this key is required and missing (what to train on); allowed: attention_teacher"),
            std::string::npos);
  EXPECT_NE(refusal("data: {path: a.txt}\n").find("run.yaml:1:7: data.kind: this key is required"), std::string::npos);
}

TEST(Config, AnEmptySectionHoldsItsDefaults) {
  for (const std::string section : {"model", "optimizer", "train", "cuda"}) {
    const std::string yaml = "data: grammar\n" + section + ":\n";
    EXPECT_EQ(refusal(yaml), "accepted") << section;
    const Config config = read(yaml, {"model.layers=2"});
    EXPECT_EQ(dynamic_cast<const nn::GptOptions&>(*config.model.options).layers, 2) << section;
  }
}

TEST(Config, RecipeIsReadAndWrittenBack) {
  Config config = read(R"(
device: reference
data:      {kind: text, path: data/shakespeare.txt, tokenizer: char, validation_fraction: 0.1}
model:
  layers: 4
  heads: 4
  kv_heads: 4
  width: 128
  context: 64
  position: learned
  norm: layernorm
  mlp: {kind: gelu, ratio: 4}
  attention: {kind: softmax}
  dropout: 0.0
  bias: false
  tied_head: true
optimizer:
  name: adamw
  lr: 1.0e-3
  betas: [0.9, 0.99]
  weight_decay: 0.1
  schedule: {kind: cosine, warmup: 100, final_lr: 1.0e-4}
  clip_norm: 1.0
  groups: [{match: "*.norm.*", weight_decay: 0.0}]
train:
  steps: 2000
  batch: 12
  accumulate: 1
  precision: float32
  seed: 1337
  eval_every: 250
  checkpoint_every: 500
  log_every: 10
)",
                       {"optimizer.betas.1=0.95", "train.precision=bfloat16", "device=cpu"});
  EXPECT_EQ(config.device, "cpu");
  EXPECT_EQ(precision_of(config), nn::Precision::bfloat16);
  ASSERT_EQ(config.optimizer.groups.size(), 1u);
  EXPECT_EQ(config.optimizer.groups[0].match, "*.norm.*");

  const std::string resolved = write_yaml(config);
  EXPECT_NE(resolved.find("  betas: [0.9, 0.95]\n"), std::string::npos) << resolved;
  Config again = read(resolved);
  EXPECT_EQ(write_yaml(again), resolved);
}

TEST(Config, ChecksDeviceAndPrecisionTogether) {
  EXPECT_NE(refusal("data: grammar\ndevice: gpu\n").find("run.yaml:1:1: unknown device 'gpu'; allowed: cpu"),
            std::string::npos);
  EXPECT_NE(refusal("data: grammar\ndevice: reference\n", {"train.precision=bfloat16"}).find("train.precision is"),
            std::string::npos);
}

TEST(Config, RefusesAttentionThatCannotBeAtItsKey) {
  const auto expect = [](const std::string& yaml, const std::string& message) {
    EXPECT_NE(refusal("data: grammar\n" + yaml).find(message), std::string::npos) << refusal("data: grammar\n" + yaml);
  };
  expect(
      "model:\n  attention: softmaxx\n",
      fmt::format("run.yaml:3:14: model.attention: unknown attention 'softmaxx'; allowed: {}. Did you mean 'softmax'?",
                  fmt::join(nn::attentions().names(), ", ")));
  for (const char* alpha : {"1", "2.5", "-1", ".nan"}) {
    expect(fmt::format("model:\n  attention:\n    kind: entmax\n    alpha: {}\n", alpha),
           "run.yaml:5:12: model.attention.alpha: ");
  }
  expect("model:\n  attention: {kind: softplus, beta: 0}\n", "model.attention.beta: ");
  expect("model:\n  heads: 4\n  attention:\n    kind: sigmoid\n    bias: [-1, -2]\n",
         "run.yaml:6:5: model.attention.bias: 2 numbers for 4 heads; give one number, or one for each head");
  for (const char* update : {"row", "fisher", "fisher_cg"}) {
    expect(fmt::format("optimizer:\n  attention:\n    update: {}\n    damping: 0\n", update),
           "run.yaml:5:14: optimizer.attention.damping: ");
    expect(
        fmt::format("model: {{attention: softpick}}\noptimizer:\n  attention: {{update: {}}}\n", update),
        fmt::format("run.yaml:4:15: optimizer.attention.update: {} needs a row map with a symmetric Jacobian", update));
  }
  expect("model: {attention: {kind: softmax, qk_norm: true}}\noptimizer:\n  attention: fisher\n",
         "run.yaml:4:3: optimizer.attention.update: fisher does not know the Jacobian of normalised queries and keys");
  for (const char* position : {"rope", "alibi"}) {
    expect(fmt::format("model:\n  attention: aaren\n  position: {}\n", position),
           "run.yaml:4:3: model.position: attention aaren has one query for all tokens");
  }
  for (const char* update : {"row", "fisher", "fisher_cg", "scaled"}) {
    expect(fmt::format("model: {{attention: aaren}}\noptimizer:\n  attention: {}\n", update),
           fmt::format("run.yaml:4:3: optimizer.attention.update: {} changes how W_q and W_k are updated", update));
  }
  expect("optimizer:\n  attention: natural\n",
         "run.yaml:3:14: optimizer.attention: unknown attention update 'natural'; allowed: backprop, fisher, "
         "fisher_cg, row, scaled");
  expect("optimizer:\n  attention: {update: fisher, momentum: 1}\n", "run.yaml:3:31: optimizer.attention.momentum: ");
}

TEST(Config, OneNumberIsAListOfOne) {
  EXPECT_EQ(refusal("data: grammar\nmodel: {attention: {kind: sigmoid, bias: -3}}\n"), "accepted");
}

TEST(Config, MissingFile) { EXPECT_THROW(load_config("/nowhere/run.yaml"), InputError); }

}  // namespace
}  // namespace monge::train
