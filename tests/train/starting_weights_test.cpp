// Runs that begin with the weights of another one: `train.from`.
#include <filesystem>

#include "support/expect_error.h"
#include "support/tiny_run.h"
#include "train/checkpoint/saved_model.h"

namespace monge::train {
namespace {

namespace fs = std::filesystem;
using test::TempDirectory;

/// A text of words made of `letters`.
std::string text_of(const std::string& letters) {
  std::string text;
  for (int i = 0; i < 400; ++i) {
    text += letters[static_cast<std::size_t>((7 * i + i / 3) % std::ssize(letters))];
    if (i % 5 == 4) text += i % 3 == 0 ? '\n' : ' ';
  }
  return text;
}

class StartingWeightsTest : public testing::Test {
 protected:
  StartingWeightsTest() {
    test::write_file(dir / "first.txt", text_of("abcde"));
    test::write_file(dir / "second.txt", text_of("abcxy"));
    config("first.yaml", "first.txt", "model: {layers: 2, heads: 2, width: 16, context: 8}", "");
    train("first.yaml", "first");
  }

  void config(const std::string& name, const std::string& text, const std::string& model,
              const std::string& more) const {
    test::write_file(dir / name,
                     fmt::format("data: {{kind: text, path: '{}', cache: '{}'}}\n{}\noptimizer: {{lr: 1.0e-2}}\n"
                                 "train: {{steps: 8, batch: 4, eval_every: 4, checkpoint_every: 4, log_every: 2, "
                                 "sample_tokens: 0, threads: 1{}}}\n",
                                 (dir / text).string(), (dir / "cache").string(), model, more));
  }
  /// With `resume`: by the configuration that the run kept.
  RunEnd train(const std::string& name, const std::string& run, const std::vector<std::string>& overrides = {},
               bool resume = false, std::int64_t stop_after = -1) const {
    Progress silent(nullptr);
    Trainer trainer(load_config((dir / (resume ? run + "/config.yaml" : name)).string(), overrides), dir / run, resume,
                    silent);
    return trainer.run([&] { return trainer.step() == stop_after; });
  }
  std::string from() const { return ", from: '" + (dir / "first").string() + "'"; }

  const TempDirectory dir;
};

std::vector<double> rows(const SavedModel& saved, const std::string& name, std::int64_t first, std::int64_t last) {
  return saved.store->value(saved.store->entry(name)).slice(first, last).values();
}

// Nothing moves at a rate of 0, so that the last checkpoint holds what it began with. The text has x and y beside what
// the first one had, and neither d nor e: \n, space, a .. e, x, y.
TEST_F(StartingWeightsTest, AreThoseOfTheRunWithRowsForNewCharacters) {
  config("second.yaml", "second.txt", "", from());
  train("second.yaml", "second", {"optimizer.lr=0"});
  const SavedModel before = load_model(dir / "first"), after = load_model(dir / "second");
  EXPECT_EQ(before.tokenizer->vocab(), 7);
  EXPECT_EQ(after.tokenizer->vocab(), 9);
  EXPECT_EQ(after.tokenizer->decode({2, 6, 7, 8}), "aexy");
  EXPECT_EQ(rows(after, "wte.weight", 0, 7), rows(before, "wte.weight", 0, 7));
  EXPECT_NE(rows(after, "wte.weight", 7, 8), rows(after, "wte.weight", 8, 9));
  for (const auto& entry : before.store->entries()) {
    if (entry.name == "wte.weight") continue;
    EXPECT_EQ(after.store->value(after.store->entry(entry.name)).values(), before.store->value(entry).values());
  }
}

TEST_F(StartingWeightsTest, BringTheirModelAlong) {
  config("second.yaml", "first.txt", "model: {dropout: 0.2}", from());
  const Config with = load_config((dir / "second.yaml").string(), {"model.layers=2"});
  EXPECT_EQ(make_model(with, 7)->parameters().size(), load_model(dir / "first").model->parameters().size());
  EXPECT_NE(write_yaml(*with.model.options).find("dropout: 0.2"), std::string::npos);
}

TEST_F(StartingWeightsTest, TrainOnFromWhereTheyWere) {
  config("second.yaml", "first.txt", "", from());
  train("second.yaml", "second", {"optimizer.lr=1.0e-4"});
  const auto loss = [&](const char* run) { return test::metrics_of(dir / run).back()["val_loss"].get<double>(); };
  EXPECT_LT(std::abs(loss("second") - loss("first")), 0.02);
}

// Resumed after the run that it came from has gone.
TEST_F(StartingWeightsTest, AreNotNeededForAResume) {
  config("second.yaml", "second.txt", "", from());
  train("second.yaml", "whole");
  train("second.yaml", "parts", {}, false, 5);
  fs::rename(dir / "first", dir / "gone");
  EXPECT_EQ(train("", "parts", {}, true), RunEnd::finished);
  test::expect_same_run(dir / "whole", dir / "parts", 8);
}

TEST_F(StartingWeightsTest, MustFitTheModelAndTheData) {
  const auto refusal = [&](const std::string& text, const std::string& model, const std::string& override) {
    config("second.yaml", text, model, from());
    const std::string message = error_of([&] { train("second.yaml", "second", {override}); });
    EXPECT_FALSE(fs::exists(dir / "second/checkpoints"));
    return message;
  };
  EXPECT_HAS(refusal("first.txt", "model: {width: 32}", "train.seed=1"),
             "its parameter blocks.0.attention.qkv.weight is (48, 16)");
  EXPECT_HAS(refusal("first.txt", "model: {position: rope}", "train.seed=1"), "it has a parameter position.weight");
  EXPECT_HAS(refusal("first.txt", "model: {layers: 3}", "train.seed=1"), "it has no parameter blocks.2.");
  EXPECT_HAS(refusal("first.txt", "", "data={kind: markov, symbols: 7}"), "its tokens (7 of char) are not those");
  EXPECT_HAS(refusal("first.txt", "", "train.from=nowhere"), "nowhere");
}

}  // namespace
}  // namespace monge::train
