#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "tools/plot/gnuplot.h"
#include "tools/verify/papers/spectrum.h"

namespace monge::tools {
namespace {

constexpr int panel_width = 440, height = 340, bins = 60;
// Middle tones, readable on light and on dark pages.
constexpr const char *text_colour = "#737d88", *bar_colour = "#3f83e0", *linear_colour = "#d9772b",
                     *law_colour = "#8a939d";

/// Density of the singular values of all draws in bins of [0, end].
std::vector<double> density(const Spectra& spectra, double end, Vector SpectrumDraw::*member) {
  std::vector<double> out(bins, 0.0);
  const double width = end / bins;
  for (const SpectrumDraw& draw : spectra.draws) {
    const double share = 1.0 / (width * static_cast<double>((draw.*member).size() * spectra.draws.size()));
    for (const double square : draw.*member) {
      const double s = std::sqrt(std::max(square, 0.0));
      out[static_cast<std::size_t>(std::min<double>(s / width, bins - 1))] += share;
    }
  }
  return out;
}

/// sqrt(4 v - s^2) / (pi v), the law of Marchenko and Pastur for singular values of a square matrix.
double law(double s, double v) { return s * s < 4.0 * v ? std::sqrt(4.0 * v - s * s) / (M_PI * v) : 0.0; }

std::string panel(const Spectra& spectra, std::size_t index, std::size_t panels) {
  const double v = std::expm1(spectra.beta * spectra.beta);
  double end = 0.0;
  for (const SpectrumDraw& draw : spectra.draws) {
    end = std::max({end, std::sqrt(draw.attention.maxCoeff()), std::sqrt(draw.linear.maxCoeff())});
  }
  end *= 1.02;
  const auto attention = density(spectra, end, &SpectrumDraw::attention);
  const auto linear = density(spectra, end, &SpectrumDraw::linear);
  std::vector<std::vector<double>> rows;
  for (int i = 0; i < bins; ++i) {
    const double s = (i + 0.5) * end / bins;
    rows.push_back({s, attention[static_cast<std::size_t>(i)], linear[static_cast<std::size_t>(i)], law(s, v)});
  }
  const auto across = [&](double x) { return (static_cast<double>(index) + x) / static_cast<double>(panels); };
  return data_block("spectrum", rows) +
         fmt::format(
             "set lmargin at screen {}\nset rmargin at screen {}\nset xrange [0:{}]\n"
             "set title {} textcolor rgb '{}'\nset xlabel 'singular value s' textcolor rgb '{}'\n"
             "plot $spectrum using 1:2 with boxes lc rgb '{}' title 'attention', "
             "$spectrum using 1:3 with lines lw 2.5 lc rgb '{}' title 'linear model', "
             "$spectrum using 1:4 with lines lw 2 dt (6,3) lc rgb '{}' title 'Marchenko-Pastur'\n",
             across(0.1), across(0.97), end,
             plot_text(fmt::format("beta = {}, n = {}, {} draws", spectra.beta, spectra.n, spectra.draws.size())),
             text_colour, text_colour, bar_colour, linear_colour, law_colour);
}

}  // namespace

std::string spectrum_svg(const std::vector<Spectra>& spectra) {
  std::vector<const Spectra*> largest;
  for (const Spectra& s : spectra) {
    if (largest.empty() || largest.back()->beta != s.beta) largest.push_back(&s);
    largest.back() = &s;
  }
  std::string script = fmt::format(
      "set style fill solid 0.5 noborder\nset boxwidth 1 relative\nset border 3 lc rgb '{0}'\nset tics nomirror "
      "textcolor rgb '{0}'\nset yrange [0:*]\nset key top right textcolor rgb '{0}'\nset multiplot\n",
      text_colour);
  for (std::size_t i = 0; i < largest.size(); ++i) script += panel(*largest[i], i, largest.size());
  return gnuplot_svg(script, panel_width * static_cast<int>(largest.size()), height);
}

namespace {

/// Columns of every layer against the step, one curve for each layer.
std::string run_panel(const char* title, const std::vector<std::string>& layers, const char* column, double left) {
  std::string curves;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    curves += fmt::format("{}$layer{} using 1:{} with linespoints pt 7 ps 0.5 lw 2 lc {} title {}", l == 0 ? "" : ", ",
                          l, column, l + 1, plot_text(layers[l]));
  }
  return fmt::format(
      "set lmargin at screen {}\nset rmargin at screen {}\nset title {} textcolor rgb '{}'\n"
      "set xlabel 'step' textcolor rgb '{}'\nplot {}\n",
      left + 0.05, left + 0.31, plot_text(title), text_colour, text_colour, curves);
}

}  // namespace

std::string run_spectrum_svg(const std::vector<LayerSpectrum>& spectra) {
  std::vector<std::string> layers;
  for (const LayerSpectrum& s : spectra) {
    if (std::ranges::find(layers, s.layer) == layers.end()) layers.push_back(s.layer);
  }
  std::string script;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    std::vector<std::vector<double>> rows;
    for (const LayerSpectrum& s : spectra) {
      if (s.layer != layers[l]) continue;
      rows.push_back({static_cast<double>(s.step), s.beta, s.to_linear / s.gaussian_to_linear, s.largest});
    }
    script += data_block(fmt::format("layer{}", l), rows);
  }
  script += fmt::format(
      "set border 3 lc rgb '{0}'\nset tics nomirror textcolor rgb '{0}'\nset yrange [0:*]\n"
      "set key bottom right textcolor rgb '{0}'\nset multiplot\n",
      text_colour);
  return gnuplot_svg(script + run_panel("beta, the spread of scores", layers, "2", 0.0) +
                         run_panel("W1 to the linear model / that of random", layers, "3", 0.335) +
                         run_panel("share of the largest three values", layers, "4", 0.67),
                     panel_width * 3, height);
}

}  // namespace monge::tools
