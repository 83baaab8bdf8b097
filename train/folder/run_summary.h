// RunSummary: what a finished run says of itself, in summary.json of its folder. A run is finished when that file
// exists: it is the last one written, when the schedule is through or the run cannot go on because something is not
// finite.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace monge::train {

/// Losses are in nats per token.
struct RunSummary {
  bool diverged = false;                // a loss or a gradient was not finite
  std::string message;                  // what was not, where and what to do
  std::int64_t steps = 0;               // taken
  std::optional<double> val_loss;       // after the last step
  std::optional<double> best_val_loss;  // the lowest of all that were kept in a checkpoint
  std::int64_t best_step = 0;           // where; 0: nowhere
  std::optional<double> optimum;        // of the best possible predictor on the same data, where it is known
  std::optional<double> val_accuracy;   // 0 .. 1, where every answer is determined
  std::int64_t vocab = 0;
  std::int64_t parameters = 0;
  std::int64_t state_bytes = 0;  // of the optimizer
  double passes_per_step = 1.0;  // forward-backwards, those beside the plain step included
  std::string initial_weights;   // StartIdentity::weights
  std::string batches;           // StartIdentity::batches
  std::string data;              // Dataset::description
  std::string device;            // Backend::description
};

/// Throws RunError when it cannot be written.
void write_summary(const RunSummary& summary, const std::filesystem::path& file);
/// Throws InputError for a file that cannot be read or is no summary.
RunSummary read_summary(const std::filesystem::path& file);

}  // namespace monge::train
