// AttentionLayerModel against its formula in double, finite differences, and what it promises of its loss.
#include "nn/attention_layer.h"

#include <cmath>

#include "core/error.h"
#include "core/options/yaml.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/model_gradients.h"

namespace monge::nn {
namespace {

using test::cpu;
using test::reference;

constexpr std::int64_t B = 2, T = 5, C = 12;

AttentionLayerOptions small(const char* yaml = "{}") {
  AttentionLayerOptions o;
  o.width = C;
  o.heads = 1;
  o.context = T;
  read_yaml_text(yaml, "test", {}, o);
  return o;
}

Tensor numbers(std::uint64_t seed, Device device = reference) {
  const Tensor x = Tensor::empty({B, T, C}, backend_of(device).default_float(), device);
  x.backend().normal({.x = x, .random = {seed, 1, {}}});
  return x;
}

Batch batch_of(Device device = reference) { return {{"inputs", numbers(1, device)}, {"outputs", numbers(2, device)}}; }

/// softmax((X W_q^T + b_q)(X W_k^T + b_k)^T / sqrt(C)) (X W_v^T + b_v) W_o^T + b_o of sequence b, (T, C).
std::vector<double> formula(const std::vector<double>& store, const ParameterStore& at, const std::vector<double>& x,
                            std::int64_t b) {
  const auto parameter = [&](const char* name) { return store.data() + at.entry(name).begin; };
  const double *w = parameter("attention.qkv.weight"), *bias = parameter("attention.qkv.bias");
  const double *wo = parameter("attention.out.weight"), *bo = parameter("attention.out.bias");
  std::vector<double> qkv(static_cast<std::size_t>(T * 3 * C)), out(static_cast<std::size_t>(T * C));
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t r = 0; r < 3 * C; ++r) {
      double sum = bias[r];
      for (std::int64_t c = 0; c < C; ++c) sum += w[r * C + c] * x[static_cast<std::size_t>((b * T + t) * C + c)];
      qkv[static_cast<std::size_t>(t * 3 * C + r)] = sum;
    }
  }
  const auto row = [&](std::int64_t t, std::int64_t part) { return qkv.data() + t * 3 * C + part * C; };
  for (std::int64_t i = 0; i < T; ++i) {
    std::vector<double> p(T), h(C, 0.0);
    double total = 0.0;
    for (std::int64_t j = 0; j < T; ++j) {
      double z = 0.0;
      for (std::int64_t c = 0; c < C; ++c) z += row(i, 0)[c] * row(j, 1)[c];
      p[static_cast<std::size_t>(j)] = std::exp(z / std::sqrt(static_cast<double>(C)));
      total += p[static_cast<std::size_t>(j)];
    }
    for (std::int64_t j = 0; j < T; ++j) {
      for (std::int64_t c = 0; c < C; ++c)
        h[static_cast<std::size_t>(c)] += p[static_cast<std::size_t>(j)] / total * row(j, 2)[c];
    }
    for (std::int64_t r = 0; r < C; ++r) {
      double sum = bo[r];
      for (std::int64_t c = 0; c < C; ++c) sum += wo[r * C + c] * h[static_cast<std::size_t>(c)];
      out[static_cast<std::size_t>(i * C + r)] = sum;
    }
  }
  return out;
}

TEST(AttentionLayerModel, IsItsFormula) {
  AttentionLayerModel model(small());
  const ParameterStore store(model, reference, Precision::float32, 3);
  store.values().backend().uniform({.x = store.values(), .low = -0.5, .high = 0.5, .random = {4, 1, {}}});
  const auto values = store.values().values(), x = numbers(1).values(), y = numbers(2).values();
  const auto got = model.predictions(batch_of()).value().values();
  double squares = 0.0;
  for (std::int64_t b = 0; b < B; ++b) {
    const auto expected = formula(values, store, x, b);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(b * T * C) + i;
      EXPECT_NEAR(got[at], expected[i], 1e-12);
      squares += (expected[i] - y[at]) * (expected[i] - y[at]);
    }
  }
  EXPECT_NEAR(model.loss(batch_of()).value().item(), squares / (B * T * C), 1e-12);
}

TEST(AttentionLayerModel, GradientsAreThoseOfDifferences) {
  for (const char* yaml :
       {"{}", "causal: true", "{heads: 2, kv_heads: 1, position: rope}", "{heads: 2, attention: sigmoid}",
        "{heads: 3, bias: false, attention: {kind: softmax, qk_norm: true}}"}) {
    SCOPED_TRACE(yaml);
    AttentionLayerModel model(small(yaml));
    ParameterStore store(model, reference, Precision::float32, 5);
    test::expect_right_gradients(model, store, batch_of());
  }
}

TEST(AttentionLayerModel, CpuIsTheReference) {
  AttentionLayerModel model(small()), other(small());
  ParameterStore store(model, reference, Precision::float32, 6), fast(other, cpu, Precision::float32, 6);
  EXPECT_NEAR(model.loss(batch_of()).value().item(), other.loss(batch_of(cpu)).value().item(), 1e-5);
  AttentionLayerModel low(small());
  ParameterStore low_store(low, cpu, Precision::bfloat16, 6);
  EXPECT_NEAR(model.loss(batch_of()).value().item(), low.loss(batch_of(cpu)).value().item(), 2e-2);
}

TEST(AttentionLayerModel, StartsAsTorchDoes) {
  AttentionLayerOptions options;  // width 128
  AttentionLayerModel model(options);
  const ParameterStore store(model, cpu, Precision::float32, 1);
  const auto largest = [&](const char* name) {
    double out = 0.0;
    for (const double v : store.value(store.entry(name)).values()) out = std::max(out, std::abs(v));
    return out;
  };
  const double in_bound = std::sqrt(6.0 / 512.0), out_bound = 1.0 / std::sqrt(128.0);
  EXPECT_LE(largest("attention.qkv.weight"), in_bound);
  EXPECT_GT(largest("attention.qkv.weight"), 0.999 * in_bound);
  EXPECT_LE(largest("attention.out.weight"), out_bound);
  EXPECT_GT(largest("attention.out.weight"), 0.999 * out_bound);
  EXPECT_EQ(largest("attention.qkv.bias"), 0.0);
  EXPECT_EQ(largest("attention.out.bias"), 0.0);
}

// Drawn outputs lie around the prediction with variance C / 2, and the pass counts its vectors.
TEST(AttentionLayerModel, OutputsAreDrawnFromItsOwnLaw) {
  AttentionLayerOptions options = small();
  options.context = 64;
  AttentionLayerModel model(options);
  const ParameterStore store(model, cpu, Precision::float32, 1);
  const Tensor x = Tensor::empty({32, 64, C}, DType::f32, cpu);
  x.backend().normal({.x = x, .random = {7, 1, {}}});
  const Batch batch{{"inputs", x}, {"outputs", x}};
  const Tensor step = Tensor::zeros({1}, DType::i32, cpu);
  const double loss = model.sampled_loss(batch, {1, 0, step}).value().item();
  // Mean of 24576 squares of normal(0, C / 2): its relative deviation is sqrt(2 / 24576).
  EXPECT_NEAR(loss, 0.5 * C, 5.0 * 0.5 * C * std::sqrt(2.0 / 24576.0));
  const Tensor share = Tensor::zeros({1}, DType::f32, cpu);
  model.write_target_share(batch, share);
  EXPECT_FLOAT_EQ(static_cast<float>(share.item()), 1.0F / (32 * 64));
}

TEST(AttentionLayerModel, SaysWhatItRefuses) {
  EXPECT_HAS(error_of([] { AttentionLayerModel model(small("heads: 5")); }), "heads");
  EXPECT_HAS(error_of([] { AttentionLayerModel model(small("{heads: 4, kv_heads: 3}")); }), "kv_heads");
}

}  // namespace
}  // namespace monge::nn
