#include "train/data/made_up/markov.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/expect_error.h"
#include "train/data/made_up/alias_table.h"

namespace monge::train {
namespace {

using Tokens = std::vector<std::int32_t>;

double entropy(std::initializer_list<double> law) {
  double sum = 0.0;
  for (const double p : law) sum -= p * std::log(p);
  return sum;
}

std::unique_ptr<Dataset> make(const MarkovOptions& options, std::int64_t context, std::uint64_t seed) {
  return datasets().make({"markov", std::make_shared<MarkovOptions>(options)}, {.context = context, .seed = seed});
}

Tokens train(const Dataset& data, std::size_t context, std::uint64_t index) {
  Tokens inputs(context), targets(context);
  data.train_sequence(index, inputs, targets);
  EXPECT_TRUE(std::equal(inputs.begin() + 1, inputs.end(), targets.begin()));
  inputs.push_back(targets.back());
  return inputs;
}

TEST(AliasTable, DrawsTheLawItWasGiven) {
  const std::vector<std::vector<double>> laws = {
      {1.0}, {0.5, 0.5}, {0.0, 1.0, 0.0}, {0.9, 0.05, 0.05}, {1e-9, 0.25, 0.25, 0.5 - 1e-9}, {0.1, 0.2, 0.3, 0.4}};
  for (const std::vector<double>& law : laws) {
    const AliasTable table(law);
    RandomSequence random(3, 4);
    constexpr int draws = 200000;
    std::vector<int> counts(law.size(), 0);
    for (int i = 0; i < draws; ++i) ++counts.at(static_cast<std::size_t>(table.draw(random)));
    for (std::size_t i = 0; i < law.size(); ++i) {
      const double deviation = std::sqrt(draws * law[i] * (1.0 - law[i]));
      EXPECT_NEAR(counts[i], draws * law[i], 4.0 * deviation) << i;
    }
  }
}

TEST(Markov, TwoSymbolsByHand) {
  // a leaves with 0.1, b with 0.4: b is four times as often left, so the law is (0.8, 0.2).
  const MarkovLanguage language(2, 1, {0.9, 0.1, 0.4, 0.6});
  EXPECT_NEAR(language.stationary()[0], 0.8, 1e-12);
  EXPECT_NEAR(language.stationary()[1], 0.2, 1e-12);
  EXPECT_NEAR(*language.entropy_rate(), 0.8 * entropy({0.9, 0.1}) + 0.2 * entropy({0.4, 0.6}), 1e-12);
  EXPECT_NEAR(language.best_loss(Tokens{0, 0, 1, 1, 0}), -std::log(0.9 * 0.1 * 0.6 * 0.4), 1e-12);
  EXPECT_EQ(language.tokenizer().decode({0, 1}), "ab");
}

TEST(Markov, OrderZeroIsIndependentDraws) {
  const MarkovLanguage language(3, 0, {0.5, 0.3, 0.2});
  EXPECT_NEAR(*language.entropy_rate(), entropy({0.5, 0.3, 0.2}), 1e-15);
  EXPECT_NEAR(language.best_loss(Tokens{2, 0, 1}), -std::log(0.5 * 0.3), 1e-12);
}

TEST(Markov, APeriodicChainHasItsLawToo) {
  const MarkovLanguage language(3, 1, {0, 1, 0, 0, 0, 1, 1, 0, 0});
  for (const double p : language.stationary()) EXPECT_NEAR(p, 1.0 / 3.0, 1e-12);
  EXPECT_EQ(language.entropy_rate(), 0.0);
  RandomSequence random(1, 1);
  Tokens tokens(50);
  language.generate(random, tokens);
  for (std::size_t i = 1; i < tokens.size(); ++i) EXPECT_EQ(tokens[i], (tokens[i - 1] + 1) % 3);
}

TEST(Markov, AChainThatHardlyMovesIsRefused) {
  EXPECT_HAS(error_of([] { MarkovLanguage(2, 1, {1 - 1e-9, 1e-9, 3e-9, 1 - 3e-9}); }), "raise data.concentration");
}

TEST(Markov, TheStationaryLawStaysPut) {
  MarkovOptions options;
  options.symbols = 5;
  options.order = 3;
  options.concentration = 0.05;
  const std::vector<double> rows = dirichlet_rows(options);
  const MarkovLanguage language(5, 3, rows);
  const std::span<const double> law = language.stationary();
  double residual = 0.0;
  for (std::size_t to = 0; to < 125; ++to) {  // (b, c, d) is reached from every (a, b, c)
    double moved = 0.0;
    for (std::size_t a = 0; a < 5; ++a) moved += law[a * 25 + to / 5] * rows[(a * 25 + to / 5) * 5 + to % 5];
    residual += std::abs(moved - law[to]);
  }
  EXPECT_LT(residual, 1e-12);
  EXPECT_NEAR(std::accumulate(law.begin(), law.end(), 0.0), 1.0, 1e-12);
}

TEST(Markov, BestLossIsTheExactConditionalLawFromTheFirstTokenOn) {
  // Over all sequences of 7 tokens of an order-3 chain: the probability of a sequence by its definition, against
  // P(x_0) exp(-best_loss).
  MarkovOptions options;
  options.symbols = 2;
  options.order = 3;
  const std::vector<double> rows = dirichlet_rows(options);
  const MarkovLanguage language(2, 3, rows);
  std::vector<double> probability(128);
  for (std::size_t code = 0; code < 128; ++code) {
    probability[code] = language.stationary()[code >> 4];
    for (int i = 3; i >= 0; --i) probability[code] *= rows[(code >> (i + 1) & 7) * 2 + (code >> i & 1)];
  }
  const double first_is_one = std::accumulate(probability.begin() + 64, probability.end(), 0.0);
  for (std::size_t code = 0; code < 128; ++code) {
    Tokens tokens;
    for (int i = 6; i >= 0; --i) tokens.push_back(static_cast<std::int32_t>(code >> i & 1));
    const double first = tokens[0] == 1 ? first_is_one : 1.0 - first_is_one;
    EXPECT_NEAR(first * std::exp(-language.best_loss(tokens)), probability[code], 1e-12) << code;
  }
}

TEST(Markov, EveryOrderHasTheRateOfItsBlockEntropies) {
  // H(k + 2 symbols) - H(k + 1 symbols) over all sequences, with the law of a sequence from best_loss.
  for (std::int32_t order = 0; order <= 6; ++order) {
    MarkovOptions options;
    options.symbols = 2;
    options.order = order;
    const std::vector<double> rows = dirichlet_rows(options);
    const MarkovLanguage language(2, order, rows);
    const std::span<const double> law = language.stationary();
    const double first_is_one =
        order == 0 ? rows[1]
                   : std::accumulate(law.begin() + static_cast<std::ptrdiff_t>(law.size() / 2), law.end(), 0.0);
    const auto block_entropy = [&](std::size_t length) {
      double entropy = 0.0, total = 0.0;
      for (std::size_t code = 0; code < std::size_t{1} << length; ++code) {
        Tokens tokens(length);
        for (std::size_t i = 0; i < length; ++i) tokens[i] = static_cast<std::int32_t>(code >> i & 1);
        const double first = tokens[0] == 1 ? first_is_one : 1.0 - first_is_one;
        const double p = first * std::exp(-language.best_loss(tokens));
        total += p;
        if (p > 0.0) entropy -= p * std::log(p);
      }
      EXPECT_NEAR(total, 1.0, 1e-10) << order;
      return entropy;
    };
    const auto k = static_cast<std::size_t>(order);
    EXPECT_NEAR(block_entropy(k + 2) - block_entropy(k + 1), *language.entropy_rate(), 1e-9) << order;
  }
}

TEST(Markov, GeneratedTokensFollowTheRowsFromTheStationaryLaw) {
  const std::vector<double> rows = {0.9, 0.1, 0.3, 0.7, 0.2, 0.8, 0.5, 0.5};
  const MarkovLanguage language(2, 2, rows);
  constexpr int sequences = 40000;
  for (const std::size_t at : {0u, 3u}) {  // of the tuple (x_at, x_at+1) and what follows
    std::vector<double> tuples(4, 0.0), ones(4, 0.0);
    for (int i = 0; i < sequences; ++i) {
      RandomSequence random(9, static_cast<std::uint32_t>(i));
      Tokens tokens(6);
      language.generate(random, tokens);
      const auto tuple = static_cast<std::size_t>(tokens[at] * 2 + tokens[at + 1]);
      ++tuples[tuple];
      ones[tuple] += tokens[at + 2];
    }
    for (std::size_t t = 0; t < 4; ++t) {
      const double p = language.stationary()[t];
      EXPECT_NEAR(tuples[t] / sequences, p, 4.0 * std::sqrt(p * (1 - p) / sequences));
      const double one = rows[t * 2 + 1];
      EXPECT_NEAR(ones[t] / tuples[t], one, 4.0 * std::sqrt(one * (1 - one) / tuples[t]));
    }
  }
}

TEST(Markov, BestLossPerTokenApproachesTheEntropyRate) {
  const MarkovOptions options;
  const MarkovLanguage language(options.symbols, options.order, dirichlet_rows(options));
  constexpr int sequences = 200;
  constexpr std::size_t length = 1000;
  double sum = 0.0, squares = 0.0;
  for (int i = 0; i < sequences; ++i) {
    RandomSequence random(2, static_cast<std::uint32_t>(i));
    Tokens tokens(length);
    language.generate(random, tokens);
    // From token k on every token is paid at the rate itself.
    const std::size_t k = static_cast<std::size_t>(options.order);
    const double loss = (language.best_loss(tokens) - language.best_loss({tokens.data(), k})) / (length - k);
    sum += loss;
    squares += loss * loss;
  }
  const double mean = sum / sequences;
  const double standard_error = std::sqrt((squares / sequences - mean * mean) / sequences);
  EXPECT_LT(standard_error, 0.002);
  EXPECT_NEAR(mean, *language.entropy_rate(), 4.0 * standard_error);
  EXPECT_LT(*language.entropy_rate(), std::log(options.symbols));
}

TEST(Markov, RowsHaveTheMomentsOfTheDirichletLaw) {
  for (const double a : {0.02, 0.5, 1.0, 30.0}) {
    MarkovOptions options;
    options.symbols = 4;
    options.order = 6;  // 4096 rows
    options.concentration = a;
    const std::vector<double> rows = dirichlet_rows(options);
    double squares = 0.0, firsts = 0.0;
    for (std::size_t i = 0; i < rows.size(); i += 4) {
      EXPECT_NEAR(rows[i] + rows[i + 1] + rows[i + 2] + rows[i + 3], 1.0, 1e-12);
      firsts += rows[i];
      for (std::size_t j = 0; j < 4; ++j) squares += rows[i + j] * rows[i + j];
    }
    EXPECT_NEAR(firsts / 4096, 0.25, 0.02) << a;
    EXPECT_NEAR(squares / 4096, (a + 1) / (4 * a + 1), 0.015) << a;  // sum of E[p^2]
  }
}

TEST(Markov, ASequenceDependsOnSeedAndIndexAlone) {
  const MarkovOptions options;
  const auto one = make(options, 32, 5);
  const auto same = make(options, 32, 5);
  const auto other = make(options, 32, 6);
  const Tokens first = train(*one, 32, 173);
  EXPECT_EQ(first, train(*same, 32, 173));
  EXPECT_EQ(first, train(*one, 32, 173));
  EXPECT_NE(first, train(*one, 32, 183));
  EXPECT_NE(first, train(*one, 32, 174));
  EXPECT_NE(first, train(*one, 32, 173 + (std::uint64_t{1} << 32)));
  EXPECT_NE(first, train(*other, 32, 173));
}

TEST(Markov, ValidationBelongsToTheLanguage) {
  MarkovOptions options;
  options.validation_windows = 20;
  const auto one = make(options, 16, 5);
  const auto other_order = make(options, 16, 6);
  options.language_seed = 2;
  const auto other_language = make(options, 16, 5);

  const MarkovLanguage language(options.symbols, options.order, dirichlet_rows(MarkovOptions{}));
  ASSERT_EQ(one->validation_windows(), 20);
  double loss = 0.0;
  std::vector<Tokens> seen;
  for (std::int64_t i = 0; i < 20; ++i) {
    Tokens inputs(16), targets(16), again_inputs(16), again_targets(16);
    one->validation_window(i, inputs, targets);
    other_order->validation_window(i, again_inputs, again_targets);
    EXPECT_EQ(inputs, again_inputs);
    EXPECT_EQ(targets, again_targets);
    other_language->validation_window(i, again_inputs, again_targets);
    EXPECT_NE(inputs, again_inputs);
    Tokens tokens = inputs;
    tokens.push_back(targets.back());
    loss += language.best_loss(tokens);
    EXPECT_NEAR(*one->validation_optimum(i + 1), loss / (16.0 * static_cast<double>(i + 1)), 1e-12);
    EXPECT_EQ(std::ranges::count(seen, inputs), 0);
    seen.push_back(inputs);
  }
  EXPECT_EQ(*one->entropy_rate(), language.entropy_rate());
  EXPECT_THROW(one->validation_optimum(21), std::invalid_argument);
  EXPECT_THROW(one->validation_optimum(0), std::invalid_argument);
}

// A plan of a run makes the dataset: what costs time or memory waits until it is asked for.
TEST(Markov, ValidationIsMadeWhenItIsRead) {
  MarkovOptions options;
  options.validation_windows = 1 << 20;
  constexpr std::int64_t context = 1 << 22;  // together 16 TiB of tokens
  const auto data = make(options, context, 5);
  EXPECT_EQ(data->validation_windows(), 1 << 20);
  Tokens inputs(context), targets(context);
  data->validation_window((1 << 20) - 1, inputs, targets);
  EXPECT_EQ(inputs[1], targets[0]);
}

TEST(Markov, EverySymbolReadsAsOneCharacter) {
  MarkovOptions options;
  options.symbols = 512;
  options.order = 1;
  const auto data = make(options, 8, 1);
  EXPECT_EQ(data->vocab(), 512);
  Tokens all(512);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(data->tokenizer().encode(data->tokenizer().decode(all)), all);
}

TEST(Markov, ATableTooLargeIsRefusedWithTheKeysToChange) {
  MarkovOptions options;
  options.symbols = 64;
  options.order = 16;
  const std::string message = error_of([&] { make(options, 8, 1); });
  EXPECT_HAS(message, "data.symbols = 64");
  EXPECT_HAS(message, "data.order = 16");
  EXPECT_HAS(message, "1048576");
}

}  // namespace
}  // namespace monge::train
