// Aaren as a layer: what it computes, what it remembers, and what it refuses.
#include "nn/attention/aaren.h"

#include <gtest/gtest.h>

#include <cmath>

#include "nn/cache_check.h"
#include "nn/gpt.h"
#include "nn/parameter_store.h"
#include "support/compare.h"
#include "support/expect_error.h"

namespace monge::nn {
namespace {

using test::cpu;
using test::random_ids;
using test::random_tensor;
using test::reference;

constexpr std::int64_t V = 11;

GptOptions small(const char* position = "none") {
  GptOptions o;
  o.layers = 2;
  o.heads = 4;
  o.kv_heads = 2;
  o.width = 24;
  o.context = 9;
  o.attention = attentions().choose("aaren");
  o.position = positions().choose(position);
  return o;
}

/// A model whose logits differ.
struct SmallGpt {
  explicit SmallGpt(const GptOptions& options, Device device = cpu, Precision precision = Precision::float32)
      : model(options, V), store(model, device, precision, 1, false) {
    store.values().backend().scale({.x = store.values(), .factor = 8.0, .out = store.values()});
    store.refresh_copies();
  }
  Gpt model;
  ParameterStore store;
};

// The attention of other kinds, by its own kernel, with the query at every token.
TEST(Aaren, IsCausalSoftmaxWithAConstantQuery) {
  DropoutState dropout;
  const LayerContext c{.width = 24,
                       .heads = 4,
                       .kv_heads = 2,
                       .layers = 1,
                       .context = 9,
                       .bias = true,
                       .dropout = &dropout,
                       .residual_stddev = 0.1};
  const auto position = positions().make(positions().choose("none"), c);
  Aaren layer(c, *position);
  const ParameterStore store(layer, reference, Precision::float32, 3, false);
  store.values().backend().normal({.x = store.values(), .random = {.seed = 5}});
  const auto value = [&](const char* name) {
    for (const auto& [at, parameter] : layer.parameters()) {
      if (at == name) return parameter->var();
    }
    throw std::logic_error(name);
  };
  const Tensor x = random_tensor({3, 9, 24}, 2);
  const Tensor zeros = Tensor::zeros({3, 9, 24}, DType::f64, reference);
  const autograd::Var queries = autograd::add(zeros, autograd::reshape(value("query"), {24}));
  const autograd::Var kv = autograd::linear(x, value("kv.weight"), value("kv.bias"));
  const autograd::Var mixed = autograd::attention(autograd::concat({queries, kv}, -1),
                                                  {.heads = 4, .kv_heads = 2, .scale = 1.0 / std::sqrt(6.0)});
  const autograd::Var expected = autograd::linear(mixed, value("out.weight"), value("out.bias"));
  EXPECT_TRUE(test::close(layer.forward(x).value(), expected.value(), 1e-13));
}

TEST(Aaren, ItsStateStandsForTheTokensBefore) {
  for (const char* position : {"none", "learned"}) {
    for (const Device device : {cpu, reference}) {
      SmallGpt m(small(position), device);
      const DType dtype = m.store.values().dtype();
      const CacheCheck check = cache_check(m.model, random_ids({3, 9}, V, 2, device), dtype);
      EXPECT_TRUE(check.ok) << position << " on " << device.str() << ": " << check.message;
    }
  }
}

TEST(Aaren, ItsCacheTakesAnyNumberOfTokensAndDoesNotGrow) {
  SmallGpt m(small());
  EXPECT_EQ(m.model.cache_capacity(), std::nullopt);
  const autograd::Tape::Pause pause;
  const auto cache = m.model.make_cache({.batch = 1, .dtype = DType::f32, .device = cpu});
  MemoryPools& memory = backend_of(cpu).memory();
  m.model.next_logits(random_ids({1, 9}, V, 1, cpu), *cache);
  const std::size_t before = memory.usage().active;
  for (int i = 0; i < 30; ++i) m.model.next_logits(random_ids({1, 7}, V, 2, cpu), *cache);
  EXPECT_EQ(memory.usage().active, before);
  EXPECT_THROW(m.model.next_logits(random_ids({1, 10}, V, 1, cpu), *cache), std::invalid_argument);  // at a time
}

// The logits after many contexts' worth of tokens are those of a model that is told them all at once.
TEST(Aaren, RemembersMoreThanTheContext) {
  GptOptions wide = small();
  wide.context = 60;
  SmallGpt narrow(small()), all(wide);
  const autograd::Tape::Pause pause;
  const auto cache = narrow.model.make_cache({.batch = 2, .dtype = DType::f32, .device = cpu});
  const std::vector<double> ids = random_ids({2, 60}, V, 4, cpu).values();
  Tensor logits;
  for (std::size_t begin = 0; begin < 60; begin += 5) {
    std::vector<std::int32_t> piece;
    for (const std::size_t row : {begin, 60 + begin}) {
      for (std::size_t i = row; i < row + 5; ++i) piece.push_back(static_cast<std::int32_t>(ids[i]));
    }
    logits = narrow.model.next_logits(Tensor::from(piece, {2, 5}, cpu), *cache).value();
  }
  EXPECT_TRUE(test::close(logits, all.model.next_logits({{"tokens", random_ids({2, 60}, V, 4, cpu)}}).value(), 1e-5));
}

TEST(Aaren, LearnedPositionsEndWithTheContext) {
  SmallGpt m(small("learned"));
  EXPECT_EQ(m.model.cache_capacity(), 9);
  GptOptions softmax = small();
  softmax.attention = attentions().choose("softmax");
  EXPECT_EQ(Gpt(softmax, V).cache_capacity(), 9);
}

TEST(Aaren, RefusesPositionsOfTheScores) {
  for (const char* position : {"rope", "alibi"}) {
    EXPECT_HAS(error_of([&] { Gpt(small(position), V); }), "choose learned or none, or another attention");
  }
}

TEST(Aaren, CountsWhatItComputes) {
  GptOptions o;
  o.attention = attentions().choose("aaren");
  const Gpt model(o, 65);
  // Without W_q; queries and positions are not multiplied.
  const double n = 4 * 11.0 * 128 * 128 + 9 * 128 + 65 * 128;
  EXPECT_DOUBLE_EQ(model.flops_per_token(), 6 * n + 17.0 * 4 * 128);
  EXPECT_EQ(model.flops_formula(), "6 N + 17 L C");
}

TEST(Aaren, IsSmallerThanSoftmaxByAProjectionOfQueriesAndLargerByTheQuery) {
  GptOptions o;
  const std::int64_t softmax = Gpt(o, 65).parameter_count();
  o.attention = attentions().choose("aaren");
  EXPECT_EQ(softmax - Gpt(o, 65).parameter_count(), 4 * (128 * 128 - 128));
}

}  // namespace
}  // namespace monge::nn
