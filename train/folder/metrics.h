// Metrics: one JSON object per line in metrics.jsonl.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace monge::train {

/// One line. What does not apply is left out of the file. Losses are in nats per token.
struct MetricsLine {
  std::int64_t step = 0;
  std::int64_t tokens = 0;           // trained on, since the start of the run
  double seconds = 0.0;              // wall clock since the start of the run, evaluations and resumed parts included
  std::optional<double> train_loss;  // mean over the steps since the line before
  std::optional<double> val_loss;
  std::optional<double> excess_loss;      // val_loss minus the loss of the best possible predictor
  std::optional<double> val_accuracy;     // 0 .. 1, where every answer is determined
  std::optional<double> val_exact_match;  // 0 .. 1, of answers of several tokens
  std::optional<double> lr;
  std::optional<double> grad_norm;          // of this step, before clipping
  std::optional<double> tokens_per_second;  // training only, since the line before
  std::optional<double> mfu;                // model FLOP per second over the measured matmul peak, 0 .. 1
  std::optional<std::size_t> peak_bytes;    // most memory in use so far, all pools

  std::string json() const;
};

/// A metrics file that grows. Every line reaches the system before `append` returns.
class MetricsFile {
 public:
  /// Opens for appending; drops the lines after `step` and a line that was cut off, so that a resumed run writes the
  /// same file as one that never stopped. Throws RunError.
  MetricsFile(const std::filesystem::path& file, std::int64_t step);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  /// Throws RunError (disk full).
  void append(const MetricsLine& line);
  /// Waits until all lines are on the disk.
  void flush();

 private:
  std::filesystem::path file_;
  int descriptor_;
};

}  // namespace monge::train
