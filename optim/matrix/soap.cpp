// SOAP (Vyas et al. 2024, arXiv:2409.11321): AdamW in the eigenbasis of Shampoo's L and R,
//
//   G' = Q_L^T G Q_R        u = Q_L AdamW(G') Q_R^T
//   L = b3 L + (1 - b3) G G^T        R = b3 R + (1 - b3) G^T G
//
// L and R start at zero. The first step only initialises them and their eigenvectors, in order of falling eigenvalues;
// the matrices do not change, nor do they decay. Every few steps the bases follow L and R by one power iteration, Q =
// QR(L Q) with the columns sorted again, and AdamW's moments with them: the first is rotated, the second reordered. A
// side longer than max_dim keeps the basis I. The factorisations run on the host, for all matrices at once, at the
// start of the next step.
//
// `qk_basis: fisher` takes the factors of the attention-local Fisher in the place of L and R for W_q and W_k
// (fisher_sides.h), every few steps: the bases are then those of the curvature, not of the gradients' noise.
//
// SOAP-Muon (Vyas et al. 2025, "Improving SOAP using iterative whitening and Muon") orthogonalises u, which is the same
// in any basis:
//
//   u = f polar(u),   f = |u| / |polar(u)|, so that the norm of SOAP's step is kept, or a scale of muon.h
//
// The authors bring every step to elements of RMS 1 (`scale: rms` with five times its rate) or to a scale of Muon's. An
// elementwise root after polar(u), which their code offers, is left out.
#include <algorithm>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/matrix/fisher_sides.h"
#include "optim/matrix/matrix_rule.h"
#include "optim/matrix/muon.h"
#include "optim/matrix/sides.h"
#include "optim/rules/adamw_direction.h"
#include "optim/rules/elementwise.h"

namespace monge::optim {
namespace {

struct SoapOptions : MatrixRuleOptions {
  std::vector<double> betas{0.95, 0.95};
  double factor_decay = 0.95;
  double eps = 1e-8;
  std::int64_t every = 10;
  std::int64_t max_dim = 1024;
  std::string qk_basis = "gradient";
  void fields(Fields& f) override {
    MatrixRuleOptions::fields(f);
    f("betas", betas, {.doc = "decay of the first and second moment", .min = 0.0, .max = 1.0});
    f("factor_decay", factor_decay, {.doc = "decay of L and R", .min = 0.0, .max = 1.0});
    f("eps", eps, {.doc = "added to the root of the second moment", .min = 0.0});
    f("every", every, {.doc = "steps between two updates of the bases", .unit = "steps", .min = 1});
    f("max_dim", max_dim, {.doc = "sides of a matrix longer than this keep the basis I; 0: all do", .min = 0});
    f("qk_basis", qk_basis,
      {.doc = "what the bases of W_q and W_k in attention are eigenvectors of: covariances of their gradients, or the "
              "factors of the attention-local Fisher",
       .choices = {"gradient", "fisher"}});
  }
  void check() const override {
    check_betas(betas, {0.95, 0.95});
    if (factor_decay >= 1.0) throw InputError("optimizer.factor_decay must be less than 1");
  }
};

struct SoapMuonOptions : SoapOptions {
  std::string scale = "kept";
  std::int64_t iterations = 5;
  void fields(Fields& f) override {
    SoapOptions::fields(f);
    f("scale", scale,
      {.doc = "length of a step: kept, that of soap's; or a scale of muon's at lr 1: keller, rms, spectral",
       .choices = {"kept", "keller", "rms", "spectral"}});
    add_polar_iterations(f, iterations);
  }
};

using Order = std::vector<std::int32_t>;  // of the columns of a basis

/// Indices by falling value.
Order descending(const std::vector<double>& values) {
  Order order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](std::int32_t a, std::int32_t b) {
    return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
  });
  return order;
}

/// The columns of m in this order.
std::vector<double> gather_columns(const SquareMatrix& m, const Order& order) {
  std::vector<double> out;
  out.reserve(m.values.size());
  for (auto row = m.values.begin(); row != m.values.end(); row += m.n) {
    for (const std::int32_t j : order) out.push_back(row[j]);
  }
  return out;
}

class Soap : public MatrixRule {
 public:
  Soap(const SoapOptions& options, const RuleContext& context) : Soap("soap", options, context) {}

  void begin(std::int64_t number) override {
    MatrixRule::begin(number);
    if (fisher_) fisher_->begin(number);
  }

  bool repeats(std::int64_t number) const override {
    return number > 2 && !rotates(number) && !(fisher_ && fisher_->measures(number));
  }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = MatrixRule::state();
    for (std::size_t i = 0; i < states_.size(); ++i) {
      const auto& [m, v, sides] = states_[i];
      add_state(i,
                {{"m", m},
                 {"v", v},
                 {"left", sides[0].covariance},
                 {"left_basis", sides[0].factor},
                 {"right", sides[1].covariance},
                 {"right_basis", sides[1].factor}},
                out);
    }
    return out;
  }

 protected:
  Soap(std::string name, const SoapOptions& options, const RuleContext& context)
      : MatrixRule(std::move(name), options, context), options_(options) {
    for (const Matrix& matrix : matrices()) {
      const auto make = [this](const Shape& shape) { return make_state(shape); };
      states_.push_back({.m = make(matrix.shape()),
                         .v = make(matrix.shape()),
                         .sides = make_sides(matrix.shape(), options.max_dim, make)});
    }
    if (options.qk_basis == "fisher") {
      fisher_.emplace("optimizer.qk_basis", this->name(), options.every, context, matrices());
    }
  }

  /// What a variant of SOAP makes of its direction, in place.
  virtual void change(const Tensor& u) const { (void)u; }

 private:
  struct State {
    Tensor m, v;  // in the bases
    Sides sides;
  };

  /// Whether the bases follow L and R of the step before.
  bool rotates(std::int64_t number) const { return number > 2 && (number - 2) % options_.every == 0; }

  bool moves(std::int64_t number) const override { return number > 1; }

  void prepare(const Step& step) override {
    if (fisher_ && fisher_->measures(step.number)) fisher_->take();
    if (step.number == 2) diagonalise(step);
    if (rotates(step.number)) rotate(step);
  }

  void direction(std::size_t i, const Step& step, const Tensor& gradient, const Tensor& u) override {
    const State& s = states_[i];
    const Tensor &left = s.sides[0].factor, &right = s.sides[1].factor;
    if (!fisher_ || !fisher_->has(i)) {
      update_covariances(s.sides, gradient, options_.factor_decay, step);
    } else if (fisher_->measures(step.number)) {
      fisher_->update(i, s.sides, options_.factor_decay, step);
    }
    if (step.number == 1) return fill(u, 0.0);
    // AdamW's first step is the second of the run.
    const Tensor rotated = Tensor::like(u), control = step.control.clone(), count = slot(control, Control::step);
    add(count, -1.0, count);
    matmul(transposed(left), gradient, right, rotated);
    const Tensor adamw = adamw_direction(rotated, options_.betas, options_.eps, s.m, s.v, control);
    matmul(left, adamw, transposed(right), u);
    change(u);
  }

  /// The sides that have a basis.
  std::vector<const Side*> sides() const {
    std::vector<const Side*> out;
    for (const State& s : states_) {
      for (const Side& side : s.sides) {
        if (side.covariance.defined()) out.push_back(&side);
      }
    }
    return out;
  }

  /// Bases of eigenvectors, by falling eigenvalue. Waits for the device, as does rotate().
  void diagonalise(const Step& step) const {
    std::vector<SquareMatrix> covariances;
    for (const Side* side : sides()) covariances.push_back(download(side->covariance));
    if (!all_finite(covariances)) return;  // squares of gradients that their floats cannot hold
    const std::vector<Eigensystem> systems = eigensystems(covariances);
    for (std::size_t k = 0; k < systems.size(); ++k) {
      const SquareMatrix vectors{covariances[k].n, systems[k].vectors};
      const Tensor& basis = sides()[k]->factor;
      step.set(basis, upload(gather_columns(vectors, descending(systems[k].values)), basis));
    }
  }

  void rotate(const Step& step) const {
    std::vector<SquareMatrix> powers;  // L Q, sorted by the diagonal of Q^T L Q
    std::vector<Order> orders;
    for (const Side* side : sides()) {
      const Tensor power = Tensor::like(side->covariance);
      matmul(side->covariance, side->factor, power);
      orders.push_back(descending(column_sums(mul(side->factor, power)).values()));
      powers.push_back({power.size(0), gather_columns(download(power), orders.back())});
    }
    if (!all_finite(powers)) return;  // as above
    const std::vector<SquareMatrix> bases = orthonormal_columns(powers);
    std::size_t next = 0;
    for (const State& s : states_) {
      std::array<Tensor, 2> rotations;  // old basis^T new basis
      Tensor v = s.v;
      for (std::size_t k = 0; k < 2; ++k) {
        const Tensor& basis = s.sides[k].factor;
        if (!basis.defined()) continue;
        const Tensor now = upload(bases[next].values, basis);
        rotations[k] = Tensor::like(basis);
        matmul(transposed(basis), now, rotations[k]);
        step.set(basis, now);
        v = k == 0 ? gather_rows(v, orders[next]) : transpose(gather_rows(transpose(v), orders[next]));
        ++next;
      }
      step.set(s.v, v);
      const Tensor m = Tensor::like(s.m);
      matmul(transposed(rotations[0]), s.m, rotations[1], m);
      step.set(s.m, m);
    }
  }

  SoapOptions options_;
  std::vector<State> states_;
  std::optional<FisherSides> fisher_;
};

class SoapMuon : public Soap {
 public:
  SoapMuon(const SoapMuonOptions& options, const RuleContext& context)
      : Soap("soap_muon", options, context), scale_(options.scale), iterations_(options.iterations) {}

 private:
  void change(const Tensor& u) const override {
    const Tensor o = Tensor::like(u);
    muon_polar(store(), u, iterations_, o);
    if (scale_ == "kept") {
      graft(o, u);
      copy(o, u);
    } else {
      scale(o, muon_scale(scale_, u.size(0), u.size(1)), u);
    }
  }

  std::string scale_;
  std::int64_t iterations_;
};

}  // namespace

void add_soap_muon(RuleRegistry& registry) {
  registry.add<SoapMuonOptions>(
      "soap_muon", "soap with its direction orthogonalised, for matrices",
      [](const SoapMuonOptions& o, const RuleContext& c) { return std::make_unique<SoapMuon>(o, c); });
}

void add_soap(RuleRegistry& registry) {
  registry.add<SoapOptions>("soap", "AdamW in the eigenbasis of the gradients' covariances, for matrices",
                            [](const SoapOptions& o, const RuleContext& c) { return std::make_unique<Soap>(o, c); });
}

}  // namespace monge::optim
