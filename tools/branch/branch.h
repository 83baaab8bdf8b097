// What the next steps of a run would do under other settings: from each checkpoint that it kept, the same batches once
// more, and how the weights then differ.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace monge::tools {

/// How some matrices moved, beside what the run's own settings did to them.
struct BranchedMatrices {
  std::string name;       // "W_q", "W_k", of all attention layers together; "other"
  double length = 0.0;    // norm of the change
  double relative = 0.0;  // the same over that of the run's own settings
  double cosine = 0.0;    // between the two changes
};

/// Some steps from one checkpoint under one setting.
struct Branch {
  std::int64_t step = 0;  // of the checkpoint
  std::string settings;   // the overrides; empty: the run's own
  double before = 0.0;    // validation loss, over train.eval_batches
  double after = 0.0;
  /// The loss where W_q and W_k alone had moved.
  double after_attention = 0.0;
  std::vector<BranchedMatrices> matrices;
};

/// `settings` holds overrides ("optimizer.attention={update: fisher, every: 1}"), each tried by itself from the same
/// point: weights and the optimizer's state, where it has state of the same name; other state starts at zero.
/// Checkpoints that have fewer than `steps` steps left are passed over. Throws InputError: no checkpoint that has
/// enough left, an override that changes the model or the data or asks for an average of the parameters.
std::vector<Branch> branch(const std::filesystem::path& run_or_checkpoint, const std::vector<std::string>& settings,
                           std::int64_t steps);

}  // namespace monge::tools
