#include "train/data/made_up/hidden_markov.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "train/data/made_up/markov.h"

namespace monge::train {
namespace {

using Tokens = std::vector<std::int32_t>;

/// Two states, three symbols, nothing symmetric.
struct Small {
  std::vector<double> start = {0.7, 0.3}, transition = {0.9, 0.1, 0.35, 0.65},
                      emission = {0.5, 0.3, 0.2, 0.05, 0.15, 0.8};
  HiddenMarkovLanguage language{"small", start, transition, emission};

  /// Summed over all paths of the state.
  double probability(const Tokens& tokens) const {
    const std::function<double(std::size_t, std::size_t)> from = [&](std::size_t at, std::size_t state) {
      if (at == tokens.size()) return 1.0;
      double sum = 0.0;
      for (std::size_t next = 0; next < 2; ++next) {
        sum += transition[state * 2 + next] * emission[next * 3 + static_cast<std::size_t>(tokens[at])] *
               from(at + 1, next);
      }
      return sum;
    };
    return start[0] * from(0, 0) + start[1] * from(0, 1);
  }
};

/// The sequence whose tokens are the digits of `code` in base 3.
Tokens sequence(int code, std::size_t length) {
  Tokens tokens(length);
  for (std::int32_t& token : tokens) {
    token = code % 3;
    code /= 3;
  }
  return tokens;
}

TEST(HiddenMarkov, BestLossIsTheSumOverAllPaths) {
  const Small small;
  double total = 0.0;
  for (int code = 0; code < 729; ++code) {
    const Tokens tokens = sequence(code, 6);
    const double first = small.probability({tokens[0]});
    ASSERT_NEAR(first * std::exp(-small.language.best_loss(tokens)), small.probability(tokens), 1e-14) << code;
    total += small.probability(tokens);
  }
  EXPECT_NEAR(total, 1.0, 1e-12);
}

TEST(HiddenMarkov, GeneratesItsLaw) {
  const Small small;
  constexpr int draws = 100000;
  std::vector<int> counts(27, 0);
  for (int i = 0; i < draws; ++i) {
    RandomSequence random(8, static_cast<std::uint32_t>(i));
    Tokens tokens(3);
    small.language.generate(random, tokens);
    ++counts[static_cast<std::size_t>(tokens[0] + 3 * tokens[1] + 9 * tokens[2])];
  }
  for (int code = 0; code < 27; ++code) {
    const double p = small.probability(sequence(code, 3));
    EXPECT_NEAR(counts[static_cast<std::size_t>(code)], draws * p, 4.0 * std::sqrt(draws * p * (1.0 - p))) << code;
  }
}

TEST(Mess3, WithClearSymbolsIsAMarkovChain) {
  const HiddenMarkovLanguage hidden = mess3(0.1, 1.0);
  const MarkovLanguage chain(3, 1, {0.8, 0.1, 0.1, 0.1, 0.8, 0.1, 0.1, 0.1, 0.8});
  for (int code = 0; code < 243; ++code) {
    const Tokens tokens = sequence(code, 5);
    ASSERT_NEAR(hidden.best_loss(tokens), chain.best_loss(tokens), 1e-12);
  }
}

TEST(Mess3, WithBlurredSymbolsIsNoise) {
  EXPECT_NEAR(mess3(0.1, 1.0 / 3.0).best_loss(Tokens{0, 1, 1, 2, 0}), 4.0 * std::log(3.0), 1e-12);
}

TEST(Mess3, HasItsEntropyRate) {
  // 0.794 +- 0.001 and 1.0889 +- 0.0001 nats by an independent simulation.
  for (const auto& [moving, clarity, rate, bound] :
       {std::tuple(0.05, 0.85, 0.794, 0.004), std::tuple(0.15, 0.6, 1.0889, 0.001)}) {
    const HiddenMarkovLanguage language = mess3(moving, clarity);
    RandomSequence random(3, 0);
    Tokens tokens(400001);
    language.generate(random, tokens);
    EXPECT_NEAR(language.best_loss(tokens) / 400000.0, rate, bound);
  }
}

TEST(Mess3, IsADataset) {
  const auto data = datasets().make(datasets().choose("mess3"), {.context = 32, .seed = 1});
  EXPECT_EQ(data->vocab(), 3);
  EXPECT_FALSE(data->entropy_rate().has_value());
  EXPECT_GT(*data->validation_optimum(256), 0.794 - 0.02);
  EXPECT_LT(*data->validation_optimum(256), 0.85);
}

}  // namespace
}  // namespace monge::train
