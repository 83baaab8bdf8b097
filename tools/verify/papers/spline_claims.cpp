#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>

#include "tools/verify/papers/interpolant.h"
#include "tools/verify/papers/spline.h"

namespace monge::tools {
namespace {

const Source lai{"Lai 2024", "Lai, Lim & Liu, Attention is a smoothed cubic spline, arXiv:2408.09624"};

struct Interval {
  double begin, end;
  double length() const { return end - begin; }
};

double largest(const Matrix& m) { return m.cwiseAbs().maxCoeff(); }

/// Between the knots, and the ends of the line.
std::vector<Interval> pieces(const HeadOnLine& head) {
  std::vector<Interval> out;
  double begin = -1.0;
  for (const Knot& knot : head.knots()) {
    out.push_back({begin, knot.t});
    begin = knot.t;
  }
  out.push_back({begin, 1.0});
  return out;
}

/// By how much a polynomial of this degree through some points misses f at others, relative to f.
template <class F>
double miss(F f, Interval on, int degree) {
  constexpr int tests = 7;
  const Interpolant polynomial(f, on.begin, on.end, degree);
  double error = 0.0, size = 0.0;
  for (int i = 0; i < tests; ++i) {
    const double t = on.begin + on.length() * (i + 0.5) / tests;
    const Matrix value = f(t);
    error = std::max(error, largest(polynomial(t) - value));
    size = std::max(size, largest(value));
  }
  return error / size;
}

/// The difference of order m of m + 1 equidistant values: zero for a polynomial of degree m - 1.
template <class F>
double difference(F f, Interval on, int order) {
  Matrix sum = f(on.begin);
  double binomial = 1.0;
  for (int k = 1; k <= order; ++k) {
    binomial *= -static_cast<double>(order - k + 1) / k;
    sum += binomial * f(on.begin + on.length() * k / order);
  }
  return largest(sum);
}

/// NaN of nothing.
double quantile(std::vector<double> values, double share) {
  if (values.empty()) return NAN;
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

Claim pieces_claim(const SplineForm& form, const RowMap& relu) {
  double error = 0.0;
  for (const HeadOnLine& head : form.heads) {
    const auto f = [&](double t) { return head.output(relu, t); };
    for (const Interval& piece : pieces(head)) error = std::max(error, miss(f, piece, form.degree));
  }
  const char* degree = form.degree == 3 ? "cubic" : "linear";
  return {fmt::format("{}: {} between knots", form.name, degree), lai, error, 1e-11};
}

// Every smooth function passes for a cubic on a short interval, so softmax runs along on the same, long ones.
void add_difference_claims(const std::vector<SplineForm>& forms, const RowMap& relu, std::vector<Claim>& out) {
  constexpr double shortest = 0.05;
  double of_relu = 0.0, of_softmax = INFINITY;
  for (const SplineForm& form : forms) {
    double control = 0.0;
    for (const HeadOnLine& head : form.heads) {
      for (const Interval& piece : pieces(head)) {
        if (piece.length() < shortest) continue;
        const auto of = [&](const RowMap& map) {
          return difference([&](double t) { return head.output(map, t); }, piece, form.degree + 1);
        };
        of_relu = std::max(of_relu, of(relu));
        control = std::max(control, of(RowMap()));
      }
    }
    of_softmax = std::min(of_softmax, control);
  }
  out.push_back({"differences of order degree + 1", lai, of_relu, 1e-12});
  out.push_back({"the same of softmax, largest", lai, of_softmax, 1e-5, true});
}

Claim count_claim(const std::vector<SplineForm>& forms, std::vector<std::string>& notes) {
  double share = 0.0, count = 0.0, heads = 0.0;
  for (const SplineForm& form : forms) {
    for (const HeadOnLine& head : form.heads) {
      const auto knots = static_cast<double>(head.knots().size());
      double scores = 0.0;
      for (Eigen::Index i = 0; i < head.q0.rows(); ++i) scores += static_cast<double>(head.keys(i));
      share = std::max(share, knots / (2.0 * scores));
      count += knots;
      heads += 1.0;
    }
  }
  notes.push_back(fmt::format("{:.1f} knots in a line of length 2, mean over {:.0f} lines.", count / heads, heads));
  return {"knots / (2 scores), largest", lai, share, 1.0};
}

// Where z_ij changes sign, one side has the term z_ij v_j / n_i and the other has not.
Claim jump_claim(const std::vector<SplineForm>& forms, const RowMap& relu) {
  constexpr double shortest = 0.01;  // the slope of a shorter piece has too few digits
  double error = 0.0;
  for (const SplineForm& form : forms) {
    for (const HeadOnLine& head : form.heads) {
      const auto f = [&](double t) { return head.output(relu, t); };
      const auto on = pieces(head);
      const auto knots = head.knots();
      for (std::size_t k = 0; k < knots.size(); ++k) {
        if (on[k].length() < shortest || on[k + 1].length() < shortest) continue;
        const auto slope = [&](const Interval& piece) {
          return Interpolant(f, piece.begin, piece.end, form.degree).slope(knots[k].t, piece.length() / 4.0);
        };
        Matrix expected = Matrix::Zero(head.q0.rows(), head.v0.cols());
        const double share = std::abs(knots[k].slope) / static_cast<double>(head.keys(knots[k].row));
        expected.row(knots[k].row) = share * (head.v0 + knots[k].t * head.v1).row(knots[k].key);
        error = std::max(error, largest(slope(on[k + 1]) - slope(on[k]) - expected));
      }
    }
  }
  return {"slope jumps by |z'| v / n at a knot", {}, error, 1e-9};
}

/// Intervals on which no score of any block changes its sign.
std::vector<Interval> same_signs(const StackOnLine& stack, const RowMap& map) {
  constexpr int points = 2000;
  std::vector<Interval> out;
  const auto at = [](int i) { return -1.0 + 2.0 * i / points; };
  std::vector<bool> signs = stack.run(map, at(0)).positive;
  int begin = 0;
  for (int i = 1; i <= points; ++i) {
    std::vector<bool> next = stack.run(map, at(i)).positive;
    if (next == signs && i < points) continue;
    out.push_back({at(begin), at(i - 1)});
    signs = std::move(next);
    begin = i;
  }
  return out;
}

// On short intervals softmax passes for a polynomial of degree 9 too.
void add_stack_claims(const std::vector<StackOnLine>& stacks, const RowMap& relu, Findings& out) {
  constexpr double shortest = 0.3;
  std::vector<double> of_relu, of_softmax, of_less;
  for (const StackOnLine& stack : stacks) {
    for (const Interval& piece : same_signs(stack, relu)) {
      if (piece.length() < shortest) continue;
      const auto of = [&](const RowMap& map, int degree) {
        return miss([&](double t) { return stack.run(map, t).x; }, piece, degree);
      };
      of_relu.push_back(of(relu, 9));
      of_softmax.push_back(of(RowMap(), 9));
      of_less.push_back(of(relu, 8));
    }
  }
  out.claims.push_back({"two blocks: degree 9", lai, quantile(of_relu, 1.0), 1e-13});
  out.claims.push_back({"the same of softmax, median", lai, quantile(of_softmax, 0.5), 1e-11, true});
  out.claims.push_back({"two blocks: degree 8 misses, largest", {}, quantile(of_less, 1.0), 1e-11, true});
  out.notes.push_back(fmt::format(
      "Two blocks: {} intervals longer than {} without a change of sign. There softmax misses degree 9 by {:.1e} to "
      "{:.1e}.",
      of_relu.size(), shortest, quantile(of_softmax, 0.0), quantile(of_softmax, 1.0)));
}

/// |softplus - relu| / (ln 2 / (beta n) sum |v|), the largest element.
double share_of_bound(const HeadOnLine& head, const SplineMaps& maps, double beta, double t) {
  const Matrix gap = head.output(maps.softplus(beta), t) - head.output(maps.relu, t);
  const Matrix sizes = (head.v0 + t * head.v1).cwiseAbs();
  double out = 0.0;
  for (Eigen::Index i = 0; i < gap.rows(); ++i) {
    const Matrix sum = sizes.topRows(head.keys(i)).colwise().sum();
    const double share = std::numbers::ln2 / (beta * static_cast<double>(head.keys(i)));
    out = std::max(out, (gap.row(i).cwiseAbs().array() / (share * sum.array())).maxCoeff());
  }
  return out;
}

Claim softplus_claim(const std::vector<SplineForm>& forms, const SplineMaps& maps) {
  double out = 0.0;
  for (const SplineForm& form : forms) {
    for (const HeadOnLine& head : form.heads) {
      for (const double beta : {4.0, 16.0, 64.0}) {
        for (int i = 0; i <= 50; ++i) out = std::max(out, share_of_bound(head, maps, beta, -1.0 + i / 25.0));
      }
    }
  }
  return {"softplus: gap / (ln 2/(beta n) sum|v|)", lai, out, 1.0};
}

// At a knot of a row whose other scores are far from zero, the gap is ln 2 / (beta n) |v|: 1 / beta is its rate there.
Claim rate_claim(const std::vector<SplineForm>& forms, const SplineMaps& maps) {
  constexpr double beta = 1024.0, far = 0.03;
  double error = NAN;
  for (const SplineForm& form : forms) {
    for (const HeadOnLine& head : form.heads) {
      for (const Knot& knot : head.knots()) {
        Vector others = head.scores(knot.t).row(knot.row).head(head.keys(knot.row)).cwiseAbs();
        others[knot.key] = INFINITY;
        if (others.minCoeff() < far) continue;
        const Matrix gap = head.output(maps.softplus(beta), knot.t) - head.output(maps.relu, knot.t);
        const double share = std::numbers::ln2 / (beta * static_cast<double>(head.keys(knot.row)));
        const Vector expected = share * (head.v0 + knot.t * head.v1).row(knot.key);
        const double e = (gap.row(knot.row).transpose() - expected).norm() / expected.norm();
        error = std::isnan(error) ? e : std::max(error, e);
      }
    }
  }
  return {"softplus: gap at a knot / own term - 1", {}, error, 1e-8};
}

}  // namespace

Findings spline_findings(const SplineProblems& problems, const SplineMaps& maps) {
  Findings out{.title = "attention of relu along lines through input space, random weights, double precision"};
  for (const SplineForm& form : problems.forms) out.claims.push_back(pieces_claim(form, maps.relu));
  add_difference_claims(problems.forms, maps.relu, out.claims);
  out.claims.push_back(count_claim(problems.forms, out.notes));
  out.claims.push_back(jump_claim(problems.forms, maps.relu));
  add_stack_claims(problems.stacks, maps.relu, out);
  out.claims.push_back(softplus_claim(problems.forms, maps));
  out.claims.push_back(rate_claim(problems.forms, maps));
  return out;
}

Examined examine_spline(std::uint64_t seed) {
  const auto problems = std::make_shared<SplineProblems>(spline_problems(seed));
  return {{spline_findings(*problems)}, [problems] { return spline_svg(*problems); }};
}

}  // namespace monge::tools
