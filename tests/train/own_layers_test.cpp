// Layers of a user's own program: what they may leave out, and what is said when they go wrong.
#include <gtest/gtest.h>

#include "core/backend.h"
#include "core/error.h"
#include "nn/cache_check.h"
#include "nn/gpt.h"
#include "nn/parameter_store.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "train/sampler.h"

namespace monge::nn {
namespace {

using test::cpu;

constexpr std::int64_t V = 7;

/// The mean of all tokens so far: no cache, and no positions.
class PrefixMean : public Attention {
 public:
  explicit PrefixMean(const LayerContext& c) : out_({.in = c.width, .out = c.width}) { add_module("out", out_); }
  Var forward(const Var& x) override {
    const std::int64_t length = x.size(1);
    std::vector<double> weights(static_cast<std::size_t>(length * length), 0.0);
    for (std::int64_t i = 0; i < length; ++i) {
      for (std::int64_t j = 0; j <= i; ++j) {
        weights[static_cast<std::size_t>(i * length + j)] = 1.0 / static_cast<double>(i + 1);
      }
    }
    const Tensor w = Tensor::from(weights, {length, length}, x.value().dtype(), x.value().device());
    std::vector<Var> sequences;
    for (std::int64_t b = 0; b < x.size(0); ++b) {
      const Var one = autograd::reshape(autograd::slice(x, b, b + 1), {length, x.size(2)});
      const Var mean = autograd::linear(w, autograd::transpose(one, 0, 1));
      sequences.push_back(autograd::reshape(mean, {1, length, x.size(2)}));
    }
    return out_.forward(autograd::concat(sequences, 0));
  }

 protected:
  Linear out_;
};

/// The same with a cache that it never reads.
class Forgetful : public PrefixMean {
 public:
  using PrefixMean::PrefixMean;
  std::unique_ptr<Cache> make_cache(const CacheContext&) const override { return std::make_unique<Cache>(); }
  Var forward_cached(const Var& x, Cache&, std::int64_t) override { return forward(x); }
};

template <class Layer>
std::unique_ptr<Attention> make(const NoOptions&, const LayerContext& c, Position&) {
  return std::make_unique<Layer>(c);
}

/// A small model whose logits are not all alike.
struct SmallGpt {
  explicit SmallGpt(const GptOptions& options) : model(options, V), store(model, cpu, Precision::float32, 1, false) {
    store.values().backend().scale({.x = store.values(), .factor = 20.0, .out = store.values()});
  }
  Gpt model;
  ParameterStore store;
};

class OwnLayers : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    attentions().add<NoOptions>("prefix_mean", "", make<PrefixMean>);
    attentions().add<NoOptions>("forgetful", "", make<Forgetful>);
  }
  OwnLayers() {
    options_.layers = 2;
    options_.width = 16;
    options_.heads = 2;
    options_.context = 8;
  }
  GptOptions options_;
};

TEST_F(OwnLayers, AnAttentionWithoutACacheIsSampledByRunningTheWindowAgain) {
  options_.attention = attentions().choose("prefix_mean");
  SmallGpt m(options_);
  EXPECT_EQ(m.model.make_cache({.device = cpu}), nullptr);
  std::vector<std::int32_t> tokens{3, 1, 4};
  const auto got = train::generate(m.model, m.store, {.tokens = tokens}, 12, {.temperature = 0.0});
  ASSERT_EQ(got.size(), 12u);
  std::size_t first = 0;  // a full window slides, as a full cache does: the last half stays
  for (const std::int32_t token : got) {
    if (tokens.size() - first > 8) first = tokens.size() - 4;
    const std::size_t window = tokens.size() - first;
    const std::vector<std::int32_t> seen(tokens.end() - static_cast<std::ptrdiff_t>(window), tokens.end());
    const auto logits =
        m.model.forward(Tensor::from(seen, {1, static_cast<std::int64_t>(window)}, cpu)).value().values();
    const auto last = logits.end() - V;
    EXPECT_EQ(token, std::max_element(last, logits.end()) - last) << "after " << tokens.size();
    tokens.push_back(token);
  }
}

TEST_F(OwnLayers, TheCheckFindsACacheThatIsNotRead) {
  options_.attention = attentions().choose("forgetful");
  SmallGpt m(options_);
  const CacheCheck check = cache_check(m.model, test::random_ids({2, 8}, V, 1, cpu), DType::f32);
  EXPECT_FALSE(check.ok);
  EXPECT_HAS(check.message, "after 7 tokens");
  EXPECT_GT(check.largest_difference, 1e-3);
}

TEST_F(OwnLayers, APositionThatAttentionDoesNotApplyIsRefused) {
  options_.attention = attentions().choose("prefix_mean");
  for (const char* position : {"rope", "alibi", "goat"}) {
    options_.position = positions().choose(position);
    SmallGpt m(options_);
    EXPECT_HAS(error_of([&] {
                 m.model.forward(test::random_ids({1, 4}, V, 1, cpu));
               }),
               fmt::format("model.attention 'prefix_mean' does not apply model.position '{}'", position));
  }
  options_.attention = attentions().choose("softmax");
  for (const char* position : {"rope", "alibi", "goat", "learned", "none"}) {
    options_.position = positions().choose(position);
    SmallGpt m(options_);
    EXPECT_NO_THROW(m.model.forward(test::random_ids({1, 4}, V, 1, cpu))) << position;
  }
}

}  // namespace
}  // namespace monge::nn
