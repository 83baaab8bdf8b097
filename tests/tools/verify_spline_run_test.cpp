// monge verify spline RUN: a trained model is a spline, and a planted fault is found.
#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/tiny_run.h"
#include "tools/verify/papers/spline_run.h"

namespace monge::tools {
namespace {

class SplineRun : public testing::Test {
 protected:
  void SetUp() override { test::train_tiny(dir_ / "run", spline_); }
  std::vector<Claim> missed_claims(const std::vector<std::string>& planted) {
    return missed({trained_spline_findings(dir_ / "run", 1, planted)});
  }
  const std::vector<std::string> spline_{
      "model={layers: 1, heads: 2, width: 16, context: 5, attention: relu, norm: none, mlp: {kind: relu, ratio: 1}}",
      "optimizer.lr=5e-3", "train.steps=60", "train.batch=8"};
  test::TempDirectory dir_;
};

TEST_F(SplineRun, ATrainedModelIsASpline) {
  const auto wrong = missed_claims({});
  EXPECT_TRUE(wrong.empty()) << wrong.front().text << " " << wrong.front().measured;
}

TEST_F(SplineRun, FindsAttentionThatIsSmooth) {
  EXPECT_HAS(missed_claims({"model.attention={kind: softplus, beta: 3}"}).at(0).text, "degree 3 where no sign changes");
}

TEST_F(SplineRun, FindsASmoothMlp) {
  EXPECT_HAS(missed_claims({"model.mlp={kind: gelu, ratio: 1}"}).at(0).text, "degree 3 where no sign changes");
}

TEST_F(SplineRun, RefusesWhatIsNone) {
  test::train_tiny(dir_ / "other", {"train.steps=1"});
  EXPECT_HAS(error_of([&] { trained_spline_findings(dir_ / "other", 1); }), "model.attention is softmax; allowed:");
}

}  // namespace
}  // namespace monge::tools
