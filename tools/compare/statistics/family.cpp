#include "tools/compare/statistics/family.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <tuple>

#include "core/error.h"
#include "core/random.h"
#include "tools/compare/statistics/distributions.h"

namespace monge::compare {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
/// Fewer units cannot replace an infinite value in a test of means: three that are all infinite look alike.
constexpr std::size_t least_units_for_guessing = 5;
constexpr std::size_t variants_with_floor = 4;

/// P(W <= w) of the signed-rank statistic of n differences, w = 0 .. n (n + 1) / 2, under symmetry.
std::vector<double> signed_rank_law(std::size_t n) {
  std::vector<double> law{1.0};
  for (std::size_t rank = 1; rank <= n; ++rank) {
    std::vector<double> next(law.size() + rank, 0.0);
    for (std::size_t w = 0; w < law.size(); ++w) {
      next[w] += 0.5 * law[w];
      next[w + rank] += 0.5 * law[w];
    }
    law = std::move(next);
  }
  std::partial_sum(law.begin(), law.end(), law.begin());
  return law;
}

/// (d_i + d_j) / 2 for i <= j, rising.
std::vector<double> walsh_averages(std::span<const double> d) {
  std::vector<double> averages;
  for (std::size_t i = 0; i < d.size(); ++i) {
    for (std::size_t j = i; j < d.size(); ++j) averages.push_back(0.5 * (d[i] + d[j]));
  }
  std::ranges::sort(averages);
  return averages;
}

/// The exact two-sided p of the rank sum of two samples of one size; equal values share their ranks. Beyond 24 values
/// each, by the normal law.
double rank_sum_p(std::span<const double> a, std::span<const double> b) {
  const std::size_t n = a.size();
  std::vector<double> all(a.begin(), a.end());
  all.insert(all.end(), b.begin(), b.end());
  std::vector<std::size_t> ranks;  // twice the mean rank of equal values
  for (const double x : all) {
    const auto below = std::ranges::count_if(all, [x](double y) { return y < x; });
    ranks.push_back(static_cast<std::size_t>(2 * below + std::ranges::count(all, x) + 1));
  }
  const std::size_t total = std::accumulate(ranks.begin(), ranks.end(), std::size_t{0});
  const std::size_t first =
      std::accumulate(ranks.begin(), ranks.begin() + static_cast<std::ptrdiff_t>(n), std::size_t{0});
  const auto distance = [total](std::size_t sum) {
    return std::abs(2.0 * static_cast<double>(sum) - static_cast<double>(total));
  };
  constexpr std::size_t most_exact = 24;
  if (n > most_exact) {
    double squares = 0.0;
    const double middle = static_cast<double>(total) / static_cast<double>(ranks.size());
    for (const std::size_t rank : ranks) squares += std::pow(static_cast<double>(rank) - middle, 2.0);
    if (squares == 0.0) return 1.0;
    // Of n ranks drawn from 2 n without replacement.
    const double deviation = std::sqrt(squares * static_cast<double>(n) / (2.0 * (2.0 * static_cast<double>(n) - 1.0)));
    return std::erfc(0.5 * distance(first) / deviation / std::sqrt(2.0));
  }
  std::vector<std::vector<double>> ways(n + 1, std::vector<double>(total + 1, 0.0));  // of choosing k ranks of a sum
  ways[0][0] = 1.0;
  for (const std::size_t rank : ranks) {
    for (std::size_t k = n; k-- > 0;) {
      for (std::size_t sum = total + 1; sum-- > rank;) ways[k + 1][sum] += ways[k][sum - rank];
    }
  }
  double as_far = 0.0, any = 0.0;
  for (std::size_t sum = 0; sum <= total; ++sum) {
    any += ways[n][sum];
    if (distance(sum) >= distance(first)) as_far += ways[n][sum];
  }
  return as_far / any;
}

/// One test of differences: its p, before correction, and the interval at 1 - level.
struct Finding {
  double p = 1.0;
  Interval interval;
};

class Tester {
 public:
  explicit Tester(const Contenders& contenders) : contenders_(contenders) {
    for (const std::vector<double>& row : contenders.values) {
      const bool guessed =
          std::ranges::all_of(row, [&](double x) { return !std::isfinite(x) || x <= contenders.guess; });
      require(!has_infinity(row) || guessed, "test_family: {} is to stand for the worst, and is not", contenders.guess);
    }
    for (std::size_t one = 0; one < contenders.values.size(); ++one) {
      for (std::size_t other = one + 1; other < contenders.values.size(); ++other) add(one, other);
    }
    const bool floored = contenders.values.size() >= variants_with_floor;
    std::vector<double> spreads;
    for (const PairTest& pair : pairs_) spreads.push_back(pair.spread);
    const double floor = floored && !spreads.empty() ? median(spreads) : 0.0;
    for (PairTest& pair : pairs_) {
      pair.spread = std::max(pair.spread, floor);
      pair.dof = (floored ? 1.5 : 1.0) * static_cast<double>(pair.units - 1);
    }
  }

  std::vector<PairTest>& pairs() { return pairs_; }

  /// At `level`, of one pair.
  void test(PairTest& pair, double level) {
    const auto [one, other] = common(pair.one, pair.other);
    const bool one_infinite = has_infinity(one), other_infinite = has_infinity(other);
    const std::vector<double> d = differences(pair.one, pair.other);
    const double middle = mean(d);
    int side = middle > 0.0 ? 1 : middle < 0.0 ? -1 : 0;
    pair.difference = middle;
    if (!one_infinite && !other_infinite) {
      const Finding found = test_differences(d, pair, level);
      pair.p = found.p;
      pair.interval = found.interval;
      if (pair.spread == 0.0 && pair.p > level) {  // all differences equal, and too few of them
        pair.interval = {std::min(pair.interval.low, 0.0), std::max(pair.interval.high, 0.0)};
      }
    } else {
      const double by_ranks = rank_sum_p(one, other);
      Finding found = test_differences(d, pair, 0.5 * level);
      if (d.size() < least_units_for_guessing) found.p = 1.0;
      pair.p = d.size() < least_units_for_guessing ? by_ranks : std::min(1.0, 2.0 * std::min(by_ranks, found.p));
      if (by_ranks <= found.p) side = sign_of_ranks(one, other);
      pair.difference = one_infinite == other_infinite ? std::numeric_limits<double>::quiet_NaN()
                        : one_infinite                 ? infinity
                                                       : -infinity;
      pair.interval = found.interval;
      if (one_infinite) pair.interval.high = infinity;
      if (other_infinite) pair.interval.low = -infinity;
      if (pair.p > level) {
        pair.interval = {std::min(pair.interval.low, 0.0), std::max(pair.interval.high, 0.0)};
      } else if (side > 0) {
        pair.interval.low = std::max(pair.interval.low, 0.0);
      } else {
        pair.interval.high = std::min(pair.interval.high, 0.0);
      }
    }
    pair.side = pair.p <= level ? side : 0;
  }

 private:
  static bool has_infinity(std::span<const double> x) {
    return std::ranges::any_of(x, [](double value) { return std::isinf(value); });
  }

  /// Of all pairs of a value of one and a value of the other.
  static int sign_of_ranks(std::span<const double> one, std::span<const double> other) {
    std::ptrdiff_t above = 0;
    for (const double x : one) {
      above += std::ranges::count_if(other, [x](double y) { return x > y; });
      above -= std::ranges::count_if(other, [x](double y) { return x < y; });
    }
    return above > 0 ? 1 : above < 0 ? -1 : 0;
  }

  std::pair<std::vector<double>, std::vector<double>> common(std::size_t one, std::size_t other) const {
    const std::vector<double>&a = contenders_.values[one], &b = contenders_.values[other];
    require(a.size() == b.size(), "test_family: {} units and {}", a.size(), b.size());
    std::pair<std::vector<double>, std::vector<double>> out;
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (std::isnan(a[i]) || std::isnan(b[i])) continue;
      out.first.push_back(a[i]);
      out.second.push_back(b[i]);
    }
    return out;
  }

  std::vector<double> differences(std::size_t one, std::size_t other) const {
    auto [a, b] = common(one, other);
    const auto finite = [this](double x) { return std::isinf(x) ? contenders_.guess : x; };
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = finite(a[i]) - finite(b[i]);
    return a;
  }

  void add(std::size_t one, std::size_t other) {
    const std::vector<double> d = differences(one, other);
    if (d.size() < 2) return;
    // Equal differences differ by rounding.
    const auto size = [](double most, double x) { return std::max(most, std::isinf(x) ? 0.0 : std::abs(x)); };
    const auto [a, b] = common(one, other);
    const double largest =
        std::max(std::accumulate(a.begin(), a.end(), 0.0, size), std::accumulate(b.begin(), b.end(), 0.0, size));
    constexpr double rounding = 1e-12;
    const double spread = standard_deviation(d);
    pairs_.push_back(
        {.one = one, .other = other, .units = d.size(), .spread = spread > rounding * largest ? spread : 0.0});
  }

  Finding test_differences(std::span<const double> d, const PairTest& pair, double level) {
    const auto n = static_cast<double>(d.size());
    const double middle = mean(d), error = pair.spread / std::sqrt(n);
    const bool one_sign = std::ranges::all_of(d, [](double x) { return x > 0.0; }) ||
                          std::ranges::all_of(d, [](double x) { return x < 0.0; });
    Finding found;
    if (error > 0.0) {
      found.p = student_two_sided(middle / error, pair.dof);
    } else {
      found.p = middle == 0.0 ? 1.0 : std::exp2(1.0 - n);  // all of them equal
    }
    const std::vector<double>& law = signed_rank_law_of(d.size());
    const std::vector<double> averages = walsh_averages(d);
    if (!one_sign) {
      const auto below = std::ranges::count_if(averages, [](double x) { return x <= 0.0; });
      const auto above = std::ranges::count_if(averages, [](double x) { return x >= 0.0; });
      found.p = std::max(found.p, std::min(1.0, 2.0 * law[static_cast<std::size_t>(std::min(below, above))]));
    }
    const auto within = static_cast<std::size_t>(
        std::max<std::ptrdiff_t>(1, std::ranges::count_if(law, [level](double p) { return 2.0 * p <= level; })));
    const double half = error > 0.0 ? student_quantile(1.0 - 0.5 * level, pair.dof) * error : 0.0;
    found.interval = {std::min(middle - half, averages[within - 1]),
                      std::max(middle + half, averages[averages.size() - within])};
    return found;
  }

  const std::vector<double>& signed_rank_law_of(std::size_t n) {
    const auto [known, is_new] = laws_.try_emplace(n);
    if (is_new) known->second = signed_rank_law(n);
    return known->second;
  }

  const Contenders& contenders_;
  std::vector<PairTest> pairs_;
  std::map<std::size_t, std::vector<double>> laws_;
};

}  // namespace

Family test_family(std::span<const Contenders> workloads, double level) {
  require(level > 0.0 && level < 1.0, "test_family: level {}, allowed: between 0 and 1", level);
  Family family{.level = level};
  std::vector<Tester> testers;
  testers.reserve(workloads.size());
  for (const Contenders& contenders : workloads) {
    testers.emplace_back(contenders);
    family.tests += testers.back().pairs().size();
  }
  for (Tester& tester : testers) {
    for (PairTest& pair : tester.pairs()) {
      tester.test(pair, level / static_cast<double>(family.tests));
      pair.p = std::min(1.0, pair.p * static_cast<double>(family.tests));
    }
    family.pairs.push_back(std::move(tester.pairs()));
  }
  return family;
}

namespace {

/// The 80 % quantile of the least difference that is found, in units of the spread.
double found_in_four_of_five(std::size_t units, double dof, double level) {
  constexpr std::size_t draws = 4000;
  const auto n = static_cast<double>(units);
  const std::vector<double> law = signed_rank_law(units);
  const auto within = static_cast<std::size_t>(
      std::max<std::ptrdiff_t>(1, std::ranges::count_if(law, [level](double p) { return 2.0 * p <= level; })));
  const double critical = student_quantile(1.0 - 0.5 * level, dof) / std::sqrt(n);
  RandomSequence random(1, 0);
  std::vector<double> needed;
  for (std::size_t draw = 0; draw < draws; ++draw) {
    std::vector<double> z(units);
    for (double& x : z) x = random.normal();
    double squares = 0.0;  // chi squared, independent of z: the spread is known from another sample
    for (std::size_t i = 1; i < units; ++i) squares += std::pow(random.normal(), 2.0);
    const double uncertainty = std::sqrt(squares / (n - 1.0));
    const double by_t = critical * standard_deviation(z) - mean(z), by_ranks = -walsh_averages(z)[within - 1];
    needed.push_back(std::max(by_t, by_ranks) / uncertainty);
  }
  return quantile(needed, 0.8);
}

}  // namespace

double detectable(const PairTest& test, const Family& family) {
  constexpr std::size_t most_exact = 24;
  const double level = family.level / static_cast<double>(std::max<std::size_t>(1, family.tests));
  if (test.units > most_exact) {
    return noncentrality_of(0.8, test.dof, level) * test.spread / std::sqrt(static_cast<double>(test.units));
  }
  // A function of three numbers, which all pairs of a report share.
  thread_local std::map<std::tuple<std::size_t, double, double>, double> known;
  const auto [multiple, is_new] = known.try_emplace({test.units, test.dof, level});
  if (is_new) multiple->second = found_in_four_of_five(test.units, test.dof, level);
  return multiple->second * test.spread;
}

}  // namespace monge::compare
