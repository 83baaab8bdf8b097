// SOAP (Vyas et al. 2024, arXiv:2409.11321): AdamW in the eigenbasis of Shampoo's L and R,
//
//   G' = Q_L^T G Q_R        u = Q_L AdamW(G') Q_R^T
//   L = b3 L + (1 - b3) G G^T        R = b3 R + (1 - b3) G^T G
//
// The first step only measures: L = G G^T, R = G^T G and their eigenvectors, the largest first; matrices do not move.
// Every few steps the bases follow L and R by one power iteration, Q = QR(L Q) with the directions sorted anew, and the
// averages of AdamW are carried along: the first is rotated, the second takes the new order. A side longer than max_dim
// keeps the basis I. The factorisations run on the host.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "optim/device_math.h"
#include "optim/elementwise.h"
#include "optim/matrix_rule.h"
#include "optim/symmetric.h"

namespace monge::optim {
namespace {

struct SoapOptions : MatrixRuleOptions {
  std::vector<double> betas{0.95, 0.95};
  double factor_decay = 0.95;
  double eps = 1e-8;
  std::int64_t every = 10;
  std::int64_t max_dim = 1024;
  void fields(Fields& f) override {
    MatrixRuleOptions::fields(f);
    f("betas", betas, {.doc = "decay of the first and second moment", .min = 0.0, .max = 1.0});
    f("factor_decay", factor_decay, {.doc = "decay of L and R", .min = 0.0, .max = 1.0});
    f("eps", eps, {.doc = "added to the root of the second moment", .min = 0.0});
    f("every", every, {.doc = "steps between two turns of the bases", .unit = "steps", .min = 1});
    f("max_dim", max_dim, {.doc = "longer sides of a matrix keep the basis they have; 0: all do", .min = 0});
  }
  void check() const override {
    check_betas(betas, {0.95, 0.95});
    if (factor_decay >= 1.0) throw InputError("optimizer.factor_decay must be less than 1");
  }
};

/// L or R of a matrix and its basis.
struct Side {
  Tensor average, basis;  // (n, n), eigenvectors in columns
};

/// Where a basis has gone: old basis^T new basis, and the order that its directions have taken.
struct Turn {
  Tensor rotation, order;  // (n, n)
};

Tensor upload(const std::vector<double>& values, const Tensor& like) {
  return Tensor::from(values, like.shape(), like.dtype(), like.device());
}

/// Eigenvectors, the largest first. Waits for the device, as does turn().
void diagonalise(const Side& side) {
  const std::int64_t n = side.average.size(0);
  const std::vector<double> average = side.average.values();
  if (!std::ranges::all_of(average, [](double x) { return std::isfinite(x); })) return;  // which ends the run
  std::vector<double> vectors = eigensystem(average, n).vectors;
  for (auto row = vectors.begin(); row != vectors.end(); row += n) std::reverse(row, row + n);
  side.basis.backend().copy(upload(vectors, side.basis), side.basis);
}

Turn turn(const Side& side) {
  Backend& backend = side.basis.backend();
  const std::int64_t n = side.average.size(0);
  const Tensor power = Tensor::like(side.basis), along = Tensor::empty({n}, power.dtype(), power.device());
  backend.matmul({.a = side.average, .b = side.basis, .out = power});
  backend.sum(product(side.basis, power), 1, n, n, 1.0, along, false);  // diag(Q^T L Q)
  const std::vector<double> sizes = along.values();
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](std::int64_t a, std::int64_t b) {
    return sizes[static_cast<std::size_t>(a)] > sizes[static_cast<std::size_t>(b)];
  });
  std::vector<double> permutation(static_cast<std::size_t>(n * n), 0.0);
  for (std::int64_t j = 0; j < n; ++j) {
    permutation[static_cast<std::size_t>(order[static_cast<std::size_t>(j)] * n + j)] = 1.0;
  }
  Turn out{.rotation = Tensor::like(power), .order = upload(permutation, power)};
  const Tensor sorted = Tensor::like(power);
  backend.matmul({.a = power, .b = out.order, .out = sorted});
  const std::vector<double> columns = sorted.values();
  if (!std::ranges::all_of(columns, [](double x) { return std::isfinite(x); })) return {};  // which ends the run
  const Tensor next = upload(orthonormal_columns(columns, n), power);
  backend.matmul({.a = side.basis, .transpose_a = true, .b = next, .out = out.rotation});
  backend.copy(next, side.basis);
  return out;
}

class Soap : public MatrixRule {
 public:
  Soap(const SoapOptions& options, const RuleContext& context)
      : MatrixRule("soap", options, context), options_(options) {
    for (const Matrix& matrix : matrices()) {
      State s{.m = make_state(matrix.shape()), .v = make_state(matrix.shape()), .sides = {}};
      for (std::size_t k = 0; k < 2; ++k) {
        const std::int64_t n = k == 0 ? matrix.rows : matrix.cols;
        if (n <= options.max_dim) s.sides[k] = {make_state({n, n}), make_state({n, n})};
      }
      states_.push_back(std::move(s));
    }
  }

  bool repeats(std::int64_t number) const override { return number > 1 && !turns(number); }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = MatrixRule::state();
    for (std::size_t i = 0; i < states_.size(); ++i) {
      const auto add = [&](const char* what, const Tensor& tensor) {
        if (tensor.defined()) out.push_back({state_name(i, what), tensor});
      };
      add("m", states_[i].m);
      add("v", states_[i].v);
      add("left", states_[i].sides[0].average);
      add("left_basis", states_[i].sides[0].basis);
      add("right", states_[i].sides[1].average);
      add("right_basis", states_[i].sides[1].basis);
    }
    return out;
  }

 private:
  struct State {
    Tensor m, v;  // in the bases
    std::array<Side, 2> sides;
  };

  bool turns(std::int64_t number) const { return number > 1 && (number - 1) % options_.every == 0; }

  void direct(std::size_t i, const Step& step, const Tensor& gradient, const Tensor& u) override {
    Backend& backend = u.backend();
    const State& s = states_[i];
    backend.fill(u, 0.0);
    if (step.number > 1) {
      const Tensor &left = s.sides[0].basis, &right = s.sides[1].basis;
      const Tensor inside = between(left, gradient, right);
      const Tensor moved = Tensor::zeros(u.shape(), u.dtype(), u.device());
      // A step of rate -1 from 0, the first of which is the second of the run.
      Tensor control = with(with(step.control, Control::lr, -1.0), Control::clip, 1.0);
      backend.add(control.slice(Control::step, Control::step + 1), number(-1.0, control),
                  control.slice(Control::step, Control::step + 1));
      backend.update({.rule = AdamWRule{options_.betas[0], options_.betas[1], options_.eps},
                      .param = flat(moved),
                      .grad = flat(inside),
                      .states = {flat(s.m), flat(s.v)},
                      .control = control});
      backend.copy(between(left, moved, right, false), u);
    }
    std::array<Turn, 2> turned;
    for (std::size_t k = 0; k < 2; ++k) {
      const Side& side = s.sides[k];
      if (!side.average.defined()) continue;
      const Tensor gram = Tensor::like(side.average);
      backend.matmul({.a = gradient, .transpose_a = k == 1, .b = gradient, .transpose_b = k == 0, .out = gram});
      average_into(side.average, step.number > 1 ? options_.factor_decay : 0.0, gram);
      if (step.number == 1) diagonalise(side);
      if (turns(step.number)) turned[k] = turn(side);
    }
    if (!turns(step.number)) return;
    carry(s.m, turned[0].rotation, turned[1].rotation);
    carry(s.v, turned[0].order, turned[1].order);
  }

  /// left^T x right, or with `forward` false left x right^T; a factor that is none is I.
  static Tensor between(const Tensor& left, const Tensor& x, const Tensor& right, bool forward = true) {
    Tensor out = x;
    if (left.defined()) {
      const Tensor next = Tensor::like(x);
      x.backend().matmul({.a = left, .transpose_a = forward, .b = out, .out = next});
      out = next;
    }
    if (right.defined()) {
      const Tensor next = Tensor::like(x);
      x.backend().matmul({.a = out, .b = right, .transpose_b = !forward, .out = next});
      out = next;
    }
    return out;
  }

  /// x = left^T x right
  static void carry(const Tensor& x, const Tensor& left, const Tensor& right) {
    if (left.defined() || right.defined()) x.backend().copy(between(left, x, right), x);
  }

  static Tensor flat(const Tensor& x) { return x.reshape({x.numel()}); }

  SoapOptions options_;
  std::vector<State> states_;
};

}  // namespace

void add_soap(RuleRegistry& registry) {
  registry.add<SoapOptions>("soap", "AdamW in the eigenbasis of the gradients' covariances, for matrices",
                            [](const SoapOptions& o, const RuleContext& c) { return std::make_unique<Soap>(o, c); });
}

}  // namespace monge::optim
