// monge verify aaren: the claims hold for what ships, and each is missed by a fault that breaks it.
#include "tools/verify/papers/aaren.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <set>

#include "core/backend.h"
#include "support/expect_error.h"

namespace monge::tools {
namespace {

std::set<std::string> missed_texts(const AarenParts& parts) {
  std::set<std::string> out;
  for (const Claim& claim : missed({aaren_findings(1, parts)})) out.insert(claim.text);
  return out;
}

TEST(VerifyAaren, HoldsForAnySeed) {
  for (const std::uint64_t seed : {1, 2, 3, 1234567}) {
    const Findings findings = aaren_findings(seed);
    EXPECT_EQ(findings.claims.size(), 13u);
    for (const Claim& claim : findings.claims) {
      EXPECT_TRUE(claim.ok()) << claim.text << ": " << claim.measured << ", seed " << seed;
    }
  }
}

// The left state keeps its scale: right only where the largest score comes first.
TEST(VerifyAaren, AStateThatIsNotRescaledIsFound) {
  AarenParts parts;
  parts.combine = [](const AarenState& a, const AarenState& b) {
    AarenState out = combine(a, b);
    out.w = a.w + std::exp(b.m - out.m) * b.w;
    return out;
  };
  EXPECT_EQ(missed_texts(parts),
            (std::set<std::string>{"(a + b) + c = a + (b + c), |m| <= 50", "scan of states = causal softmax"}));
}

// A mean of two states is no operation of theirs alone.
TEST(VerifyAaren, ACombinationThatForgetsTheDenominatorIsFound) {
  AarenParts parts;
  parts.combine = [](const AarenState& a, const AarenState& b) {
    AarenState out = combine(a, b);
    out.u = 1.0;
    return out;
  };
  EXPECT_TRUE(missed_texts(parts).contains("scan of states = causal softmax"));
}

TEST(VerifyAaren, AStateThatIsNotHandedOnIsFound) {
  AarenParts parts;
  parts.forward = [](const kernel::PrefixAttention& a) {
    kernel::PrefixAttention alone = a;
    alone.before = {};
    a.q.backend().prefix_attention(alone);
  };
  EXPECT_EQ(missed_texts(parts), (std::set<std::string>{"token by token = causal softmax"}));
}

TEST(VerifyAaren, AWrongScaleIsFound) {
  AarenParts parts;
  parts.forward = [](const kernel::PrefixAttention& a) {
    kernel::PrefixAttention wrong = a;
    wrong.scale *= 1.01;
    a.q.backend().prefix_attention(wrong);
  };
  const auto texts = missed_texts(parts);
  for (const char* text : {"token by token = causal softmax", "cpu, f32: outputs", "cpu, f32: gradients in one pass",
                           "cpu, f32: scores of up to 10^4"}) {
    EXPECT_TRUE(texts.contains(text)) << text;
  }
}

// Gradients of a query that is told the position: later tokens count a little less.
TEST(VerifyAaren, AGateThatIsOffIsFound) {
  AarenParts parts;
  parts.backward = [](const kernel::PrefixAttentionBackward& given) {
    kernel::PrefixAttentionBackward wrong = given;
    wrong.forward.gate = Tensor::like(given.forward.gate);
    wrong.forward.gate.backend().scale({.x = given.forward.gate, .factor = 0.999, .out = wrong.forward.gate});
    given.dq.backend().prefix_attention_backward(wrong);
  };
  EXPECT_EQ(missed_texts(parts), (std::set<std::string>{"cpu, f32: gradients in one pass"}));
}

// A query that moves from token to token, as in other attention: weights change their order.
TEST(VerifyAaren, AQueryThatMovesIsFound) {
  AarenParts parts;
  parts.forward = [](const kernel::PrefixAttention& a) {
    for (std::int64_t n = 1; n <= a.tokens; ++n) {  // the last output of each prefix stays
      kernel::PrefixAttention prefix = a;
      prefix.tokens = n;
      prefix.gate = a.gate.flat_view(0, {n});
      prefix.scale = a.scale * (1.0 + 0.1 * static_cast<double>(n));
      const Tensor out = Tensor::zeros({1, n, a.head_dim}, a.q.dtype(), a.q.device());
      prefix.out = {out, 0, a.head_dim, n * a.head_dim};
      a.q.backend().prefix_attention(prefix);
      out.backend().copy({.from = out.flat_view((n - 1) * a.head_dim, {a.head_dim}),
                          .to = a.out.data.flat_view(a.out.offset + (n - 1) * a.head_dim, {a.head_dim})});
    }
  };
  EXPECT_TRUE(missed_texts(parts).contains("log(a_ij / a_ik) changes with i by"));
}

TEST(VerifyAaren, TheFigureNamesItsCurves) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "gnuplot is not installed";
  const std::string svg = aaren_svg(1);
  for (const char* part : {"weights in output i, one query", "a query of its own for each i", "token 23"}) {
    EXPECT_HAS(svg, part);
  }
}

}  // namespace
}  // namespace monge::tools
