// LAMB (You et al. 2020, arXiv:1904.00962): AdamW's direction with its decay, at a length in proportion to that of the
// parameter,
//
//   r = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay p        u = r min(|p|, 10) / |r|
//
// for each parameter; u = r for gains and biases, and where a norm is 0.
#include "optim/device_math.h"
#include "optim/elementwise.h"

namespace monge::optim {
namespace {

struct LambOptions : AdamOptions<AdamWRule> {
  LambOptions() { eps = 1e-6; }
};

class Lamb : public Rule {
 public:
  Lamb(const LambOptions& options, const RuleContext& context)
      : Rule(context), adam_(options.rule(), context, "lamb") {}

  bool takes_decay() const override { return true; }

  void directions(const Step& step, const Tensor& u) override {
    adam_.directions(step, u);
    Backend& backend = u.backend();
    for (const Target& target : context().targets) {
      const Tensor p = store().values().flat_view(target.entry.begin, target.entry.shape);
      const Tensor r = u.flat_view(target.entry.begin, target.entry.shape);
      if (target.weight_decay > 0.0) backend.add_scaled(p, target.weight_decay, r);
      if (target.entry.role == nn::Role::gain || target.entry.role == nn::Role::bias) continue;
      const Tensor length = calculate(Pointwise::minimum, norm_of(p), number(10.0, p));
      const Tensor ratio = calculate(Pointwise::divide, length, norm_of(r));
      const Tensor positive = calculate(Pointwise::positive, ratio);  // 0 becomes 1
      backend.add(ratio, number(1.0, p), ratio);
      backend.add_scaled(positive, -1.0, ratio);
      backend.mul(r, ratio, r);
    }
  }

  std::vector<NamedTensor> state() const override { return adam_.state(); }

 private:
  ElementwiseRule adam_;
};

}  // namespace

void add_lamb(RuleRegistry& registry) {
  registry.add<LambOptions>("lamb", "AdamW with steps in proportion to each parameter's norm",
                            [](const LambOptions& o, const RuleContext& c) { return std::make_unique<Lamb>(o, c); });
}

}  // namespace monge::optim
