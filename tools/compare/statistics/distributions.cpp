#include "tools/compare/statistics/distributions.h"

#include <boost/math/distributions/non_central_t.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/tools/roots.hpp>
#include <cmath>
#include <cstdint>

#include "core/error.h"

namespace monge::compare {

using boost::math::complement;
using boost::math::non_central_t;
using boost::math::students_t;

double student_two_sided(double t, double dof) {
  require(dof > 0.0 && !std::isnan(t), "student_two_sided: t = {} with {} degrees of freedom", t, dof);
  if (std::isinf(t)) return 0.0;
  return 2.0 * cdf(complement(students_t(dof), std::abs(t)));
}

double student_quantile(double p, double dof) {
  require(p > 0.0 && p < 1.0 && dof > 0.0, "student_quantile: p = {} with {} degrees of freedom", p, dof);
  return quantile(students_t(dof), p);
}

double t_test_power(double noncentrality, double dof, double level) {
  require(dof > 0.0 && level > 0.0 && level < 1.0, "t_test_power: {} degrees of freedom at level {}", dof, level);
  const double critical = quantile(complement(students_t(dof), 0.5 * level));
  const non_central_t statistic(dof, noncentrality);
  return cdf(complement(statistic, critical)) + cdf(statistic, -critical);
}

double noncentrality_of(double power, double dof, double level) {
  require(power > level && power < 1.0, "power {}, allowed: between the level {} and 1", power, level);
  const auto excess = [&](double noncentrality) { return t_test_power(noncentrality, dof, level) - power; };
  double high = 1.0;
  while (excess(high) < 0.0) high *= 2.0;
  constexpr int bits = 40;
  std::uintmax_t steps = 100;
  return boost::math::tools::toms748_solve(excess, 0.0, high, boost::math::tools::eps_tolerance<double>(bits), steps)
      .second;
}

}  // namespace monge::compare
