#include "tools/compare/report/page/plot.h"

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <regex>

#include "core/error.h"
#include "tools/plot/gnuplot.h"

namespace monge::compare {
namespace {

// gnuplot knows no CSS variables: it draws in these colours and in that of `colour`, which plot_css() turns into them.
constexpr const char* quiet = "#000200";
constexpr const char* grid = "#000300";

constexpr Theme light = {
    .paper = "#ffffff",
    .ink = "#1b1f24",
    .quiet = "#59636e",
    .grid = "#d8dee4",
    .series = {"#1b1f24", "#0067a8", "#b84700", "#00755a", "#a13a78", "#7a5d00", "#5a3fb5", "#b3132b"},
};
constexpr Theme dark = {
    .paper = "#14171b",
    .ink = "#e8ebee",
    .quiet = "#9aa4af",
    .grid = "#343b43",
    .series = {"#e8ebee", "#62b8f0", "#ff9455", "#35d0a2", "#ea93c4", "#e5c445", "#b7a4ff", "#ff7f8a"},
};
constexpr std::size_t colours = light.series.size();
constexpr const char* dashes[] = {"1", "(9,3)", "(3,3)", "(9,3,2,3)", "(14,4)", "(3,2,1,2)", "(6,2,1,2,1,2)"};
constexpr int markers[] = {7, 5, 9, 13, 11, 15};  // gnuplot's filled ones

/// The index of a series in the palette: after the last colour comes the one after the baseline's.
std::size_t palette_index(std::size_t series) { return series == 0 ? 0 : 1 + (series - 1) % (colours - 1); }

/// CSS by which what gnuplot drew in a colour takes another; gnuplot writes a colour in two ways. It names no ancestor:
/// what a legend uses again has none.
std::string recolour(std::string_view hex, std::string_view colour) {
  const auto part = [&](std::size_t i) { return std::stoi(std::string(hex.substr(i, 2)), nullptr, 16); };
  const int r = part(1), g = part(3), b = part(5);
  std::string css;
  for (const std::string& drawn :
       {fmt::format("rgb({:>3}, {:>3}, {:>3})", r, g, b), fmt::format("rgb({},{},{})", r, g, b)}) {
    for (const char* property : {"stroke", "fill", "color"}) {
      css += fmt::format("[{0}=\"{1}\"] {{ {0}: {2} }}\n", property, drawn, colour);
    }
  }
  return css;
}

std::string series_hex(std::size_t place) { return fmt::format("#0001{:02x}", place); }

}  // namespace

const Theme& light_theme() { return light; }
const Theme& dark_theme() { return dark; }

std::string colour(std::size_t series) { return fmt::format("rgb '{}'", series_hex(palette_index(series))); }
std::string quiet_colour() { return fmt::format("rgb '{}'", quiet); }

std::string line_style(std::size_t series) {
  return fmt::format("lc {} lw {} dt {} pt {} ps 0.5", colour(series), series == 0 ? 2.2 : 1.8,
                     dashes[series % std::size(dashes)], markers[series % std::size(markers)]);
}

Plot sample_of(std::size_t series) {
  const std::string style = line_style(series);
  return {.about = {},
          .script = fmt::format("unset border\nunset tics\nunset grid\nset margins 0, 0, 0, 0\nset xrange [0:2]\n"
                                "set yrange [-1:1]\n{}{}"
                                "plot $line using 1:2 with lines {} notitle, $point using 1:2 with points {} notitle\n",
                                data_block("line", {{0.0, 0.0}, {2.0, 0.0}}), data_block("point", {{1.0, 0.0}}), style,
                                style),
          .width = 40,
          .height = 14};
}

std::string plot_css() {
  std::string css = recolour(quiet, "var(--quiet)") + recolour(grid, "var(--grid)") +
                    recolour("#000000", "currentColor") +
                    "[fill=\"black\"] { fill: currentColor }\n[color=\"black\"] { color: inherit }\n";
  for (std::size_t i = 0; i < colours; ++i) css += recolour(series_hex(i), fmt::format("var(--series-{})", i));
  return css;
}

std::string draw(const Plot& plot, std::string_view id) {
  const std::string document =
      gnuplot_svg(fmt::format("set border 3 lc rgb '{0}'\nset tics nomirror out scale 0.5 textcolor rgb '{0}'\n"
                              "set grid lt 1 lw 0.6 dt 1 lc rgb '{1}'\nset xlabel offset 0,0.4\n"
                              "unset key\n{2}",
                              quiet, grid, plot.script),
                  plot.width, plot.height);
  const std::size_t start = document.find("<g id="), end = document.rfind("</svg>");
  if (start == std::string::npos || end == std::string::npos) throw RunError("gnuplot wrote something that is no SVG");
  // Groups that hold nothing, titles that are gnuplot's commands, and the font, which is the page's.
  static const std::regex unwanted(R"(<g [^>]*>\s*</g>\s*|<title>[^<]*</title>| font-family="[^"]*")");
  static const std::regex ids(R"((\bid=['"]|\bhref=['"]#))");
  const std::string body = std::regex_replace(document.substr(start, end - start), unwanted, "");
  return fmt::format("<svg viewBox=\"0 0 {} {}\" aria-hidden=\"true\">\n{}</svg>\n", plot.width, plot.height,
                     std::regex_replace(body, ids, fmt::format("$1{}-", id)));
}

}  // namespace monge::compare
