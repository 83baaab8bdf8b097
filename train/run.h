// Run: what a configuration describes, put together. Training, benchmarks, `monge info` and saved models start here.
//
//   Run run(load_config("mine.yaml"));
//   const Run::Turn turn(run);
//   run.model->loss(...);
#pragma once

#include <cstdint>
#include <memory>

#include "nn/model.h"
#include "nn/parameter_store.h"
#include "optim/optimizer.h"
#include "train/config/config.h"
#include "train/data/dataset.h"
#include "train/memory_plan.h"
#include "train/training_step.h"

namespace monge::train {

struct Run {
  /// All that training takes, parameters with their initial values or those of `train.from`. A run that goes on gives
  /// its `tokenizer`, and its weights are still to come. Throws InputError for data or weights that are not there or
  /// lack what the model reads, OutOfMemory for a plan that the device has not the memory for.
  explicit Run(Config config, const Tokenizer* tokenizer = nullptr);
  /// A model of a known vocabulary that is only read: without gradients, data and optimizer.
  Run(Config config, std::int64_t vocab);

  Config config;
  Device device;
  std::unique_ptr<Dataset> dataset;  // null in a model that is only read
  std::unique_ptr<nn::Model> model;
  std::unique_ptr<nn::ParameterStore> store;
  std::unique_ptr<optim::Optimizer> optimizer;  // null in a model that is only read
  MemoryPlan plan;                              // nothing in a model that is only read

  Backend& backend() const { return backend_of(device); }
  std::uint64_t seed() const { return static_cast<std::uint64_t>(config.train.seed); }
  std::int64_t tokens_per_step() const { return config.train.batch * config.train.accumulate * model->context(); }
  /// The training steps; at most `record` of them between two clear_record(). The run outlives them.
  std::unique_ptr<TrainingStep> training_step(std::int64_t record) const;

  /// While one lives, the kernels that this thread calls have the threads and the device settings of the run: runs of
  /// one process may take turns. Every use of a run's model stands in one.
  class Turn {
   public:
    explicit Turn(const Run& run);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    const int threads_before_;
  };
};

/// The model of a configuration, without parameters yet.
std::unique_ptr<nn::Model> make_model(const Config& config, std::int64_t vocab);

/// The data of a configuration, for a model that reads the tokens of `tokenizer` unless it is null; whether that may
/// grow. Throws InputError when it is not there or lacks what the model reads.
std::unique_ptr<Dataset> make_dataset(const Config& config, const Tokenizer* tokenizer = nullptr, bool grows = false);

}  // namespace monge::train
