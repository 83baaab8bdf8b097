#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "tools/plot/gnuplot.h"
#include "tools/verify/papers/spline.h"

namespace monge::tools {
namespace {

// Middle tones, readable on light and on dark pages.
constexpr const char *text_colour = "#737d88", *spline_colour = "#3f83e0", *smooth_colour = "#d9772b";

/// The row of a head with the most knots.
Eigen::Index busiest_row(const HeadOnLine& head) {
  std::vector<int> counts(static_cast<std::size_t>(head.q0.rows()), 0);
  for (const Knot& knot : head.knots()) ++counts[static_cast<std::size_t>(knot.row)];
  return std::ranges::max_element(counts) - counts.begin();
}

}  // namespace

std::string spline_svg(const SplineProblems& problems) {
  constexpr int points = 400;
  constexpr double betas[] = {1.0, 4.0, 16.0};
  const HeadOnLine& head = problems.forms.front().heads.front();
  const Eigen::Index row = busiest_row(head), element = 0;
  const auto value = [&](const RowMap& map, double t) { return head.output(map, t)(row, element); };
  std::vector<std::vector<double>> curves, knots;
  for (int i = 0; i <= points; ++i) {
    const double t = -1.0 + 2.0 * i / points;
    curves.push_back({t, value(ReluMap{}, t)});
    for (const double beta : betas) curves.back().push_back(value(SoftplusMap{.beta = beta}, t));
  }
  for (const Knot& knot : head.knots()) {
    if (knot.row == row) knots.push_back({knot.t, value(ReluMap{}, knot.t)});
  }
  std::string script = data_block("curves", curves) + data_block("knots", knots) +
                       fmt::format(
                           "set border 3 lc rgb '{0}'\nset tics nomirror textcolor rgb '{0}'\n"
                           "set key outside right top samplen 3 textcolor rgb '{0}'\n"
                           "set xlabel 't, the place on the line' textcolor rgb '{0}'\n"
                           "set ylabel 'an element of the output' textcolor rgb '{0}'\nplot ",
                           text_colour);
  const char* dashes[] = {"(2,4)", "(6,4)", "(12,4)"};
  for (std::size_t b = 0; b < std::size(betas); ++b) {
    script += fmt::format("$curves using 1:{} with lines lw 1.6 dt {} lc rgb '{}' title 'softplus, beta {}', ", b + 3,
                          dashes[b], smooth_colour, betas[b]);
  }
  script += fmt::format(
      "$curves using 1:2 with lines lw 2.2 lc rgb '{0}' title 'relu: cubic pieces', "
      "$knots using 1:2 with points pt 7 ps 0.7 lc rgb '{0}' title 'knots, in closed form'\n",
      spline_colour);
  return gnuplot_svg(script, 880, 380);
}

}  // namespace monge::tools
