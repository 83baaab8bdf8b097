#include "tools/verify/figure.h"

#include <fmt/format.h>

#include <cmath>

#include "tools/plot/gnuplot.h"
#include "tools/verify/row.h"

namespace monge::tools {
namespace {

constexpr int keys = 24;
// In points. A panel is a line of text above its bars.
constexpr int panel_width = 400, panel_height = 104, margin = 16, text_height = 24, bar_height = 64;
// Middle tones, readable on light and on dark pages.
constexpr const char *text_colour = "#737d88", *axis_colour = "#8a939d", *score_colour = "#8a939d",
                     *weight_colour = "#3f83e0";

/// A sharp and a broad bump, some keys below zero.
Vector scores() {
  Vector z(keys);
  for (int j = 0; j < keys; ++j) {
    const double sharp = (j - 6.0) / 1.8, broad = (j - 15.5) / 3.0;
    z[j] = 2.4 * std::exp(-sharp * sharp) + 1.9 * std::exp(-broad * broad) - 0.8 + 0.25 * std::sin(2.3 * j);
  }
  return z;
}

struct Panel {
  std::string title, remark;
  Vector values;
};

/// gnuplot's commands for one panel of the multiplot: its title, its remark and a bar for each value.
std::string panel_script(const Panel& panel, int index, int height) {
  const int left = margin + index % 2 * (panel_width + 2 * margin), right = left + panel_width;
  const int top = margin + index / 2 * panel_height;
  const auto across = [](int x) { return x / static_cast<double>(2 * panel_width + 4 * margin); };
  const auto up = [&](int y) { return 1.0 - y / static_cast<double>(height); };
  std::vector<std::vector<double>> bars;
  for (const double value : panel.values) bars.push_back({value});
  return data_block("values", bars) +
         fmt::format(
             "set label 1 {} at screen {}, screen {} left font ',13' textcolor rgb '{}'\n"
             "set label 2 {} at screen {}, screen {} right font ',12' textcolor rgb '{}'\n"
             "set lmargin at screen {}\nset rmargin at screen {}\nset tmargin at screen {}\nset bmargin at screen {}\n"
             "set xrange [-0.5:{}]\nset yrange [{}:{}]\nplot $values using 0:1 with boxes lc rgb '{}'\n",
             plot_text("{/:Bold " + panel.title + "}"), across(left), up(top + text_height / 2), text_colour,
             plot_text(panel.remark), across(right), up(top + text_height / 2), text_colour, across(left),
             across(right), up(top + text_height), up(top + text_height + bar_height),
             static_cast<double>(panel.values.size()) - 0.5, std::min(panel.values.minCoeff(), 0.0),
             std::max(panel.values.maxCoeff(), 0.0), index == 0 ? score_colour : weight_colour);
}

std::string remark_on(const Vector& weights) {
  const auto support = (weights.array() > 0.0).count();
  return fmt::format("largest {:.2f}, sum {:.2f}, {} of {} keys", weights.maxCoeff(), weights.sum(), support,
                     weights.size());
}

}  // namespace

std::string figure_svg() {
  const Vector z = scores();
  std::vector<Panel> panels{{"scores z", fmt::format("from {:.1f} to {:.1f}", z.minCoeff(), z.maxCoeff()), z}};
  RowMaps::for_each([&](RowMap map) {
    std::string title(name_of(map));
    if (as<EntmaxMap>(map)) {
      map = EntmaxMap{.alpha = 1.25};
      title += ", alpha = 1.25";
    }
    const Vector weights = map_row(map, z).first;
    panels.push_back({title, remark_on(weights), weights});
  });
  const int height = margin + (static_cast<int>(panels.size()) + 1) / 2 * panel_height;
  std::string script = fmt::format(
      "set termoption enhanced\nunset key\nunset border\nunset tics\nset boxwidth 0.72\nset style fill solid noborder\n"
      "set xzeroaxis lt 1 lw 1 lc rgb '{}'\nset multiplot\n",
      axis_colour);
  for (std::size_t i = 0; i < panels.size(); ++i) script += panel_script(panels[i], static_cast<int>(i), height);
  return gnuplot_svg(script, 2 * panel_width + 4 * margin, height);
}

}  // namespace monge::tools
