// gnuplot: a script in, an SVG document out. Every picture of the program is drawn by it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace monge {

/// The document that gnuplot writes for a script, which finds the terminal set (UTF-8, a sans-serif font of 14 points).
/// The same gnuplot gives the same bytes for the same script. Throws RunError when gnuplot is not installed, and says
/// how to install it, or when it refuses the script.
std::string gnuplot_svg(const std::string& script, int width, int height);

/// Text as gnuplot's literal, on one line.
std::string plot_text(std::string_view text);
/// The same for the label of a tic, which gnuplot takes for a format.
std::string tic_text(std::string_view text);
/// "$name << EOD ... EOD": a row of numbers per line; infinite and NaN become gnuplot's NaN.
std::string data_block(std::string_view name, const std::vector<std::vector<double>>& rows);

}  // namespace monge
