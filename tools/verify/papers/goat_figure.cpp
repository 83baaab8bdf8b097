#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "nn/parameter_store.h"
#include "tools/plot/gnuplot.h"
#include "tools/verify/papers/goat.h"
#include "tools/verify/row.h"

namespace monge::tools {
namespace {

constexpr int panel_width = 440, height = 340;
constexpr std::int64_t keys = 64;
// Middle tones, readable on light and on dark pages.
constexpr const char *text_colour = "#737d88", *start_colour = "#8a939d", *waves_colour = "#3f83e0",
                     *sink_colour = "#d9772b";

/// Log-priors of distances, and the weights of the last query whose scores are all equal.
struct Curve {
  Vector of_distance, weights;
};

/// The prior of one head at its start, with some parameters set.
Curve curve(const std::vector<std::pair<std::string, std::vector<double>>>& set) {
  nn::GoatOptions options;
  options.base = 100.0;
  nn::GoatPrior prior(options, {.heads = 1, .kv_heads = 1, .context = keys});
  const nn::ParameterStore store(prior, GoatTables::device, nn::Precision::float32, 1, false);
  const auto give = [&](const std::string& name, const std::vector<double>& values) {
    const Tensor to = store.value(store.entry(name));
    to.backend().copy_from_host({.from = values.data(), .to = to});
  };
  give("cosine", {0.0, 0.0, 0.0, 0.0});
  for (const auto& [name, values] : set) give(name, values);
  Curve out{to_matrix(prior.of_distance(keys, GoatTables::device).value()).row(0).transpose(), {}};
  const Vector of_key = to_matrix(prior.of_key(keys, GoatTables::device).value()).row(0).transpose();
  out.weights = softmax(out.of_distance.reverse() + of_key);
  return out;
}

std::string panel(const char* title, const char* axis, int first, double left) {
  return fmt::format(
      "set lmargin at screen {}\nset rmargin at screen {}\nset title {} textcolor rgb '{}'\n"
      "set xlabel {} textcolor rgb '{}'\n"
      "plot $priors using 1:{} with lines lw 2 dt (6,3) lc rgb '{}' title 'recency alone', "
      "$priors using 1:{} with lines lw 2.5 lc rgb '{}' title 'with waves', "
      "$priors using 1:{} with lines lw 2.5 lc rgb '{}' title 'with a first token'\n",
      left + 0.07, left + 0.48, plot_text(title), text_colour, plot_text(axis), text_colour, first, start_colour,
      first + 1, waves_colour, first + 2, sink_colour);
}

}  // namespace

std::string goat_svg() {
  const std::vector<double> recency{std::log(std::expm1(0.05)) - std::log(std::expm1(1.0 / 256.0))};  // m = 0.05
  const Curve start = curve({{"recency", recency}});
  const Curve waves = curve({{"recency", recency}, {"cosine", {0.0, 1.2, 0.0, 0.0}}, {"sine", {0.0, -0.8, 0.0, 0.0}}});
  const Curve sink = curve({{"recency", recency}, {"first", {5.0}}});
  std::vector<std::vector<double>> rows;
  for (Eigen::Index i = 0; i < keys; ++i) {
    rows.push_back({static_cast<double>(i), start.of_distance[i], waves.of_distance[i], sink.of_distance[i],
                    start.weights[i], waves.weights[i], sink.weights[i]});
  }
  const std::string script = fmt::format(
      "set border 3 lc rgb '{0}'\nset tics nomirror textcolor rgb '{0}'\nset xrange [0:{1}]\n"
      "set key top right textcolor rgb '{0}'\nset multiplot\n",
      text_colour, keys - 1);
  return gnuplot_svg(data_block("priors", rows) + script + panel("log-prior", "distance of query and key", 2, 0.0) +
                         "set logscale y\nset key top center\n" +
                         panel("weights of the last query, all scores equal", "position of the key", 5, 0.5),
                     2 * panel_width, height);
}

}  // namespace monge::tools
