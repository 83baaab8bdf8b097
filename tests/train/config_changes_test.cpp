#include "train/config/config_changes.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace monge::train {
namespace {

std::vector<std::string> texts(const std::vector<ConfigChange>& changes) {
  std::vector<std::string> out;
  for (const auto& change : changes) out.push_back(change.str());
  return out;
}

TEST(ConfigChanges, NamesEveryKeyThatDiffers) {
  const char* from = "model: {width: 16, mlp: {kind: gelu, ratio: 4.0}}\ntrain: {steps: 10}\nlist: [1, {a: 2}]\n";
  const char* to =
      "model: {width: 32, mlp: {kind: gelu, ratio: 4.0}}\ntrain: {steps: 10, seed: 1}\nlist: [1, {a: 3}]\n";
  EXPECT_EQ(texts(config_changes(from, to)),
            (std::vector<std::string>{"list.1.a: 2 -> 3", "model.width: 16 -> 32", "train.seed: (absent) -> 1"}));
  EXPECT_TRUE(config_changes(from, from).empty());
}

TEST(ConfigChanges, AllowsWhatTheCheckpointCanFollow) {
  const char* from = "model: {width: 16}\noptimizer: {name: adamw, lr: 1.0}\ntrain: {steps: 10}\n";
  EXPECT_EQ(texts(allowed_changes(from, "model: {width: 16}\noptimizer: {name: adamw, lr: 2.0}\ntrain: {steps: 10}\n")),
            (std::vector<std::string>{"optimizer.lr: 1.0 -> 2.0"}));
  const std::string error = error_of(
      [&] { allowed_changes(from, "model: {width: 8}\noptimizer: {name: sgd, lr: 1.0}\ntrain: {steps: 20}\n"); });
  EXPECT_HAS(error, "model.width: 16 -> 8");
  EXPECT_HAS(error, "optimizer.name: adamw -> sgd");
  EXPECT_EQ(error.find("train.steps"), std::string::npos) << error;
  EXPECT_HAS(error_of([] { allowed_changes("data: {kind: text}", "data: {kind: markov}"); }),
             "data.kind: text -> markov");
}

}  // namespace
}  // namespace monge::train
