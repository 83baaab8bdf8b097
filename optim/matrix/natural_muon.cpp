// Natural Muon: the natural gradient where its steps are short, and where they are long a step of (compositional) Muon
// along it. With N = (G (x) A)^-1 M the step of K-FAC (kfac.cpp), C the metric of the matrix, and s the scale of
// muon.h,
//
//   X = C N newton / (s lr)        u = s C^-1 (X X^T + I)^-1/2 X
//
// The singular values sigma of X become sigma / sqrt(1 + sigma^2): long ones count as 1, as those of a polar factor do,
// short ones stay, so that lr u is the step `newton` N of the natural gradient. So `lr` is a trust region in Muon's
// norm of C dW, which follows the schedule; `newton` N does not, and vanishes with the gradients.
//
// In the circuits of attention (circuit_metric.h) C is the root of the partner's Gram matrix, so that what is bounded
// is the change of W_q^T W_k and W_o W_v, half of it for each of the two, head by head; elsewhere it is I. With C = I,
// G = I and a vanishing lr it is Newton-Muon (newton_muon.cpp); with G = A = I, Compositional Muon.
#include <map>
#include <optional>

#include "optim/arithmetic.h"
#include "optim/matrix/circuit_metric.h"
#include "optim/matrix/inverse_root.h"
#include "optim/matrix/kfac.h"
#include "optim/matrix/muon.h"
#include "optim/rules.h"

namespace monge::optim {
namespace {

struct NaturalMuonOptions : CurvatureOptions {
  double newton = 1.0;
  double circuit_damping = 1.0;
  std::string scale = "rms";
  void fields(Fields& f) override {
    CurvatureOptions::fields(f);
    f("newton", newton,
      {.doc = "length of a step within the bound, as a multiple of the natural gradient's", .min = 0.0, .max = 1e6});
    f("circuit_damping", circuit_damping,
      {.doc = "added to the Gram matrices of the partners in attention",
       .min = 0.0,
       .max = 1e12,
       .exclusive_min = true});
    add_muon_scale(f, scale);
  }
};

class NaturalMuon : public Kfac {
 public:
  NaturalMuon(const NaturalMuonOptions& options, const RuleContext& context)
      : Kfac("natural_muon", Diagonal::kronecker, options, /*graft=*/false, /*kl_clip=*/0.0, context),
        circuits_(circuits_of(context.model, context.store)),
        metric_(make_partner_metric(circuits_, context.store,
                                    {.damping = options.circuit_damping, .isotropic = false, .legs = legs})) {
    std::map<std::int64_t, std::int64_t> counts;
    for (const Matrix& matrix : matrices()) {
      Bounded b{.part = circuit_part(circuits_, legs, matrix)};
      b.transposed = b.part ? !b.part->by_rows() : matrix.rows > matrix.cols;
      b.blocks = b.part ? b.part->heads : 1;
      b.rows = (b.transposed ? matrix.cols : matrix.rows) / b.blocks;
      b.length = muon_scale(options.scale, matrix.rows / (b.part && !b.transposed ? b.blocks : 1), matrix.cols);
      if (b.part) b.length *= 0.5;
      b.factor = matrix.lr_scale > 0.0 ? options.newton / (b.length * matrix.lr_scale) : 0.0;
      b.first = counts[b.rows];
      counts[b.rows] += b.blocks;
      bounded_.push_back(b);
    }
    for (const auto& [n, count] : counts) {
      eyes_[n] = identity({count, n, n}, context.store.values().dtype(), context.store.values().device());
    }
  }

  std::vector<std::string> notes() const override {
    std::vector<std::string> out = Kfac::notes();
    for (std::string& note : metric_->notes()) out.push_back(std::move(note));
    return out;
  }

 private:
  inline static const std::vector<Leg> legs{Leg::query, Leg::key, Leg::value, Leg::output};

  /// How the step of a matrix is bounded: as blocks (blocks, rows, ...) of itself or of its transpose.
  struct Bounded {
    std::optional<CircuitPart> part;
    bool transposed = false;
    std::int64_t blocks = 1, rows = 0, first = 0;  // first: of its blocks, among those with as many rows
    double length = 1.0, factor = 0.0;
  };

  void prepare(const Step& step) override { metric_->measure(step); }

  LegFactors in_circuit(const Bounded& b, LegFactors (CircuitMetric::*which)(std::size_t, Leg) const) const {
    if (!b.part) return {};
    return ((*metric_).*which)(b.part->circuit, b.part->leg).of_heads(b.part->first, b.part->heads);
  }

  /// The inverse roots of all matrices are computed together.
  void finish(const Step& step, const Tensor& u) override {
    // Singular values beyond this many times the bound would leave nothing of the others among the rounding of floats.
    constexpr double longest = 1e3;
    std::vector<Tensor> blocks;
    std::map<std::int64_t, Tensor> grams, roots;
    for (const auto& [n, eye] : eyes_) grams[n] = eye.clone();
    for (std::size_t i = 0; i < bounded_.size(); ++i) {
      const Bounded& b = bounded_[i];
      const Tensor in_bounds = div(scale(matrices()[i].view(u), b.factor), slot(step.control, Control::lr));
      const Tensor x = between(in_circuit(b, &CircuitMetric::roots), in_bounds);
      mul(x, clip_factor(longest, norm(x)), x);
      const Tensor wide = b.transposed ? transpose(x) : x;
      blocks.push_back(wide.reshape({b.blocks, b.rows, wide.size(1)}));
      add_matmul(blocks.back(), transposed(blocks.back()), grams[b.rows].slice(b.first, b.first + b.blocks));
    }
    for (const auto& [n, eye] : eyes_) {
      roots[n] = Tensor::like(eye);
      inverse_roots(grams[n], eye, roots[n]);
    }
    for (std::size_t i = 0; i < bounded_.size(); ++i) {
      const Bounded& b = bounded_[i];
      const Tensor short_blocks = Tensor::like(blocks[i]);
      matmul(roots[b.rows].slice(b.first, b.first + b.blocks), blocks[i], short_blocks);
      const Tensor rows = short_blocks.reshape({b.blocks * b.rows, blocks[i].size(2)});
      const Tensor bounded = between(in_circuit(b, &CircuitMetric::factors), b.transposed ? transpose(rows) : rows);
      scale(bounded, b.length, matrices()[i].view(u));
    }
  }

  std::vector<Circuit> circuits_;
  std::unique_ptr<CircuitMetric> metric_;
  std::vector<Bounded> bounded_;         // beside the matrices
  std::map<std::int64_t, Tensor> eyes_;  // by the rows of blocks
};

}  // namespace

void add_natural_muon(RuleRegistry& registry) {
  registry.add<NaturalMuonOptions>(
      "natural_muon", "kfac with steps bounded as those of muon, in attention by circuits",
      [](const NaturalMuonOptions& o, const RuleContext& c) { return std::make_unique<NaturalMuon>(o, c); });
}

}  // namespace monge::optim
