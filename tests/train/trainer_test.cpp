#include "train/trainer.h"

#include <cmath>

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
        "{update: fisher_cg, iterations: 3}"}) {
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

TEST(TrainingStep, AccumulationEqualsALargerBatch) {
  for (const char* device : {"device=cpu", "device=reference"}) {
    Parts halves({device, "model.dropout=0", "train.batch=4", "train.accumulate=2"});
    Parts whole({device, "model.dropout=0", "train.batch=8", "train.accumulate=1"});
    const HostBatch batch = whole.batch(0);
    std::size_t half = 0;
    halves.step->gradients(1, [&] {
      const auto cut = [&](const std::vector<std::int32_t>& x) {
        const auto begin = x.begin() + static_cast<std::ptrdiff_t>(32 * half);
        return std::vector<std::int32_t>(begin, begin + 32);
      };
      HostBatch part{{"tokens", cut(batch["tokens"])}, {"targets", cut(batch["targets"])}};
      ++half;
      return part;
    });
    whole.step->gradients(1, [&] { return batch; });
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
    void train_sequence(std::uint64_t, std::int64_t, const Row&) const override { throw RunError("broken data"); }
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
