// LAMB (You et al. 2020, arXiv:1904.00962): AdamW's direction, decay included, scaled to the norm of the parameter,
//
//   r = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay p        u = r min(|p|, cap) / |r|
//
// for each parameter; u = r for gains and biases, and where a norm is 0.
#include "optim/arithmetic.h"
#include "optim/rules/elementwise.h"

namespace monge::optim {
namespace {

struct LambOptions : AdamOptions<AdamWRule> {
  double cap = 10.0;
  LambOptions() { eps = 1e-6; }
  void fields(Fields& f) override {
    AdamOptions::fields(f);
    f("cap", cap, {.doc = "norm of a parameter above which its steps grow no longer; 0: none", .min = 0.0});
  }
};

class Lamb : public Rule {
 public:
  Lamb(const LambOptions& options, const RuleContext& context)
      : Rule(context), cap_(options.cap), adam_(options.rule(), context, "lamb") {}

  bool handles_decay() const override { return true; }

  void directions(const Step& step, const Tensor& u) override {
    adam_.directions(step, u);
    for (const Target& target : context().targets) {
      const Tensor p = target.view(store().values()), r = target.view(u);
      if (target.weight_decay > 0.0) axpy(target.weight_decay, p, r);
      if (target.entry.role == nn::Role::gain || target.entry.role == nn::Role::bias) continue;
      const Tensor length = norm(p);
      if (cap_ > 0.0) min(length, cap_, length);
      mul(r, positive_or(div(length, norm(r)), 1.0), r);
    }
  }

  std::vector<NamedTensor> state() const override { return adam_.state(); }

 private:
  double cap_;
  ElementwiseRule adam_;
};

}  // namespace

void add_lamb(RuleRegistry& registry) {
  registry.add<LambOptions>("lamb", "AdamW with steps in proportion to each parameter's norm",
                            [](const LambOptions& o, const RuleContext& c) { return std::make_unique<Lamb>(o, c); });
}

}  // namespace monge::optim
