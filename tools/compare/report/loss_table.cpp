#include "tools/compare/report/loss_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "tools/compare/report/page/wording.h"

namespace monge::compare {
namespace {

bool has_accuracy(const Table& table) {
  return std::ranges::any_of(table.rows, [](const Row& row) { return row.accuracy.has_value(); });
}

std::string seeds_of(const Row& row) {
  std::string text = fmt::format("{}", row.losses.size());
  if (row.diverged > 0) text += fmt::format(", {} diverged", row.diverged);
  if (row.failed > 0) text += fmt::format(", {} failed", row.failed);
  return text;
}

std::string detectable_text(const Contrast& c, int digits) {
  return c.on_excess ? factor(c.detectable) : fixed(c.detectable, digits);
}

/// What is tested, with its interval: a ratio of excess losses, or a difference.
std::string tested_text(const Row& row, int digits) {
  if (row.excess_ratio) {
    const int shown = ratio_decimals(row.excess_ratio->interval);
    return fmt::format("{} {}", factor(row.excess_ratio->ratio, shown),
                       factor_interval(row.excess_ratio->interval, shown));
  }
  if (!row.contrast || std::isnan(row.contrast->difference)) return "–";
  return fmt::format("{} {}", difference(row.contrast->difference, digits),
                     difference_interval(row.contrast->interval, digits));
}

std::vector<Cell> loss_cells(const Results& results, const Table& table, const Row& row, int digits) {
  const auto text_if = [](bool present, auto make) { return present ? make() : std::string("–"); };
  const std::optional<Contrast>& c = row.contrast;
  std::vector<Cell> cells = {results.variants[row.variant].name, result_cell(results, row)};
  if (has_accuracy(table)) {
    cells.push_back(text_if(row.accuracy.has_value(), [&] { return accuracy_text(*row.accuracy); }));
  }
  cells.push_back(row.diverged > 0 ? "diverged" : text_if(!row.losses.empty(), [&] {
    return row.deviation ? with_error(row.mean, *row.deviation, digits) : fixed(row.mean, digits);
  }));
  cells.push_back(tested_text(row, digits));
  cells.push_back(text_if(c.has_value(), [&] { return p_value(c->p) + (c->paired ? "" : " (not paired)"); }));
  cells.push_back(text_if(!row.group.empty(), [&] { return row.group; }));
  cells.push_back(seeds_of(row));
  return cells;
}

/// The rest of a row's numbers.
std::string loss_details(const Results& results, const Table& table, const Row& row, int digits) {
  const std::optional<double> optimum = results.workloads[table.workload].optimum;
  const std::optional<Contrast>& c = row.contrast;
  std::vector<std::string> parts;
  if (row.interval) parts.push_back(fmt::format("mean within {}", interval(*row.interval, digits)));
  if (optimum && std::isfinite(row.mean)) parts.push_back("excess " + fixed(row.mean - *optimum, digits));
  if (c && row.excess_ratio && !std::isnan(c->difference)) {
    parts.push_back(
        fmt::format("difference {} {}", difference(c->difference, digits), difference_interval(c->interval, digits)));
  }
  if (c && std::isfinite(c->detectable)) parts.push_back("detectable " + detectable_text(*c, digits));
  return fmt::format("{}", fmt::join(parts, "; "));
}

}  // namespace

int decimals_of(const Table& table) {
  double least = 0.0;
  for (const Row& row : table.rows) {
    if (row.deviation && *row.deviation > 0.0 && (least == 0.0 || *row.deviation < least)) least = *row.deviation;
  }
  return std::max(decimals_for(least), 3);
}

Cell result_cell(const Results& results, const Row& row) {
  if (row.variant == results.baseline) return {"baseline", Tone::quiet};
  if (row.losses.empty()) return {"no runs", Tone::bad};
  if (!row.contrast) return row.diverged > 0 ? Cell("diverged", Tone::bad) : Cell("not tested", Tone::quiet);
  const Contrast::Verdict verdict = row.contrast->verdict;
  if (row.diverged > 0 && !row.contrast->differs()) return {"diverged", Tone::bad};
  return {std::string(verdict_name(verdict)), verdict == Contrast::Verdict::lower    ? Tone::good
                                              : verdict == Contrast::Verdict::higher ? Tone::bad
                                                                                     : Tone::quiet};
}

Grid loss_table(const Results& results, const Table& table) {
  Grid grid{.columns = {{variant_noun(results), false}, {"result", false}}};
  if (has_accuracy(table)) grid.columns.push_back({"accuracy"});
  for (const Column& column : {Column{"final loss"}, Column{"relative to " + results.variants[results.baseline].name},
                               Column{"p"}, Column{"group", false}, Column{"seeds", false}}) {
    grid.columns.push_back(column);
  }
  const int digits = decimals_of(table);
  for (const Row& row : table.rows) {
    grid.rows.push_back(loss_cells(results, table, row, digits));
    grid.details.push_back(loss_details(results, table, row, digits));
  }
  return grid;
}

}  // namespace monge::compare
