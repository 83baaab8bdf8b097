// The picture of docs/attention.md: what each row map makes of the same scores.
#pragma once

#include <string>

namespace monge::tools {

/// An SVG image in middle tones, readable on light and on dark pages. Throws RunError without gnuplot.
std::string figure_svg();

}  // namespace monge::tools
