#include "train/data/made_up/modular_addition.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>
#include <vector>

#include "support/expect_error.h"

namespace monge::train {
namespace {

using Three = std::array<std::int32_t, 3>;
using Pairs = std::set<std::pair<std::int32_t, std::int32_t>>;

std::unique_ptr<Dataset> make(std::int32_t modulus, double train_fraction, std::int64_t language_seed = 1,
                              std::uint64_t seed = 1) {
  auto options = std::make_shared<ModularAdditionOptions>();
  options->modulus = modulus;
  options->train_fraction = train_fraction;
  options->language_seed = language_seed;
  return datasets().make({"modular_addition", options}, {.context = 3, .seed = seed});
}

/// Checks one sequence and returns its a and b.
std::pair<std::int32_t, std::int32_t> checked(const Three& inputs, const Three& targets, std::int32_t p) {
  EXPECT_TRUE(inputs[0] >= 0 && inputs[0] < p && inputs[1] >= 0 && inputs[1] < p);
  EXPECT_EQ(inputs[2], p);
  EXPECT_EQ(targets, (Three{-1, -1, (inputs[0] + inputs[1]) % p}));
  return {inputs[0], inputs[1]};
}

Pairs validation_pairs(const Dataset& data, std::int32_t p) {
  Pairs pairs;
  for (std::int64_t i = 0; i < data.validation_windows(); ++i) {
    Three inputs, targets;
    data.validation_window(i, inputs, targets);
    EXPECT_TRUE(pairs.insert(checked(inputs, targets, p)).second) << "twice";
  }
  return pairs;
}

Pairs training_pairs(const Dataset& data, std::int32_t p, int steps) {
  Pairs pairs;
  for (int index = 0; index < steps * 16; ++index) {
    Three inputs, targets;
    data.train_sequence(static_cast<std::uint64_t>(index), inputs, targets);
    pairs.insert(checked(inputs, targets, p));
  }
  return pairs;
}

TEST(ModularAddition, EveryPairIsEitherLearnedFromOrAsked) {
  for (const double fraction : {0.3, 0.8}) {
    const auto data = make(11, fraction);
    Pairs all = validation_pairs(*data, 11);
    EXPECT_EQ(static_cast<double>(all.size()), 121 - std::round(fraction * 121));
    for (const auto& pair : training_pairs(*data, 11, 400)) EXPECT_TRUE(all.insert(pair).second) << "in both";
    EXPECT_EQ(all.size(), 121u);
  }
}

TEST(ModularAddition, SeedsOfLanguageAndOrderAreTwoThings) {
  const auto data = make(13, 0.5), other_order = make(13, 0.5, 1, 2), other_split = make(13, 0.5, 2);
  EXPECT_EQ(validation_pairs(*data, 13), validation_pairs(*other_order, 13));
  EXPECT_NE(validation_pairs(*data, 13), validation_pairs(*other_split, 13));
  EXPECT_EQ(training_pairs(*data, 13, 1), training_pairs(*data, 13, 1));
  EXPECT_NE(training_pairs(*data, 13, 1), training_pairs(*other_order, 13, 1));
}

TEST(ModularAddition, TheSmallestModulusStillHasBothParts) {
  for (const double fraction : {0.01, 0.99}) {
    const auto data = make(2, fraction);
    EXPECT_EQ(data->validation_windows(), fraction < 0.5 ? 3 : 1);
    EXPECT_EQ(training_pairs(*data, 2, 10).size(), fraction < 0.5 ? 1u : 3u);
  }
}

TEST(ModularAddition, TheBestLossIsZeroAndTokensRead) {
  const auto data = make(97, 0.5);
  EXPECT_EQ(data->vocab(), 98);
  EXPECT_EQ(*data->validation_optimum(10), 0.0);
  EXPECT_THROW(data->validation_optimum(0), std::invalid_argument);
  EXPECT_EQ(data->tokenizer().decode({0, 1, 97}), "ab=");
  EXPECT_HAS(data->description(), "4705 pairs to learn from, the 4704 others asked");
}

TEST(ModularAddition, SaysWhichContextItNeeds) {
  EXPECT_HAS(error_of([] { datasets().make(datasets().choose("modular_addition"), {.context = 64, .seed = 1}); }),
             "set model.context to 3; it is 64");
}

}  // namespace
}  // namespace monge::train
