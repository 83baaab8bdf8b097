// PSGD with a Kronecker-factored preconditioner (Li 2015, arXiv:1512.04202; Li 2024, arXiv:2402.11858), which learns to
// whiten the averaged gradient:
//
//   M = b M + (1 - b) G, bias-corrected        U = P0 M P1        u = U min(1, 1.1 / RMS(U))
//
// P0 (rows, rows) and P1 (cols, cols) descend E[<U, M>] + E[<V, P0^-1 V P1^-1>], V normal, whose minimum has
// E[U U^T] = cols I and E[U^T U] = rows I. They are fitted in Li's "QUAD" form, which needs no inverse:
//
//   P0 = S P0 S,   S = I - r / (2 l) (A - cols I),   A = U U^T + s^2 |P1|^2 P0^2        P1 likewise
//   l = max(|A| + cols, 0.9 l + 0.1 (|A| + cols))
//
// with U of the factors before the fit. The last term of A is the expectation of U U^T over noise in M of variance
// s^2 = (eps RMS(M))^2 + 1e-18: it bounds the factors where there is no gradient. |A| is estimated by one power step
// per fit. Both factors are kept at the same norm. They start as I, scaled so that the first U has a root mean square
// of 1 (the fits alone need tens of steps to find the scale of small gradients). Fits become rarer, from one to
// `fits_last` per step (see FitSchedule). The longer side of a matrix has the factor I if it is longer than max_dim.
#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/matrix/matrix_rule.h"
#include "optim/rules.h"

namespace monge::optim {
namespace {

struct PsgdKronOptions : MatrixRuleOptions {
  double momentum = 0.9;
  double fit_rate = 0.1;
  std::int64_t fits_first = 500;
  std::int64_t fits_fade = 3500;
  double fits_last = 0.03;
  double eps = 3.5e-4;  // the square root of the machine epsilon of f32
  std::int64_t max_dim = 1024;
  void fields(Fields& f) override {
    MatrixRuleOptions::fields(f);
    f("momentum", momentum, {.doc = "decay of the averaged gradient", .min = 0.0, .max = 1.0});
    f("fit_rate", fit_rate, {.doc = "rate r at which the factors are fitted", .min = 0.0, .max = 1.0});
    f("fits_first", fits_first,
      {.doc = "steps at the beginning in which the factors are fitted every time", .unit = "steps", .min = 0});
    f("fits_fade", fits_fade, {.doc = "steps after those over which fits become rarer", .unit = "steps", .min = 1});
    f("fits_last", fits_last, {.doc = "fits per step from then on", .min = 0.0, .max = 1.0, .exclusive_min = true});
    f("eps", eps, {.doc = "noise that the fits assume in the gradient, relative to it", .min = 0.0});
    f("max_dim", max_dim,
      {.doc = "the longer side of a matrix is not preconditioned if it is longer than this", .min = 0});
  }
  void check() const override {
    if (momentum >= 1.0) throw InputError("optimizer.momentum must be less than 1");
  }
};

/// When to fit, as a function of the step alone. The number of fits up to step t is the integer part of a sum of rates:
/// 1 for the first steps, then falling exponentially to the last rate.
class FitSchedule {
 public:
  explicit FitSchedule(const PsgdKronOptions& o)
      : first_(static_cast<double>(o.fits_first)), fade_(static_cast<double>(o.fits_fade)), last_(o.fits_last) {}
  bool at(std::int64_t step) const { return std::floor(until(step)) > std::floor(until(step - 1)); }

 private:
  double until(std::int64_t step) const {
    const double t = static_cast<double>(step), fading = std::clamp(t - first_, 0.0, fade_);
    const double slope = -std::log(last_) / fade_;
    const double faded = slope > 0.0 ? (1.0 - std::exp(-slope * fading)) / slope : fading;
    return std::min(t, first_) + faded + last_ * std::max(0.0, t - first_ - fade_);
  }
  double first_, fade_, last_;
};

class PsgdKron : public MatrixRule {
 public:
  PsgdKron(const PsgdKronOptions& options, const RuleContext& context)
      : MatrixRule("psgd_kron", options, context), options_(options), fits_(options), correction_(make_state({1})) {
    for (const Matrix& matrix : matrices()) {
      State s{.m = make_state(matrix.shape()), .sides = {}};
      for (std::size_t k = 0; k < 2; ++k) {
        const std::int64_t n = k == 0 ? matrix.rows : matrix.cols, other = k == 0 ? matrix.cols : matrix.rows;
        if (n > other && n > options.max_dim) continue;
        s.sides[k] = {identity({n, n}, correction_.dtype(), correction_.device()), make_state({n, 1}), make_state({1})};
        fill(s.sides[k].top, 1.0);
      }
      states_.push_back(std::move(s));
    }
  }

  bool repeats(std::int64_t number) const override { return number > 1 && !fits_.at(number); }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = MatrixRule::state();
    out.push_back({"psgd_kron.bias_correction", correction_});
    for (std::size_t i = 0; i < states_.size(); ++i) {
      const auto& [m, sides] = states_[i];
      const auto& [left, right] = sides;
      add_state(i,
                {{"m", m},
                 {"left", left.factor},
                 {"left_top", left.top},
                 {"left_bound", left.bound},
                 {"right", right.factor},
                 {"right_top", right.top},
                 {"right_bound", right.bound}},
                out);
    }
    return out;
  }

 private:
  struct Fitted {
    Tensor factor;  // (n, n): P, or none
    Tensor top;     // (n, 1): close to the eigenvector of the largest eigenvalue of A
    Tensor bound;   // (1): l
  };
  struct State {
    Tensor m;
    std::array<Fitted, 2> sides;
  };

  void prepare(const Step& step) override {
    step.update_average(correction_, options_.momentum, scalar(1.0, correction_));
  }

  void direction(std::size_t i, const Step& step, const Tensor& gradient, const Tensor& u) override {
    const State& s = states_[i];
    const bool may_be_first = step.number == 1 || fits_.at(step.number);
    const Tensor before = may_be_first ? norm(s.m) : Tensor();
    step.update_average(s.m, options_.momentum, gradient);
    const Tensor m = div(s.m, correction_);
    matmul(s.sides[0].factor, m, s.sides[1].factor, u);
    if (may_be_first) start(s, before, u, step);
    if (fits_.at(step.number)) fit(s, m, u, step);
    // RMS(u) = |u| / sqrt(numel).
    const double longest = 1.1 * std::sqrt(static_cast<double>(u.numel()));
    mul(u, clip_factor(longest, norm(u)), u);
  }

  /// With the first gradient that is not zero, scales the factors so that u has a root mean square of 1, and u.
  void start(const State& s, const Tensor& before, const Tensor& u, const Step& step) const {
    const Tensor wanted = div(is_positive(rms(u)), max(rms(u), 1e-9));  // 0 without a gradient
    const Tensor later = mul(wanted, is_positive(before));
    axpy(-1.0, later, wanted);  // 0 but for the first
    const Tensor factor = positive_or(wanted, 1.0);
    mul(u, factor, u);
    const bool both = s.sides[0].factor.defined() && s.sides[1].factor.defined();
    const Tensor share = both ? sqrt(factor) : factor;
    for (const Fitted& side : s.sides) {
      if (side.factor.defined()) step.set(side.factor, mul(side.factor, share));
    }
  }

  void fit(const State& s, const Tensor& m, const Tensor& u, const Step& step) const {
    const Tensor noise = scalar(1e-18, u);  // s^2
    axpy(options_.eps * options_.eps / static_cast<double>(m.numel()), dot(m, m), noise);
    std::array<Tensor, 2> moment;  // A
    for (std::size_t k = 0; k < 2; ++k) {
      const Tensor &p = s.sides[k].factor, &other = s.sides[1 - k].factor;
      if (!p.defined()) continue;
      const Tensor size = other.defined() ? dot(other, other) : scalar(static_cast<double>(u.size(k == 0 ? 1 : 0)), u);
      moment[k] = Tensor::like(p);
      matmul(p, p, moment[k]);
      mul(moment[k], mul(size, noise), moment[k]);
      k == 0 ? add_matmul(u, transposed(u), moment[k]) : add_matmul(transposed(u), u, moment[k]);
    }
    std::array<Tensor, 2> fitted;
    for (std::size_t k = 0; k < 2; ++k) {
      if (!moment[k].defined()) continue;
      fitted[k] = fit_factor(s.sides[k], moment[k], static_cast<double>(u.size(k == 0 ? 1 : 0)), step);
    }
    if (fitted[0].defined() && fitted[1].defined()) balance(fitted[0], fitted[1]);
    for (std::size_t k = 0; k < 2; ++k) {
      if (fitted[k].defined()) step.set(s.sides[k].factor, fitted[k]);
    }
  }

  /// S P S with S = grow I + A', A' = -rate A and grow = 1 + rate target. `a` becomes A'.
  Tensor fit_factor(const Fitted& side, const Tensor& a, double target, const Step& step) const {
    const Tensor &p = side.factor, now = estimate_norm(a, side.top, step);
    add(now, target, now);
    step.update_average(side.bound, 0.9, now);
    step.set(side.bound, max(side.bound, now));
    const Tensor rate = div(scalar(0.5 * options_.fit_rate, a), side.bound), grow = scalar(1.0, a);
    axpy(target, rate, grow);
    mul(a, rate, a);
    scale(a, -1.0, a);
    const Tensor sp = mul(p, grow);
    add_matmul(a, p, sp);
    const Tensor sps = mul(sp, grow);
    add_matmul(sp, a, sps);
    // Symmetric but for rounding, which must not add up: (SPS + (SPS)^T) / 2.
    const Tensor symmetric = add(sps, transpose(sps));
    return scale(symmetric, 0.5, symmetric);
  }

  /// A lower bound of |A| that becomes tight over the fits: |A x| / |x|, after which x = A x / |A x|. x keeps a small
  /// component along (1, ..., 1), so that it is orthogonal to no eigenvector for long.
  static Tensor estimate_norm(const Tensor& a, const Tensor& x, const Step& step) {
    const Tensor before = norm(x), ax = Tensor::like(x);
    matmul(a, x, ax);
    const Tensor after = norm(ax);
    div(ax, after, ax);
    step.set(x, add(ax, 0.01 / std::sqrt(static_cast<double>(x.numel()))));
    return div(after, before);
  }

  /// Equal norms, and the same product.
  static void balance(const Tensor& left, const Tensor& right) {
    const Tensor ratio = sqrt(div(norm(right), norm(left)));
    mul(left, ratio, left);
    div(right, ratio, right);
  }

  PsgdKronOptions options_;
  FitSchedule fits_;
  Tensor correction_;  // (1): 1 - b^t
  std::vector<State> states_;
};

}  // namespace

void add_psgd_kron(RuleRegistry& registry) {
  registry.add<PsgdKronOptions>(
      "psgd_kron", "momentum whitened by fitted Kronecker factors, for matrices",
      [](const PsgdKronOptions& o, const RuleContext& c) { return std::make_unique<PsgdKron>(o, c); });
}

}  // namespace monge::optim
