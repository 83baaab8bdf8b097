// StepProfile: a trace of some training steps that shows where the time goes (`monge train --profile`).
//
// The file holds Chrome trace events (JSON), which ui.perfetto.dev, chrome://tracing and most viewers read. Each step
// is a span with its phases in it (data, forward, backward, update, log, evaluate, checkpoint), and in these are the
// kernel calls with their operands, FLOP and bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/profile/profile.h"
#include "train/folder/output_file.h"

namespace monge::train {

struct ProfileOptions {
  std::filesystem::path file;
  std::int64_t first = 3;   // counted from 1, where this process starts: the first steps allocate and prepare
  std::int64_t steps = 10;  // how many
};

class StepProfile {
 public:
  /// Throws InputError when the file cannot be written, or is one of those that the run `reads`.
  explicit StepProfile(ProfileOptions options, std::span<const std::filesystem::path> reads = {});
  ~StepProfile();
  StepProfile(const StepProfile&) = delete;
  StepProfile& operator=(const StepProfile&) = delete;

  /// Call around every step of a run.
  void begin_step();
  void end_step();
  /// After the run: writes the file. Says in a line or two what is in it.
  std::string finish();

 private:
  bool within() const { return step_ >= options_.first && step_ < options_.first + options_.steps; }

  const ProfileOptions options_;
  const OutputFile file_;
  std::int64_t step_ = 0;  // of this process
  std::vector<profile::Event> events_;
};

/// The events as Chrome trace events, in microseconds since the first of them.
std::string chrome_trace(const std::vector<profile::Event>& events);

/// "29.9 ms a step, 97 % in kernels: backward 56 %, forward 31 %, ...". A phase counts without the phases in it.
std::string phases_text(const std::vector<profile::Event>& events);

}  // namespace monge::train
