#include "tools/compare/report/figures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>

#include "core/error.h"
#include "tools/compare/report/analysis_parts.h"
#include "tools/compare/report/page/axes.h"
#include "tools/compare/report/page/wording.h"
#include "tools/plot/gnuplot.h"

namespace monge::compare {
namespace {

constexpr double nothing = std::numeric_limits<double>::quiet_NaN();

/// The parts of gnuplot's plot command.
struct Drawing {
  std::string setup, data;
  std::vector<std::string> layers;

  /// Adds a data block under this name.
  void add_data(const std::string& name, const std::vector<std::vector<double>>& rows) {
    data += data_block(name, rows);
  }
  std::string script() const { return fmt::format("{}{}plot {}\n", setup, data, fmt::join(layers, ", ")); }
};

/// The index of a variant among the series: the baseline first, the others in their order.
std::size_t series_of(const Results& results, std::size_t variant) {
  if (variant == results.baseline) return 0;
  return variant < results.baseline ? variant + 1 : variant;
}
std::string style_of(const Results& results, std::size_t variant) { return line_style(series_of(results, variant)); }

/// Variants whose lines share a plot: the baseline is in every one.
using Panel = std::vector<std::size_t>;

/// All in one, or where so many lines would hide each other, some at a time.
std::vector<Panel> panels_of(const Results& results) {
  constexpr std::size_t most_in_one = 6, most_beside_baseline = 4;
  const std::size_t others = results.variants.size() - 1;
  const std::size_t count = others < most_in_one ? 1 : (others + most_beside_baseline - 1) / most_beside_baseline;
  const std::size_t each = (others + count - 1) / count;
  std::vector<Panel> panels(count, Panel{results.baseline});
  for (std::size_t variant = 0, place = 0; variant < results.variants.size(); ++variant) {
    if (variant != results.baseline) panels[place++ / std::max<std::size_t>(1, each)].push_back(variant);
  }
  std::erase_if(panels, [&](const Panel& panel) { return others > 0 && panel.size() < 2; });
  return panels;
}

bool holds(const Panel& panel, std::size_t variant) { return std::ranges::find(panel, variant) != panel.end(); }

Legend legend_of(const Results& results, const Panel& panel) {
  Legend legend;
  for (const std::size_t variant : panel) {
    legend.push_back({series_of(results, variant), results.variants[variant].name});
  }
  return legend;
}

/// One figure a panel; `plot(panel)` draws it, or gives an empty plot.
template <class MakePlot>
void add_panels(const Results& results, const std::string& caption, const MakePlot& plot,
                std::vector<Figure>& figures) {
  for (const Panel& panel : panels_of(results)) {
    Plot drawn = plot(panel);
    if (drawn.script.empty()) continue;
    figures.push_back({.caption = caption, .views = {{"", std::move(drawn)}}, .legend = legend_of(results, panel)});
  }
}

// Differences

/// What was tested of a row: differences of losses, or ratios of excess losses.
struct Effect {
  std::vector<double> units;
  double middle = nothing;
  Interval interval{nothing, nothing};
};

Effect effect_of(const Row& row) {
  const Contrast& c = *row.contrast;
  Effect effect{.units = c.on_excess ? c.ratios : c.differences};
  const Interval interval = !c.on_excess ? c.interval : row.excess_ratio ? row.excess_ratio->interval : Interval{0, 0};
  const bool drawn = std::isfinite(interval.low) && std::isfinite(interval.high) && (!c.on_excess || interval.low > 0);
  if (!drawn) return effect;
  effect.middle = c.on_excess ? row.excess_ratio->ratio : c.difference;
  effect.interval = interval;
  return effect;
}

Figure difference_figure(const Results& results, const Table& table) {
  Drawing drawing;
  std::vector<std::string> names;
  const bool ratios =
      std::ranges::any_of(table.rows, [](const Row& row) { return row.contrast && row.contrast->on_excess; });
  const double origin = ratios ? 1.0 : 0.0;
  double low = origin, high = origin;
  for (auto row = table.rows.rbegin(); row != table.rows.rend(); ++row) {
    if (!row->contrast) continue;
    const auto line = static_cast<double>(names.size());
    const std::string ink = colour(series_of(results, row->variant)), name = fmt::format("v{}", row->variant);
    const Effect effect = effect_of(*row);
    std::vector<std::vector<double>> units;
    for (const double value : effect.units) {
      units.push_back({value, line});
      low = std::min(low, value);
      high = std::max(high, value);
    }
    if (!units.empty()) {
      drawing.add_data(name + "_units", units);
      drawing.layers.push_back(fmt::format("${}_units using 1:2 with points pt 6 ps 0.5 lc {} notitle", name, ink));
    }
    if (std::isfinite(effect.middle)) {
      low = std::min(low, effect.interval.low);
      high = std::max(high, effect.interval.high);
    }
    drawing.add_data(name, {{effect.middle, line, effect.interval.low, effect.interval.high}});
    drawing.layers.push_back(
        fmt::format("${} using 1:2:3:4 with xerrorbars pt 7 ps 0.8 lw 2.6 lc {} notitle", name, ink));
    names.push_back(fmt::format("{} {}", tic_text(results.variants[row->variant].name), line));
  }
  if (names.empty()) return {};
  const std::string &baseline = results.variants[results.baseline].name,
                    unit = results.workloads[table.workload].unit();
  const std::string what = ratios ? std::string("excess loss, × the baseline's") : "loss minus the baseline's, " + unit;
  constexpr double log_margin = 1.1;
  const double margin = 0.03 * std::max(high - low, 1e-9);
  const double left = ratios ? low / log_margin : low - margin, right = ratios ? high * log_margin : high + margin;
  drawing.setup = fmt::format(
      "set ytics ({}) scale 0 textcolor rgb 'black'\nset yrange [-0.6:{}]\n{}set xrange [{}:{}]\nset xlabel {}\n"
      "set border 1\nset grid noytics xtics\n"
      "set arrow from first {}, graph 0 to first {}, graph 1 nohead lw 1.4 lc {}\n",
      fmt::join(names, ", "), static_cast<double>(names.size()) - 0.4, ratios ? "set logscale x\n" : "", left, right,
      plot_text(what), origin, origin, quiet_colour());
  drawing.setup += ratios ? log_tics('x', left, right) : linear_tics('x', low, high);
  return {.caption = table_name(results, table),
          .views = {{"",
                     {.about = (ratios ? "Excess loss relative to " : "Differences of final loss from ") + baseline +
                               " on " + table_name(results, table),
                      .script = drawing.script(),
                      .height = 84 + 30 * static_cast<int>(names.size())}}}};
}

// Curves

/// The seeds of a variant, evaluation by evaluation.
struct Curve {
  std::size_t variant = 0;
  struct Moment {
    PerEffort at{};  // mean over the seeds
    double mean = 0.0, low = 0.0, high = 0.0;
  };
  std::vector<Moment> moments;  // those that every seed has
};

Curve curve_of(const Results& results, const Table& table, std::size_t variant) {
  const std::vector<const Run*> runs = report_runs(results, table, variant);
  const double zero = results.workloads[table.workload].optimum.value_or(0.0);
  std::map<std::int64_t, std::vector<const Point*>> by_step;
  for (const Run* run : runs) {
    for (const Point& point : run->points) {
      if (std::isfinite(point.val_loss)) by_step[point.step].push_back(&point);
    }
  }
  Curve curve{.variant = variant};
  for (const auto& [step, points] : by_step) {
    if (points.size() < runs.size()) continue;
    Curve::Moment& moment = curve.moments.emplace_back();
    std::vector<double> losses;
    for (const Point* point : points) {
      losses.push_back(point->val_loss - zero);
      for (const Effort effort : efforts) {
        moment.at[static_cast<std::size_t>(effort)] += at(*point, effort) / static_cast<double>(points.size());
      }
    }
    moment.mean = mean(losses);
    moment.low = std::ranges::min(losses);
    moment.high = std::ranges::max(losses);
  }
  return curve;
}

/// Where to cut a linear axis so that the first steps do not press the rest flat: the largest mean after a tenth of
/// the evaluations.
double upper_limit(const std::vector<Curve>& curves) {
  double limit = -infinity;
  for (const Curve& curve : curves) {
    if (!curve.moments.empty()) limit = std::max(limit, curve.moments[curve.moments.size() / 10].mean);
  }
  return limit;
}

/// Those of a panel, on axes that hold all.
Plot curve_plot(const Results& results, const Table& table, const std::vector<Curve>& curves, const Panel& panel,
                Effort effort) {
  const bool excess = results.workloads[table.workload].optimum.has_value();
  Drawing drawing;
  double low = infinity, high = 0.0, end = 0.0;
  const double upper = upper_limit(curves);
  std::vector<std::string> lines;
  for (const Curve& curve : curves) {
    if (curve.moments.empty()) continue;
    const std::string name = fmt::format("v{}", curve.variant);
    std::vector<std::vector<double>> rows;
    for (const Curve::Moment& m : curve.moments) {
      const double x = m.at[static_cast<std::size_t>(effort)];
      if (excess) {  // no logarithm of what is not above zero
        const auto positive = [](double y) { return y > 0.0 ? y : nothing; };
        rows.push_back({x, positive(m.mean), positive(m.low), positive(m.high)});
        if (m.low > 0.0) low = std::min(low, m.low);
        high = std::max(high, m.high);
      } else {  // bands end at the top of the plot
        rows.push_back({x, m.mean, std::min(m.low, upper), std::min(m.high, upper)});
      }
    }
    end = std::max(end, rows.back().front());
    if (!holds(panel, curve.variant)) continue;
    drawing.add_data(name, rows);
    const std::size_t series = series_of(results, curve.variant);
    drawing.layers.push_back(fmt::format(
        "${} using 1:3:4 with filledcurves fs transparent solid 0.18 noborder lc {} notitle", name, colour(series)));
    // Some seven markers, offset for each series.
    const std::size_t every = std::max<std::size_t>(1, curve.moments.size() / 7);
    lines.push_back(fmt::format("${} using 1:2 with lines {} notitle", name, line_style(series)));
    lines.push_back(fmt::format("${} using 1:2 every {}::{} with points {} notitle", name, every, series * 2 % every,
                                line_style(series)));
  }
  const bool above_optimum = !excess || std::isfinite(low);
  if (lines.empty() || !above_optimum || end <= 0.0) return {};  // an axis of no length has no plot
  drawing.layers.insert(drawing.layers.end(), lines.begin(), lines.end());
  drawing.setup = fmt::format("set xlabel {}\nset ylabel {}\nset xrange [0:{}]\n", plot_text(effort_name(effort)),
                              plot_text(fmt::format("{}validation loss, {}", excess ? "excess " : "",
                                                    results.workloads[table.workload].unit())),
                              end);
  drawing.setup += linear_tics('x', 0.0, end);
  if (excess) {
    drawing.setup += excess_axis(low, high);
  } else {
    drawing.setup += fmt::format("set yrange [:{}]\n", upper);
  }
  return {.about = fmt::format("Loss curves on {} by {}", table_name(results, table), effort_name(effort)),
          .script = drawing.script()};
}

// Learning rates

Plot sensitivity_plot(const Results& results, const std::vector<const Sensitivity*>& studies, const Panel& panel) {
  const Workload& workload = results.workloads[studies.front()->workload];
  const double zero = workload.optimum.value_or(0.0);
  std::vector<double> finite, rates;
  for (const Sensitivity* s : studies) {
    for (const LearningRatePoint& point : s->points) {
      rates.push_back(point.lr);
      if (const double loss = mean(point.losses); std::isfinite(loss)) finite.push_back(loss - zero);
    }
  }
  if (finite.empty()) return {};
  const double least = std::ranges::min(finite);
  const bool excess = workload.optimum && least > 0.0;
  // Far above the least loss lie rates that no one would choose: a linear axis ends before them.
  const double span = std::max(1e-3, std::min(std::ranges::max(finite) - least, 4.0 * (median(finite) - least)));
  const double top = excess ? 1.1 * std::ranges::max(finite) : least + 1.1 * span;
  Drawing drawing;
  for (const Sensitivity* s : studies) {
    if (!holds(panel, s->variant)) continue;
    std::vector<std::vector<double>> rows, edge;
    for (const LearningRatePoint& point : s->points) {
      const double loss = mean(point.losses) - zero;
      const bool drawn = std::isfinite(loss);
      if (!drawn) edge.push_back({point.lr, top});
      rows.push_back({point.lr, drawn ? loss : nothing, drawn ? std::ranges::min(point.losses) - zero : nothing,
                      drawn ? std::ranges::max(point.losses) - zero : nothing});
    }
    const std::string name = fmt::format("v{}", s->variant), style = style_of(results, s->variant);
    drawing.add_data(name, rows);
    drawing.layers.push_back(
        fmt::format("${} using 1:3:4 with filledcurves fs transparent solid 0.18 noborder lc {} notitle", name,
                    colour(series_of(results, s->variant))));
    drawing.layers.push_back(fmt::format("${} using 1:2 with linespoints {} notitle", name, style));
    if (edge.empty()) continue;
    drawing.add_data(name + "_edge", edge);
    drawing.layers.push_back(fmt::format("${}_edge using 1:2 with points pt 2 ps 0.9 lw 2.2 lc {} notitle", name,
                                         colour(series_of(results, s->variant))));
  }
  if (drawing.layers.empty()) return {};
  const auto [low, high] = std::ranges::minmax(rates);
  drawing.setup = fmt::format(
                      "set logscale x 2\nset xlabel 'learning rate'\nset ylabel 'final {}validation loss, {}'\n"
                      "set xrange [{}:{}]\n",
                      excess ? "excess " : "", workload.unit(), low / 1.3, high * 1.3) +
                  log_tics('x', low, high);
  drawing.setup += excess ? excess_axis(least, top) : fmt::format("set yrange [{}:{}]\n", least - 0.1 * span, top);
  return {.about = "Final loss by learning rate on " + workload.name, .script = drawing.script()};
}

// Searches

Plot search_plot(const Results& results, const std::vector<const SearchCurve*>& searches, const Panel& panel) {
  std::vector<double> finite;
  std::size_t trials = 0;
  for (const SearchCurve* s : searches) {
    trials = std::max(trials, s->best.size());
    std::ranges::copy_if(s->best, std::back_inserter(finite), [](double loss) { return std::isfinite(loss); });
  }
  if (finite.empty()) return {};
  const auto [least, most] = std::ranges::minmax(finite);
  double zero = results.workloads[searches.front()->workload].optimum.value_or(infinity);
  const bool excess = zero < least;
  if (!excess) zero = 0.0;
  Drawing drawing;
  for (const SearchCurve* s : searches) {
    if (!holds(panel, s->variant)) continue;
    std::vector<std::vector<double>> rows;
    for (std::size_t i = 0; i < s->best.size(); ++i) {
      rows.push_back({static_cast<double>(i + 1), s->best[i] - zero});
    }
    const std::string name = fmt::format("v{}", s->variant);
    drawing.add_data(name, rows);
    drawing.layers.push_back(
        fmt::format("${} using 1:2 with linespoints {} notitle", name, style_of(results, s->variant)));
  }
  if (drawing.layers.empty()) return {};
  drawing.setup =
      fmt::format("set xlabel 'settings tried'\nset ylabel 'least {}validation loss, {}'\nset xrange [1:{}]\n",
                  excess ? "excess " : "", results.workloads[searches.front()->workload].unit(), trials) +
      linear_tics('x', 0.0, static_cast<double>(std::max<std::size_t>(trials, 6)));
  drawing.setup += excess ? excess_axis(least - zero, most - zero) : linear_axis(least, most);
  return {.about = "Least loss by settings tried on " + results.workloads[searches.front()->workload].name,
          .script = drawing.script()};
}

// Budgets

Plot budget_plot(const Results& results, const std::vector<const Scaling*>& scalings, const Panel& panel) {
  const std::vector<double>& budgets = scalings.front()->budgets;
  std::vector<double> losses;
  for (const Scaling* s : scalings) losses.insert(losses.end(), s->means.begin(), s->means.end());
  double zero = results.workloads[scalings.front()->workload].optimum.value_or(infinity);
  const bool excess = zero < std::ranges::min(losses);
  if (!excess) zero = 0.0;
  Drawing drawing;
  for (const Scaling* s : scalings) {
    if (!holds(panel, s->variant)) continue;
    std::vector<std::vector<double>> means, law;
    for (std::size_t i = 0; i < s->budgets.size(); ++i) means.push_back({s->budgets[i], s->means[i] - zero});
    constexpr int samples = 40;
    for (int i = 0; i <= samples; ++i) {
      const double budget = budgets.front() * std::pow(budgets.back() / budgets.front(), i / double{samples});
      const double loss = s->law.loss(budget) - zero;
      law.push_back({budget, excess && loss <= 0.0 ? nothing : loss});
    }
    const std::string name = fmt::format("v{}", s->variant), style = style_of(results, s->variant);
    drawing.add_data(name, means);
    drawing.add_data(name + "_law", law);
    drawing.layers.push_back(fmt::format("${}_law using 1:2 with lines {} notitle", name, style));
    drawing.layers.push_back(fmt::format("${} using 1:2 with points {} notitle", name, style));
  }
  if (drawing.layers.empty()) return {};
  std::vector<std::string> tics;
  for (const double budget : budgets) tics.push_back(fmt::format("'{}×' {}", budget, budget));
  drawing.setup = fmt::format(
      "set logscale x 2\nset xlabel 'budget'\nset ylabel 'mean final {}loss, {}'\n"
      "set xtics ({})\nset xrange [{}:{}]\n",
      excess ? "excess " : "", results.workloads[scalings.front()->workload].unit(), fmt::join(tics, ", "),
      budgets.front() / 1.1, budgets.back() * 1.1);
  const auto [least, most] = std::ranges::minmax(losses);
  drawing.setup += excess ? excess_axis(least - zero, most - zero) : linear_axis(least, most);
  return {.about = "Final loss by budget on " + results.workloads[scalings.front()->workload].name,
          .script = drawing.script()};
}

// Profiles

Plot profile_plot(const Results& results, const Profiles& profiles, const Panel& panel, Effort effort) {
  constexpr double largest = 4.0;
  Drawing drawing;
  for (const std::size_t variant : panel) {
    std::vector<double> ratios = profiles.ratios[static_cast<std::size_t>(effort)][variant];
    std::vector<std::vector<double>> rows = {{1.0, profile(ratios, 1.0)}};
    std::ranges::sort(ratios);
    for (const double ratio : ratios) {
      if (ratio > 1.0 && ratio < largest) rows.push_back({ratio, profile(ratios, ratio)});
    }
    rows.push_back({largest, profile(ratios, largest)});
    const std::string name = fmt::format("v{}", variant);
    drawing.add_data(name, rows);
    drawing.layers.push_back(fmt::format("${} using 1:2 with steps {} notitle", name, style_of(results, variant)));
  }
  drawing.setup =
      fmt::format("set xlabel {}\nset ylabel 'share of workloads'\nset xrange [1:{}]\nset yrange [0:1.04]\n",
                  plot_text(fmt::format("{} to target, relative to the best", effort_name(effort))), largest);
  return {.about = fmt::format("Performance profile by {}", effort_name(effort)), .script = drawing.script()};
}

/// The members of `all` with the same key, in its order.
template <class T, class Key>
std::vector<std::vector<const T*>> grouped(const std::vector<T>& all, Key key) {
  std::map<decltype(key(all.front())), std::vector<const T*>> groups;
  for (const T& item : all) groups[key(item)].push_back(&item);
  std::vector<std::vector<const T*>> result;
  for (auto& [shared, members] : groups) result.push_back(std::move(members));
  return result;
}

}  // namespace

std::vector<Figure> difference_figures(const Results& results, const Analysis& analysis) {
  std::vector<Figure> figures;
  for (const Table& table : analysis.tables) {
    if (Figure figure = difference_figure(results, table); !figure.views.empty()) figures.push_back(std::move(figure));
  }
  return figures;
}

std::vector<Effort> shown_efforts(const Results& results, const Analysis& analysis) {
  std::vector<Effort> shown{Effort::steps};
  if (analysis.timed) shown.push_back(Effort::seconds);
  if (std::ranges::any_of(results.runs, [](const Run& run) { return run.passes_per_step != 1.0; })) {
    shown.push_back(Effort::forward_backwards);
  }
  return shown;
}

std::vector<Figure> curve_figures(const Results& results, const Analysis& analysis) {
  std::vector<Figure> figures;
  for (const Table& table : analysis.tables) {
    std::vector<Curve> curves;
    for (std::size_t variant = 0; variant < results.variants.size(); ++variant) {
      curves.push_back(curve_of(results, table, variant));
    }
    for (const Panel& panel : panels_of(results)) {
      Figure figure{.caption = table_name(results, table), .views = {}, .legend = legend_of(results, panel)};
      for (const Effort effort : shown_efforts(results, analysis)) {
        Plot plot = curve_plot(results, table, curves, panel, effort);
        if (!plot.script.empty()) figure.views.push_back({std::string(effort_name(effort)), std::move(plot)});
      }
      if (!figure.views.empty()) figures.push_back(std::move(figure));
    }
  }
  return figures;
}

std::vector<Figure> sensitivity_figures(const Results& results, const Analysis& analysis) {
  std::vector<Figure> figures;
  for (const auto& studies :
       grouped(analysis.sensitivities, [](const Sensitivity& s) { return std::pair(s.workload, s.budget); })) {
    add_panels(
        results, tuning_name(results, studies.front()->workload, studies.front()->budget),
        [&](const Panel& panel) { return sensitivity_plot(results, studies, panel); }, figures);
  }
  return figures;
}

std::vector<Figure> search_figures(const Results& results, const Analysis& analysis) {
  std::vector<Figure> figures;
  for (const auto& searches :
       grouped(analysis.searches, [](const SearchCurve& s) { return std::pair(s.workload, s.budget); })) {
    add_panels(
        results, tuning_name(results, searches.front()->workload, searches.front()->budget),
        [&](const Panel& panel) { return search_plot(results, searches, panel); }, figures);
  }
  return figures;
}

std::vector<Figure> budget_figures(const Results& results, const Analysis& analysis) {
  std::vector<Figure> figures;
  for (const auto& scalings : grouped(analysis.scalings, [](const Scaling& s) { return s.workload; })) {
    add_panels(
        results, results.workloads[scalings.front()->workload].name,
        [&](const Panel& panel) { return budget_plot(results, scalings, panel); }, figures);
  }
  return figures;
}

std::vector<Figure> profile_figures(const Results& results, const Analysis& analysis) {
  std::vector<Figure> figures;
  if (!analysis.profiles) return figures;
  for (const Panel& panel : panels_of(results)) {
    Figure& figure = figures.emplace_back(Figure{.caption = {}, .views = {}, .legend = legend_of(results, panel)});
    for (const Effort effort : shown_efforts(results, analysis)) {
      figure.views.push_back(
          {std::string(effort_name(effort)), profile_plot(results, *analysis.profiles, panel, effort)});
    }
  }
  return figures;
}

}  // namespace monge::compare
