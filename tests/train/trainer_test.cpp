#include "train/trainer.h"

#include <cmath>
#include <map>

#include "support/compare.h"
#include "support/expect_error.h"
#include "support/tiny_run.h"

namespace monge::train {
namespace {

using test::checkpoint_dir;
using test::expect_same_run;
using test::metrics_of;
using test::TempDirectory;
using test::tiny_config;
using test::train_tiny;

TEST(Trainer, LossFallsToTheEntropyOfTheLanguage) {
  const TempDirectory dir;
  EXPECT_EQ(train_tiny(dir / "run", {"train.steps=300", "train.eval_every=0", "model.dropout=0", "train.batch=16"}),
            RunEnd::finished);
  const auto lines = metrics_of(dir / "run");
  EXPECT_NEAR(lines.front()["train_loss"], std::log(6.0), 0.3);
  EXPECT_LT(lines.back()["excess_loss"], 0.05);
  EXPECT_GT(lines.back()["excess_loss"], -0.02);
}

TEST(Trainer, WritesTheFolderThatItPromises) {
  const TempDirectory dir;
  train_tiny(dir / "run");
  const auto lines = metrics_of(dir / "run");
  std::vector<int> steps;
  for (const auto& line : lines) steps.push_back(line["step"]);
  EXPECT_EQ(steps, (std::vector<int>{3, 6, 9, 10, 12, 15, 18, 20}));
  for (const auto& line : lines) {
    EXPECT_EQ(line["tokens"], line["step"].get<int>() * 64);
    EXPECT_TRUE(line.contains("train_loss") && line.contains("lr") && line.contains("grad_norm"));
    const bool evaluated = line["step"] == 10 || line["step"] == 20;
    EXPECT_EQ(line.contains("val_loss"), evaluated);
    EXPECT_EQ(line.contains("excess_loss"), evaluated);
  }
  Config resolved;
  read_yaml_file((dir / "run/config.yaml").string(), {}, resolved);
  Config original = tiny_config();
  EXPECT_EQ(write_yaml(resolved), write_yaml(original));
  EXPECT_EQ(test::read_file(dir / "run/sample.txt").size(), 1u + 12u + 1u);  // prompt, sample, line break
}

TEST(Trainer, TwoRunsOfOneConfigAreBitIdentical) {
  const TempDirectory dir;
  train_tiny(dir / "a", {"train.threads=2"});
  train_tiny(dir / "b", {"train.threads=2"});
  expect_same_run(dir / "a", dir / "b", 20);
}

TEST(Trainer, AnotherSeedIsAnotherRun) {
  const TempDirectory dir;
  train_tiny(dir / "a");
  train_tiny(dir / "b", {"train.seed=7"});
  EXPECT_NE(metrics_of(dir / "a"), metrics_of(dir / "b"));
}

class StopAndResume : public testing::TestWithParam<int> {};

TEST_P(StopAndResume, GivesTheSameRun) {
  const TempDirectory dir;
  train_tiny(dir / "whole");
  EXPECT_EQ(train_tiny(dir / "parts", {}, false, GetParam()), RunEnd::interrupted);
  EXPECT_TRUE(std::filesystem::exists(checkpoint_dir(dir / "parts", GetParam())));
  EXPECT_EQ(train_tiny(dir / "parts", {}, true), RunEnd::finished);
  expect_same_run(dir / "whole", dir / "parts", 20);
}
INSTANTIATE_TEST_SUITE_P(Steps, StopAndResume, testing::Values(1, 3, 7, 10, 11, 19));

// Leaves the run as a kill does: no checkpoint of its own, metrics ahead of the last one.
void train_until_death(const std::filesystem::path& out, std::int64_t step, bool resume = false) {
  struct Death {};
  Progress silent(nullptr);
  Trainer trainer(tiny_config(), out, resume, silent);
  EXPECT_THROW(trainer.run([&]() -> bool { return trainer.step() == step ? throw Death() : false; }), Death);
}

TEST(Trainer, DeathAndResumeGiveTheSameRun) {
  const TempDirectory dir;
  train_tiny(dir / "whole");
  train_until_death(dir / "parts", 2);                   // before the first checkpoint
  train_until_death(dir / "parts", 7, /*resume=*/true);  // from scratch, then after that of step 4
  train_until_death(dir / "parts", 16, true);
  std::filesystem::create_directory(dir / "parts/checkpoints/.step_00000016.partial");
  train_tiny(dir / "parts", {}, true);
  expect_same_run(dir / "whole", dir / "parts", 20);
}

TEST(Trainer, ResumeAfterTheLastStepChangesNothing) {
  const TempDirectory dir;
  train_tiny(dir / "run");
  const auto before = metrics_of(dir / "run");
  EXPECT_EQ(train_tiny(dir / "run", {}, true), RunEnd::finished);
  EXPECT_EQ(metrics_of(dir / "run"), before);
}

TEST(Trainer, ResumeMayChangeWhatIsWrittenWhen) {
  const TempDirectory dir;
  train_tiny(dir / "run", {"train.log_every=100", "train.eval_every=0"}, false, 7);
  EXPECT_EQ(train_tiny(dir / "run", {"train.log_every=4", "train.eval_every=0"}, true), RunEnd::finished);
  train_tiny(dir / "whole", {"train.log_every=100", "train.eval_every=0"});
  EXPECT_EQ(metrics_of(dir / "run").front()["step"], 8);
  EXPECT_EQ(metrics_of(dir / "run").back()["val_loss"], metrics_of(dir / "whole").back()["val_loss"]);
}

TEST(Trainer, ResumesInBfloat16AndOnTheReferenceDevice) {
  for (const char* setting : {"train.precision=bfloat16", "device=reference"}) {
    const TempDirectory dir;
    train_tiny(dir / "whole", {setting});
    train_tiny(dir / "parts", {setting}, false, 7);
    train_tiny(dir / "parts", {setting}, true);
    expect_same_run(dir / "whole", dir / "parts", 20);
  }
}

TEST(Trainer, ResumesWithEveryAttentionUpdate) {
  for (const char* update :
       {"{update: row}", "{update: fisher, every: 3}", "{update: fisher, every: 4, momentum: 0, kl_clip: 1.0e-3}",
        "{update: fisher, every: 3, joint: true}", "{update: fisher_cg, iterations: 3}"}) {
    for (const char* setting : {"train.precision=float32", "train.precision=bfloat16", "train.recompute=true"}) {
      SCOPED_TRACE(std::string(update) + " " + setting);
      const TempDirectory dir;
      const std::vector<std::string> overrides{std::string("optimizer.attention=") + update, setting};
      train_tiny(dir / "whole", overrides);
      train_tiny(dir / "parts", overrides, false, 7);
      train_tiny(dir / "parts", overrides, true);
      expect_same_run(dir / "whole", dir / "parts", 20);
    }
  }
}

TEST(Trainer, ResumeMayExtendTheRun) {
  const TempDirectory dir;
  train_tiny(dir / "run");
  EXPECT_EQ(train_tiny(dir / "run", {"train.steps=30"}, true), RunEnd::finished);
  EXPECT_EQ(metrics_of(dir / "run").back()["step"], 30);
}

TEST(Trainer, RefusesAChangedModelAndNamesTheKey) {
  const TempDirectory dir;
  train_tiny(dir / "run");
  const std::string message = error_of([&] { train_tiny(dir / "run", {"model.width=32"}, true); });
  EXPECT_HAS(message, "model.width: 16 -> 32");
  const std::string rule = error_of([&] { train_tiny(dir / "run", {"optimizer.name=sgd"}, true); });
  EXPECT_HAS(rule, "optimizer.name: adamw -> sgd");
  const std::string data = error_of([&] { train_tiny(dir / "run", {"data.symbols=5"}, true); });
  EXPECT_HAS(data, "another vocabulary (5 tokens)");
}

/// The names and contents of all files below.
std::map<std::string, std::string> files_in(const std::filesystem::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) out[entry.path()] = test::read_file(entry.path());
  }
  return out;
}

TEST(Trainer, ResumeWithFewerStepsIsRefusedAndChangesNothing) {
  const TempDirectory dir;
  train_tiny(dir / "run", {"train.steps=8"});
  const auto before = files_in(dir / "run");
  const std::string message = error_of([&] { train_tiny(dir / "run", {"train.steps=5", "train.batch=2"}, true); });
  EXPECT_HAS(message, "the run has taken 8 steps, and train.steps is 5");
  EXPECT_EQ(files_in(dir / "run"), before);
}

TEST(Trainer, ResumeOfAFinishedRunLeavesAllAsItWas) {
  const TempDirectory dir;
  train_tiny(dir / "run", {"train.steps=8"});
  const auto before = files_in(dir / "run");
  EXPECT_EQ(train_tiny(dir / "run", {"train.steps=8", "optimizer.lr=3e-3"}, true), RunEnd::finished);
  EXPECT_EQ(files_in(dir / "run"), before);
  std::filesystem::remove(dir / "run/summary.json");  // of a run that died before its end was written
  EXPECT_EQ(train_tiny(dir / "run", {"train.steps=8"}, true), RunEnd::finished);
  EXPECT_EQ(files_in(dir / "run"), before);
}

/// A run whose validation loss falls, then rises.
const std::vector<std::string> rising{"train.steps=40", "train.eval_every=2",           "train.checkpoint_every=15",
                                      "optimizer.lr=1", "optimizer.schedule.warmup=39", "train.sample_tokens=0"};

std::vector<std::string> rising_with(std::vector<std::string> more) {
  more.insert(more.begin(), rising.begin(), rising.end());
  return more;
}

/// The lowest validation loss that was measured, and after which step.
std::pair<double, int> lowest_of(const std::filesystem::path& run) {
  std::pair<double, int> lowest{1e9, 0};
  for (const auto& line : metrics_of(run)) {
    if (line.contains("val_loss")) lowest = std::min(lowest, {line["val_loss"].get<double>(), line["step"].get<int>()});
  }
  return lowest;
}

TEST(Trainer, KeepsWhatWasMeasuredBest) {
  const TempDirectory dir;
  train_tiny(dir / "run", rising);
  const auto [loss, step] = lowest_of(dir / "run");
  ASSERT_NE(step % 15, 0) << "the test needs a best step at which no checkpoint is due";
  const Checkpoint best(find_checkpoint(dir / "run", Which::best));
  EXPECT_EQ(best.state().step, step);
  EXPECT_EQ(best.state().val_loss, loss);
  const RunSummary summary = read_summary(dir / "run/summary.json");
  EXPECT_EQ(summary.best_step, step);
  EXPECT_EQ(summary.best_val_loss, loss);
  EXPECT_LT(*summary.best_val_loss, *summary.val_loss);
}

TEST(Trainer, TheEndSaysWhichStepWasBetter) {
  const TempDirectory dir;
  const auto end_of = [&](const char* name, const std::vector<std::string>& overrides) {
    std::FILE* out = std::fopen((dir / "log").c_str(), "w");
    {
      Progress progress(out);
      Trainer(tiny_config(overrides), dir / name, false, progress).run();
    }
    std::fclose(out);
    return test::read_file(dir / "log");
  };
  const std::string log = end_of("rising", rising);
  const auto [loss, step] = lowest_of(dir / "rising");
  EXPECT_HAS(log, fmt::format("it was lower before: {:.4f} after step {}", loss, step));
  EXPECT_HAS(log, "--best");
  EXPECT_EQ(end_of("falling", {}).find("it was lower before"), std::string::npos);
}

TEST(Trainer, WithoutKeepBestOnlyDueCheckpointsAreWritten) {
  const TempDirectory dir;
  train_tiny(dir / "run", rising_with({"train.keep_best=false", "train.keep_checkpoints=9"}));
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "run/checkpoints")) {
    if (!entry.is_symlink()) names.push_back(entry.path().filename());
  }
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"step_00000015", "step_00000030", "step_00000040"}));
}

TEST(Trainer, KeepsNoCheckpointWhereNoneIsWanted) {
  const TempDirectory dir;
  EXPECT_EQ(train_tiny(dir / "run", rising_with({"train.keep_checkpoints=0"})), RunEnd::finished);
  EXPECT_TRUE(std::filesystem::is_empty(dir / "run/checkpoints"));
  EXPECT_TRUE(std::filesystem::exists(dir / "run/summary.json"));
}

TEST(Trainer, StopsWhenPatienceIsOut) {
  const TempDirectory dir;
  const auto overrides = rising_with({"train.patience=3"});
  EXPECT_EQ(train_tiny(dir / "whole", overrides), RunEnd::finished);
  const int best = lowest_of(dir / "whole").second, last = best + 3 * 2;
  ASSERT_LT(last, 40);
  EXPECT_EQ(metrics_of(dir / "whole").back()["step"], last);
  EXPECT_EQ(read_summary(dir / "whole/summary.json").steps, last);
  // Counted on after a resume.
  EXPECT_EQ(train_tiny(dir / "parts", overrides, false, best + 3), RunEnd::interrupted);
  EXPECT_EQ(train_tiny(dir / "parts", overrides, true), RunEnd::finished);
  EXPECT_EQ(metrics_of(dir / "parts"), metrics_of(dir / "whole"));
  const auto before = files_in(dir / "parts");
  EXPECT_EQ(train_tiny(dir / "parts", overrides, true), RunEnd::finished);
  EXPECT_EQ(files_in(dir / "parts"), before);
  EXPECT_EQ(train_tiny(dir / "parts", rising_with({"train.patience=4"}), true), RunEnd::finished);
  EXPECT_EQ(metrics_of(dir / "parts").back()["step"], last + 2);
  EXPECT_HAS(error_of([] { tiny_config({"train.patience=3", "train.keep_best=false"}); }), "train.patience");
  EXPECT_HAS(error_of([] { tiny_config({"train.patience=3", "train.eval_every=0"}); }), "train.patience");
}

TEST(Trainer, TheBestIsSoughtAnewWhenItIsMeasuredOtherwise) {
  const TempDirectory dir;
  train_tiny(dir / "run", {"train.steps=10"});
  train_tiny(dir / "run", {"train.steps=12", "train.eval_batches=1", "optimizer.lr=1"}, true);
  EXPECT_EQ(Checkpoint(find_checkpoint(dir / "run", Which::best)).state().step, 12);
}

TEST(Trainer, AResumeOverOtherDataIsRefusedAndNamesTheKeys) {
  const TempDirectory dir;
  test::write_file(dir / "a.txt", std::string(600, 'a') + std::string(600, 'b') + "cdef");
  test::write_file(dir / "b.txt", std::string(600, 'b') + std::string(600, 'a') + "cdef");
  const auto text = [&](const std::string& path) {
    return std::vector<std::string>{
        fmt::format("data={{kind: text, path: {}, cache: {}}}", path, (dir / "cache").string()), "train.steps=4"};
  };
  const auto resume = [&](const std::vector<std::string>& overrides) {
    return [&dir, overrides] { train_tiny(dir / "run", overrides, true); };
  };
  train_tiny(dir / "run", text(dir / "a.txt"));
  EXPECT_HAS(error_of(resume({"train.steps=4"})), "data.kind: text -> markov");
  EXPECT_HAS(error_of(resume(text(dir / "b.txt"))), "b.txt");
  EXPECT_HAS(error_of(resume(text(dir / "b.txt"))), "data.path.0: ");
  std::filesystem::copy(dir / "a.txt", dir / "moved.txt");
  EXPECT_NO_THROW(resume(text(dir / "moved.txt"))());
  std::filesystem::rename(dir / "b.txt", dir / "a.txt");
  EXPECT_HAS(error_of(resume(text(dir / "a.txt"))), "the content has changed");
  // Several files are one text.
  const std::string both = fmt::format("[{}, {}]", (dir / "a.txt").string(), (dir / "moved.txt").string());
  train_tiny(dir / "two", text(both));
  std::filesystem::rename(dir / "moved.txt", dir / "a.txt");
  std::filesystem::copy(dir / "a.txt", dir / "moved.txt");
  EXPECT_HAS(error_of([&] { train_tiny(dir / "two", text(both), true); }), "the content has changed");
}

TEST(Trainer, ResumeMayReorderTheData) {
  const TempDirectory dir;
  train_tiny(dir / "run", {}, false, 7);
  EXPECT_EQ(train_tiny(dir / "run", {"train.seed=2"}, true), RunEnd::finished);
  EXPECT_HAS(error_of([&] {
               train_tiny(dir / "run", {"train.steps=30", "data.language_seed=2"}, true);
             }),
             "data.language_seed: 1 -> 2");
}

TEST(Trainer, ChecksThePromptOfTheSampleBeforeTheFirstStep) {
  const TempDirectory dir;
  EXPECT_HAS(error_of([&] { train_tiny(dir / "run", {"train.sample_prompt=?"}); }), "train.sample_prompt: ");
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  EXPECT_NO_THROW(train_tiny(dir / "run", {"train.sample_prompt=?", "train.sample_tokens=0"}));
}

TEST(Trainer, RefusesAFolderThatHoldsSomething) {
  const TempDirectory dir;
  train_tiny(dir / "run");
  const std::string message = error_of([&] { train_tiny(dir / "run"); });
  EXPECT_HAS(message, "--resume");
}

TEST(Trainer, ARunThatCannotStartLeavesNothing) {
  const TempDirectory dir;
  EXPECT_THROW(train_tiny(dir / "a/b", {"optimizer.groups=[{match: nothing}]"}), InputError);
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(Trainer, StopsWhenTheLossIsNotFinite) {
  const TempDirectory dir;
  const std::string message = error_of<RunError>([&] {
    train_tiny(dir / "run", {"optimizer.lr=1.0e+30", "optimizer.schedule.warmup=0", "train.checkpoint_every=1"});
  });
  EXPECT_HAS(message, "step ");
  EXPECT_HAS(message, "not finite first: ");
  EXPECT_HAS(message, "Lower optimizer.lr (now 1e+30)");
  const auto newest = newest_checkpoint(dir / "run/checkpoints");
  ASSERT_TRUE(newest.has_value()) << message;
  EXPECT_HAS(message, newest->string());
  EXPECT_NO_THROW(Checkpoint(*newest).verify());
}

/// A run and its steps.
struct Parts : Run {
  explicit Parts(const std::vector<std::string>& overrides) : Run(tiny_config(overrides)) {}

  HostBatch batch(std::uint64_t index) const {
    return training_batch(*dataset, model->batch_fields(), index, config.train.batch);
  }

  const Turn turn{*this};
  std::unique_ptr<TrainingStep> step = training_step(/*record=*/100);
};

// The sequences are the same ones, however a step is cut.
TEST(TrainingStep, AccumulationEqualsALargerBatch) {
  for (const char* device : {"device=cpu", "device=reference"}) {
    Parts halves({device, "model.dropout=0", "train.batch=4", "train.accumulate=2"});
    Parts whole({device, "model.dropout=0", "train.batch=8", "train.accumulate=1"});
    std::uint64_t half = 0;
    halves.step->gradients(1, [&] { return halves.batch(half++); });
    whole.step->gradients(1, [&] { return whole.batch(0); });
    EXPECT_EQ(half, 2u);
    EXPECT_TRUE(test::close(halves.store->grads(), whole.store->grads(), 1e-6)) << device;
  }
}

TEST(TrainingStep, AllocatesNothingAfterTheFirst) {
  for (const char* setting : {"train.precision=float32", "train.precision=bfloat16", "optimizer.attention=fisher",
                              "optimizer.attention=fisher_cg"}) {
    Parts parts({setting});
    BatchQueue queue(*parts.dataset, parts.model->batch_fields(), 0, parts.config.train.batch);
    MemoryPools& memory = parts.store->values().backend().memory();
    const auto next = [&queue] { return queue.next(); };
    parts.step->run(1, next);
    const MemoryUsage first = memory.usage();
    for (int step = 2; step <= 20; ++step) parts.step->run(step, next);
    EXPECT_EQ(memory.usage().system_allocations, first.system_allocations) << setting;
    EXPECT_EQ(memory.usage().active, first.active) << setting;
    EXPECT_EQ(memory.usage().peak, first.peak) << setting;
  }
}

TEST(TrainingStep, RecordsEveryStep) {
  Parts parts({});
  std::uint64_t index = 0;
  const auto next = [&] { return parts.batch(index++); };
  for (int step = 1; step <= 3; ++step) parts.step->run(step, next);
  const StepRecord record = parts.step->record();
  ASSERT_EQ(record.size(), 3u);
  EXPECT_EQ(record.first_bad(), 3u);
  EXPECT_EQ(record.grad_norms.back(),
            parts.optimizer->control().values()[static_cast<std::size_t>(Control::grad_norm)]);
  parts.step->clear_record();
  EXPECT_EQ(parts.step->record().size(), 0u);
  parts.step->restore_record(record);
  EXPECT_EQ(parts.step->record().losses, record.losses);
}

TEST(TrainingStep, NamesTheTensorThatIsNotFinite) {
  Parts parts({});
  std::uint64_t index = 0;
  parts.step->gradients(1, [&] { return parts.batch(index++); });
  EXPECT_EQ(first_nonfinite_tensor(*parts.store, NAN), "the loss");
  const auto& entry = parts.store->entry("blocks.1.mlp.up.weight");
  Backend& backend = parts.store->values().backend();
  backend.fill({.x = parts.store->grad(entry).flat_view(3, {1}), .value = INFINITY});
  EXPECT_EQ(first_nonfinite_tensor(*parts.store, 1.0), "the gradient of blocks.1.mlp.up.weight");
  backend.fill({.x = parts.store->value(entry).flat_view(3, {1}), .value = NAN});
  EXPECT_EQ(first_nonfinite_tensor(*parts.store, 1.0), "parameter blocks.1.mlp.up.weight");
}

TEST(BatchQueue, GivesTheBatchesInOrderAndPassesErrorsOn) {
  Parts parts({});
  BatchQueue queue(*parts.dataset, parts.model->batch_fields(), 5, 4);
  for (std::uint64_t i = 5; i < 30; ++i) {
    EXPECT_EQ(queue.next()["tokens"], parts.batch(i)["tokens"]);
  }
  struct Broken : Dataset {
    std::int64_t vocab() const override { return 2; }
    const Tokenizer& tokenizer() const override { throw InputError("none"); }
    std::string description() const override { return "broken"; }
    void train_sequence(std::uint64_t, const Row&) const override { throw RunError("broken data"); }
    std::int64_t validation_windows() const override { return 0; }
    void validation_window(std::int64_t, const Row&) const override {}
  } broken;
  BatchQueue bad(broken, {{"tokens", 1}}, 0, 1);
  EXPECT_THROW(bad.next(), RunError);
}

TEST(Evaluate, WeighsTheLastSmallerBatchByItsRows) {
  for (const char* device : {"device=cpu", "device=reference"}) {
    Parts parts({device});
    const Device d = parse_device(parts.config.device);
    const Evaluation one = evaluate(*parts.model, *parts.dataset, d, 1);
    const Evaluation four = evaluate(*parts.model, *parts.dataset, d, 4);  // 4 + 4 + 2
    EXPECT_EQ(four.windows, 10);
    EXPECT_NEAR(one.loss, four.loss, 1e-6);
    EXPECT_EQ(evaluate(*parts.model, *parts.dataset, d, 4).loss, four.loss);
    EXPECT_NEAR(*four.excess(), four.loss - *parts.dataset->validation_optimum(10), 1e-12);
    const Evaluation some = evaluate(*parts.model, *parts.dataset, d, 4, 2);
    EXPECT_EQ(some.windows, 8);
    EXPECT_NEAR(*some.optimum, *parts.dataset->validation_optimum(8), 1e-12);
  }
}

}  // namespace
}  // namespace monge::train
