// Whole runs of models and data of pairs: they learn, resume to the same bits, and a GPT reads the same data.
#include <gtest/gtest.h>

#include "support/tiny_run.h"
#include "train/checkpoint/saved_model.h"
#include "train/evaluate.h"
#include "train/sampler.h"

namespace monge::train {
namespace {

const std::vector<std::string> reverse{
    "data={kind: transduction, letters: 4, shortest: 2, longest: 4, validation_windows: 64}",
    "model={kind: encoder_decoder, layers: 1, heads: 2, width: 32, context: 5, source_context: 4}",
    "optimizer={name: adamw, lr: 3e-3, schedule: {kind: wsd, warmup: 10}}", "train.batch=32", "train.accumulate=1"};

std::vector<std::string> with(std::vector<std::string> base, const std::vector<std::string>& more) {
  base.insert(base.end(), more.begin(), more.end());
  return base;
}

TEST(PairsRun, LearnsToReverse) {
  const test::TempDirectory dir;
  ASSERT_EQ(test::train_tiny(dir / "run", with(reverse, {"train.steps=500", "train.eval_every=500"})),
            RunEnd::finished);
  const auto last = test::metrics_of(dir / "run").back();
  EXPECT_GT(last.at("val_exact_match").get<double>(), 0.95);
  EXPECT_GE(last.at("val_accuracy").get<double>(), last.at("val_exact_match").get<double>());
  EXPECT_GE(last.at("excess_loss").get<double>(), 0.0);

  // What greedy sampling gets right as a whole is what the evaluation says.
  SavedModel saved = load_model(dir / "run");
  const Run::Turn turn(saved);
  const auto data = data_of(saved);
  int right = 0;
  for (std::int64_t w = 0; w < data->validation_windows(); ++w) {
    std::vector<std::int32_t> tokens(5), targets(5), source(4), segment(4);
    data->validation_window(w, {{"tokens", std::span(tokens)},
                                {"targets", std::span(targets)},
                                {"source", std::span(source)},
                                {"source_segment", std::span(segment)}});
    source.resize(static_cast<std::size_t>(std::ranges::count(segment, 0)));
    const Prompt prompt =
        make_prompt(*saved.model, *saved.tokenizer, saved.device, "", saved.tokenizer->decode(source));
    targets.erase(std::ranges::find(targets, -1), targets.end());
    right += generate(*saved.model, *saved.store, prompt, 5, {.temperature = 0.0}) == targets ? 1 : 0;
  }
  const double share = static_cast<double>(right) / static_cast<double>(data->validation_windows());
  EXPECT_EQ(share, last.at("val_exact_match").get<double>());
}

TEST(PairsRun, ResumesToTheSameBits) {
  const test::TempDirectory dir;
  const auto overrides = with(reverse, {"model.dropout=0.1", "train.steps=12"});
  test::train_tiny(dir / "whole", overrides);
  EXPECT_EQ(test::train_tiny(dir / "parts", overrides, false, 5), RunEnd::interrupted);
  EXPECT_EQ(test::train_tiny(dir / "parts", overrides, true), RunEnd::finished);
  test::expect_same_run(dir / "whole", dir / "parts", 12);
}

TEST(PairsRun, PackedPairsAreLearnedCountedAndResumed) {
  const test::TempDirectory dir;
  std::string lines;
  for (const std::string word : {"a", "b", "c", "ab", "ac", "ba", "bc", "ca", "cb", "abc", "acb", "bac"}) {
    lines += word + "\t" + std::string(word.rbegin(), word.rend()) + "\n";
  }
  test::write_file(dir / "pairs.tsv", lines + lines);
  const auto packed = [&](const std::vector<std::string>& more) {
    return with(reverse, with({fmt::format("data={{kind: pairs, path: {}, packed: true, validation_fraction: 0.5}}",
                                           (dir / "pairs.tsv").string()),
                               "model={kind: encoder_decoder, layers: 1, heads: 2, width: 32, context: 10, "
                               "source_context: 7, packed: true}"},
                              more));
  };
  ASSERT_EQ(test::train_tiny(dir / "run", packed({"train.steps=300", "train.eval_every=300"})), RunEnd::finished);
  const SavedModel saved = load_model(dir / "run");
  const auto data = data_of(saved);
  EXPECT_LT(data->validation_windows(), 12) << "some of the twelve words share a sequence";
  EXPECT_EQ(test::metrics_of(dir / "run").back().at("val_exact_match").get<double>(), 1.0);

  const auto twelve = packed({"train.steps=12", "model.dropout=0.1"});
  test::train_tiny(dir / "whole", twelve);
  EXPECT_EQ(test::train_tiny(dir / "parts", twelve, false, 5), RunEnd::interrupted);
  EXPECT_EQ(test::train_tiny(dir / "parts", twelve, true), RunEnd::finished);
  test::expect_same_run(dir / "whole", dir / "parts", 12);
}

TEST(PairsRun, AGptReadsThemInOneSequence) {
  const test::TempDirectory dir;
  const auto gpt = with(reverse, {"model={kind: gpt, layers: 1, heads: 2, width: 32, context: 9}", "train.steps=400",
                                  "train.eval_every=400"});
  ASSERT_EQ(test::train_tiny(dir / "run", gpt), RunEnd::finished);
  EXPECT_LT(test::metrics_of(dir / "run").back().at("excess_loss").get<double>(), 0.6);  // guessing: about 1.2
}

}  // namespace
}  // namespace monge::train
