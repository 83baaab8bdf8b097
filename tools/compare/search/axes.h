// Axes: the lists in a variant that stand where the configuration takes one number.
#pragma once

#include "tools/compare/search/comparison.h"

namespace monge::compare {

/// Of a variant's YAML, "optimizer.lr" first, then in the order written. A list for a key that takes a list is no axis.
/// Throws InputError for a list of anything but distinct numbers, with its place in the file.
std::vector<Axis> find_axes(const YamlNode& variant);

/// The variant with the axes, as find_axes gives them, at these values.
YamlNode at_setting(YamlNode variant, const std::vector<Axis>& axes, const Setting& setting);

/// Where a value > 0 lies on its axis, in octaves: log2 of it, or for a decay < 1, log2 of 1 / (1 - value).
double octaves(const Axis& axis, double value);
/// The value there, in three digits, as people read them.
double value_at(const Axis& axis, double octaves);

}  // namespace monge::compare
