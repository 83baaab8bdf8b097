// RunResult: what a run has produced, whoever made it.
#pragma once

#include <string>
#include <vector>

#include "tools/compare/runs/results.h"
#include "train/folder/run_summary.h"

namespace monge::compare {

struct RunResult {
  Run::Status status = Run::Status::done;
  std::string message;      // of a run that diverged or failed
  double final_loss = 0.0;  // infinite unless done
  std::vector<Point> points;
  double step_milliseconds = 0.0;  // median over the lines of metrics
  train::RunSummary summary;       // empty when the run failed
  std::string made_by;             // Run::made_by
};

}  // namespace monge::compare
