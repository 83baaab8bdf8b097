// Config: everything a run is made from, read from YAML. docs/config.md lists the keys.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/options/fields.h"
#include "nn/model.h"
#include "nn/parameter_store.h"
#include "optim/optimizer.h"

namespace monge::train {

struct TrainOptions : Options {
  std::string from;  // run or checkpoint whose weights it starts with; empty: initial values
  std::int64_t steps = 2000;
  std::int64_t batch = 12;
  std::int64_t accumulate = 1;
  std::string precision = "float32";  // float32 | bfloat16
  std::int64_t seed = 1337;
  std::int64_t eval_every = 250;        // 0: only at the end
  std::int64_t eval_batches = 0;        // 0: the whole validation data
  std::int64_t checkpoint_every = 500;  // 0: only at the end
  std::int64_t keep_checkpoints = 3;
  bool keep_best = true;
  std::int64_t patience = 0;  // 0: never stops early
  std::int64_t log_every = 10;
  std::int64_t threads = 0;  // 0: as many as the machine has
  bool recompute = false;
  std::int64_t head_chunk = 0;       // 0: all tokens at once
  std::int64_t sample_tokens = 500;  // 0: no sample
  std::string sample_prompt;
  bool tensorboard = false;

  void fields(Fields& f) override;
  void check() const override;
};

/// What only a GPU asks for.
struct CudaOptions : Options {
  bool graph = true;
  std::string attention = "fastest";  // fastest | cudnn | fused | unfused
  bool tf32 = false;
  bool tune = false;
  std::string tuning_file;
  void fields(Fields& f) override;
};

/// Copies share the options of their choices.
struct Config : Options {
  std::string device = "cpu";
  Choice data;  // of datasets(); the one key without a default
  Choice model = nn::models().choose("gpt");
  optim::OptimizerOptions optimizer;
  TrainOptions train;
  CudaOptions cuda;

  void fields(Fields& f) override;
  void check() const override;
};

/// Reads a YAML file with "key.path=value" overrides on top. Throws InputError, see core/options/yaml.h. With
/// `train.from`, what they leave open of `model` is that of the run named there.
Config load_config(const std::string& path, const std::vector<std::string>& overrides = {});

/// The files that keys under `data` name.
std::vector<std::filesystem::path> data_files(const Config& config);

/// `train.precision` as the model's parameters know it.
nn::Precision precision_of(const Config& config);

/// `cuda` as a backend takes it.
GpuSettings gpu_settings_of(const Config& config);

/// docs/config.md: every key with type, default, unit, range and meaning, in a table for each section and for each
/// registered kind.
std::string config_reference_markdown();

}  // namespace monge::train
