// Gpt with every choice of its parts: gradients, caching, recomputation, precision, what a user may add.
#include "nn/gpt.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "autograd/gradcheck.h"
#include "core/error.h"
#include "core/options/yaml.h"
#include "nn/cache_check.h"
#include "nn/parameter_store.h"
#include "support/compare.h"
#include "support/model_gradients.h"

namespace monge::nn {
namespace {

using autograd::Tape;
using test::cpu;
using test::reference;

struct Variant {
  const char* name;
  std::function<void(GptOptions&)> change;
};

void PrintTo(const Variant& v, std::ostream* out) { *out << v.name; }

/// A change that is written as in a recipe.
std::function<void(GptOptions&)> yaml(const std::string& text) {
  return [text](GptOptions& o) { read_yaml_text(text, "variant", {}, o); };
}

const Variant variants[] = {
    {"plain", [](GptOptions&) {}},
    {"untied", [](GptOptions& o) { o.tied_head = false; }},
    {"biases", [](GptOptions& o) { o.bias = true; }},
    {"rope", [](GptOptions& o) { o.position = positions().choose("rope"); }},
    {"alibi", [](GptOptions& o) { o.position = positions().choose("alibi"); }},
    {"goat", yaml("position: goat")},
    {"grouped_goat_priors", yaml("{kv_heads: 2, position: {kind: goat, frequencies: 0, start: flat}, attention: {kind: "
                                 "sigmoid, relative_prior: true, key_prior: true}}")},
    {"no_position", [](GptOptions& o) { o.position = positions().choose("none"); }},
    {"rmsnorm", [](GptOptions& o) { o.norm = norms().choose("rmsnorm"); }},
    {"no_norm", yaml("norm: none")},
    {"layer_scale", yaml("block: {kind: prenorm, layer_scale: 0.3}")},
    {"hybrid_norm", yaml("{norm: rmsnorm, block: {kind: prenorm, hybrid_norm: true}}")},
    {"layer_scale_hybrid_norm",
     yaml("{attention: sigmoid, block: {kind: prenorm, layer_scale: 1e-4, hybrid_norm: true}}")},
    {"swiglu", [](GptOptions& o) { o.mlp = mlps().choose("swiglu"); }},
    {"grouped", [](GptOptions& o) { o.kv_heads = 1; }},
    {"grouped_rope",
     [](GptOptions& o) {
       o.kv_heads = 2;
       o.position = positions().choose("rope");
     }},
    {"priors", yaml("attention: {kind: softmax, relative_prior: true, key_prior: true}")},
    {"grouped_priors", yaml("{kv_heads: 2, attention: {kind: sigmoid, relative_prior: true, learned_bias: true}}")},
    {"softmax1", yaml("attention: {kind: softmax1, bias: -0.5, learned_bias: true}")},
    {"sparsemax", yaml("attention: sparsemax")},
    {"entmax15", yaml("attention: entmax15")},
    {"entmax", yaml("attention: {kind: entmax, alpha: 1.3}")},
    {"sigmoid", yaml("attention: sigmoid")},
    {"sigmoid_biases", yaml("attention: {kind: sigmoid, bias: [-1, -2, -1.5, 0], learned_bias: true}")},
    {"sigmoid_alibi", yaml("{position: alibi, attention: sigmoid}")},
    {"relu", yaml("attention: relu")},
    {"relu_mlp", yaml("mlp: {kind: relu, ratio: 2}")},
    {"softplus", yaml("attention: {kind: softplus, beta: 2}")},
    {"softpick", yaml("attention: softpick")},
    {"aaren", yaml("attention: aaren")},
    {"grouped_aaren", yaml("{kv_heads: 2, bias: true, attention: aaren}")},
    {"qk_norm", yaml("attention: {kind: softmax, qk_norm: true}")},
    {"grouped_rope_qk_norm", yaml("{kv_heads: 2, position: rope, attention: {kind: sigmoid, qk_norm: true}}")},
};

GptOptions small(const Variant& variant) {
  GptOptions o;
  o.layers = 2;
  o.heads = 4;
  o.width = 24;
  o.context = 9;
  variant.change(o);
  return o;
}

Tensor loss_gradients(Gpt& model, ParameterStore& store, const Tensor& tokens, const Tensor& targets) {
  return test::loss_gradients(model, store, {{"tokens", tokens}, {"targets", targets}});
}

class GptVariants : public testing::TestWithParam<Variant> {};

TEST_P(GptVariants, GradientsAgreeWithCentralDifferences) {
  Gpt model(small(GetParam()), 11);
  ParameterStore store(model, reference, Precision::float32, 1);
  // Larger weights than at the start, so that no gradient is lost in rounding.
  store.values().backend().scale({.x = store.values(), .factor = 5.0, .out = store.values()});
  test::expect_right_gradients(
      model, store, {{"tokens", test::random_ids({2, 9}, 11, 2)}, {"targets", test::random_ids({2, 9}, 11, 3)}});
}

TEST_P(GptVariants, CpuAgreesWithReference) {
  Gpt a(small(GetParam()), 11), b(small(GetParam()), 11);
  ParameterStore on_cpu(a, cpu, Precision::float32, 1), on_reference(b, reference, Precision::float32, 1);
  const Tensor tokens = test::random_ids({3, 7}, 11, 2), targets = test::random_ids({3, 7}, 11, 3);
  const Tensor tokens_cpu = test::on(cpu, DType::f32, tokens), targets_cpu = test::on(cpu, DType::f32, targets);
  EXPECT_TRUE(test::close(a.forward(tokens_cpu).value(), b.forward(tokens).value(), 1e-5));
  EXPECT_TRUE(test::close(loss_gradients(a, on_cpu, tokens_cpu, targets_cpu),
                          loss_gradients(b, on_reference, tokens, targets), 1e-5));
}

TEST_P(GptVariants, Bfloat16StaysNearFloat32) {
  if (GetParam().name == std::string("softpick")) {
    GTEST_SKIP() << "its derivative jumps at scores of 0, near which all scores of a new model lie";
  }
  Gpt a(small(GetParam()), 11), b(small(GetParam()), 11);
  ParameterStore low(a, cpu, Precision::bfloat16, 1), full(b, cpu, Precision::float32, 1);
  const Tensor tokens = test::random_ids({3, 7}, 11, 2, cpu), targets = test::random_ids({3, 7}, 11, 3, cpu);
  EXPECT_NEAR(a.loss(tokens, targets).value().item(), b.loss(tokens, targets).value().item(), 2e-2);
  EXPECT_TRUE(test::close(loss_gradients(a, low, tokens, targets), loss_gradients(b, full, tokens, targets), 5e-2));
}

TEST_P(GptVariants, CachedLogitsEqualUncachedOnes) {
  Gpt model(small(GetParam()), 11);
  ParameterStore store(model, cpu, Precision::float32, 1, false);
  const CacheCheck check = cache_check(model, test::random_ids({2, 9}, 11, 2, cpu), DType::f32);
  EXPECT_TRUE(check.ok) << check.message;
  const auto cache = model.make_cache({.batch = 2, .dtype = DType::f32, .device = cpu});
  model.next_logits(test::random_ids({2, 9}, 11, 2, cpu), *cache);
  EXPECT_THROW(model.next_logits(test::random_ids({2, 1}, 11, 2, cpu), *cache), std::invalid_argument);  // full
}

TEST_P(GptVariants, RecomputationGivesTheSameBits) {
  GptOptions o = small(GetParam());
  o.dropout = 0.3;
  Gpt model(o, 11);
  ParameterStore store(model, cpu, Precision::float32, 1);
  model.train({.seed = 4, .stream = 0, .step = {}});
  const Tensor tokens = test::random_ids({2, 9}, 11, 2, cpu), targets = test::random_ids({2, 9}, 11, 3, cpu);
  const auto kept = loss_gradients(model, store, tokens, targets).values();
  model.set_recompute(true);
  EXPECT_EQ(loss_gradients(model, store, tokens, targets).values(), kept);
}

// 18 tokens in chunks of 5, some of them left out of the loss: the same mean, the same gradients.
TEST_P(GptVariants, AChunkedHeadChangesNothing) {
  Gpt model(small(GetParam()), 11);
  ParameterStore store(model, reference, Precision::float32, 1);
  const Tensor tokens = test::random_ids({2, 9}, 11, 2);
  std::vector<std::int32_t> asked(18, -1);
  for (const std::size_t i : {1u, 3u, 4u, 11u, 17u})
    asked[i] = static_cast<std::int32_t>(i % 11);  // one chunk has none
  const Tensor targets = Tensor::from(asked, {2, 9}, reference);
  const double loss = model.loss(tokens, targets).value().item();
  const Tensor whole = loss_gradients(model, store, tokens, targets);
  model.set_head_chunk(5);
  EXPECT_NEAR(model.loss(tokens, targets).value().item(), loss, 1e-14);
  EXPECT_TRUE(test::close(loss_gradients(model, store, tokens, targets), whole, 1e-13));
}

TEST(Gpt, AChunkedHeadHoldsFewLogits) {
  GptOptions o;
  o.layers = 1;
  o.heads = 1;
  o.width = 8;
  o.context = 64;
  Gpt model(o, 5000);
  ParameterStore store(model, cpu, Precision::float32, 1);
  const Tensor tokens = test::random_ids({4, 64}, 5000, 2, cpu);
  MemoryPools& memory = backend_of(cpu).memory();
  const auto peak = [&] {
    memory.reset_peak();
    loss_gradients(model, store, tokens, tokens);
    return memory.usage()[Pool::activations].peak;
  };
  const std::size_t whole = peak();
  model.set_head_chunk(32);
  EXPECT_LT(peak(), whole / 3);  // an eighth of the logits, and what the block keeps
}

INSTANTIATE_TEST_SUITE_P(All, GptVariants, testing::ValuesIn(variants),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Gpt, StartsNearTheUniformLoss) {
  Gpt model(small(variants[0]), 11);
  ParameterStore store(model, cpu, Precision::float32, 1);
  const Tensor tokens = test::random_ids({4, 9}, 11, 2, cpu), targets = test::random_ids({4, 9}, 11, 3, cpu);
  EXPECT_NEAR(model.loss(tokens, targets).value().item(), std::log(11.0), 0.05);
}

// The mean loss of targets drawn from the predictions is near the mean entropy of these, whole or by chunks of the
// head; positions that are left out stay so, and what is drawn depends on seed and step.
TEST(Gpt, SampledLossIsNearTheEntropyOfItsPredictions) {
  GptOptions options;
  options.layers = 1;
  options.width = 16;
  options.heads = 2;
  options.context = 32;
  Gpt gpt(options, 7);
  const ParameterStore store(gpt, cpu, Precision::float32, 1);
  store.values().backend().scale(
      {.x = store.values(), .factor = 12.0, .out = store.values()});  // predictions that differ
  gpt.eval();
  constexpr std::int64_t B = 64, T = 32;
  const Tensor tokens = test::random_ids({B, T}, 7, 1, cpu);
  std::vector<std::int32_t> given(B * T, 3);
  for (std::size_t i = 0; i < given.size(); i += 2) given[i] = -1;
  const Tensor targets = Tensor::from(given, {B, T}, cpu);

  const std::vector<double> logits = gpt.forward(tokens).value().values();
  double entropy = 0.0, square = 0.0;
  for (std::size_t i = 1; i < given.size(); i += 2) {
    const auto z = std::span(logits).subspan(7 * i, 7);
    double mass = 0.0;
    for (const double v : z) mass += std::exp(v);
    for (const double v : z) {
      const double p = std::exp(v) / mass;
      entropy -= p * std::log(p) / (B * T / 2);
      square += p * std::log(p) * std::log(p) / (B * T / 2);
    }
  }
  ASSERT_LT(entropy, 0.9 * std::log(7.0));
  const double deviation = std::sqrt((square - entropy * entropy) / (B * T / 2));
  const auto sampled = [&](std::uint64_t seed) {
    return gpt.sampled_loss(tokens, targets, {.seed = seed}).value().item();
  };
  for (const std::int64_t chunk : {0, 300}) {
    gpt.set_head_chunk(chunk);
    EXPECT_NEAR(sampled(1), entropy, 5.0 * deviation) << chunk;
    EXPECT_EQ(sampled(1), sampled(1));
    EXPECT_NE(sampled(1), sampled(2));
  }
  EXPECT_EQ(given,
            (std::vector<std::int32_t>(targets.data_as<std::int32_t>(), targets.data_as<std::int32_t>() + B * T)));
}

TEST(Gpt, DoesNotLookAhead) {
  Gpt model(small(variants[0]), 11);
  ParameterStore store(model, cpu, Precision::float32, 1);
  std::vector<std::int32_t> a(9, 1), b(9, 1);
  b[5] = 7;
  const auto x = model.forward(Tensor::from(a, {1, 9}, cpu)).value().values();
  const auto y = model.forward(Tensor::from(b, {1, 9}, cpu)).value().values();
  for (std::size_t i = 0; i < 5 * 11; ++i) EXPECT_EQ(x[i], y[i]);
  EXPECT_NE(x[5 * 11], y[5 * 11]);
}

TEST(Gpt, DropsOnlyWhileTraining) {
  GptOptions o = small(variants[0]);
  o.dropout = 0.5;
  Gpt model(o, 11);
  ParameterStore store(model, cpu, Precision::float32, 1);
  const Tensor tokens = test::random_ids({2, 9}, 11, 2, cpu);
  const auto quiet = model.forward(tokens).value().values();
  const Tensor step = Tensor::from(std::vector<std::int32_t>{1}, {1}, cpu);
  model.train({.seed = 4, .stream = 0, .step = step});
  const auto noisy = model.forward(tokens).value().values();
  EXPECT_NE(noisy, quiet);
  EXPECT_EQ(model.forward(tokens).value().values(), noisy);  // the same step draws the same numbers
  const std::int32_t next = 2;
  step.backend().copy_from_host({.from = &next, .to = step});
  EXPECT_NE(model.forward(tokens).value().values(), noisy);
  model.eval();
  EXPECT_EQ(model.forward(tokens).value().values(), quiet);
}

TEST(Gpt, CountsFlops) {
  GptOptions o;  // 0.8M: 4 layers, width 128, context 64
  Gpt model(o, 65);
  const double n = 4 * 12.0 * 128 * 128 + 9 * 128 + 65 * 128;  // the position table is only looked up
  EXPECT_DOUBLE_EQ(model.flops_per_token(), 6 * n + 6.0 * 4 * 128 * 64);
}

TEST(Gpt, RefusesSizesThatDoNotFit) {
  GptOptions o;
  o.heads = 3;
  EXPECT_THROW(Gpt(o, 5), InputError);
  o = {};
  o.kv_heads = 3;
  EXPECT_THROW(Gpt(o, 5), InputError);
  o = {};
  o.heads = 128;
  o.position = positions().choose("rope");
  EXPECT_THROW(Gpt(o, 5), InputError);
  Gpt model({}, 5);
  ParameterStore store(model, cpu, Precision::float32, 1);
  EXPECT_THROW(model.forward(test::random_ids({1, 65}, 5, 1, cpu)), std::invalid_argument);
}

// What a user's program does: an MLP of plain ops, then its name in the options.
struct SquareOptions : Options {
  double power = 2.0;
  void fields(Fields& f) override { f("power", power, {}); }
};
class SquareMlp : public Mlp {
 public:
  explicit SquareMlp(const LayerContext& c) : up_({.in = c.width, .out = c.width}) { add_module("up", up_); }
  Var forward(const Var& x) override {
    const Var h = up_.forward(x);
    return autograd::mul(h, h);
  }

 private:
  Linear up_;
};

TEST(Gpt, UsesRegisteredLayers) {
  mlps().add<SquareOptions>("square", "h * h",
                            [](const SquareOptions&, const LayerContext& c) { return std::make_unique<SquareMlp>(c); });
  GptOptions o = small(variants[0]);
  o.mlp = mlps().choose("square");
  Gpt model(o, 11);
  ParameterStore store(model, cpu, Precision::float32, 1);
  EXPECT_EQ(store.entry("blocks.1.mlp.up.weight").shape, (Shape{24, 24}));
  EXPECT_TRUE(std::isfinite(
      model.loss(test::random_ids({1, 9}, 11, 2, cpu), test::random_ids({1, 9}, 11, 3, cpu)).value().item()));
}

struct TwoLayers : Module {
  TwoLayers() {
    add_module("up", up);
    add_module("down", down);
  }
  Linear up{{.in = 6, .out = 10, .bias = true, .stddev = 1.0, .activation = Activation::gelu}};
  Linear down{{.in = 10, .out = 4, .bias = true, .stddev = 1.0}};
};

struct Seen : LinearObserver {
  void observe(const Tensor& x, const Tensor& dy) override { calls.push_back({x, dy}); }
  std::vector<std::pair<Tensor, Tensor>> calls;
};

// Two layers in turn do not keep what lies between, and are the same function; an observer of either sees it.
TEST(Layers, InTurnAreOneAfterTheOther) {
  TwoLayers model;
  ParameterStore store(model, reference, Precision::float32, 1);
  const Tensor x = test::random_tensor({3, 6}, 2), seed = test::random_tensor({3, 4}, 3);
  const auto gradients = [&](bool in_turns) {
    store.clear_grads();
    Tape tape;
    const Var leaf = Var::leaf(x);
    Var y;
    {
      Tape::Recording recording(tape);
      y = in_turns ? in_turn(model.up, model.down, leaf) : model.down.forward(model.up.forward(leaf));
    }
    tape.backward(y, seed);
    std::vector<std::vector<double>> all{y.value().values(), leaf.grad().values()};
    for (const Linear* layer : {&model.up, &model.down}) {
      all.push_back(layer->weight().var().grad().values());
      all.push_back(layer->bias()->var().grad().values());
    }
    return all;
  };
  const auto expected = gradients(false);
  EXPECT_EQ(gradients(true), expected);

  for (Linear* layer : {&model.up, &model.down}) {
    Seen seen;
    layer->set_observer(&seen);
    EXPECT_EQ(gradients(true), expected);
    layer->set_observer(nullptr);
    ASSERT_EQ(seen.calls.size(), 1u);
    const bool up = layer == &model.up;
    EXPECT_EQ(seen.calls[0].first.values(), up ? x.values() : model.up.forward(x).value().values());
    if (!up) {
      EXPECT_EQ(seen.calls[0].second.values(), seed.values());
    }
  }
}

}  // namespace
}  // namespace monge::nn
