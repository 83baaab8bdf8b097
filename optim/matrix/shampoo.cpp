// Shampoo (Gupta et al. 2018, arXiv:1802.09568; Anil et al. 2020, arXiv:2002.09018) at the length of AdamW's step:
//
//   L = b2 L + (1 - b2) G G^T        R = b2 R + (1 - b2) G^T G        M = b1 M + (1 - b1) G
//   P = L^-e M R^-e                  u = P |D| / |P|,  D the direction of AdamW
//
// with e = 1/4. The roots, of L + eps (its largest eigenvalue) I, are recomputed every few steps, and in each of the
// first so many, in which L and R still grow in rank; on the host, for all matrices at once. eps is no less than what
// rounding leaves of an eigenvalue that is zero. A side longer than max_dim counts as I.
#include <algorithm>

#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/matrix/matrix_rule.h"
#include "optim/matrix/sides.h"
#include "optim/rules/adamw_direction.h"
#include "optim/rules/elementwise.h"

namespace monge::optim {
namespace {

struct ShampooOptions : MatrixRuleOptions {
  std::vector<double> betas{0.9, 0.95};
  double exponent = 0.25;
  double eps = 1e-6;
  bool graft = true;
  std::int64_t every = 10;
  std::int64_t max_dim = 1024;
  void fields(Fields& f) override {
    MatrixRuleOptions::fields(f);
    f("betas", betas, {.doc = "decay of the averaged gradient and of L and R", .min = 0.0, .max = 1.0});
    f("exponent", exponent, {.doc = "e, in L^-e and R^-e", .min = 0.0, .max = 1.0, .exclusive_min = true});
    f("eps", eps,
      {.doc = "added to the eigenvalues of L and R, relative to the largest; 1e-6 at least in float32", .min = 0.0});
    f("graft", graft, {.doc = "steps of the norm of AdamW's; false: of the norm of P"});
    f("every", every,
      {.doc = "steps between two computations of the roots, which follow each of the first so many",
       .unit = "steps",
       .min = 1});
    f("max_dim", max_dim, {.doc = "sides of a matrix longer than this are not preconditioned", .min = 1});
  }
  void check() const override { check_betas(betas, {0.9, 0.95}); }
};

class Shampoo : public MatrixRule {
 public:
  Shampoo(const ShampooOptions& options, const RuleContext& context)
      : MatrixRule("shampoo", options, context), options_(options) {
    for (const Matrix& matrix : matrices()) {
      const auto make = [this](const Shape& shape) { return make_state(shape); };
      states_.push_back({.m = make(matrix.shape()),
                         .v = options.graft ? make(matrix.shape()) : Tensor(),
                         .sides = make_sides(matrix.shape(), options.max_dim, make)});
    }
  }

  bool repeats(std::int64_t number) const override { return !refreshes(number); }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = MatrixRule::state();
    for (std::size_t i = 0; i < states_.size(); ++i) {
      const auto& [m, v, sides] = states_[i];
      add_state(i,
                {{"m", m},
                 {"v", v},
                 {"left", sides[0].covariance},
                 {"left_root", sides[0].factor},
                 {"right", sides[1].covariance},
                 {"right_root", sides[1].factor}},
                out);
    }
    return out;
  }

 private:
  struct State {
    Tensor m, v;
    Sides sides;  // L and L^-e, R and R^-e
  };

  bool refreshes(std::int64_t number) const { return number <= options_.every || (number - 1) % options_.every == 0; }

  void prepare(const Step& step) override {
    for (std::size_t i = 0; i < states_.size(); ++i) {
      update_covariances(states_[i].sides, clipped_gradient(i, step), options_.betas[1], step);
    }
    if (refreshes(step.number)) take_roots(step);
  }

  void direction(std::size_t i, const Step& step, const Tensor& gradient, const Tensor& u) override {
    const State& s = states_[i];
    Tensor adamw;
    if (options_.graft) {
      adamw = adamw_direction(gradient, options_.betas, 1e-8, s.m, s.v, step.control);
    } else {
      step.update_average(s.m, options_.betas[0], gradient);
    }
    matmul(s.sides[0].factor, s.m, s.sides[1].factor, u);
    if (options_.graft) graft(u, adamw);
  }

  /// Waits for the device.
  void take_roots(const Step& step) const {
    std::vector<SquareMatrix> covariances;
    std::vector<Tensor> roots;
    for (const State& s : states_) {
      for (const Side& side : s.sides) {
        if (!side.covariance.defined()) continue;
        covariances.push_back(download(side.covariance));
        roots.push_back(side.factor);
      }
    }
    if (!all_finite(covariances)) return;  // squares of gradients that their floats cannot hold
    const double resolved = states_.front().m.dtype() == DType::f64 ? 1e-15 : 1e-6;  // some units in the last place
    const auto powers = matrix_powers(covariances, -options_.exponent, std::max(options_.eps, resolved));
    for (std::size_t k = 0; k < roots.size(); ++k) step.set(roots[k], upload(powers[k].values, roots[k]));
  }

  ShampooOptions options_;
  std::vector<State> states_;
};

}  // namespace

void add_shampoo(RuleRegistry& registry) {
  registry.add<ShampooOptions>(
      "shampoo", "gradients scaled by roots of their covariances, with the norm of AdamW's step, for matrices",
      [](const ShampooOptions& o, const RuleContext& c) { return std::make_unique<Shampoo>(o, c); });
}

}  // namespace monge::optim
