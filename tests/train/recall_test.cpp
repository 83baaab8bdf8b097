#include "train/data/made_up/recall.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <vector>

#include "support/expect_error.h"

namespace monge::train {
namespace {

using Tokens = std::vector<std::int32_t>;

RecallOptions options(std::int32_t keys, std::int32_t values, std::int32_t pairs) {
  RecallOptions result;
  result.keys = keys;
  result.values = values;
  result.pairs = pairs;
  result.validation_windows = 8;
  return result;
}

std::unique_ptr<Dataset> make(const RecallOptions& o, std::int64_t context) {
  return datasets().make({"recall", std::make_shared<RecallOptions>(o)}, {.context = context, .seed = 3});
}

TEST(Recall, EveryAnswerStandsInTheList) {
  for (const std::int64_t context : {7, 8, 31, 32}) {
    const auto data = make(options(10, 6, 3), context);
    const auto T = static_cast<std::size_t>(context);
    for (std::uint64_t index = 0; index < 200; ++index) {
      Tokens inputs(T), targets(T);
      data->train_sequence(index, inputs, targets);
      std::map<std::int32_t, std::int32_t> list;
      for (std::size_t pair = 0; pair < 3; ++pair) {
        EXPECT_TRUE(inputs[2 * pair] >= 0 && inputs[2 * pair] < 10);
        EXPECT_TRUE(inputs[2 * pair + 1] >= 10 && inputs[2 * pair + 1] < 16);
        list[inputs[2 * pair]] = inputs[2 * pair + 1];
      }
      EXPECT_EQ(list.size(), 3u);  // the keys differ
      for (std::size_t t = 0; t < T; ++t) {
        if (t < 6 || t % 2 == 1) {
          EXPECT_EQ(targets[t], -1) << t;  // in the list, or before a key
        } else {
          EXPECT_EQ(targets[t], list.at(inputs[t])) << t;
          if (t + 1 < T) {
            EXPECT_EQ(inputs[t + 1], targets[t]);
          }
        }
      }
    }
  }
}

TEST(Recall, KeysValuesAndQuestionsAreUniform) {
  const auto data = make(options(5, 4, 3), 7);  // one question
  constexpr int sequences = 20000;
  std::vector<int> keys(5, 0), values(4, 0), asked(3, 0);
  for (std::uint64_t index = 0; index < sequences; ++index) {
    Tokens inputs(7), targets(7);
    data->train_sequence(index, inputs, targets);
    for (std::size_t pair = 0; pair < 3; ++pair) {
      ++keys.at(static_cast<std::size_t>(inputs[2 * pair]));
      ++values.at(static_cast<std::size_t>(inputs[2 * pair + 1] - 5));
      asked[pair] += inputs[6] == inputs[2 * pair] ? 1 : 0;
    }
  }
  const auto expect_uniform = [](const std::vector<int>& counts, double draws) {
    const double share = 1.0 / static_cast<double>(counts.size());
    for (const int n : counts) EXPECT_NEAR(n, draws * share, 4.0 * std::sqrt(draws * share * (1.0 - share)));
  };
  expect_uniform(keys, 3 * sequences);
  expect_uniform(values, 3 * sequences);
  expect_uniform(asked, sequences);
}

TEST(Recall, TheBestLossIsZero) {
  const auto data = make(options(16, 16, 4), 64);
  EXPECT_EQ(*data->validation_optimum(8), 0.0);
  EXPECT_EQ(data->vocab(), 32);
  EXPECT_FALSE(data->entropy_rate().has_value());
  EXPECT_HAS(data->description(), "guessing: 2.7726");
}

TEST(Recall, SaysWhatDoesNotFit) {
  EXPECT_HAS(error_of([] { make(options(8, 8, 4), 8); }), "allowed: model.context >= 9");
  EXPECT_HAS(error_of([] { make(options(3, 8, 4), 64); }), "at most keys = 3; it is 4");
  EXPECT_HAS(error_of([] { make(options(400, 200, 4), 64); }), "keys + values is 400 + 200");
}

}  // namespace
}  // namespace monge::train
