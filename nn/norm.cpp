// The norms that `model.norm` names.
#include "nn/registries.h"

namespace monge::nn {
namespace {

struct NormOptions : Options {
  double eps = 1e-5;
  void fields(Fields& f) override {
    f("eps", eps, {.doc = "added to the variance before the root", .min = 0.0, .exclusive_min = true});
  }
};

/// LayerNorm (Ba et al. 2016, arXiv:1607.06450) or RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467).
class BuiltinNorm : public Norm {
 public:
  BuiltinNorm(NormKind kind, const NormOptions& options, const LayerContext& context)
      : kind_(kind),
        eps_(options.eps),
        gain_(add_parameter("gain", {context.width}, Role::gain, Init::constant(1.0))),
        bias_(context.bias && kind == NormKind::layer
                  ? &add_parameter("bias", {context.width}, Role::bias, Init::constant(0.0))
                  : nullptr) {}

  Var forward(const Var& x) override {
    return kind_ == NormKind::layer ? autograd::layer_norm(x, gain_, bias(), eps_) : autograd::rms_norm(x, gain_, eps_);
  }
  autograd::SumAndNorm forward(const Var& x, const Var& residual) override {
    return autograd::add_norm(kind_, x, residual, gain_, bias(), eps_);
  }

 private:
  Var bias() const { return bias_ != nullptr ? bias_->var() : Var(); }

  NormKind kind_;
  double eps_;
  Parameter& gain_;
  Parameter* bias_;
};

/// x itself.
class NoNorm : public Norm {
 public:
  using Norm::forward;
  Var forward(const Var& x) override { return x; }
};

}  // namespace

Registry<Norm, const LayerContext&>& norms() {
  static auto& registry = *built_in([] {
    auto* r = new Registry<Norm, const LayerContext&>("norm");
    const auto add = [r](const char* name, const char* doc, NormKind kind) {
      r->add<NormOptions>(name, doc, [kind](const NormOptions& o, const LayerContext& c) {
        return std::make_unique<BuiltinNorm>(kind, o, c);
      });
    };
    add("layernorm", "zero mean and unit variance, then a gain (and a bias where model.bias)", NormKind::layer);
    add("rmsnorm", "unit root mean square, then a gain", NormKind::rms);
    r->add<NoOptions>("none", "nothing is normalised",
                      [](const NoOptions&, const LayerContext&) { return std::make_unique<NoNorm>(); });
    return r;
  }());
  return registry;
}

}  // namespace monge::nn
