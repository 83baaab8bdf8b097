// TrainingStep: the arithmetic of one optimizer step, without files, clocks or output.
//
// A step is `accumulate` micro-batches whose gradients are averaged, then one update. Nothing in it waits for the
// device: the loss and the gradient norm of each step are recorded in device memory and read on demand. Where
// the device can, the kernel calls of a step are captured once and replayed from then on (Backend::capture).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nn/model.h"
#include "optim/optimizer.h"
#include "train/batches.h"

namespace monge::train {

/// Losses and gradient norms of the steps since the last clear_record(), oldest first.
struct StepRecord {
  std::vector<double> losses;      // mean cross-entropy, nats per token
  std::vector<double> grad_norms;  // before clipping

  double mean_loss() const;
  /// Position of the first step whose loss or norm is not finite; size() when there is none.
  std::size_t first_bad() const;
  std::size_t size() const { return losses.size(); }
};

class TrainingStep {
 public:
  struct Options {
    std::int64_t batch = 0;       // B, rows of a micro-batch
    std::int64_t accumulate = 1;  // micro-batches in a step
    std::uint64_t seed = 0;       // of dropout
    std::int64_t record = 1;      // how many steps may pass between two clear_record()
    bool replay = true;           // steps that repeat each other, from their captured kernel calls
  };
  /// Everything passed outlives this.
  TrainingStep(const Options& options, nn::Model& model, nn::ParameterStore& store, optim::Optimizer& optimizer);

  /// One step, `step` from 1, on the micro-batches that `next` gives.
  void run(std::int64_t step, const std::function<HostBatch()>& next);
  /// The forward and backward half of a step: fills the store's gradients and the loss of the current record slot.
  void gradients(std::int64_t step, const std::function<HostBatch()>& next);

  /// Waits for the device.
  StepRecord record() const;
  void clear_record() { recorded_ = 0; }
  /// Continues a record that a checkpoint has kept.
  void restore_record(const StepRecord& record);

  /// Index of the first micro-batch of a step.
  std::uint64_t first_batch(std::int64_t step) const {
    return static_cast<std::uint64_t>(step - 1) * static_cast<std::uint64_t>(options_.accumulate);
  }

 private:
  /// What the host gives to the device for a step.
  void load(std::int64_t step, const std::function<HostBatch()>& next);
  /// Forward and backward passes, of the targets given or of targets drawn from the model: kernel calls alone.
  enum class Labels { given, sampled };
  void compute_gradients(Labels labels);
  /// Micro-batch `micro` of a field that holds all of them.
  Tensor rows_of(const Tensor& all, std::int64_t micro) const {
    return all.slice(micro * options_.batch, (micro + 1) * options_.batch);
  }
  /// The whole step, kernel calls alone.
  void compute(std::int64_t step);

  const Options options_;
  nn::Model& model_;
  nn::ParameterStore& store_;
  optim::Optimizer& optimizer_;
  std::vector<std::pair<nn::BatchField, Tensor>> batches_;  // of all micro-batches, (accumulate B, ...)
  Tensor micro_steps_;                                      // (accumulate) i32: which numbers dropout draws
  Tensor seed_;            // (1): 1 / accumulate, the gradient of the mean with respect to one loss
  Tensor loss_;            // (1): of the step
  Tensor share_;           // (1): 1 / targets of a step
  Tensor losses_, norms_;  // (record)
  std::int64_t recorded_ = 0;
  std::int64_t computed_ = 0;                // steps that repeat each other, so far
  std::unique_ptr<CapturedCalls> captured_;  // of such a step
};

/// Says which tensor is not finite: the first parameter value, else the first gradient by name, else the loss.
/// Call it with the gradients of the step in question in the store.
std::string first_nonfinite_tensor(const nn::ParameterStore& store, double loss);

}  // namespace monge::train
