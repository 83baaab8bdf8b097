#include "tools/verify/figure.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>

#include "core/error.h"
#include "tools/verify/row.h"

namespace monge::tools {
namespace {

constexpr int keys = 24;
constexpr double panel_width = 400.0, panel_height = 104.0, margin = 16.0, bar_area = 64.0;

/// A sharp and a broad bump, some keys below zero.
Vector scores() {
  Vector z(keys);
  for (int j = 0; j < keys; ++j) {
    const double sharp = (j - 6.0) / 1.8, broad = (j - 15.5) / 3.0;
    z[j] = 2.4 * std::exp(-sharp * sharp) + 1.9 * std::exp(-broad * broad) - 0.8 + 0.25 * std::sin(2.3 * j);
  }
  return z;
}

/// A title, a remark and one bar for each value, from a zero line.
std::string panel(int index, const std::string& title, const std::string& remark, const Vector& values) {
  const double left = margin + (index % 2) * (panel_width + 2 * margin), top = margin + (index / 2) * panel_height;
  const double highest = std::max(values.maxCoeff(), 0.0), lowest = std::min(values.minCoeff(), 0.0);
  const double unit = bar_area / (highest - lowest), zero = top + 24.0 + unit * highest;
  const double step = panel_width / static_cast<double>(values.size());
  std::string out = fmt::format("<text class=\"title\" x=\"{}\" y=\"{}\">{}</text>\n", left, top + 14.0, title);
  out += fmt::format("<text class=\"remark\" x=\"{}\" y=\"{}\">{}</text>\n", left + panel_width, top + 14.0, remark);
  for (Eigen::Index j = 0; j < values.size(); ++j) {
    const double height = unit * std::abs(values[j]);
    if (height == 0.0) continue;
    out += fmt::format("<rect class=\"{}\" x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\"/>\n",
                       index == 0 ? "score" : "weight", left + step * (static_cast<double>(j) + 0.14),
                       values[j] > 0.0 ? zero - height : zero, 0.72 * step, height);
  }
  out += fmt::format("<path class=\"axis\" d=\"M{:.2f} {:.2f}h{:.2f}\"/>\n", left, zero, panel_width);
  return out;
}

std::string remark_on(const Vector& weights) {
  const auto support = (weights.array() > 0.0).count();
  return fmt::format("largest {:.2f}, sum {:.2f}, {} of {} keys", weights.maxCoeff(), weights.sum(), support,
                     weights.size());
}

}  // namespace

std::string figure_svg() {
  const Vector z = scores();
  std::string body = panel(0, "scores z", fmt::format("from {:.1f} to {:.1f}", z.minCoeff(), z.maxCoeff()), z);
  int index = 1;
  RowMaps::for_each([&](RowMap map) {
    std::string title(name_of(map));
    if (as<EntmaxMap>(map)) {
      map = EntmaxMap{.alpha = 1.25};
      title += ", alpha = 1.25";
    }
    const Vector weights = map_row(map, z).first;
    body += panel(index++, title, remark_on(weights), weights);
  });
  const double width = 2 * panel_width + 4 * margin, height = margin + (index + 1) / 2 * panel_height;
  return fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img">
<title>kernel::Attention rows of each kind on the same scores</title>
<style>
text {{ font: 13px system-ui, sans-serif; fill: #737d88 }}
.title {{ font-weight: 600 }}
.remark {{ text-anchor: end; font-size: 12px }}
.weight {{ fill: #3f83e0 }}
.score {{ fill: #8a939d }}
.axis {{ stroke: #8a939d; fill: none }}
</style>
{2}</svg>
)",
      width, height, body);
}

void write_figure(const std::filesystem::path& file) {
  std::ofstream out(file, std::ios::binary);
  out << figure_svg();
  if (!out.flush())
    throw InputError(fmt::format("{} cannot be written; --figure names a file in an existing folder", file.string()));
}

}  // namespace monge::tools
