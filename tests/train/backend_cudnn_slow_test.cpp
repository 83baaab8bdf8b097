// Training whose attention is cuDNN's: the loss is that of our own kernels, runs repeat bit by bit, and replayed steps
// are the eager ones.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/tested_device.h"
#include "support/tiny_run.h"

namespace monge::train {
namespace {

using test::TempDirectory;
using test::tested;

constexpr int steps = 4;

/// Trains a model of shapes that cuDNN takes, in bf16, and gives the notes of its backend.
std::vector<std::string> train(const std::filesystem::path& out, std::vector<std::string> more) {
  more.insert(more.end(),
              {"model.layers=1", "model.heads=2", "model.kv_heads=1", "model.width=128", "model.context=128",
               "model.dropout=0", "optimizer.lr=1e-3", "train.precision=bfloat16", "train.batch=2",
               "train.sample_tokens=0", "train.eval_every=0", "train.log_every=1", fmt::format("train.steps={}", steps),
               fmt::format("train.checkpoint_every={}", steps), "device=" + tested.str()});
  test::train_tiny(out, more);
  return backend_of(tested).notes();
}

bool says(const std::vector<std::string>& notes, const std::string& words) {
  return std::ranges::any_of(notes, [&](const std::string& note) { return note.find(words) != std::string::npos; });
}

class TrainingWithCudnn : public testing::Test {
 protected:
  void SetUp() override {
    if (tested == test::cpu) GTEST_SKIP() << "the cpu has no cuDNN";
    const auto notes = train(dir / "cudnn", {"cuda.attention=cudnn"});
    for (const char* reason : {"this build has no cuDNN", "is not known on compute capability"}) {
      if (says(notes, reason)) GTEST_SKIP() << reason;
    }
    for (const char* pass : {"forward", "backward"}) {
      EXPECT_TRUE(says(notes, fmt::format("attention {} of softmax bf16, 2 heads of 64: cuDNN", pass))) << pass;
    }
  }
  const TempDirectory dir;
};

TEST_F(TrainingWithCudnn, LearnsWhatOurOwnKernelsLearn) {
  train(dir / "own", {"cuda.attention=unfused"});
  const auto cudnn = test::metrics_of(dir / "cudnn"), own = test::metrics_of(dir / "own");
  ASSERT_EQ(cudnn.size(), steps);
  for (int i = 0; i < steps; ++i) {
    EXPECT_NEAR(cudnn[i]["train_loss"].get<double>(), own[i]["train_loss"].get<double>(), 1e-3) << "step " << i + 1;
  }
}

TEST_F(TrainingWithCudnn, RepeatsBitByBitAlsoWithoutReplay) {
  train(dir / "again", {"cuda.attention=cudnn"});
  test::expect_same_run(dir / "cudnn", dir / "again", steps);
  train(dir / "eager", {"cuda.attention=cudnn", "cuda.graph=false"});
  test::expect_same_run(dir / "cudnn", dir / "eager", steps);
}

}  // namespace
}  // namespace monge::train
