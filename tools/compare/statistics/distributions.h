// Student's t, central and noncentral, by Boost.Math. Arguments out of range throw std::invalid_argument.
#pragma once

namespace monge::compare {

/// P(|T| >= |t|) with `dof` > 0 degrees of freedom, not necessarily whole: the p value of a two-sided test.
double student_two_sided(double t, double dof);
/// The t with P(T <= t) = p; p in (0, 1).
double student_quantile(double p, double dof);

/// The probability that a two-sided t test at `level` rejects, where its statistic is noncentral t.
double t_test_power(double noncentrality, double dof, double level);
/// The least noncentrality > 0 at which the test has this power; level < power < 1.
double noncentrality_of(double power, double dof, double level);

}  // namespace monge::compare
