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

#include "nn/gpt.h"
#include "optim/optimizer.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/data/dataset.h"
#include "train/evaluate.h"
#include "train/memory_plan.h"
#include "train/metrics.h"
#include "train/profile.h"
#include "train/progress.h"
#include "train/run_folder.h"
#include "train/run_summary.h"
#include "train/training_step.h"

namespace monge::train {

enum class Outcome { done, interrupted };

class Trainer {
 public:
  /// Builds everything, claims the folder and prints the start banner. With `resume` it continues from the newest
  /// checkpoint in `out`, or starts when there is none. Throws InputError, and then has written nothing.
  /// `progress` outlives the trainer.
  Trainer(Config config, const std::filesystem::path& out, bool resume, Progress& progress);

  /// Trains to the last step, evaluates and samples. `stop` is asked after every step: when it says yes, a checkpoint
  /// is written and the run ends. `steps`, unless null, sees every step and is finished at the end. Throws RunError:
  /// not finite, out of memory, disk full; the last checkpoint stays.
  Outcome run(
      const std::function<bool()>& stop = [] { return false; }, StepProfile* steps = nullptr);

  std::int64_t step() const { return state_.step; }
  const nn::ParameterStore& store() const { return *store_; }
  const RunFolder& folder() const { return folder_; }

 private:
  using Clock = std::chrono::steady_clock;

  std::optional<Checkpoint> open_checkpoint(bool resume);
  void check_data(const Checkpoint& checkpoint) const;
  void start_files();
  void print_banner();
  void measure_peak();

  void write_line(bool with_evaluation);
  void show(const MetricsLine& line);
  void save();
  void check_finite(const StepRecord& record);
  /// Writes the summary of a run that cannot go on, and throws it as a RunError.
  [[noreturn]] void diverge(const std::string& message);
  RunSummary summary() const;
  void finish();
  void sample();

  bool due(std::int64_t every) const { return every > 0 && state_.step % every == 0; }
  /// Adds the time since the last call to the training time, or leaves it out.
  void lap(bool training);

  Config config_;
  Progress& progress_;
  RunFolder folder_;
  Device device_;
  std::unique_ptr<Dataset> dataset_;
  std::unique_ptr<nn::Gpt> model_;
  std::unique_ptr<nn::ParameterStore> store_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::unique_ptr<TrainingStep> training_;
  std::unique_ptr<MetricsFile> metrics_;
  CheckpointState state_;
  std::optional<Evaluation> evaluation_;  // the latest
  MemoryPlan plan_;
  double matmul_peak_ = 0.0;  // FLOP/s; 0 where MFU is not measured

  Clock::time_point start_, lap_;
  double seconds_before_ = 0.0;    // of the parts before a resume
  double training_seconds_ = 0.0;  // since the last metrics line
  std::int64_t timed_steps_ = 0;   // in these seconds
  double step_seconds_ = 0.0;      // mean of this process so far, for the ETA
};

}  // namespace monge::train
