// Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"): the averaged gradient with its
// singular values made one, nearly.
//
//   B = b B + (1 - b) G        M = b B + (1 - b) G  (Nesterov), else B        u = s polar(M)
//
// polar(M) = U V^T of the singular value decomposition M = U S V^T; see polar.h. The scale s of a matrix (rows, cols):
//
//   keller      sqrt(max(1, rows / cols))        of the authors' code; lr is a spectral norm
//   rms         0.2 sqrt(max(rows, cols))        elements of root mean square 0.2, as AdamW's, and AdamW's lr and decay
//                                                (Liu et al. 2025, arXiv:2502.16982)
//   spectral    sqrt(rows / cols)                the same change of the output whatever the width
//                                                (Pethick et al. 2025, arXiv:2502.07529)
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "optim/device_math.h"
#include "optim/matrix_rule.h"
#include "optim/polar.h"
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
      {.doc = "Newton-Schulz iterations; 0: until the singular values are 1 to rounding", .min = 0});
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

class Muon : public MatrixRule {
 public:
  Muon(const MuonOptions& options, const RuleContext& context)
      : MatrixRule("muon", options, context), options_(options) {
    for (const Matrix& matrix : matrices()) momentum_.push_back(make_state(matrix.shape()));
  }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = MatrixRule::state();
    for (std::size_t i = 0; i < momentum_.size(); ++i) out.push_back({state_name(i, "momentum"), momentum_[i]});
    return out;
  }

 private:
  void direct(std::size_t i, const Step&, const Tensor& gradient, const Tensor& u) override {
    average_into(momentum_[i], options_.momentum, gradient);
    const Tensor ahead = options_.nesterov ? gradient : momentum_[i];
    if (options_.nesterov) {
      ahead.backend().scale(ahead, 1.0 - options_.momentum, ahead);
      ahead.backend().add_scaled(momentum_[i], options_.momentum, ahead);
    }
    const Matrix& matrix = matrices()[i];
    polar(ahead, options_.iterations, u);
    u.backend().scale(u, options_.scale_of(static_cast<double>(matrix.rows), static_cast<double>(matrix.cols)), u);
  }

  MuonOptions options_;
  std::vector<Tensor> momentum_;
};

}  // namespace

void add_muon(RuleRegistry& registry) {
  registry.add<MuonOptions>("muon", "momentum with its singular values made one, for matrices",
                            [](const MuonOptions& o, const RuleContext& c) { return std::make_unique<Muon>(o, c); });
}

}  // namespace monge::optim
