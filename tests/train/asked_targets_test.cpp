// Targets of -1 leave a position out, in training and in evaluation: every asked target weighs the same, wherever it
// stands. Where the answers are determined, evaluation counts the right ones.
#include <gtest/gtest.h>

#include <cmath>

#include "nn/gpt.h"
#include "nn/parameter_store.h"
#include "support/tiny_run.h"
#include "train/evaluate.h"

namespace monge::train {
namespace {

constexpr std::int64_t context = 6, vocab = 7, windows = 5;

/// Windows that ask from none to five times, their tokens by formula.
class UnevenDataset : public Dataset {
 public:
  explicit UnevenDataset(std::optional<double> optimum = std::nullopt) : optimum_(optimum) {}
  std::optional<double> validation_optimum(std::int64_t) const override { return optimum_; }
  std::int64_t vocab() const override { return monge::train::vocab; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  std::string description() const override { return "uneven"; }
  using Dataset::validation_window;
  void train_sequence(std::uint64_t index, const Row& out) const override {
    validation_window(static_cast<std::int64_t>(index), out);
  }
  std::int64_t validation_windows() const override { return windows; }
  void validation_window(std::int64_t index, const Row& out) const override {
    const std::span<std::int32_t> inputs = out["tokens"], targets = out["targets"];
    for (std::int64_t t = 0; t < context; ++t) {
      inputs[static_cast<std::size_t>(t)] = static_cast<std::int32_t>((3 * index + 2 * t * t + 1) % vocab());
      targets[static_cast<std::size_t>(t)] =
          t <= index && index > 0 ? static_cast<std::int32_t>((5 * index + t) % vocab()) : -1;
    }
  }

 private:
  std::optional<double> optimum_;
  std::unique_ptr<Tokenizer> tokenizer_ = load_tokenizer(R"({"kind":"char","vocabulary":"abcdefg"})");
};

TEST(AskedTargets, WeighTheSameInEveryWindowAndBatch) {
  nn::GptOptions options;
  options.layers = 1;
  options.heads = 2;
  options.width = 8;
  options.context = context;
  nn::Gpt model(options, vocab);
  const Device device = parse_device("reference");
  const nn::ParameterStore store(model, device, nn::Precision::float32, /*seed=*/3);
  const UnevenDataset data;

  // -ln softmax(logits)[target], summed over what is asked: 0 + 2 + 3 + 4 + 5 targets; right: no logit is larger.
  double sum = 0.0;
  int asked = 0, right = 0;
  for (std::int64_t window = 0; window < windows; ++window) {
    std::vector<std::int32_t> inputs(context), targets(context);
    data.validation_window(window, inputs, targets);
    const Tensor logits = model.forward(Tensor::from(inputs, {1, context}, device)).value();
    for (std::size_t t = 0; t < context; ++t) {
      if (targets[t] < 0) continue;
      const double* const row = logits.data_as<double>() + t * vocab;
      double mass = 0.0;
      for (std::size_t v = 0; v < vocab; ++v) mass += std::exp(row[v]);
      sum -= row[targets[t]] - std::log(mass);
      ++asked;
      right += std::all_of(row, row + vocab, [&](double logit) { return logit <= row[targets[t]]; }) ? 1 : 0;
    }
  }
  ASSERT_EQ(asked, 14);
  ASSERT_GT(right, 0);
  ASSERT_LT(right, asked);
  const UnevenDataset determined(0.0), undetermined(0.5);
  for (const std::int64_t batch : {1, 2, 4, 5}) {
    const Evaluation evaluation = evaluate(model, data, device, batch);
    EXPECT_NEAR(evaluation.loss, sum / asked, 1e-12) << batch;
    EXPECT_FALSE(evaluation.accuracy.has_value());
    EXPECT_FALSE(evaluate(model, undetermined, device, batch).accuracy.has_value());
    EXPECT_EQ(evaluate(model, determined, device, batch).loss, evaluation.loss);
    EXPECT_EQ(evaluate(model, determined, device, batch).accuracy.value(), right / 14.0);
  }
}

TEST(AskedTargets, ARunOfRecallReportsTheLossOfItsAnswers) {
  // A model that knows nothing of the context pays ln(values) for an answer, and no more for the rest.
  const test::TempDirectory dir;
  test::train_tiny(dir / "run", {"data={kind: recall, keys: 4, values: 4, pairs: 2, validation_windows: 40}",
                                 "optimizer.lr=1e-9", "train.sample_tokens=0"});
  const auto last = test::metrics_of(dir / "run").back();
  EXPECT_NEAR(last["val_loss"].get<double>(), std::log(8.0), 0.2);  // untrained: keys may be answers too
  EXPECT_EQ(last["excess_loss"], last["val_loss"]);
  const double accuracy = last["val_accuracy"].get<double>();
  EXPECT_LT(accuracy, 0.5);
  EXPECT_EQ(read_summary(dir / "run/summary.json").val_accuracy.value(), accuracy);
}

}  // namespace
}  // namespace monge::train
