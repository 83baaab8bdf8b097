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
// Variants derive from it: NorMuon in muon.cpp, newton_muon, compositional_muon.
#pragma once

#include <string>
#include <vector>

#include "optim/matrix/matrix_rule.h"

namespace monge::optim {

/// The scale s of this name, for a matrix (rows, cols).
double muon_scale(const std::string& name, std::int64_t rows, std::int64_t cols);

/// polar(m) into out, in the precision of the model's products, unless the iteration has to converge.
void muon_polar(const nn::ParameterStore& store, const Tensor& m, std::int64_t iterations, const Tensor& out);

/// The key `scale`.
void add_muon_scale(Fields& f, std::string& scale);
/// The key `iterations` of polar().
void add_polar_iterations(Fields& f, std::int64_t& iterations);

struct MuonOptions : MatrixRuleOptions {
  double momentum = 0.95;
  bool nesterov = true;
  std::string scale = "rms";
  std::int64_t iterations = 5;
  void fields(Fields& f) override;
  void check() const override;
};

class Muon : public MatrixRule {
 public:
  Muon(const MuonOptions& options, const RuleContext& context) : Muon("muon", options, context) {}
  std::vector<NamedTensor> state() const override;

 protected:
  Muon(std::string name, const MuonOptions& options, const RuleContext& context);

  /// What a variant makes of the gradient G before it is averaged, in its place.
  virtual void precondition(std::size_t i, const Tensor& gradient) {
    (void)i;
    (void)gradient;
  }
  /// Writes into `o` what stands for polar(M).
  virtual void orthogonalise(std::size_t i, const Step& step, const Tensor& m, const Tensor& o) {
    (void)i;
    (void)step;
    polar_of(m, o);
  }
  void polar_of(const Tensor& m, const Tensor& out) const { muon_polar(store(), m, options_.iterations, out); }

 private:
  void direction(std::size_t i, const Step& step, const Tensor& gradient, const Tensor& u) final;

  MuonOptions options_;
  std::vector<Tensor> momentum_;  // of the matrices
};

}  // namespace monge::optim
