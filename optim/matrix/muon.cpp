// Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"): the averaged gradient,
// approximately orthogonalised.
//
//   B = b B + (1 - b) G        M = b B + (1 - b) G  (Nesterov), else B        u = s polar(M)
//
// polar(M) = U V^T of the singular value decomposition M = U S V^T; see polar.h. Under train.precision bfloat16 its
// products are in bf16, as in the authors' code. The scale s of a matrix (rows, cols):
//
//   keller      sqrt(max(1, rows / cols))        the authors' code; lr is a spectral norm
//   rms         0.2 sqrt(max(rows, cols))        elements of RMS 0.2, as AdamW's, so that AdamW's lr and decay carry
//   over
//                                                (Liu et al. 2025, arXiv:2502.16982)
//   spectral    sqrt(rows / cols)                a change of the output that does not depend on the width
//                                                (Pethick et al. 2025, arXiv:2502.07529)
//
// NorMuon (Li et al. 2025, arXiv:2510.05491) normalises the rows of O = polar(M) over time and keeps the norm of O:
//
//   r_i = b2 r_i + (1 - b2) mean over j of O_ij^2        O'_i = O_i / sqrt(r_i)        u = s O' |O| / |O'|
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/matrix/matrix_rule.h"
#include "optim/matrix/polar.h"
#include "optim/rules.h"

namespace monge::optim {
namespace {

struct MuonOptions : MatrixRuleOptions {
  double momentum = 0.95;
  bool nesterov = true;
  std::string scale = "rms";
  std::int64_t iterations = 5;
  void fields(Fields& f) override {
    MatrixRuleOptions::fields(f);
    f("momentum", momentum, {.doc = "decay of the averaged gradient", .min = 0.0, .max = 1.0});
    f("nesterov", nesterov, {.doc = "look one momentum step ahead"});
    f("scale", scale,
      {.doc = "length of a step of lr 1: keller, spectral norm sqrt(max(1, rows / cols)); rms, elements of root mean "
              "square 0.2; spectral, spectral norm sqrt(rows / cols)",
       .choices = {"keller", "rms", "spectral"}});
    f("iterations", iterations,
      {.doc = "Newton-Schulz iterations, which bring singular values near 1; 0: until they are 1 up to rounding",
       .min = 0,
       .max = 100});
  }
  void check() const override {
    if (momentum >= 1.0) throw InputError("optimizer.momentum must be less than 1");
  }
  double scale_of(double rows, double cols) const {
    if (scale == "keller") return std::sqrt(std::max(1.0, rows / cols));
    if (scale == "rms") return 0.2 * std::sqrt(std::max(rows, cols));
    return std::sqrt(rows / cols);
  }
};

struct NorMuonOptions : MuonOptions {
  double row_decay = 0.95;
  void fields(Fields& f) override {
    MuonOptions::fields(f);
    f("row_decay", row_decay, {.doc = "decay of the second moment of each row", .min = 0.0, .max = 1.0});
  }
  void check() const override {
    MuonOptions::check();
    if (row_decay >= 1.0) throw InputError("optimizer.row_decay must be less than 1");
  }
};

class Muon : public MatrixRule {
 public:
  Muon(const MuonOptions& options, const RuleContext& context) : Muon("muon", options, context) {}

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = MatrixRule::state();
    for (std::size_t i = 0; i < momentum_.size(); ++i) add_state(i, {{"momentum", momentum_[i]}}, out);
    return out;
  }

 protected:
  Muon(std::string name, const MuonOptions& options, const RuleContext& context)
      : MatrixRule(std::move(name), options, context), options_(options) {
    for (const Matrix& matrix : matrices()) momentum_.push_back(make_state(matrix.shape()));
  }

 private:
  void direction(std::size_t i, const Step& step, const Tensor& gradient, const Tensor& u) override {
    const Matrix& matrix = matrices()[i];
    const Tensor &b = momentum_[i], m = options_.nesterov ? gradient : b;
    step.update_average(b, options_.momentum, gradient);
    if (options_.nesterov) axpby(options_.momentum, b, 1.0 - options_.momentum, m);
    // The precision of the model's products, unless the iteration has to converge.
    const bool bf16 = store().copies().defined() && options_.iterations > 0;
    polar(m, options_.iterations, bf16 ? DType::bf16 : u.dtype(), u);
    normalise(i, step, u);
    scale(u, options_.scale_of(static_cast<double>(matrix.rows), static_cast<double>(matrix.cols)), u);
  }

  /// What a variant of Muon does to O = polar(M).
  virtual void normalise(std::size_t i, const Step& step, const Tensor& o) {
    (void)i;
    (void)step;
    (void)o;
  }

  MuonOptions options_;
  std::vector<Tensor> momentum_;
};

class NorMuon : public Muon {
 public:
  NorMuon(const NorMuonOptions& options, const RuleContext& context)
      : Muon("normuon", options, context), row_decay_(options.row_decay) {
    for (const Matrix& matrix : matrices()) rows_.push_back(make_state({matrix.rows}));
  }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = Muon::state();
    for (std::size_t i = 0; i < rows_.size(); ++i) add_state(i, {{"rows", rows_[i]}}, out);
    return out;
  }

 private:
  void normalise(std::size_t i, const Step& step, const Tensor& o) override {
    const Tensor &r = rows_[i], length = norm(o);
    step.update_average(r, row_decay_, row_means(square(o)));
    div(o, repeat_columns(sqrt(r), o.size(1)), o);
    mul(o, div(length, norm(o)), o);
  }

  double row_decay_;
  std::vector<Tensor> rows_;  // (rows) of each matrix
};

}  // namespace

void add_normuon(RuleRegistry& registry) {
  registry.add<NorMuonOptions>(
      "normuon", "muon with rows normalised over time",
      [](const NorMuonOptions& o, const RuleContext& c) { return std::make_unique<NorMuon>(o, c); });
}

void add_muon(RuleRegistry& registry) {
  registry.add<MuonOptions>("muon", "momentum, orthogonalised, for matrices",
                            [](const MuonOptions& o, const RuleContext& c) { return std::make_unique<Muon>(o, c); });
}

}  // namespace monge::optim
