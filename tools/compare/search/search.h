// search/: what is to be run. A comparison read from YAML, the configuration of each of its runs, and which settings to
// try next, given the losses so far. It starts nothing.
//
// Search: which settings of a variant to try next. Functions of the trials alone, so that a comparison which is started
// again asks for the same runs.
//
// A coordinate search. Every axis is swept over the values given, at the best values of the axes before it; then, one
// axis at a time, the search goes on by factors of two until the best setting has a worse one on both sides of it.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tools/compare/search/comparison.h"

namespace monge::compare {

struct Trial {
  Setting setting;
  double loss = 0.0;  // mean over the tuning seeds; infinite: a run diverged or failed
};

/// Whether a configuration can have this setting: a decay of 2 or half a layer it cannot.
using Allowed = std::function<bool(const Setting&)>;

/// The settings to try next, all at once; none when the optimum is bracketed or as many as `max_trials` are done.
std::vector<Setting> next_settings(const std::vector<Axis>& axes, std::span<const Trial> trials, std::size_t max_trials,
                                   const Allowed& allowed);

/// Settings around the best one, a factor sqrt(2) away on every axis in turn, then 2^(1/4) and so on: how a variant
/// spends the trials that others needed and it did not. At most `count`; none when there is nothing left to try.
std::vector<Setting> refinements(const std::vector<Axis>& axes, std::span<const Trial> trials, std::size_t count,
                                 const Allowed& allowed);

/// The least loss; of equal ones the first.
const Trial& best_of(std::span<const Trial> trials);

/// The best `count` that did not diverge, least loss first; the best one in any case.
std::vector<Trial> finalists(std::span<const Trial> trials, std::size_t count);

/// The keys of axes on which the setting chosen is not between two worse ones, less than an octave from it on every
/// other axis: a refinement of one axis does not open the others. Nothing is below zero.
std::vector<std::string> open_axes(const std::vector<Axis>& axes, std::span<const Trial> trials, const Trial& chosen);

}  // namespace monge::compare
