// The picture of docs/attention.md: what each row map makes of the same scores.
#pragma once

#include <filesystem>
#include <string>

namespace monge::tools {

/// An SVG image in middle tones, readable on light and on dark pages. Throws RunError without gnuplot.
std::string figure_svg();
/// Writes it to `file`. Throws InputError when it cannot be written.
void write_figure(const std::filesystem::path& file);

}  // namespace monge::tools
