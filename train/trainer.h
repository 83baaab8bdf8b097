// Trainer: one run, from a configuration to a trained model in a folder.
//
//   Progress progress(stdout);
//   Trainer trainer(config, "runs/mine", /*resume=*/false, progress);
//   trainer.run([&] { return interrupt.requested(); });
//
// A run is a function of its configuration: the same config gives the same weights and metrics, bit by bit, also when
// it was killed and resumed in between (timings aside).
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "core/machine.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/start_identity.h"
#include "train/console/progress.h"
#include "train/evaluate.h"
#include "train/folder/event_file.h"
#include "train/folder/metrics.h"
#include "train/folder/run_folder.h"
#include "train/folder/run_summary.h"
#include "train/profile.h"
#include "train/run.h"
#include "train/training_step.h"

namespace monge::train {

enum class RunEnd { finished, interrupted };

class Trainer {
 public:
  /// Builds everything, checks all that can be checked before the first step and prints the start banner. A folder that
  /// is resumed continues from its newest checkpoint, or starts when there is none; where nothing is left to do, it
  /// stays as it is. Throws InputError, and then has written nothing. `progress` outlives the trainer.
  Trainer(Config config, std::shared_ptr<RunFolder> folder, Progress& progress);
  Trainer(Config config, const std::filesystem::path& out, bool resume, Progress& progress)
      : Trainer(std::move(config), std::make_unique<RunFolder>(out, resume), progress) {}

  /// Asked after every step but the last: whether the run should end there, with a checkpoint.
  using Stop = std::function<bool()>;

  /// Trains to the last step, or until the validation loss has not fallen for train.patience measurements; evaluates
  /// and samples. `steps`, unless null, sees every step and is finished at the end. Throws RunError: not finite, out of
  /// memory, disk full; the last checkpoint stays.
  RunEnd run(
      const Stop& stop = [] { return false; }, StepProfile* steps = nullptr);
  /// One step and what is due after it: a line of metrics, an evaluation, a checkpoint. False when `stop` said yes.
  /// Trainers of one process may take turns by it; run() then finishes. Throws like run().
  bool advance(const Stop& stop = [] { return false; });

  bool done() const { return state_.step >= run_.config.train.steps || out_of_patience(); }
  std::int64_t step() const { return state_.step; }
  const nn::ParameterStore& store() const { return *run_.store; }
  const RunFolder& folder() const { return *folder_; }

 private:
  using Clock = std::chrono::steady_clock;

  /// With the tokenizer that the run has come to, where it goes on.
  Run make_run(Config config) const;
  /// That of a resume, which the configuration may continue. Nothing there: none.
  std::optional<Checkpoint> open_checkpoint(Config& config);
  /// What could fail after the first step but can be known before.
  void check_inputs() const;
  void restore(const Checkpoint& checkpoint);
  void start_files();
  void print_banner();
  /// Before the first step: measures the peak, reserves memory, starts the batches and the clock.
  void begin();

  void write_line(bool with_evaluation);
  void show(const MetricsLine& line);
  /// After an evaluation: counts the measurements since the lowest; whether this one is it.
  bool is_lowest();
  /// Writes a checkpoint, which is the best one if its loss is the `lowest`.
  void save(bool lowest);
  void check_finite(const StepRecord& record);
  /// Writes the summary of a run that cannot go on, and throws it as a RunError.
  [[noreturn]] void diverge(const std::string& message);
  RunSummary summary() const;
  void finish();
  std::string ending() const;
  void sample();

  bool evaluation_due() const { return done() || due(run_.config.train.eval_every); }
  bool line_due() const { return evaluation_due() || due(run_.config.train.log_every); }
  /// Whether the checkpoint that this run continues from was written instead of the line of its step.
  bool line_owed() const;
  bool out_of_patience() const {
    return run_.config.train.patience > 0 && state_.since_best >= run_.config.train.patience;
  }
  bool due(std::int64_t every) const { return every > 0 && state_.step % every == 0; }
  /// Says once that other programs slow the run down.
  void look_for_others();
  /// Adds the time since the last call to the training time, or leaves it out.
  void lap(bool training);

  Progress& progress_;
  std::shared_ptr<RunFolder> folder_;
  std::optional<Checkpoint> checkpoint_;  // where a resume starts; only while the trainer is built
  Run run_;
  std::unique_ptr<TrainingStep> training_;
  std::unique_ptr<BatchQueue> queue_;
  std::unique_ptr<MetricsFile> metrics_;
  std::optional<EventFile> events_;
  StartIdentity begins_with_;
  CheckpointState state_;
  bool complete_ = false;                 // nothing is left to do
  std::optional<Evaluation> evaluation_;  // the latest
  bool first_step_ = true;                // of this trainer
  double matmul_peak_ = 0.0;              // FLOP/s; 0 where MFU is not measured

  Clock::time_point start_, lap_, looked_;
  std::optional<ProcessorTime> before_;  // when others were last looked for; none once they have been found
  double seconds_before_ = 0.0;          // of the parts before a resume
  double training_seconds_ = 0.0;        // since the last metrics line
  std::int64_t timed_steps_ = 0;         // in these seconds
  double step_seconds_ = 0.0;            // mean of this process so far, for the ETA
};

}  // namespace monge::train
