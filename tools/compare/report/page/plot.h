// Plots as SVG to be put inside a page: colours are the page's (CSS variables, so they follow its theme), the size is
// the reader's.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace monge::compare {

struct Plot {
  std::string about;   // what it shows, for readers who do not see it
  std::string script;  // gnuplot commands after the terminal is set, data inline
  int width = 460, height = 300;
};

/// Lines of one series: a colour of the palette, a dash pattern and a marker, so that none has to be told by colour
/// alone. Series 0, the baseline, has the colour of the text.
std::string line_style(std::size_t series);
std::string colour(std::size_t series);
/// A short line of this style, for legends.
Plot sample_of(std::size_t series);
/// Of what is less important than the data: grid lines, bands at rest.
std::string quiet_colour();

/// The CSS colours of the series on a light and on a dark page; series 0 is the text's.
struct Theme {
  std::string_view paper, ink, quiet, grid;
  std::array<std::string_view, 8> series;
};
const Theme& light_theme();
const Theme& dark_theme();

/// What a page with plots has among its styles.
std::string plot_css();

/// The <svg> element; `id` sets its ids apart from those of other plots on the page. Throws RunError when gnuplot is
/// not installed or refuses the script.
std::string draw(const Plot& plot, std::string_view id);

}  // namespace monge::compare
