#include "tools/compare/statistics/distributions.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace monge::compare {
namespace {

/// The continued fraction that multiplies x^a (1 - x)^b / (a B(a, b)); converges fast for x < (a + 1) / (a + b + 2).
/// Lentz's method as modified by Thompson & Barnett, J. Comput. Phys. 1986.
double beta_fraction(double a, double b, double x) {
  constexpr double tiny = std::numeric_limits<double>::min();
  constexpr int max_terms = 100000;
  const auto away_from_zero = [](double v) { return std::abs(v) < tiny ? tiny : v; };
  double c = 1.0;
  double d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
  double value = d;
  for (int m = 1; m <= max_terms; ++m) {
    double change = 1.0;
    const double even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
    for (const double term : {even, odd}) {
      d = 1.0 / away_from_zero(1.0 + term * d);
      c = away_from_zero(1.0 + term / c);
      change = c * d;
      value *= change;
    }
    if (std::abs(change - 1.0) < 4.0 * std::numeric_limits<double>::epsilon()) return value;
  }
  throw std::invalid_argument(fmt::format("incomplete_beta({}, {}, {}) does not converge", a, b, x));
}

double by_fraction(double a, double b, double x) {
  const double log_front =
      a * std::log(x) + b * std::log1p(-x) + std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) - std::log(a);
  return std::exp(log_front) * beta_fraction(a, b, x);
}

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

}  // namespace

double incomplete_beta(double a, double b, double x) {
  require(a > 0.0 && b > 0.0 && x >= 0.0 && x <= 1.0, "incomplete_beta({}, {}, {}): a, b > 0 and 0 <= x <= 1", a, b, x);
  if (x == 0.0 || x == 1.0) return x;
  return x <= (a + 1.0) / (a + b + 2.0) ? by_fraction(a, b, x) : 1.0 - by_fraction(b, a, 1.0 - x);
}

double student_two_sided(double t, double dof) {
  require(dof > 0.0 && !std::isnan(t), "student_two_sided: t = {} with {} degrees of freedom", t, dof);
  if (std::isinf(t)) return 0.0;
  // Of the two equal forms, the one whose argument is not close to one.
  const double square = t * t;
  if (square < dof) return 1.0 - incomplete_beta(0.5, 0.5 * dof, square / (dof + square));
  return incomplete_beta(0.5 * dof, 0.5, dof / (dof + square));
}

double student_cdf(double t, double dof) {
  const double tail = 0.5 * student_two_sided(t, dof);
  return t > 0.0 ? 1.0 - tail : tail;
}

double student_quantile(double p, double dof) {
  require(p > 0.0 && p < 1.0, "student_quantile: p = {}, allowed: between 0 and 1", p);
  if (p == 0.5) return 0.0;
  const double both_tails = 2.0 * std::min(p, 1.0 - p);
  double low = 0.0, high = 1.0;
  while (student_two_sided(high, dof) > both_tails) high *= 2.0;
  for (;;) {
    const double middle = 0.5 * (low + high);
    if (middle <= low || middle >= high) break;  // neighbours
    (student_two_sided(middle, dof) > both_tails ? low : high) = middle;
  }
  return p > 0.5 ? high : -high;
}

double t_test_power(double shift, double dof, double level) {
  require(dof >= 1.0 && level > 0.0 && level < 1.0, "t_test_power: {} degrees of freedom at level {}", dof, level);
  const double critical = student_quantile(1.0 - 0.5 * level, dof);
  // Given s = sqrt(W / dof) the test rejects where |Z + shift| > critical s; s has the density
  // 2 (dof/2)^(dof/2) / Gamma(dof/2) s^(dof-1) exp(-dof s^2 / 2). Simpson's rule, up to where nothing is left.
  const double half = 0.5 * dof;
  const double log_scale = std::log(2.0) + half * std::log(half) - std::lgamma(half);
  const auto integrand = [&](double s) {
    const double power_of_s = dof == 1.0 ? 0.0 : (dof - 1.0) * std::log(s);
    return std::exp(log_scale + power_of_s - half * s * s) *
           (normal_cdf(shift - critical * s) + normal_cdf(-shift - critical * s));
  };
  constexpr int steps = 8000;  // even
  const double width = (1.0 + 10.0 / std::sqrt(dof)) / steps;
  double sum = integrand(0.0) + integrand(steps * width);
  for (int i = 1; i < steps; ++i) sum += (i % 2 == 1 ? 4.0 : 2.0) * integrand(i * width);
  return sum * width / 3.0;
}

}  // namespace monge::compare
