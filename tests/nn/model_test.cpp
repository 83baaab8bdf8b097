// What every model gets from its interface, shown by one that is nothing but a table of bigrams.
#include "nn/model.h"

#include <gtest/gtest.h>

#include <cmath>

#include "nn/parameter_store.h"
#include "support/compare.h"
#include "support/expect_error.h"

namespace monge::nn {
namespace {

using test::reference;

constexpr std::int64_t T = 6, V = 5, C = 4;

class Bigrams : public Model {
 public:
  explicit Bigrams(std::int64_t vocab)
      : Model(T, vocab), table_(vocab, C), head_({.in = C, .out = vocab, .role = Role::head}) {
    add_module("table", table_);
    add_module("head", head_);
  }
  std::unique_ptr<Cache> make_cache(const CacheContext&) const override { return std::make_unique<Cache>(); }
  std::optional<std::int64_t> cache_capacity() const override { return std::nullopt; }
  Var next_logits(const Tensor& tokens, Cache&) override { return head(last_token(table_.forward(tokens))); }

 protected:
  Var hidden(const Batch& batch) override { return table_.forward(batch["tokens"]); }
  Var head(const Var& hidden) override { return head_.forward(hidden); }

 private:
  Embedding table_;
  Linear head_;
};

class ModelTest : public testing::Test {
 protected:
  ModelTest() { store_.values().backend().scale({.x = store_.values(), .factor = 50.0, .out = store_.values()}); }

  Bigrams model_{V};
  ParameterStore store_{model_, reference, Precision::float32, 3};
  const Batch batch_{
      {"tokens", test::random_ids({2, T}, V, 1)},
      {"targets", Tensor::from(std::vector<std::int32_t>{1, -1, 2, 3, -1, 4, 0, 0, 1, -1, 2, 3}, {2, T}, reference)}};
};

TEST_F(ModelTest, LossIsTheMeanOverTheTargetsWholeOrByChunks) {
  const std::vector<double> logits = model_.logits(batch_).value().values(), targets = batch_["targets"].values();
  double sum = 0.0, counted = 0.0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] < 0) continue;
    double mass = 0.0;
    for (std::size_t v = 0; v < V; ++v) mass += std::exp(logits[i * V + v]);
    sum += std::log(mass) - logits[i * V + static_cast<std::size_t>(targets[i])];
    ++counted;
  }
  for (const std::int64_t chunk : {0, 1, 5, 12}) {
    model_.set_head_chunk(chunk);
    EXPECT_NEAR(model_.loss(batch_).value().item(), sum / counted, 1e-13) << chunk;
  }
}

TEST_F(ModelTest, SampledLossDependsOnTheSeedAlone) {
  const auto sampled = [&](std::uint64_t seed) { return model_.sampled_loss(batch_, {.seed = seed}).value().item(); };
  EXPECT_EQ(sampled(1), sampled(1));
  EXPECT_NE(sampled(1), sampled(2));
}

TEST_F(ModelTest, NextLogitsAreThoseOfTheLastToken) {
  const auto cache = model_.make_cache({.batch = 2, .dtype = DType::f64, .device = reference});
  const std::vector<double> all = model_.logits(batch_).value().values();
  const std::vector<double> next = model_.next_logits(batch_["tokens"], *cache).value().values();
  for (std::size_t b = 0; b < 2; ++b) {
    for (std::size_t v = 0; v < V; ++v) EXPECT_EQ(next[b * V + v], all[((b + 1) * T - 1) * V + v]);
  }
}

TEST_F(ModelTest, CountsTheParametersThatAreMultiplied) {
  EXPECT_EQ(model_.flops_per_token(), 6.0 * C * V);
  EXPECT_EQ(model_.flops_formula(), "6 N");
}

TEST_F(ModelTest, NamesTheFieldThatABatchLacks) {
  EXPECT_HAS(error_of<std::invalid_argument>([&] {
               model_.logits({{"targets", batch_["targets"]}});
             }),
             "there is no field 'tokens'");
}

TEST(Models, AreMadeByName) {
  EXPECT_TRUE(models().has("gpt"));
  const auto gpt = models().make(models().choose("gpt"), 7);
  EXPECT_EQ(gpt->vocab(), 7);
  EXPECT_EQ(gpt->context(), 64);
  EXPECT_HAS(error_of([] { models().choose("gtp"); }), "unknown model 'gtp'; allowed: ");
}

}  // namespace
}  // namespace monge::nn
