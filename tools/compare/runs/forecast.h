// Forecast: how many runs a comparison will make and how long they will take, before a night is spent on it.
//
// The number of tuning runs depends on the losses that they come to, so there is a lower and an upper bound. The time
// of a step is measured: every variant trains on every workload for some steps. That these runs work at all is worth
// knowing too.
#pragma once

#include <optional>

#include "tools/compare/runs/runs.h"
#include "tools/compare/search/plan.h"

namespace monge::compare {

/// Settings that every variant with axes will try on a workload.
struct Trials {
  std::int64_t least = 1, most = 1;
};
Trials trials_of(const Comparison& comparison);

/// What one variant will do on one workload.
struct Forecast {
  std::size_t variant = 0, workload = 0;
  std::int64_t least_runs = 0, most_runs = 0;
  double least_steps = 0.0, most_steps = 0.0;  // of all these runs
  PlannedRun probe;                            // the run that measures a step
};

/// For each workload, then variant.
std::vector<Forecast> make_forecast(Comparison& comparison);

/// Leaves out what need not be made, as far as runs can be named: what is finished, and what was borrowed but for its
/// witnesses. `plan` is the one to expect (Runs::expected).
void leave_out_known(Comparison& comparison, const RunPlan& plan, Runs& runs, std::vector<Forecast>& forecasts);

/// A table for people: a line for each forecast and their sum, with the time of training alone, without evaluations.
/// What the probes in `runs` have not shown is left out; what failed says why.
std::vector<std::string> forecast_table(Comparison& comparison, const std::vector<Forecast>& forecasts, Runs& runs);

}  // namespace monge::compare
