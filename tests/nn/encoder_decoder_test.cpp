// EncoderDecoder with every choice of its parts: gradients, caching, recomputation, precision, padding, and what each
// side may see.
#include "nn/encoder_decoder.h"

#include <cmath>
#include <functional>

#include "core/error.h"
#include "core/options/yaml.h"
#include "nn/cache_check.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/model_gradients.h"
#include "support/spans.h"

namespace monge::nn {
namespace {

using test::cpu;
using test::reference;

constexpr std::int64_t B = 3, T = 7, S = 9, V = 11;

struct Variant {
  const char* name;
  const char* yaml;
};

void PrintTo(const Variant& v, std::ostream* out) { *out << v.name; }

const Variant variants[] = {
    {"plain", "{}"},
    {"untied", "{tied_head: false, bias: true}"},
    {"rope", "{position: rope, kv_heads: 2}"},
    {"alibi", "position: alibi"},
    {"no_position", "position: none"},
    {"rmsnorm_swiglu", "{norm: rmsnorm, mlp: swiglu}"},
    {"deep_encoder", "{encoder_layers: 3, layers: 1}"},
    {"priors", "{kv_heads: 1, attention: {kind: softmax, relative_prior: true, key_prior: true}}"},
    {"qk_norm", "{kv_heads: 2, attention: {kind: softmax, qk_norm: true}}"},
    {"stabilised", "block: {kind: prenorm, layer_scale: 0.3, hybrid_norm: true}"},
    {"no_norms", "norm: none"},
    {"softmax1", "attention: {kind: softmax1, bias: -0.5, learned_bias: true}"},
    {"sparsemax", "attention: sparsemax"},
    {"entmax15", "attention: entmax15"},
    {"sigmoid", "{position: alibi, attention: sigmoid}"},
    {"relu", "attention: relu"},
    {"softplus", "attention: {kind: softplus, beta: 2}"},
    {"softpick", "attention: softpick"},
};

EncoderDecoderOptions small(const Variant& variant) {
  EncoderDecoderOptions o;
  o.layers = 2;
  o.heads = 4;
  o.width = 24;
  o.context = T;
  o.source_context = S;
  read_yaml_text(variant.yaml, "variant", {}, o);
  return o;
}

/// Sources of three lengths, the padding of which is filled with `padding`.
Batch batch_on(Device device, std::int32_t padding = 0) {
  const std::vector<std::int32_t> lengths{9, 1, 5};
  std::vector<double> source = test::random_ids({B, S}, V, 4).values();
  std::vector<std::int32_t> padded;
  for (std::size_t i = 0; i < source.size(); ++i) {
    const bool there = static_cast<std::int32_t>(i % S) < lengths[i / S];
    padded.push_back(there ? static_cast<std::int32_t>(source[i]) : padding);
  }
  return {{"tokens", test::random_ids({B, T}, V, 2, device)},
          {"targets", test::random_ids({B, T}, V, 3, device)},
          {"source", Tensor::from(padded, {B, S}, device)},
          {"source_segment", test::padding_segments(lengths, S, device)}};
}

struct Made {
  Made(const EncoderDecoderOptions& options, Device device, Precision precision = Precision::float32)
      : model(options, V), store(model, device, precision, 1) {
    // Larger weights than at the start: scores that differ, and gradients that are not lost in rounding.
    for (const auto& e : store.entries()) {
      if (e.parameter->role() == Role::gain) continue;
      const Tensor value = store.value(e);
      value.backend().scale({.x = value, .factor = 4.0, .out = value});
      if (e.name.ends_with("_prior")) {  // 0 at the start
        const Tensor random = test::random_tensor(value.shape(), 5, value.dtype(), device, 0.5);
        value.backend().copy({.from = random, .to = value});
      }
    }
    store.refresh_copies();
  }
  EncoderDecoder model;
  ParameterStore store;
};

class EncoderDecoderVariants : public testing::TestWithParam<Variant> {};

TEST_P(EncoderDecoderVariants, GradientsAgreeWithCentralDifferences) {
  Made m(small(GetParam()), reference);
  test::expect_right_gradients(m.model, m.store, batch_on(reference));
}

TEST_P(EncoderDecoderVariants, CpuAgreesWithReference) {
  if (GetParam().name == std::string("softpick")) GTEST_SKIP() << "its derivative jumps at scores of 0";
  Made a(small(GetParam()), cpu), b(small(GetParam()), reference);
  EXPECT_TRUE(test::close(a.model.logits(batch_on(cpu)).value(), b.model.logits(batch_on(reference)).value(), 1e-5));
  EXPECT_TRUE(test::close(test::loss_gradients(a.model, a.store, batch_on(cpu)),
                          test::loss_gradients(b.model, b.store, batch_on(reference)), 2e-5));
}

TEST_P(EncoderDecoderVariants, Bfloat16StaysNearFloat32) {
  if (GetParam().name == std::string("softpick")) GTEST_SKIP() << "its derivative jumps at scores of 0";
  Made low(small(GetParam()), cpu, Precision::bfloat16), full(small(GetParam()), cpu);
  const Batch batch = batch_on(cpu);
  EXPECT_NEAR(low.model.loss(batch).value().item(), full.model.loss(batch).value().item(), 5e-2);
}

TEST_P(EncoderDecoderVariants, PaddingChangesNothing) {
  Made m(small(GetParam()), cpu);
  const auto before = test::loss_gradients(m.model, m.store, batch_on(cpu, 0)).values();
  const double loss = m.model.loss(batch_on(cpu, 0)).value().item();
  EXPECT_EQ(m.model.loss(batch_on(cpu, 7)).value().item(), loss);
  // Padded tokens are embedded, and no gradient reaches what they are.
  EXPECT_EQ(test::loss_gradients(m.model, m.store, batch_on(cpu, 7)).values(), before);
}

TEST_P(EncoderDecoderVariants, CachedLogitsEqualUncachedOnes) {
  Made m(small(GetParam()), cpu);
  const Batch all = batch_on(cpu);
  const Batch given{{"source", all["source"]}, {"source_segment", all["source_segment"]}};
  const CacheCheck check = cache_check(m.model, all["tokens"], DType::f32, 2e-5, given);
  EXPECT_TRUE(check.ok) << check.message;
}

TEST_P(EncoderDecoderVariants, RecomputationGivesTheSameBits) {
  EncoderDecoderOptions o = small(GetParam());
  o.dropout = 0.3;
  Made m(o, cpu);
  m.model.train({.seed = 4, .stream = 0, .step = {}});
  const auto kept = test::loss_gradients(m.model, m.store, batch_on(cpu)).values();
  m.model.set_recompute(true);
  const auto again = test::loss_gradients(m.model, m.store, batch_on(cpu)).values();
  for (const auto& e : m.store.entries()) {
    const auto begin = static_cast<std::ptrdiff_t>(e.begin), end = begin + static_cast<std::ptrdiff_t>(e.shape.numel());
    EXPECT_TRUE(std::equal(kept.begin() + begin, kept.begin() + end, again.begin() + begin)) << e.name;
  }
}

// Several pairs in a sequence give what each gives in a sequence of its own.
TEST_P(EncoderDecoderVariants, PackedPairsDoNotSeeEachOther) {
  struct Pair {
    test::Ids source, tokens, targets;
  };
  const std::vector<Pair> pairs{
      {{1, 2, 3, 4}, {0, 5, 6}, {5, 6, 0}}, {{7}, {0, 8}, {8, 0}}, {{9, 10, 1}, {0, 4}, {4, 0}}};
  Made m(small(GetParam()), reference);
  test::Ids source, source_segment, tokens, targets, segment;
  double expected = 0.0;
  std::vector<double> logits;
  for (std::size_t p = 0; p < pairs.size(); ++p) {
    const auto& [of_source, of_tokens, of_targets] = pairs[p];
    const auto row = [](const test::Ids& ids) { return Tensor::from(ids, {1, std::ssize(ids)}, reference); };
    const Batch alone{{"tokens", row(of_tokens)},
                      {"targets", row(of_targets)},
                      {"source", row(of_source)},
                      {"source_segment", Tensor::zeros({1, std::ssize(of_source)}, DType::i32, reference)}};
    expected += m.model.loss(alone).value().item() * static_cast<double>(of_tokens.size()) / 7.0;
    const auto own = m.model.logits(alone).value().values();
    logits.insert(logits.end(), own.begin(), own.end());
    source.insert(source.end(), of_source.begin(), of_source.end());
    source_segment.insert(source_segment.end(), of_source.size(), static_cast<std::int32_t>(p));
    tokens.insert(tokens.end(), of_tokens.begin(), of_tokens.end());
    targets.insert(targets.end(), of_targets.begin(), of_targets.end());
    segment.insert(segment.end(), of_tokens.size(), static_cast<std::int32_t>(p));
  }
  ASSERT_EQ(tokens.size(), static_cast<std::size_t>(T));
  source.push_back(3);  // padding
  source_segment.push_back(3);
  const auto together = [&](Device device) -> Batch {
    return {{"tokens", Tensor::from(tokens, {1, T}, device)},
            {"targets", Tensor::from(targets, {1, T}, device)},
            {"source", Tensor::from(source, {1, S}, device)},
            {"source_segment", Tensor::from(source_segment, {1, S}, device)},
            {"segment", Tensor::from(segment, {1, T}, device)}};
  };
  EXPECT_NEAR(m.model.loss(together(reference)).value().item(), expected, 1e-12);
  EXPECT_TRUE(test::close(m.model.logits(together(reference)).value().values(), logits, 1e-12));
  if (GetParam().name == std::string("softpick")) return;  // its derivative jumps at scores of 0
  test::expect_right_gradients(m.model, m.store, together(reference));
  Made fast(small(GetParam()), cpu);
  EXPECT_TRUE(test::close(test::loss_gradients(fast.model, fast.store, together(cpu)),
                          test::loss_gradients(m.model, m.store, together(reference)), 2e-5));
}

INSTANTIATE_TEST_SUITE_P(All, EncoderDecoderVariants, testing::ValuesIn(variants),
                         [](const auto& info) { return std::string(info.param.name); });

/// Logits (B, T, V) after one token of a field has changed.
std::vector<double> logits_with(EncoderDecoder& model, const char* field, std::size_t at, std::int32_t token) {
  const Batch before = batch_on(reference);
  Batch batch;
  for (const auto& [name, tensor] : before) {
    std::vector<double> values = tensor.values();
    if (name == field) values[at] = token;
    std::vector<std::int32_t> ids;
    for (const double v : values) ids.push_back(static_cast<std::int32_t>(v));
    batch.add(name, Tensor::from(ids, tensor.shape(), reference));
  }
  return model.logits(batch).value().values();
}

TEST(EncoderDecoder, EveryTargetSeesTheWholeSourceAndEarlierTargets) {
  Made m(small(variants[0]), reference);
  const auto differs = [&](const char* field, std::size_t at, std::size_t position) {
    const auto a = logits_with(m.model, field, at, 1), b = logits_with(m.model, field, at, 2);
    double difference = 0.0;
    for (std::size_t v = 0; v < V; ++v) difference += std::abs(a[position * V + v] - b[position * V + v]);
    return difference > 1e-9;
  };
  EXPECT_TRUE(differs("source", S - 1, 0));       // the last token of the first source, the first target
  EXPECT_FALSE(differs("source", S - 1, T));      // another sequence
  EXPECT_FALSE(differs("source", 2 * S - 1, T));  // padding of the second source
  EXPECT_TRUE(differs("tokens", 2, 5));
  EXPECT_FALSE(differs("tokens", 5, 2));
}

// What a decoder's block holds beside a block of Gpt is a norm and a cross-attention.
TEST(EncoderDecoder, ItsParametersAreCounted) {
  const EncoderDecoderOptions o = small(variants[0]);
  EncoderDecoder model(o, V);
  const std::int64_t C = o.width, block = 2 * C + 4 * C * C + 8 * C * C, cross = C + 4 * C * C;
  EXPECT_EQ(model.parameter_count(), V * C + (S + T) * C + 2 * 2 * block + 2 * cross + 2 * C);
}

TEST(EncoderDecoder, APriorOfCausalAttentionIsRefused) {
  EXPECT_HAS(error_of([] { Made(small({"goat", "position: goat"}), cpu); }), "model.position: goat");
}

TEST(EncoderDecoder, WhatIsMissingOrTooLongIsRefused) {
  Made m(small(variants[0]), cpu);
  EXPECT_THROW(m.model.loss({{"tokens", batch_on(cpu)["tokens"]}, {"targets", batch_on(cpu)["targets"]}}),
               std::invalid_argument);
  Batch batch;
  for (const auto& [name, tensor] : batch_on(cpu)) {
    batch.add(name, name == "source" ? test::random_ids({B, S + 1}, V, 4, cpu) : tensor);
  }
  EXPECT_THROW(m.model.loss(batch), std::invalid_argument);
}

}  // namespace
}  // namespace monge::nn
