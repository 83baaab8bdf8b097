// Axes: the lists in a variant that stand where the configuration takes one number.
#pragma once

#include "tools/compare/search/comparison.h"

namespace monge::compare {

/// Of a variant's YAML, "optimizer.lr" first, then in the order written. A list for a key that takes a list is no axis.
/// Throws InputError for a list of anything but distinct numbers, with its place in the file.
std::vector<Axis> find_axes(const YamlNode& variant);

/// The variant with the axes, as find_axes gives them, at these values.
YamlNode at_setting(YamlNode variant, const std::vector<Axis>& axes, const Setting& setting);

}  // namespace monge::compare
