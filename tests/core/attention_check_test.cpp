// The comparison that a library's attention must pass: it lets right results through, also when sums are in another
// order and type, and catches the faults that libraries have been seen to have.
#include "core/cuda/cudnn/attention_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/compare.h"

namespace monge::MONGE_GPU {
namespace {

using test::cpu;
using test::reference;

constexpr std::int64_t batch = 2, tokens = 40, heads = 4, kv_heads = 2, head_dim = 16;

Tensor tensor(std::int64_t columns, DType type = DType::bf16) {
  return Tensor::zeros({batch, tokens, columns}, type, cpu);
}
HeadView view(const Tensor& x, std::int64_t head = 0) { return {x, head * head_dim, x.size(2), tokens * x.size(2)}; }

kernel::AttentionBackward call(bool causal) {
  const Tensor qkv = tensor((heads + 2 * kv_heads) * head_dim), dqkv = Tensor::like(qkv);
  kernel::AttentionBackward args;
  args.forward = {.batch = batch,
                  .queries = tokens,
                  .keys = tokens,
                  .heads = heads,
                  .kv_heads = kv_heads,
                  .head_dim = head_dim,
                  .causal = causal,
                  .scale = 0.25,
                  .q = view(qkv),
                  .k = view(qkv, heads),
                  .v = view(qkv, heads + kv_heads),
                  .out = view(tensor(heads * head_dim)),
                  .row_stat = Tensor::zeros({batch, heads, tokens}, DType::f32, cpu)};
  args.dout = view(tensor(heads * head_dim));
  args.dq = view(dqkv);
  args.dk = view(dqkv, heads);
  args.dv = view(dqkv, heads + kv_heads);
  return args;
}

void forward(const kernel::Attention& args) { backend_of(cpu).attention(args); }
void backward(const kernel::AttentionBackward& args) { backend_of(cpu).attention_backward(args); }

/// Attention in double, rounded to the call's types.
void in_double(const kernel::Attention& args) {
  kernel::Attention exact = args;
  for (HeadView* x : {&exact.q, &exact.k, &exact.v, &exact.out}) x->data = test::to_reference(x->data);
  exact.row_stat = test::to_reference(args.row_stat);
  backend_of(reference).attention(exact);
  const auto give = [](const Tensor& from, const Tensor& to) {
    const Tensor rounded = from.to(to.dtype(), cpu);
    backend_of(cpu).copy({.from = rounded, .to = to});
  };
  give(exact.out.data.slice(0, args.batch), args.out.data.slice(0, args.batch));
  give(exact.row_stat, args.row_stat);
}

/// Changes one element of a float tensor.
void change(const Tensor& x, std::int64_t at, double (*f)(double)) {
  std::vector<double> values = x.values();
  values[at] = f(values[at]);
  backend_of(cpu).copy({.from = Tensor::from(values, x.shape(), x.dtype(), cpu), .to = x});
}
double to_nan(double) { return std::nan(""); }
double doubled(double x) { return 2.0 * x; }

class AttentionCheck : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Masks, AttentionCheck, testing::Bool(),
                         [](const auto& info) { return info.param ? "causal" : "full"; });

TEST_P(AttentionCheck, RightResultsAgree) {
  const kernel::AttentionBackward args = call(GetParam());
  EXPECT_EQ(disagreement(args.forward, forward, forward), "");
  EXPECT_EQ(disagreement(args.forward, in_double, forward), "");
  EXPECT_EQ(disagreement(args, forward, backward, backward), "");
}

TEST_P(AttentionCheck, TheCallItselfIsNotTouched) {
  const kernel::AttentionBackward args = call(GetParam());
  disagreement(args, forward, backward, backward);
  for (const HeadView& x : {args.forward.q, args.forward.out, args.dout, args.dq}) {
    for (const double value : x.data.values()) ASSERT_EQ(value, 0.0);
  }
}

TEST_P(AttentionCheck, ARowOfFarScoresIsAmongThem) {
  const kernel::Attention args = call(GetParam()).forward;
  std::vector<double> stats;
  disagreement(
      args, [&](const kernel::Attention& a) { forward(a), stats = a.row_stat.values(); }, forward);
  const double exact = -100.0 + std::log(tokens);
  EXPECT_NEAR(stats[tokens - 1], exact, 0.05);  // first head, last query
  EXPECT_GT(stats[tokens - 2], -20.0);          // the rows beside it are ordinary
  EXPECT_GT(stats[2 * tokens - 1], -20.0);
}

TEST_P(AttentionCheck, FaultsOfAForwardAreFound) {
  const kernel::Attention args = call(GetParam()).forward;
  const auto found = [&](const std::function<void(const kernel::Attention&)>& fault) {
    return disagreement(
        args,
        [&](const kernel::Attention& a) {
          forward(a);
          fault(a);
        },
        forward);
  };
  EXPECT_EQ(found([](const kernel::Attention& a) { change(a.out.data, 5, to_nan); }), "out has an element nan");
  EXPECT_NE(found([](const kernel::Attention& a) {
              kernel::Attention wrong = a;
              wrong.scale *= 1.5;
              forward(wrong);
            }).find("out is off by"),
            std::string::npos);
  // A log-sum-exp in base 2 is right for its own backward and wrong for everybody else.
  const std::string base = found([](const kernel::Attention& a) {
    backend_of(cpu).scale({.x = a.row_stat, .factor = 1.4427, .out = a.row_stat});
  });
  EXPECT_EQ(base.find("row_stat is off by"), 0U) << base;
}

TEST_P(AttentionCheck, FaultsOfABackwardAreFound) {
  const kernel::AttentionBackward args = call(GetParam());
  const auto found = [&](const std::function<void(const kernel::AttentionBackward&)>& fault) {
    return disagreement(
        args, forward,
        [&](const kernel::AttentionBackward& a) {
          backward(a);
          fault(a);
        },
        backward);
  };
  const std::int64_t width = args.dq.token_stride;
  // NaN where the log-sum-exp is below the smallest exponent of a float, which random data never is.
  EXPECT_EQ(found([&](const kernel::AttentionBackward& a) {
              const auto stats = a.forward.row_stat.values();
              for (std::int64_t i = 0; i < tokens; ++i) {
                if (stats[i] < -88.7) change(a.dq.data, i * width, to_nan);
              }
            }),
            "dq has an element nan");
  EXPECT_NE(found([](const kernel::AttentionBackward& a) {
              backend_of(cpu).scale({.x = a.dv.data, .factor = 2.0, .out = a.dv.data});
            }).find("dq is off by"),
            std::string::npos);
  // Only keys, only values: the packed gradients are told apart.
  const auto worst = [](const HeadView& x) {
    const auto values = x.data.values();
    std::int64_t at = x.offset;
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t c = 0; c < kv_heads * head_dim; ++c) {
        const std::int64_t i = x.offset + t * x.token_stride + c;
        if (std::abs(values[i]) > std::abs(values[at])) at = i;
      }
    }
    return at;
  };
  EXPECT_EQ(
      found([&](const kernel::AttentionBackward& a) { change(a.dk.data, worst(a.dk), doubled); }).find("dk is off by"),
      0U);
  EXPECT_EQ(
      found([&](const kernel::AttentionBackward& a) { change(a.dv.data, worst(a.dv), doubled); }).find("dv is off by"),
      0U);
}

}  // namespace
}  // namespace monge::MONGE_GPU
