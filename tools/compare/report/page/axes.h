// Axes of plots, as lines of gnuplot.
#pragma once

#include <string>

namespace monge::compare {

/// Labelled tics for a logarithmic axis: some of each decade, the fewer the more decades there are.
std::string log_tics(char axis, double low, double high);
/// A logarithmic y axis with a small margin around the data: lines and bands do not end on its edges.
std::string excess_axis(double low, double high);
std::string linear_axis(double low, double high);
/// At most six tics at round numbers: gnuplot counts without regard to how long their labels are.
std::string linear_tics(char axis, double low, double high);

}  // namespace monge::compare
