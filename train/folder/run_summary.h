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
  bool diverged = false;                  // a loss or a gradient was not finite
  std::string message;                    // what was not, where and what to do
  std::int64_t steps = 0;                 // taken
  std::optional<double> val_loss;         // after the last step
  std::optional<double> best_val_loss;    // the lowest of all that were kept in a checkpoint
  std::int64_t best_step = 0;             // where; 0: nowhere
  std::optional<double> optimum;          // of the best possible predictor on the same data, where it is known
  std::optional<double> val_accuracy;     // 0 .. 1, where every answer is determined
  std::optional<double> val_exact_match;  // 0 .. 1, of answers of several tokens
  std::int64_t vocab = 0;
  std::int64_t parameters = 0;
  std::int64_t state_bytes = 0;  // of the optimizer
  double passes_per_step = 1.0;  // forward-backwards, those beside the plain step included
  std::string initial_weights;   // StartIdentity::weights
  std::string batches;           // StartIdentity::batches
  std::string data;              // Dataset::description
  std::string device;            // Backend::description
  bool own_cores = false;        // has_own_cores
};

/// Whether this process may run on exactly as many cores as it has `threads`: then others that were given cores of
/// their own do not slow it down, and its times mean something. Not where who has started it knows that others use the
/// same cores, and has set the variable.
bool has_own_cores(std::int64_t threads);
inline constexpr const char* shares_cores_variable = "MONGE_SHARES_CORES";

/// Throws RunError when it cannot be written.
void write_summary(const RunSummary& summary, const std::filesystem::path& file);
/// Throws InputError for a file that cannot be read or is no summary.
RunSummary read_summary(const std::filesystem::path& file);

}  // namespace monge::train
