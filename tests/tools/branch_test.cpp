// monge branch: what it says of steps that are known.
#include "tools/branch/branch.h"

#include <gtest/gtest.h>

#include <map>

#include "support/expect_error.h"
#include "support/tiny_run.h"

namespace monge::tools {
namespace {

std::map<std::string, BranchedMatrices> by_name(const Branch& b) {
  std::map<std::string, BranchedMatrices> out;
  for (const BranchedMatrices& m : b.matrices) out[m.name] = m;
  return out;
}

TEST(Branch, ComparesStepsFromTheSamePoint) {
  const test::TempDirectory dir;
  test::train_tiny(dir / "run", {"train.keep_checkpoints=10", "train.eval_batches=2"});
  const std::vector<std::string> settings{"optimizer.attention={update: scaled, factor: 2}",
                                          "optimizer.attention=backprop",
                                          "optimizer.attention={update: fisher, every: 1, graft: 3, momentum: 0}"};
  const std::vector<Branch> got = branch(dir / "run", settings, 1);
  const std::vector<std::int64_t> steps{4, 8, 10, 12, 16};  // of 20, the last of which has no step left
  ASSERT_EQ(got.size(), 4 * steps.size());
  for (std::size_t i = 0; i < got.size(); i += 4) {
    SCOPED_TRACE(got[i].step);
    EXPECT_EQ(got[i].step, steps[i / 4]);
    EXPECT_TRUE(got[i].settings.empty());
    auto own = by_name(got[i]), scaled = by_name(got[i + 1]), same = by_name(got[i + 2]), fisher = by_name(got[i + 3]);
    for (const char* name : {"W_q", "W_k", "other"}) {
      EXPECT_NEAR(own[name].cosine, 1.0, 1e-12) << name;
      EXPECT_NEAR(same[name].cosine, 1.0, 1e-12) << name;
      EXPECT_EQ(same[name].length, own[name].length) << name;
      EXPECT_NEAR(scaled[name].cosine, 1.0, 1e-4) << name;
    }
    for (const char* name : {"W_q", "W_k"}) {
      EXPECT_NEAR(scaled[name].relative, 2.0, 1e-3) << name;
      EXPECT_NEAR(fisher[name].relative, 3.0, 0.05) << name;  // each matrix of each layer; decay apart
      EXPECT_LT(fisher[name].cosine, 0.999) << name;
    }
    EXPECT_NEAR(scaled["other"].relative, 1.0, 1e-6);
    EXPECT_EQ(fisher["other"].length, own["other"].length);
    EXPECT_EQ(got[i].before, got[i + 3].before);
    EXPECT_EQ(got[i].after, got[i + 2].after);
    EXPECT_NE(got[i].after, got[i + 3].after);
    EXPECT_NE(got[i].after_attention, got[i].after);
  }
}

// The steps of a branch under the run's own settings are those of the run.
TEST(Branch, GoesOnAsTheRunDid) {
  const test::TempDirectory dir;
  test::train_tiny(dir / "run", {"train.keep_checkpoints=5", "train.eval_every=4", "train.eval_batches=0"});
  const std::vector<Branch> got = branch(test::checkpoint_dir(dir / "run", 12), {}, 4);
  ASSERT_EQ(got.size(), 1u);
  for (const auto& line : test::metrics_of(dir / "run")) {
    if (!line.contains("val_loss")) continue;
    for (const auto& [step, loss] : {std::pair{12, got[0].before}, {16, got[0].after}}) {
      if (line.at("step") == step) {
        EXPECT_EQ(line.at("val_loss").get<double>(), loss);
      }
    }
  }
}

TEST(Branch, SaysWhatItRefuses) {
  const test::TempDirectory dir;
  test::train_tiny(dir / "run", {"train.keep_checkpoints=1"});
  EXPECT_HAS(error_of([&] { branch(dir / "run", {"optimizer.attention=row"}, 1); }), "no checkpoint");
  test::train_tiny(dir / "more", {"train.keep_checkpoints=5"});
  EXPECT_HAS(error_of([&] { branch(dir / "more", {"optimizer.attention=fischer"}, 1); }), "fisher");
  EXPECT_HAS(error_of([&] { branch(dir / "more", {"model.width=32"}, 1); }), "is needed");
  EXPECT_HAS(error_of([&] { branch(dir / "more", {"optimizer={name: schedule_free}"}, 1); }), "average");
  EXPECT_HAS(error_of([&] { branch(dir / "more", {"data.order=2"}, 1); }), "the data is another");
}

}  // namespace
}  // namespace monge::tools
