// What is put together from a configuration: models of every kind, and the fields that they ask the data for.
#include "train/run.h"

#include "support/expect_error.h"
#include "support/tiny_run.h"
#include "train/checkpoint/saved_model.h"

namespace monge::train {
namespace {

struct PairOptions : Options {
  std::int64_t source = 3, target = 4;
  void fields(Fields& f) override {
    f("source", source, {.doc = "length of a source", .unit = "tokens", .min = 1});
    f("target", target, {.doc = "length of a target", .unit = "tokens", .min = 1});
  }
};

/// Predicts targets from tokens and the first token of a source.
class PairModel : public nn::Model {
 public:
  static inline bool cannot_sample = false;
  PairModel(const PairOptions& o, std::int64_t vocab)
      : Model(o.target, vocab), source_length_(o.source), table_(vocab, 8), head_({.in = 8, .out = vocab}) {
    add_module("table", table_);
    add_module("head", head_);
  }
  std::vector<nn::BatchField> batch_fields() const override {
    return {{"source", source_length_}, {"tokens", context()}, {"targets", context()}};
  }
  std::unique_ptr<nn::Cache> make_cache(const nn::CacheContext&) const override {
    return std::make_unique<nn::Cache>();
  }
  autograd::Var next_logits(const Tensor& tokens, nn::Cache&) override {
    if (cannot_sample) throw std::invalid_argument("this model cannot be sampled");
    return head(last_token(table_.forward(tokens)));
  }

 protected:
  autograd::Var hidden(const nn::Batch& batch) override {
    const auto firsts = autograd::sum(table_.forward(batch["source"]), 1);  // (B, C)
    const std::int64_t rows = batch["tokens"].size(0);
    const auto tokens = autograd::transpose(table_.forward(batch["tokens"]), 0, 1);  // (T, B, C)
    return autograd::transpose(autograd::add(tokens, autograd::reshape(firsts, {rows, 8})), 0, 1);
  }
  autograd::Var head(const autograd::Var& hidden) override { return head_.forward(hidden); }

 private:
  std::int64_t source_length_;
  nn::Embedding table_;
  nn::Linear head_;
};

/// Sources of one repeated token, which is also the target wherever tokens are 0.
class PairData : public Dataset {
 public:
  static inline std::int64_t windows = 5, shift = 0;
  std::int64_t vocab() const override { return 5; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  std::string description() const override { return "pairs"; }
  std::vector<std::string> fields() const override { return {"source", "tokens", "targets"}; }
  void train_sequence(std::uint64_t index, const Row& out) const override {
    validation_window(static_cast<std::int64_t>(index) + shift, out);
  }
  std::int64_t validation_windows() const override { return windows; }
  void validation_window(std::int64_t index, const Row& out) const override {
    std::ranges::fill(out["source"], static_cast<std::int32_t>(index % 5));
    std::ranges::fill(out["tokens"], 0);
    std::ranges::fill(out["targets"], static_cast<std::int32_t>(index % 5));
  }

 private:
  std::unique_ptr<Tokenizer> tokenizer_ = load_tokenizer(R"({"kind":"char","vocabulary":"abcde"})");
};

class Runs : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    nn::models().add<PairOptions>("pairs", "a model with a source", [](const PairOptions& o, std::int64_t vocab) {
      return std::make_unique<PairModel>(o, vocab);
    });
    datasets().add<NoOptions>("own_pairs", "data with sources",
                              [](const NoOptions&, const DatasetContext&) { return std::make_unique<PairData>(); });
  }
};

TEST_F(Runs, AModelReadsFieldsOfItsOwn) {
  const test::TempDirectory dir;
  const std::vector<std::string> pairs{"model={kind: pairs, target: 2}", "data={kind: own_pairs}", "optimizer.lr=0.1",
                                       "train.steps=60", "train.head_chunk=3"};
  EXPECT_EQ(test::train_tiny(dir / "run", pairs), RunEnd::finished);
  const auto last = test::metrics_of(dir / "run").back();
  EXPECT_EQ(last["tokens"], 60 * 4 * 2 * 2);
  EXPECT_LT(last["val_loss"], 0.1);  // the source says all
  const SavedModel saved = load_model(dir / "run");
  EXPECT_EQ(saved.config.model.kind, "pairs");
  EXPECT_EQ(evaluate(*saved.model, *data_of(saved), saved.device, 4).loss, last["val_loss"]);
}

const std::vector<std::string> short_run{"model={kind: pairs, target: 2}", "data={kind: own_pairs}", "train.steps=4"};

TEST_F(Runs, OtherContentOfDataOfOnesOwnIsNoticed) {
  const test::TempDirectory dir;
  test::train_tiny(dir / "run", short_run);
  const auto resume = [&] { test::train_tiny(dir / "run", short_run, /*resume=*/true); };
  EXPECT_NO_THROW(resume());
  PairData::shift = 1;  // of the training data alone
  EXPECT_HAS(error_of(resume), "the content has changed");
  PairData::shift = 0;
  PairData::windows = 4;
  EXPECT_HAS(error_of(resume), "the content has changed");
  PairData::windows = 0;
  EXPECT_HAS(error_of([&] { test::train_tiny(dir / "none", short_run); }), "no validation window");
  PairData::windows = 5;
}

TEST_F(Runs, ASampleThatFailsDoesNotSpoilTheRun) {
  const test::TempDirectory dir;
  PairModel::cannot_sample = true;
  EXPECT_EQ(test::train_tiny(dir / "run", short_run), RunEnd::finished);
  PairModel::cannot_sample = false;
  EXPECT_TRUE(read_summary(dir / "run/summary.json").val_loss.has_value());
  EXPECT_FALSE(std::filesystem::exists(dir / "run/sample.txt"));
}

TEST_F(Runs, DataWithoutAFieldThatTheModelReadsIsRefused) {
  EXPECT_HAS(error_of([] { train::Run(test::tiny_config({"model={kind: pairs}"})); }),
             "model.kind pairs reads 'source', and data.kind markov has tokens, targets only");
}

TEST_F(Runs, OptionsOfAnotherKindAreRefused) {
  EXPECT_HAS(error_of([] { test::tiny_config({"model={kind: pairs, heads: 2}"}); }),
             "model.heads: unknown key; allowed: kind, source, target");
  EXPECT_HAS(error_of([] { test::tiny_config({"model.kind=pair"}); }), "unknown model 'pair'");
}

}  // namespace
}  // namespace monge::train
