#include <fmt/format.h>

#include <iterator>

#include "tools/plot/gnuplot.h"
#include "tools/verify/papers/aaren.h"
#include "tools/verify/row.h"

namespace monge::tools {
namespace {

constexpr int panel_width = 440, height = 360;
constexpr std::int64_t tokens = 64;
constexpr std::int64_t shown[] = {0, 4, 11, 23};
// Middle tones, readable on light and on dark pages.
constexpr const char* text_colour = "#737d88";
constexpr const char* colours[] = {"#3f83e0", "#d9772b", "#3d9a5f", "#a35fc4"};

/// The weights of the shown tokens in every output from them on: columns against i.
std::vector<std::vector<double>> curves(const Matrix& weights) {
  std::vector<std::vector<double>> out;
  for (Eigen::Index i = 0; i < weights.rows(); ++i) {
    out.push_back({static_cast<double>(i)});
    for (const std::int64_t j : shown) out.back().push_back(i < j ? NAN : weights(i, j));
  }
  return out;
}

std::string panel(const char* title, const char* data, double left) {
  std::string script =
      fmt::format("set lmargin at screen {}\nset rmargin at screen {}\nset title {} textcolor rgb '{}'\n", left + 0.07,
                  left + 0.48, plot_text(title), text_colour);
  for (std::size_t k = 0; k < std::size(shown); ++k) {
    script += fmt::format("{} ${} using 1:{} with lines lw 2 lc rgb '{}' title 'token {}'", k == 0 ? "plot" : ",", data,
                          k + 2, colours[k], shown[k]);
  }
  return script + "\n";
}

}  // namespace

std::string aaren_svg(std::uint64_t seed) {
  RandomSequence random(seed, aaren_stream, 4);
  AarenHead head = draw_aaren_head(random, tokens, 16);
  head.scale *= 2.0;
  Matrix softmax_weights = Matrix::Zero(tokens, tokens);
  for (Eigen::Index i = 0; i < tokens; ++i) {
    const Vector z = head.scale * (head.k * normal(random, head.k.cols()));
    softmax_weights.row(i).head(i + 1) = softmax(z.head(i + 1));
  }
  const std::string script = fmt::format(
      "set border 3 lc rgb '{0}'\nset tics nomirror textcolor rgb '{0}'\nset key bottom left Left reverse textcolor "
      "rgb '{0}'\n"
      "set logscale y\nset format y '10^{{%T}}'\nset xrange [0:63]\nset yrange [1e-8:1]\nset xtics 16\n"
      "set xlabel 'output i' textcolor rgb '{0}'\nset multiplot\n",
      text_colour);
  return gnuplot_svg("set termoption enhanced\n" + data_block("one", curves(aaren_weights(head))) +
                         data_block("many", curves(softmax_weights)) + script +
                         panel("weights in output i, one query", "one", 0.0) +
                         panel("a query of its own for each i", "many", 0.5),
                     2 * panel_width, height);
}

}  // namespace monge::tools
