// Checkpoint: the whole state of a run in a directory, so that training continues bit by bit.
//
//   checkpoints/step_00000300/model.safetensors      the parameters by name
//                             optimizer.safetensors  the optimizer's state by name
//                             state.json             the rest, with checksums of all three files (XXH3)
//   checkpoints/best -> step_00000250                the checkpoint with the lowest validation loss
//
// Random streams and the position in the data follow from the step and the seed. A checkpoint appears in one step: it
// is written beside, flushed and renamed. On reading, every changed byte is noticed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nn/parameter_store.h"
#include "optim/optimizer.h"
#include "train/checkpoint/checksum.h"
#include "train/config/config.h"
#include "train/training_step.h"

namespace monge::train {

/// Contents of state.json.
struct CheckpointState {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  double seconds = 0.0;
  StepRecord record;                    // of the steps since the last metrics line
  std::optional<double> val_loss;       // at this very step, where it was measured
  std::optional<double> best_val_loss;  // the lowest of all kept so far, this one included
  std::int64_t best_step = 0;           // where; 0: none
  std::int64_t since_best = 0;          // measurements since then
  std::int64_t vocab = 0;
  std::string tokenizer;  // Tokenizer::save()
  std::string data;       // content_text() of data_identity.h; empty in checkpoints of before it was kept
  std::string config;     // the resolved configuration, YAML
};

/// Writes checkpoints/step_<step>; `optimizer` is the state of one. Throws RunError (disk full); then no trace of it
/// remains and older checkpoints are as they were.
void write_checkpoint(const std::filesystem::path& checkpoints, const CheckpointState& state,
                      const nn::ParameterStore& store, const std::vector<NamedTensor>& optimizer);

/// Removes all but the newest `keep` checkpoints and that of `best_step`, points `best` to the latter, and removes what
/// a killed process left half-written. Throws RunError.
void prune_checkpoints(const std::filesystem::path& checkpoints, std::int64_t keep, std::int64_t best_step);

/// A checkpoint opened for reading.
class Checkpoint {
 public:
  /// Reads state.json. Throws InputError when it is missing, damaged or of another version.
  explicit Checkpoint(std::filesystem::path directory);

  const std::filesystem::path& directory() const { return directory_; }
  const CheckpointState& state() const { return state_; }
  /// The configuration of the run with "key.path=value" overrides on top; keys that are younger than the checkpoint
  /// have their defaults. Throws InputError.
  Config config(const std::vector<std::string>& overrides = {}) const;
  /// Throws InputError when model.safetensors or optimizer.safetensors is missing or not as it was written.
  void verify() const;
  /// Checks model.safetensors and loads it. Throws InputError when it is damaged or of another model.
  void restore(nn::ParameterStore& store) const;
  /// Checks optimizer.safetensors and loads it. Throws InputError when it is damaged or of another optimizer.
  void restore(optim::Optimizer& optimizer) const;

 private:
  void verify(const std::string& file) const;

  std::filesystem::path directory_;
  CheckpointState state_;
  ChecksumAlgorithm algorithm_ = ChecksumAlgorithm::xxh3;
  std::string model_checksum_, optimizer_checksum_;
};

/// The newest checkpoint under `checkpoints`, or nothing. Leftovers of an interrupted write do not count.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& checkpoints);

/// All checkpoints of a run folder in the order of their steps, or the one that a user names. Throws InputError when
/// there is none.
std::vector<std::filesystem::path> kept_checkpoints(const std::filesystem::path& run_or_checkpoint);

/// Which checkpoint of a run is meant.
enum class Which { newest, best };

/// The checkpoint that a user names: the directory of one, or of a run and which of it. Throws InputError.
std::filesystem::path find_checkpoint(const std::filesystem::path& run_or_checkpoint, Which which = Which::newest);

}  // namespace monge::train
