// Attention of one query on a device against the reference backend, which computes it by its definition.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/kernels.h"

namespace monge {
namespace {

using test::on;
using test::random_tensor;
using test::reference;
using test::tested;

struct PrefixCase {
  std::int64_t batch, tokens, heads, kv_heads, head_dim;
  bool before = false;  // tokens came before
  double sharpness = 1.0;
};

std::ostream& operator<<(std::ostream& to, const PrefixCase& c) {
  return to << "B=" << c.batch << " T=" << c.tokens << " H=" << c.heads << " G=" << c.kv_heads << " D=" << c.head_dim
            << (c.before ? " before" : "") << " sharpness=" << c.sharpness;
}

/// The inputs of a case, on the tested device.
struct Inputs {
  Tensor q, kv, dout, before, dq;
};

Inputs inputs_of(const PrefixCase& c, DType dtype) {
  Inputs in;
  in.q = random_tensor({c.heads, c.head_dim}, 1, dtype, tested, c.sharpness);
  in.kv = random_tensor({c.batch, c.tokens, 2 * c.kv_heads * c.head_dim}, 2, dtype, tested);
  in.dout = random_tensor({c.batch, c.tokens, c.heads * c.head_dim}, 3, dtype, tested);
  in.dq = random_tensor({c.heads, c.head_dim}, 4, DType::f32, tested);
  if (c.before) {
    auto states = test::random_values(c.batch * c.heads * (c.head_dim + 2), 5);
    for (std::size_t i = 1; i < states.size(); i += static_cast<std::size_t>(c.head_dim + 2)) {
      states[i] = 1.0 + std::abs(states[i]);  // the denominator
    }
    in.before = Tensor::from(states, {c.batch, c.heads, c.head_dim + 2}, DType::f32, tested);
  }
  return in;
}

HeadView view(const Tensor& x, std::int64_t offset = 0) { return {x, offset, x.size(2), x.size(1) * x.size(2)}; }

Tensor sevens(const Shape& shape, DType dtype, Device device) {
  const Tensor x = Tensor::empty(shape, dtype, device);
  x.backend().fill({.x = x, .value = 7.0});
  return x;
}

using Results = std::map<std::string, std::vector<double>>;

/// Forward and backward on `device`, by the name of what they write.
Results run(const PrefixCase& c, const Inputs& given, Device device, bool accumulate = true) {
  const DType dtype = device == reference ? DType::f64 : given.q.dtype();
  const DType wide = backend_of(device).default_float();
  kernel::PrefixAttention a;
  a.batch = c.batch;
  a.tokens = c.tokens;
  a.heads = c.heads;
  a.kv_heads = c.kv_heads;
  a.head_dim = c.head_dim;
  a.scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
  a.q = on(device, dtype, given.q);
  const Tensor kv = on(device, dtype, given.kv), dout = on(device, dtype, given.dout);
  a.k = view(kv);
  a.v = view(kv, c.kv_heads * c.head_dim);
  a.out = view(sevens(dout.shape(), dtype, device));
  a.gate = sevens({c.batch, c.heads, c.tokens}, wide, device);
  a.before = on(device, wide, given.before);
  a.after = sevens({c.batch, c.heads, c.head_dim + 2}, wide, device);
  backend_of(device).prefix_attention(a);

  const Tensor dkv = sevens(kv.shape(), dtype, device), dq = on(device, wide, given.dq);
  kernel::PrefixAttentionBackward back{.forward = a,
                                       .dout = view(dout),
                                       .dk = view(dkv),
                                       .dv = view(dkv, c.kv_heads * c.head_dim),
                                       .dq = dq,
                                       .accumulate_q = accumulate};
  backend_of(device).prefix_attention_backward(back);
  return {{"out", a.out.data.values()},
          {"gate", a.gate.values()},
          {"after", a.after.values()},
          {"dkv", dkv.values()},
          {"dq", dq.values()}};
}

/// `slack`: for dq where it is much smaller than what it is the sum of.
void expect_equal(const PrefixCase& c, const Inputs& in, double slack = 1.0) {
  SCOPED_TRACE(testing::Message() << c << " " << name_of(in.q.dtype()));
  const Results got = run(c, in, tested), expected = run(c, in, reference);
  for (const auto& [name, values] : expected) {
    const double tolerance = in.q.dtype() == DType::f32 ? 1e-5 : name == "out" ? 1e-2 : 2e-2;
    EXPECT_TRUE(test::close(got.at(name), values, name == "dq" ? slack * tolerance : tolerance)) << name;
  }
}

class PrefixAttention : public test::Kernels {};
MONGE_KERNEL_TESTS(PrefixAttention);

TEST_P(PrefixAttention, ForwardAndBackward) {
  for (const PrefixCase& c :
       {PrefixCase{1, 1, 1, 1, 1}, PrefixCase{2, 1, 2, 1, 5}, PrefixCase{2, 7, 3, 3, 8}, PrefixCase{1, 33, 2, 2, 16},
        PrefixCase{3, 64, 4, 2, 33}, PrefixCase{1, 65, 6, 2, 64}, PrefixCase{2, 100, 8, 1, 13},
        PrefixCase{1, 257, 2, 2, 65}, PrefixCase{9, 31, 1, 1, 128}, PrefixCase{0, 5, 2, 1, 4}}) {
    expect_equal(c, inputs_of(c, dtype()));
  }
}

TEST_P(PrefixAttention, GoesOnFromAState) {
  for (const PrefixCase& c : {PrefixCase{1, 1, 2, 1, 5, true}, PrefixCase{2, 9, 4, 2, 8, true},
                              PrefixCase{1, 130, 2, 2, 33, true}, PrefixCase{1, 0, 2, 1, 6, true}}) {
    expect_equal(c, inputs_of(c, dtype()));
  }
}

// Few heads and many tokens: the scan has two levels.
TEST_P(PrefixAttention, LongSequencesAreCutIntoPieces) {
  for (const PrefixCase& c : {PrefixCase{1, 2048, 1, 1, 8}, PrefixCase{2, 3001, 2, 1, 5, true}}) {
    expect_equal(c, inputs_of(c, dtype()));
  }
}

// More keys and values than caches hold, in heads that start on whole vectors and in some that do not. Many short
// sequences: the reference takes the square of their length.
TEST_P(PrefixAttention, GradientsMayPassTheCaches) {
  for (const PrefixCase& c : {PrefixCase{40, 205, 2, 2, 64}, PrefixCase{90, 200, 2, 2, 30}}) {
    expect_equal(c, inputs_of(c, dtype()));
  }
}

// Queries and keys of few bits, so that the scores are exact: up to 10^4 in size, rising, falling and equal.
TEST_P(PrefixAttention, TakesHugeScores) {
  const PrefixCase c{1, 96, 2, 1, 4};
  Inputs in = inputs_of(c, dtype());
  std::vector<double> q(8, 0.0), kv = in.kv.values();
  q[0] = 256.0;
  q[4] = -256.0;
  for (std::size_t j = 0; j < 96; ++j) {
    const double steps[] = {78.0, -78.0, static_cast<double>(j % 79), 78.0 - static_cast<double>(j), 64.0 + (j % 2)};
    kv[j * 8] = steps[j / 20];
    for (std::size_t i = 1; i < 4; ++i) kv[j * 8 + i] = 0.0;
  }
  in.q = Tensor::from(q, in.q.shape(), dtype(), tested);
  in.kv = Tensor::from(kv, in.kv.shape(), dtype(), tested);
  expect_equal(c, in, 10.0);  // keys of 78 in all directions
}

// A gate that is the same at every token, and such that 1 - g rounds badly: what reaches the first tokens has passed
// more than a thousand of these.
TEST_P(PrefixAttention, LongMemoriesDoNotDrift) {
  if (dtype() == DType::bf16) GTEST_SKIP() << "the inputs would not be what they are meant to be";
  constexpr double gate = 5033.5 * 0x1p-24;
  const PrefixCase c{8, 1500, 1, 1, 2};
  Inputs in = inputs_of(c, dtype());
  std::vector<double> kv = in.kv.values();
  for (std::int64_t j = 0; j < c.batch * c.tokens; ++j) {
    const double t = static_cast<double>(j % c.tokens);
    // s_t = log g - t log(1 - g) after a first token of score 0 holds the gate at g.
    kv[static_cast<std::size_t>(4 * j)] = t == 0.0 ? 0.0 : (std::log(gate) - t * std::log1p(-gate)) * std::sqrt(2.0);
    kv[static_cast<std::size_t>(4 * j + 1)] = 0.0;
  }
  in.q = Tensor::from(std::vector<double>{1.0, 0.0}, in.q.shape(), dtype(), tested);
  in.kv = Tensor::from(kv, in.kv.shape(), dtype(), tested);
  in.dout = Tensor::from(std::vector<double>(kv.size() / 2, 1.0), in.dout.shape(), dtype(), tested);
  expect_equal(c, in);
}

// One token at a time, the state in place, is the whole sequence.
TEST_P(PrefixAttention, TokensOneByOneAreTheSequence) {
  const PrefixCase c{2, 40, 4, 2, 12};
  const Inputs in = inputs_of(c, dtype());
  const Results whole = run(c, in, tested);
  const Tensor state = Tensor::zeros({c.batch, c.heads, c.head_dim + 2}, DType::f32, tested);
  std::vector<double> out(whole.at("out").size());
  const std::int64_t width = c.heads * c.head_dim;
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    const Tensor one = Tensor::empty({c.batch, 1, width}, dtype(), tested);
    kernel::PrefixAttention a{.batch = c.batch,
                              .tokens = 1,
                              .heads = c.heads,
                              .kv_heads = c.kv_heads,
                              .head_dim = c.head_dim,
                              .scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim)),
                              .q = in.q,
                              .k = view(in.kv, t * in.kv.size(2)),
                              .v = view(in.kv, t * in.kv.size(2) + c.kv_heads * c.head_dim),
                              .out = view(one),
                              .gate = Tensor::empty({c.batch, c.heads, 1}, DType::f32, tested),
                              .before = t == 0 ? Tensor() : state,
                              .after = state};
    backend_of(tested).prefix_attention(a);
    const auto values = one.values();
    for (std::int64_t b = 0; b < c.batch; ++b) {
      std::copy_n(values.begin() + b * width, width, out.begin() + (b * c.tokens + t) * width);
    }
  }
  EXPECT_TRUE(test::close(out, whole.at("out"), tolerance()));
  EXPECT_TRUE(test::close(state.values(), whole.at("after"), 1e-5));
}

TEST_P(PrefixAttention, OverwritesOrAddsToTheGradientOfTheQuery) {
  const PrefixCase c{2, 20, 2, 2, 9};
  const Inputs in = inputs_of(c, dtype());
  const auto added = run(c, in, tested, true).at("dq"), alone = run(c, in, tested, false).at("dq"),
             given = in.dq.values();
  for (std::size_t i = 0; i < added.size(); ++i) EXPECT_NEAR(added[i], alone[i] + given[i], 1e-5);
}

TEST_P(PrefixAttention, TheBitsDoNotDependOnTheThreads) {
  const bool emulated = tested != test::cpu;
  for (const PrefixCase& c : {PrefixCase{3, 70, 4, 2, 33}, PrefixCase{1, emulated ? 300 : 5000, 2, 2, 24, true}}) {
    const Inputs in = inputs_of(c, dtype());
    test::expect_same_for_any_threads([&] {
      std::vector<double> all;
      for (const auto& [name, values] : run(c, in, tested)) all.insert(all.end(), values.begin(), values.end());
      return all;
    });
  }
}

TEST_P(PrefixAttention, HandsNanOn) {
  const PrefixCase c{1, 6, 1, 1, 4};
  Inputs in = inputs_of(c, dtype());
  std::vector<double> kv = in.kv.values();
  kv[3 * 8] = NAN;  // a key
  in.kv = Tensor::from(kv, in.kv.shape(), dtype(), tested);
  const auto out = run(c, in, tested).at("out");
  for (std::size_t i = 0; i < 24; ++i) EXPECT_EQ(std::isnan(out[i]), i >= 12) << i;
}

TEST(PrefixAttentionCalls, ThatDoNotFitAreRefused) {
  const Tensor q = Tensor::zeros({4, 8}, DType::f32, tested), kv = Tensor::zeros({2, 5, 32}, DType::f32, tested);
  const kernel::PrefixAttention good{.batch = 2,
                                     .tokens = 5,
                                     .heads = 4,
                                     .kv_heads = 2,
                                     .head_dim = 8,
                                     .q = q,
                                     .k = view(kv),
                                     .v = view(kv, 16),
                                     .out = view(Tensor::zeros({2, 5, 32}, DType::f32, tested)),
                                     .gate = Tensor::zeros({2, 4, 5}, DType::f32, tested)};
  const auto message_of = [&](auto change) {
    kernel::PrefixAttention bad = good;
    change(bad);
    try {
      backend_of(tested).prefix_attention(bad);
    } catch (const std::invalid_argument& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(message_of([](auto&) {}), "accepted");
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  EXPECT_PRED2(has, message_of([](auto& a) { a.kv_heads = 3; }), "4 heads of 8 cannot share 3 key/value heads");
  EXPECT_PRED2(has, message_of([](auto& a) { a.q = a.q.slice(0, 3); }), "q must be (4, 8)");
  EXPECT_PRED2(has, message_of([](auto& a) { a.v.offset = 17; }), "v reads up to element 321 of 320");
  EXPECT_PRED2(has, message_of([](auto& a) { a.gate = a.gate.slice(0, 1); }), "gate must have 40 elements");
  EXPECT_PRED2(has, message_of([](auto& a) { a.after = a.gate; }), "after must have 80 elements");
  EXPECT_PRED2(has, message_of([](auto& a) { a.out = a.k; }), "out overlaps");
}

}  // namespace
}  // namespace monge
