// monge inspect: the numbers are those of the model, and every kind of attention has a page.
#include "tools/inspect/inspection.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "autograd/ops.h"
#include "support/expect_error.h"
#include "support/tiny_run.h"
#include "train/checkpoint/saved_model.h"

namespace monge::tools {
namespace {

class Inspect : public testing::Test {
 protected:
  /// Trains a few steps and looks into the run.
  Inspection after_training(const std::vector<std::string>& overrides, const InspectedText& text) {
    const std::string run = fmt::format("run{}", runs_++);
    test::train_tiny(dir_ / run, overrides);
    train::SavedModel saved = train::load_model(dir_ / run);
    const train::Run::Turn turn(saved);
    return inspect(saved, text);
  }
  test::TempDirectory dir_;
  int runs_ = 0;
};

double sum(const std::vector<double>& values) {
  double out = 0.0;
  for (const double x : values) out += x;
  return out;
}

TEST_F(Inspect, SoftmaxRowsSumToOneAndAdvantagesToZero) {
  const Inspection got = after_training({"model.dropout=0"}, {.prompt = "abcdeff"});
  EXPECT_EQ(got.tokens, (std::vector<std::string>{"a", "b", "c", "d", "e", "f", "f"}));
  ASSERT_EQ(got.layers.size(), 2u);
  EXPECT_TRUE(std::isfinite(got.loss));
  for (const InspectedLayer& layer : got.layers) {
    ASSERT_EQ(layer.heads.size(), 2u);
    EXPECT_EQ(layer.spectra.size(), 4u);  // q, k, v and out
    for (const InspectedHead& head : layer.heads) {
      for (Eigen::Index i = 0; i < 7; ++i) {
        EXPECT_NEAR(head.weights.row(i).sum(), 1.0, 1e-12);
        EXPECT_NEAR(head.advantages.row(i).sum(), 0.0, 1e-9);
        EXPECT_EQ(head.weights.row(i).tail(6 - i).cwiseAbs().sum(), 0.0);  // causal
        EXPECT_LE(head.entropy[static_cast<std::size_t>(i)], std::log(i + 1.0) + 1e-12);
        EXPECT_LE(head.effective_rank[static_cast<std::size_t>(i)], static_cast<double>(i) + 1e-9);
      }
      EXPECT_EQ(head.potential.size(), 7u);
      EXPECT_NEAR(sum(head.key_advantage), 0.0, 1e-9);
    }
  }
}

// The gradient of the learned bias of a head is the sum of all dL/dz: the advantages are those of backpropagation.
TEST_F(Inspect, AdvantagesAreTheGradientsOfTheScores) {
  test::train_tiny(dir_ / "run", {"model.dropout=0", "model.attention={kind: sigmoid, learned_bias: true}"});
  train::SavedModel saved = train::load_model(dir_ / "run");
  const train::Run::Turn turn(saved);
  const Inspection got = inspect(saved, {.prompt = "abcdeff"});
  nn::ParameterStore store(*saved.model, saved.device, nn::Precision::float32, 1);
  store.values().backend().copy({.from = saved.store->values(), .to = store.values()});
  const auto ids = saved.tokenizer->encode("abcdeff");
  std::vector<std::int32_t> targets(ids.begin() + 1, ids.end());
  targets.push_back(-1);
  autograd::Tape tape;
  autograd::Var loss;
  {
    const autograd::Tape::Recording recording(tape);
    loss = saved.model->loss({{"tokens", Tensor::from(ids, {1, 7}, saved.device)},
                              {"targets", Tensor::from(targets, {1, 7}, saved.device)}});
  }
  EXPECT_NEAR(got.loss, loss.value().item(), 1e-6);
  tape.backward(loss);
  store.complete_grads();
  for (std::size_t l = 0; l < 2; ++l) {
    const auto bias = store.grad(store.entry(fmt::format("blocks.{}.attention.bias", l))).values();
    for (std::size_t h = 0; h < 2; ++h) {
      EXPECT_NEAR(got.layers[l].heads[h].advantages.sum(), -bias[h], 1e-6 + 1e-4 * std::abs(bias[h]));
    }
  }
}

TEST_F(Inspect, EveryKindHasAPage) {
  for (const char* kind : {"softmax1", "sparsemax", "entmax15", "sigmoid", "relu", "softplus", "softpick",
                           "{kind: softmax, relative_prior: true, key_prior: true, qk_norm: true}"}) {
    const Inspection got = after_training({std::string("model.attention=") + kind, "train.steps=2"}, {});
    EXPECT_EQ(got.tokens.size(), 8u) << kind;  // the first validation window
    const std::string page = page_html(got);
    EXPECT_HAS(page, "id=\"data\"");
    EXPECT_EQ(page.find("http"), page.find("http://www.w3.org/2000/svg")) << "nothing is loaded";
    const Json json = to_json(got);
    EXPECT_EQ(json["layers"].size(), 2u);
    EXPECT_EQ(json["layers"][0]["heads"][0]["weights"].size(), 8u);
    EXPECT_EQ(json["layers"][0]["distance_prior"].empty(), got.layers[0].kind != "softmax");
  }
}

// An aaren layer is causal softmax with the same query for every token: its columns share their scores.
TEST_F(Inspect, ARecurrenceShowsTheWeightsItNeverHolds) {
  const Inspection got =
      after_training({"model.dropout=0", "model.attention=aaren", "model.position=learned"}, {.prompt = "abcdeff"});
  EXPECT_EQ(got.layers.at(0).kind, "aaren");
  for (const InspectedHead& head : got.layers.at(0).heads) {
    for (Eigen::Index i = 1; i < 7; ++i) {
      EXPECT_NEAR(head.weights.row(i).sum(), 1.0, 1e-12);
      EXPECT_NEAR(head.weights(i, 0) / head.weights(i, 1), head.weights(1, 0) / head.weights(1, 1), 1e-9);
      EXPECT_NEAR(head.advantages.row(i).sum(), 0.0, 1e-9);
    }
    EXPECT_NEAR(sum(head.key_advantage), 0.0, 1e-9);
  }
}

TEST_F(Inspect, PairsShowThreeKindsOfAttention) {
  const std::vector<std::string> pairs{
      "data={kind: transduction, letters: 5, shortest: 2, longest: 4, validation_windows: 8}",
      "model={kind: encoder_decoder, layers: 1, heads: 2, width: 16, context: 6, source_context: 4}", "train.steps=2"};
  const Inspection got = after_training(pairs, {.prompt = "ba", .source = "abc"});
  EXPECT_EQ(got.source, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(got.tokens, (std::vector<std::string>{"\n", "b", "a"}));
  ASSERT_EQ(got.layers.size(), 3u);
  EXPECT_TRUE(got.layers[0].in_encoder);
  EXPECT_FALSE(got.layers[1].reads_source);
  EXPECT_TRUE(got.layers[2].reads_source);
  EXPECT_EQ(got.layers[2].heads[0].weights.rows(), 3);
  EXPECT_EQ(got.layers[2].heads[0].weights.cols(), 3);
  EXPECT_EQ(after_training(pairs, {}).layers.size(), 3u);  // the first validation window
}

TEST_F(Inspect, WhatCannotBeReadIsRefused) {
  test::train_tiny(dir_ / "run", {"train.steps=1"});
  train::SavedModel saved = train::load_model(dir_ / "run");
  const auto refusal = [&](const InspectedText& text) { return error_of([&] { inspect(saved, text); }); };
  EXPECT_HAS(refusal({.prompt = "aaaaaaaaa"}), "the text has 9 tokens; allowed: 8");
  EXPECT_HAS(refusal({.prompt = "aaaa", .most = 3}), "the text has 4 tokens; allowed: 3");
  EXPECT_HAS(refusal({.prompt = "a"}), "a text of one token predicts nothing");
  EXPECT_HAS(refusal({.prompt = "?"}), "?");
}

}  // namespace
}  // namespace monge::tools
