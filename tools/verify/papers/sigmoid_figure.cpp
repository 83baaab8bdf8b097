#include <fmt/format.h>

#include "tools/plot/gnuplot.h"
#include "tools/verify/papers/sigmoid.h"

namespace monge::tools {
namespace {

constexpr int panel_width = 440, height = 340;
// Middle tones, readable on light and on dark pages.
constexpr const char *text_colour = "#737d88", *balanced_colour = "#3f83e0", *unbiased_colour = "#d9772b",
                     *softmax_colour = "#8a939d";

/// Curves of two columns against n, and softmax at one.
std::string panel(const char* title, int balanced, int unbiased, double left) {
  return fmt::format(
      "set lmargin at screen {}\nset rmargin at screen {}\nset title {} textcolor rgb '{}'\n"
      "plot $sizes using 1:{} with linespoints pt 7 ps 0.6 lw 2 lc rgb '{}' title 'sigmoid, b = 0', "
      "$sizes using 1:{} with linespoints pt 7 ps 0.6 lw 2 lc rgb '{}' title 'sigmoid, b = -ln n', "
      "1 with lines lw 2 dt (6,3) lc rgb '{}' title 'softmax'\n",
      left + 0.06, left + 0.48, plot_text(title), text_colour, unbiased, unbiased_colour, balanced, balanced_colour,
      softmax_colour);
}

}  // namespace

std::string sigmoid_svg(std::uint64_t seed) {
  std::vector<std::vector<double>> rows;
  for (const std::int64_t n : {8, 16, 32, 64, 128, 256, 512, 1024}) {
    const InitialSizes s = initial_sizes(n, seed);
    rows.push_back(
        {static_cast<double>(n), s.balanced.row_sum, s.unbiased.row_sum, s.balanced.output, s.unbiased.output});
  }
  const std::string script = fmt::format(
      "set border 3 lc rgb '{0}'\nset tics nomirror textcolor rgb '{0}'\nset key top left textcolor rgb '{0}'\n"
      "set logscale xy\nset xrange [6:1400]\nset yrange [0.5:1500]\nset xtics (8, 32, 128, 512)\n"
      "set xlabel 'keys n' textcolor rgb '{0}'\nset multiplot\n",
      text_colour);
  return gnuplot_svg(data_block("sizes", rows) + script + panel("sum of a row's weights", 2, 3, 0.0) +
                         panel("norm of the output, relative to softmax", 4, 5, 0.5),
                     2 * panel_width, height);
}

}  // namespace monge::tools
