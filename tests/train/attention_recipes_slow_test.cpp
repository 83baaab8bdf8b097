// Every recipe of configs/attention learns the built-in language: its loss ends below the entropy of single characters.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "support/tiny_run.h"
#include "train/data/dataset.h"

namespace monge::train {
namespace {

std::vector<std::filesystem::path> recipes() {
  std::vector<std::filesystem::path> out;
  for (const auto& file : std::filesystem::directory_iterator(MONGE_SOURCE_DIR "/configs/attention")) {
    out.push_back(file.path());
  }
  std::ranges::sort(out);
  return out;
}

/// Entropy of the characters as if each were drawn on its own, in nats, measured on the validation data.
double unigram_entropy(const Dataset& dataset, std::int64_t context) {
  std::map<std::int32_t, double> counts;
  double total = 0.0;
  std::vector<std::int32_t> inputs(static_cast<std::size_t>(context)), targets(inputs.size());
  for (std::int64_t i = 0; i < dataset.validation_windows(); ++i) {
    dataset.validation_window(i, inputs, targets);
    for (const std::int32_t token : targets) {
      counts[token] += 1.0;
      total += 1.0;
    }
  }
  double entropy = 0.0;
  for (const auto& [token, count] : counts) entropy -= count / total * std::log(count / total);
  return entropy;
}

class AttentionRecipes : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(AttentionRecipes, TrainsBelowTheUnigramEntropy) {
  const test::TempDirectory dir;
  const Config config = load_config(GetParam(), {"train.sample_tokens=0"});
  const auto dataset = make_dataset(config);
  Progress silent(nullptr);
  Trainer trainer(config, dir / "run", false, silent);
  ASSERT_EQ(trainer.run(), RunEnd::finished);
  const double unigram = unigram_entropy(*dataset, nn::models().make(config.model, 1)->context());
  const double loss = test::metrics_of(dir / "run").back().at("val_loss").get<double>();
  RecordProperty("val_loss", std::to_string(loss));
  RecordProperty("unigram_entropy", std::to_string(unigram));
  EXPECT_LT(loss, unigram);
}

INSTANTIATE_TEST_SUITE_P(All, AttentionRecipes, testing::ValuesIn(recipes()),
                         [](const auto& info) { return info.param.stem().string(); });

}  // namespace
}  // namespace monge::train
