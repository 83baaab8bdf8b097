#include "tools/compare/statistics/significance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <numeric>
#include <string_view>

#include "core/error.h"
#include "tools/compare/statistics/distributions.h"

namespace monge::compare {
namespace {

void expect_sample(const char* what, std::span<const double> values) {
  require(values.size() >= 2, "{}: {} values; two are needed", what, values.size());
  require(std::ranges::all_of(values, [](double x) { return std::isfinite(x); }), "{}: values must be finite", what);
}

TTest t_test(double difference, double standard_error, double dof, double level) {
  require(level > 0.0 && level < 1.0, "t test: level {}, allowed: between 0 and 1", level);
  TTest result{.difference = difference, .standard_error = standard_error, .dof = dof};
  if (standard_error == 0.0) {
    result.p = difference == 0.0 ? 1.0 : 0.0;
    result.interval = {difference, difference};
  } else {
    const double half = student_quantile(0.5 * (1.0 + level), dof) * standard_error;
    result.p = student_two_sided(difference / standard_error, dof);
    result.interval = {difference - half, difference + half};
  }
  return result;
}

}  // namespace

TTest paired_t_test(std::span<const double> a, std::span<const double> b, double level) {
  expect_sample("paired t test", a);
  expect_sample("paired t test", b);
  require(a.size() == b.size(), "paired t test: {} and {} values", a.size(), b.size());
  std::vector<double> differences(a.size());
  std::ranges::transform(a, b, differences.begin(), std::minus{});
  const auto n = static_cast<double>(a.size());
  return t_test(mean(differences), standard_deviation(differences) / std::sqrt(n), n - 1.0, level);
}

std::vector<double> holm(std::span<const double> p_values) {
  for (const double p : p_values) require(p >= 0.0 && p <= 1.0, "holm: p = {}, allowed: 0 .. 1", p);
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return p_values[i]; });
  std::vector<double> adjusted(p_values.size());
  double largest = 0.0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    largest = std::max(largest, std::min(1.0, static_cast<double>(order.size() - i) * p_values[order[i]]));
    adjusted[order[i]] = largest;
  }
  return adjusted;
}

std::vector<std::vector<std::size_t>> homogeneous_subsets(
    std::size_t items, std::span<const std::pair<std::size_t, std::size_t>> different) {
  // Insert and absorb: a set that holds a different pair is replaced by itself without the one and without the other;
  // sets inside another are dropped.
  using Set = std::vector<std::size_t>;
  std::vector<Set> sets(1, Set(items));
  std::iota(sets[0].begin(), sets[0].end(), std::size_t{0});
  for (const auto& [one, other] : different) {
    require(one < items && other < items && one != other, "groups: pair ({}, {}) of {} items", one, other, items);
    std::vector<Set> split;
    for (const Set& set : sets) {
      split.push_back(set);
      if (!std::ranges::binary_search(set, one) || !std::ranges::binary_search(set, other)) continue;
      split.push_back(set);
      std::erase(split.back(), one);
      std::erase(split[split.size() - 2], other);
    }
    std::ranges::sort(split);
    split.erase(std::unique(split.begin(), split.end()), split.end());
    sets.clear();
    std::ranges::copy_if(split, std::back_inserter(sets), [&](const Set& set) {
      return std::ranges::none_of(split,
                                  [&](const Set& s) { return s.size() > set.size() && std::ranges::includes(s, set); });
    });
  }
  std::ranges::sort(sets);
  return sets;
}

std::vector<std::string> group_letters(std::size_t items,
                                       std::span<const std::pair<std::size_t, std::size_t>> different) {
  const auto groups = homogeneous_subsets(items, different);
  const auto name = [](std::size_t group) -> std::string {
    constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return group < letters.size() ? std::string(1, letters[group]) : fmt::format("({})", group + 1);
  };
  std::vector<std::string> letters(items);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (const std::size_t item : groups[g]) letters[item] += name(g);
  }
  return letters;
}

}  // namespace monge::compare
