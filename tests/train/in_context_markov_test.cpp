#include "train/data/made_up/in_context_markov.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace monge::train {
namespace {

using Tokens = std::vector<std::int32_t>;

/// The sequence whose tokens are the digits of `code` in base `symbols`.
Tokens sequence(std::size_t code, std::size_t symbols, std::size_t length) {
  Tokens tokens(length);
  for (std::int32_t& token : tokens) {
    token = static_cast<std::int32_t>(code % symbols);
    code /= symbols;
  }
  return tokens;
}

/// Its probability with the rows integrated out (Dirichlet-multinomial): for each row
/// Gamma(V c) / Gamma(n_i + V c) prod_j Gamma(n_ij + c) / Gamma(c).
double probability(const Tokens& tokens, std::size_t symbols, double c) {
  std::vector<double> counts(symbols * symbols, 0.0);
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    counts[static_cast<std::size_t>(tokens[i - 1]) * symbols + static_cast<std::size_t>(tokens[i])] += 1.0;
  }
  const auto V = static_cast<double>(symbols);
  double log = -std::log(V);
  for (std::size_t i = 0; i < symbols; ++i) {
    double n = 0.0;
    for (std::size_t j = 0; j < symbols; ++j) {
      n += counts[i * symbols + j];
      log += std::lgamma(counts[i * symbols + j] + c) - std::lgamma(c);
    }
    log += std::lgamma(V * c) - std::lgamma(n + V * c);
  }
  return std::exp(log);
}

TEST(InContextMarkov, BestLossIsTheLawWithTheChainIntegratedOut) {
  for (const double c : {0.2, 1.0, 5.0}) {
    for (const auto& [symbols, length, count] : {std::tuple(2u, 10u, 1024u), std::tuple(3u, 6u, 729u)}) {
      const InContextMarkovLanguage language(static_cast<std::int32_t>(symbols), c);
      double total = 0.0;
      for (std::size_t code = 0; code < count; ++code) {
        const Tokens tokens = sequence(code, symbols, length);
        const double found = std::exp(-language.best_loss(tokens)) / symbols;
        ASSERT_NEAR(found, probability(tokens, symbols, c), 1e-13);
        total += found;
      }
      EXPECT_NEAR(total, 1.0, 1e-12);
    }
  }
}

TEST(InContextMarkov, TwoSymbolsByHand) {
  // Rows uniform, nothing seen: 1/2. After a -> a once: (1 + 1) / (1 + 2).
  const InContextMarkovLanguage language(2, 1.0);
  EXPECT_NEAR(language.best_loss(Tokens{0, 0}), std::log(2.0), 1e-15);
  EXPECT_NEAR(language.best_loss(Tokens{0, 0, 0}), std::log(2.0) + std::log(1.5), 1e-15);
  EXPECT_NEAR(language.best_loss(Tokens{0, 0, 1}), std::log(2.0) + std::log(3.0), 1e-15);
  EXPECT_EQ(language.best_loss(Tokens{1}), 0.0);
}

TEST(InContextMarkov, SequencesFollowChainsOfTheirOwn) {
  // Drawn as the definition says: two rows (p, 1 - p) with p uniform, a uniform first symbol, and a walk.
  constexpr int draws = 60000;
  const InContextMarkovLanguage language(2, 1.0);
  std::vector<int> generated(32, 0), walked(32, 0);
  for (int i = 0; i < draws; ++i) {
    RandomSequence random(5, static_cast<std::uint32_t>(i));
    Tokens tokens(5);
    language.generate(random, tokens);
    std::size_t code = 0;
    for (const std::int32_t token : tokens) code = 2 * code + static_cast<std::size_t>(token);
    ++generated[code];

    const double zero_next[] = {random.uniform(), random.uniform()};
    std::size_t now = random.below(2);
    code = now;
    for (int step = 1; step < 5; ++step) {
      now = random.uniform() < zero_next[now] ? 0 : 1;
      code = 2 * code + now;
    }
    ++walked[code];
  }
  for (std::size_t code = 0; code < 32; ++code) {
    const double both = generated[code] + walked[code];
    EXPECT_NEAR(generated[code], walked[code], 4.0 * std::sqrt(both)) << code;
  }
}

TEST(InContextMarkov, TheOptimumFallsAlongTheSequence) {
  // Mean losses of the best prediction by an independent simulation: 1.207 for 4 symbols and 64 tokens, 1.925 for 8
  // and 128. Without the context it would be ln(symbols).
  InContextMarkovOptions options;
  options.validation_windows = 3000;
  for (const auto& [symbols, context, expected] : {std::tuple(4, 64, 1.207), std::tuple(8, 128, 1.925)}) {
    options.symbols = symbols;
    const auto data = datasets().make({"in_context_markov", std::make_shared<InContextMarkovOptions>(options)},
                                      {.context = context, .seed = 1});
    EXPECT_NEAR(*data->validation_optimum(3000), expected, 0.012);
    EXPECT_FALSE(data->entropy_rate().has_value());
    EXPECT_EQ(data->vocab(), symbols);
  }
}

}  // namespace
}  // namespace monge::train
