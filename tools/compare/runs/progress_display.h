// ProgressDisplay: how far a comparison is, on the terminal.
//
// On a terminal a table that is redrawn in place, a line for each variant on each workload; elsewhere a plain line for
// each run that has ended.
#pragma once

#include <chrono>
#include <cstdio>
#include <set>

#include "tools/compare/runs/runs.h"
#include "tools/compare/search/plan.h"

namespace monge::compare {

class ProgressDisplay {
 public:
  /// Writes to `out`. All outlive this.
  ProgressDisplay(std::FILE* out, Comparison& comparison, Runs& runs);

  /// Call it often: it reports runs that have ended, and redraws the table twice a second, or at once when asked `now`.
  void show(const RunPlan& plan, bool now = false);

 private:
  using Clock = std::chrono::steady_clock;

  void tell_ended(const RunPlan& plan);
  /// A line above the table.
  void note(const std::string& text);
  void draw(const std::vector<std::string>& lines);
  void erase();

  std::vector<std::string> table(const RunPlan& plan) const;
  std::string progress(const RunPlan& plan) const;
  std::string row(const RunPlan& plan, std::size_t workload, std::size_t variant) const;
  std::string name(const PlannedRun& run) const;
  std::string setting_text(std::size_t variant, const Setting& setting) const;
  std::string best_text(const RunPlan& plan, std::size_t workload, std::size_t variant) const;

  std::FILE* out_;
  Comparison& comparison_;
  Runs& runs_;
  bool terminal_;
  std::size_t drawn_ = 0;  // lines of the table, above the cursor
  std::set<PlannedRun> ended_;
  std::optional<double> steps_before_;  // of the runs that were finished at the start
  Clock::time_point start_, drawn_at_;
};

}  // namespace monge::compare
