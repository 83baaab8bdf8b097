// Sophia-G (Liu et al. 2023, arXiv:2305.14342): momentum over a running average of the diagonal of the Gauss-Newton
// matrix, clipped,
//
//   m = b1 m + (1 - b1) g        u = clamp(m / (rho h), -1, 1)
//   every few steps:  h = b2 h + (1 - b2) B s^2
//
// with s the gradient of the mean loss under B targets drawn from the model, so that B s^2 estimates the diagonal for
// one target. Where it is not clamped, u is 1 / rho times a Newton step.
#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/rules/elementwise.h"

namespace monge::optim {
namespace {

struct SophiaOptions : Options {
  std::vector<double> betas{0.965, 0.99};
  double rho = 0.04;
  std::int64_t every = 10;
  void fields(Fields& f) override {
    f("betas", betas, {.doc = "decay of the averaged gradient and of the curvature", .min = 0.0, .max = 1.0});
    f("rho", rho,
      {.doc = "scale of the curvature: the smaller, the more elements are clamped, which change by lr",
       .min = 0.0,
       .exclusive_min = true});
    f("every", every, {.doc = "steps between two measurements of the curvature", .unit = "steps", .min = 1});
  }
  void check() const override { check_betas(betas, {0.965, 0.99}); }
};

class Sophia : public Rule {
 public:
  Sophia(const SophiaOptions& options, const RuleContext& context)
      : Rule(context), options_(options), segments_(segments_of(context)) {
    for (const Segment& s : segments_) {
      momentum_.push_back(make_state({s.end - s.begin}));
      curvature_.push_back(make_state({s.end - s.begin}));
    }
  }

  bool samples(std::int64_t number) const override { return (number - 1) % options_.every == 0; }

  void sampled(const SampledPass& pass) override {
    for (std::size_t i = 0; i < segments_.size(); ++i) {
      const Tensor estimate = square(segments_[i].view(pass.gradients));
      div(estimate, pass.share, estimate);
      pass.update_average(curvature_[i], options_.betas[1], estimate);
    }
  }

  void directions(const Step& step, const Tensor& u) override {
    const Tensor clip = slot(step.control, Control::clip);
    for (std::size_t i = 0; i < segments_.size(); ++i) {
      const Tensor &m = momentum_[i], &h = curvature_[i];
      step.update_average(m, options_.betas[0], mul(segments_[i].view(step.gradients), clip));
      // Where the curvature is 0 any momentum is clamped.
      const Tensor curvature = scale(h, options_.rho);
      add(curvature, 1e-15, curvature);
      const Tensor signs = sign(m), ratio = mul(m, signs);  // |m| / (rho h)
      div(ratio, curvature, ratio);
      mul(signs, min(ratio, 1.0), segments_[i].view(u));
    }
  }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out;
    for (std::size_t i = 0; i < segments_.size(); ++i) {
      out.push_back({fmt::format("sophia.{}.m", i), momentum_[i]});
      out.push_back({fmt::format("sophia.{}.h", i), curvature_[i]});
    }
    return out;
  }

 private:
  SophiaOptions options_;
  std::vector<Segment> segments_;
  std::vector<Tensor> momentum_, curvature_;  // beside the segments
};

}  // namespace

void add_sophia(RuleRegistry& registry) {
  registry.add<SophiaOptions>(
      "sophia", "momentum over a sampled diagonal curvature, clamped (Sophia-G)",
      [](const SophiaOptions& o, const RuleContext& c) { return std::make_unique<Sophia>(o, c); });
}

}  // namespace monge::optim
