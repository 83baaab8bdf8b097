// Sophia-G (Liu et al. 2023, arXiv:2305.14342): momentum over a running average of the diagonal of the Gauss-Newton
// matrix, clipped,
//
//   m = b1 m + (1 - b1) g        u = clamp(m / (rho h), -1, 1)
//   every few steps:  h = b2 h + (1 - b2) B s^2
//
// with s the gradient of the mean loss under targets drawn from the model, and B how many these are, so that B s^2
// estimates the diagonal for one target. Before the clamp decides, u is a Newton step of length 1 / rho.
#include "core/error.h"
#include "optim/device_math.h"
#include "optim/elementwise.h"

namespace monge::optim {
namespace {

struct SophiaOptions : Options {
  std::vector<double> betas{0.965, 0.99};
  double rho = 0.04;
  std::int64_t every = 10;
  void fields(Fields& f) override {
    f("betas", betas, {.doc = "decay of the averaged gradient and of the curvature", .min = 0.0, .max = 1.0});
    f("rho", rho,
      {.doc = "scale of the curvature: the smaller, the more elements are clamped and move by lr",
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
      const Tensor s = piece(pass.gradients, segments_[i]), square = product(s, s);
      square.backend().pointwise(Pointwise::divide, square, pass.share, square);
      average_into(curvature_[i], options_.betas[1], square);
    }
  }

  void directions(const Step& step, const Tensor& u) override {
    Backend& backend = u.backend();
    const Tensor clip = step.control.slice(Control::clip, Control::clip + 1);
    for (std::size_t i = 0; i < segments_.size(); ++i) {
      average_into(momentum_[i], options_.betas[0], product(piece(step.gradients, segments_[i]), clip));
      // Where the curvature is 0 any momentum is clamped.
      const Tensor scaled = Tensor::like(curvature_[i]);
      backend.scale(curvature_[i], options_.rho, scaled);
      backend.add(scaled, number(1e-15, u), scaled);
      const Tensor sign = calculate(Pointwise::sign, momentum_[i]), size = product(momentum_[i], sign);
      backend.pointwise(Pointwise::divide, size, scaled, size);
      backend.mul(sign, calculate(Pointwise::minimum, size, number(1.0, u)), piece(u, segments_[i]));
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
