// AdamW (Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2019, arXiv:1711.05101):
//
//   m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
//   p = (1 - lr wd) p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
#include "core/error.h"
#include "optim/rules.h"

namespace monge::optim {
namespace {

struct AdamWOptions : Options {
  std::vector<double> betas{0.9, 0.999};
  double eps = 1e-8;
  void fields(Fields& f) override {
    f("betas", betas, {.doc = "decay of the first and second moment", .min = 0.0, .max = 1.0});
    f("eps", eps, {.doc = "added to the root of the second moment", .min = 0.0});
  }
  void check() const override {
    if (betas.size() != 2 || betas[0] >= 1.0 || betas[1] >= 1.0) {
      throw InputError("optimizer.betas must be two numbers in [0, 1), for example [0.9, 0.99]");
    }
  }
};

class AdamWRule : public Rule {
 public:
  AdamWRule(const AdamWOptions& options, nn::ParameterStore& store, const std::vector<Segment>& segments)
      : options_(options),
        store_(store),
        segments_(segments),
        m_(Tensor::zeros(store.values().shape(), store.values().dtype(), store.values().device(), Pool::optimizer)),
        v_(Tensor::zeros(store.values().shape(), store.values().dtype(), store.values().device(), Pool::optimizer)) {}

  void update(const Tensor& control) override {
    for (const Segment& s : segments_) {
      control.backend().adamw({.param = piece(store_.values(), s),
                               .grad = piece(store_.grads(), s),
                               .m = piece(m_, s),
                               .v = piece(v_, s),
                               .copy = piece(store_.copies(), s),
                               .control = control,
                               .lr_scale = s.lr_scale,
                               .beta1 = options_.betas[0],
                               .beta2 = options_.betas[1],
                               .eps = options_.eps,
                               .weight_decay = s.weight_decay});
    }
  }
  std::vector<NamedTensor> state() const override { return {{"adamw.m", m_}, {"adamw.v", v_}}; }

 private:
  AdamWOptions options_;
  nn::ParameterStore& store_;
  std::vector<Segment> segments_;
  Tensor m_, v_;
};

}  // namespace

void add_adamw(RuleRegistry& registry) {
  registry.add<AdamWOptions>(
      "adamw", "Adam with decoupled weight decay",
      [](const AdamWOptions& o, nn::ParameterStore& store, const std::vector<Segment>& segments) {
        return std::make_unique<AdamWRule>(o, store, segments);
      });
}

}  // namespace monge::optim
