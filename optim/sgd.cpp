// Stochastic gradient descent with momentum, in PyTorch's form (Sutskever et al. 2013 up to the scale of the buffer):
//
//   b = mu b + g  (b = g at the first step)      u = nesterov ? g + mu b : b
//   p = (1 - lr wd) p - lr u
#include "core/error.h"
#include "optim/rules.h"

namespace monge::optim {
namespace {

struct SgdOptions : Options {
  double momentum = 0.9;
  bool nesterov = false;
  void fields(Fields& f) override {
    f("momentum", momentum, {.doc = "decay of the running sum of gradients; 0: none", .min = 0.0, .max = 1.0});
    f("nesterov", nesterov, {.doc = "look one momentum step ahead"});
  }
  void check() const override {
    if (momentum >= 1.0) throw InputError("optimizer.momentum must be less than 1");
    if (nesterov && momentum == 0.0) throw InputError("optimizer.nesterov needs optimizer.momentum greater than 0");
  }
};

class SgdRule : public Rule {
 public:
  SgdRule(const SgdOptions& options, nn::ParameterStore& store, const std::vector<Segment>& segments)
      : options_(options), store_(store), segments_(segments) {
    if (options.momentum > 0.0) {
      const Tensor& values = store.values();
      buffer_ = Tensor::zeros(values.shape(), values.dtype(), values.device(), Pool::optimizer);
    }
  }

  void update(const Tensor& control) override {
    for (const Segment& s : segments_) {
      control.backend().sgd({.param = piece(store_.values(), s),
                             .grad = piece(store_.grads(), s),
                             .buffer = piece(buffer_, s),
                             .copy = piece(store_.copies(), s),
                             .control = control,
                             .lr_scale = s.lr_scale,
                             .momentum = options_.momentum,
                             .weight_decay = s.weight_decay,
                             .nesterov = options_.nesterov});
    }
  }
  std::vector<NamedTensor> state() const override {
    if (!buffer_.defined()) return {};
    return {{"sgd.buffer", buffer_}};
  }

 private:
  SgdOptions options_;
  nn::ParameterStore& store_;
  std::vector<Segment> segments_;
  Tensor buffer_;
};

}  // namespace

void add_sgd(RuleRegistry& registry) {
  registry.add<SgdOptions>("sgd", "gradient descent with momentum",
                           [](const SgdOptions& o, nn::ParameterStore& store, const std::vector<Segment>& segments) {
                             return std::make_unique<SgdRule>(o, store, segments);
                           });
}

}  // namespace monge::optim
