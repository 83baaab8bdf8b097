// The figures of a report. Each is empty where the results have nothing to draw. Where there are many variants a figure
// is several panels with the same caption and axes, each with the baseline and some of the others.
#pragma once

#include <vector>

#include "tools/compare/report/analysis.h"
#include "tools/compare/report/page/page.h"

namespace monge::compare {

/// What training is measured in here: seconds only where they compare, forward-backwards only where a step has others
/// than one.
std::vector<Effort> shown_efforts(const Results& results, const Analysis& analysis);

/// Against the baseline, seed by seed, with intervals: one figure per table.
std::vector<Figure> difference_figures(const Results& results, const Analysis& analysis);
/// Validation loss (excess where the optimum is known) while training, by step, second and forward-backward: the mean
/// over the seeds and their range, up to where the first of them diverged. One figure per table.
std::vector<Figure> curve_figures(const Results& results, const Analysis& analysis);
/// Final loss by learning rate: one figure per workload that was tuned.
std::vector<Figure> sensitivity_figures(const Results& results, const Analysis& analysis);
/// Final loss by budget with its power law: one figure per workload with three budgets.
std::vector<Figure> budget_figures(const Results& results, const Analysis& analysis);
/// The least loss so far by settings tried: one figure per workload that was tuned.
std::vector<Figure> search_figures(const Results& results, const Analysis& analysis);
/// Performance profiles: one figure, or none.
std::vector<Figure> profile_figures(const Results& results, const Analysis& analysis);

}  // namespace monge::compare
