// The figures of a report. Each is empty where the results have nothing to draw.
#pragma once

#include <vector>

#include "tools/compare/report/analysis.h"
#include "tools/compare/report/page.h"

namespace monge::compare {

/// Against the baseline, seed by seed, with intervals: one figure per table.
std::vector<Figure> difference_figures(const Results& results, const Analysis& analysis);
/// Validation loss (excess where the optimum is known) while training, by step, second and forward-backward: the mean
/// over the seeds and their range, up to where the first of them diverged. One figure per table.
std::vector<Figure> curve_figures(const Results& results, const Analysis& analysis);
/// Final loss by learning rate: one figure per workload that was tuned.
std::vector<Figure> sensitivity_figures(const Results& results, const Analysis& analysis);
/// Final loss by budget with its power law: one figure per workload with three budgets.
std::vector<Figure> budget_figures(const Results& results, const Analysis& analysis);
/// Performance profiles: one figure, or none.
std::vector<Figure> profile_figures(const Results& results, const Analysis& analysis);

}  // namespace monge::compare
