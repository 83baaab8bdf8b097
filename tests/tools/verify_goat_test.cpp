// monge verify goat: the claims hold for the prior that ships, and each is missed by a fault that breaks it.
#include "tools/verify/papers/goat.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "core/row_map/custom.h"
#include "support/expect_error.h"

namespace monge::tools {
namespace {

using autograd::Var;
using Texts = std::set<std::string>;

Texts missed_texts(const GoatTables& tables) {
  Texts out;
  for (const Claim& claim : missed({goat_findings(1, tables)})) out.insert(claim.text);
  return out;
}

TEST(Goat, HoldsForAnySeed) {
  for (const std::uint64_t seed : {1, 2, 3, 1234567}) {
    const Findings findings = goat_findings(seed);
    EXPECT_EQ(findings.claims.size(), 10u);
    for (const Claim& claim : findings.claims) {
      EXPECT_TRUE(claim.ok()) << claim.text << ": " << claim.measured << ", seed " << seed;
    }
  }
}

TEST(Goat, APriorThatIsScaledIsFound) {
  GoatTables tables;
  tables.of_distance = [](const nn::GoatPrior& p, std::int64_t n) {
    return autograd::scale(p.of_distance(n, GoatTables::device), 1.01);
  };
  EXPECT_EQ(missed_texts(tables), (Texts{"tables = the paper's packed lanes", "the same in single precision",
                                         "recency alone = ALiBi", "the same as m j on the keys"}));
}

TEST(Goat, AKeyPriorThatIsLeftOutIsFound) {
  GoatTables tables;
  tables.of_key = [](const nn::GoatPrior& p, std::int64_t n) {
    return autograd::scale(p.of_key(n, GoatTables::device), 0.0);
  };
  EXPECT_EQ(missed_texts(tables), (Texts{"tables = the paper's packed lanes", "the same in single precision"}));
}

TEST(Goat, ABiasThatDoesNotEndIsFound) {
  GoatTables tables;
  tables.of_key = [](const nn::GoatPrior& p, std::int64_t n) {
    std::vector<double> bump(static_cast<std::size_t>(n), 0.0);
    bump[3] = 0.1;
    return autograd::add(p.of_key(n, GoatTables::device),
                         Var(Tensor::from(bump, {1, n}, DType::f64, GoatTables::device)));
  };
  EXPECT_TRUE(missed_texts(tables).contains("a = b = m = u = 0: plain softmax"));
}

TEST(Goat, AMapThatIsNotSoftmaxIsFound) {
  const Texts wrong = missed_texts({.map = SparsemaxMap{}});
  for (const char* text : {"tables = the paper's packed lanes", "a = b = m = u = 0: plain softmax",
                           "objective - that of others, largest", "|log(p / pi)| / range of z, largest"}) {
    EXPECT_TRUE(wrong.contains(text)) << text;
  }
  EXPECT_TRUE(missed_texts({.map = SigmoidMap{}}).contains("mass beside a sink / its bound, worst"));
}

TEST(Goat, AWrongGradientIsFound) {
  GoatTables tables;
  tables.of_distance = [](const nn::GoatPrior& p, std::int64_t n) {
    return autograd::custom_op(
        "wrong gradient of a prior", {p.of_distance(n, GoatTables::device)},
        [](const std::vector<Tensor>& in) { return in[0].clone(); },
        [](const std::vector<Tensor>&, const Tensor&, const Tensor& dy) {
          const Tensor dx = Tensor::like(dy);
          dx.backend().scale({.x = dy, .factor = 1.001, .out = dx});
          return std::vector<Tensor>{dx};
        });
  };
  EXPECT_EQ(missed_texts(tables), (Texts{"gradients of a, b, m and u"}));
}

TEST(Goat, TheFigureNamesItsCurves) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "gnuplot is not installed";
  const std::string svg = goat_svg();
  for (const char* part : {"recency alone", "with waves", "with a first token", "log-prior"}) EXPECT_HAS(svg, part);
}

}  // namespace
}  // namespace monge::tools
