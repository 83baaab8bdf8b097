// The laws that the tests and intervals of a comparison are read from. Arguments out of range throw
// std::invalid_argument.
#pragma once

namespace monge::compare {

/// I_x(a, b) = B(x; a, b) / B(a, b), the regularised incomplete beta function; a, b > 0, x in [0, 1]. By the continued
/// fraction of DLMF 8.17.22; relative error about 1e-13 for a, b up to 1e3, growing with them.
double incomplete_beta(double a, double b, double x);

/// Student's t with `dof` > 0 degrees of freedom, not necessarily whole: P(T <= t).
double student_cdf(double t, double dof);
/// P(|T| >= |t|) = I_x(dof / 2, 1 / 2) at x = dof / (dof + t^2): the p value of a two-sided test, exact far into the
/// tails.
double student_two_sided(double t, double dof);
/// The t with P(T <= t) = p; p in (0, 1).
double student_quantile(double p, double dof);

/// The probability that a two-sided t test at `level` rejects, where its statistic is (Z + shift) / sqrt(W / dof) with
/// Z standard normal and W chi-square: the noncentral t law, integrated over sqrt(W / dof). dof >= 1.
double t_test_power(double shift, double dof, double level);

}  // namespace monge::compare
