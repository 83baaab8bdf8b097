#include "train/data/made_up/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace monge::train {
namespace {

TEST(RandomDataset, HasTheVocabularyAndEntropyThatItSays) {
  for (const std::int32_t symbols : {2, 65, 50257}) {
    RandomOptions options;
    options.symbols = symbols;
    const auto dataset = make_random_dataset(options, {.context = 8, .seed = 1});
    EXPECT_EQ(dataset->vocab(), symbols);
    EXPECT_DOUBLE_EQ(*dataset->entropy_rate(), std::log(symbols));
    EXPECT_NEAR(*dataset->validation_optimum(16), std::log(symbols), 1e-12);
    const std::vector<std::int32_t> last{symbols - 1};
    EXPECT_EQ(dataset->tokenizer().encode(dataset->tokenizer().decode(last)), last);
  }
}

TEST(RandomDataset, DrawsEverySymbolAboutEquallyOften) {
  RandomOptions options;
  options.symbols = 5;
  const auto dataset = make_random_dataset(options, {.context = 50, .seed = 1});
  std::vector<int> counts(5, 0);
  std::vector<std::int32_t> inputs(50), targets(50);
  for (std::uint64_t index = 0; index < 200; ++index) {
    dataset->train_sequence(index, inputs, targets);
    for (const std::int32_t token : inputs) ++counts[static_cast<std::size_t>(token)];
    for (int t = 0; t + 1 < 50; ++t) EXPECT_EQ(targets[t], inputs[t + 1]);
  }
  for (const int count : counts) EXPECT_NEAR(count, 2000, 5 * std::sqrt(1600.0));
}

}  // namespace
}  // namespace monge::train
