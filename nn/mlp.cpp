// The MLPs that `model.mlp` names.
#include <cmath>

#include "nn/registries.h"

namespace monge::nn {
namespace {

struct MlpOptions : Options {
  double ratio = 4.0;
  void fields(Fields& f) override {
    f("ratio", ratio, {.doc = "hidden width", .unit = "x width", .min = 0.0, .max = 100.0, .exclusive_min = true});
  }
  std::int64_t hidden(std::int64_t width) const {
    return std::max<std::int64_t>(1, std::llround(ratio * static_cast<double>(width)));
  }
};

struct GeluOptions : MlpOptions {
  bool tanh = false;
  void fields(Fields& f) override {
    MlpOptions::fields(f);
    f("tanh", tanh, {.doc = "the tanh approximation of gelu, as GPT-2 has it, instead of the exact function"});
  }
};

/// down(activation(up(x)))
class TwoLayerMlp : public Mlp {
 public:
  TwoLayerMlp(const MlpOptions& o, Activation activation, const LayerContext& c)
      : up_({.in = c.width, .out = o.hidden(c.width), .bias = c.bias, .activation = activation}),
        down_({.in = o.hidden(c.width), .out = c.width, .bias = c.bias, .stddev = c.residual_stddev}) {
    add_module("up", up_);
    add_module("down", down_);
  }
  Var forward(const Var& x) override { return in_turn(up_, down_, x); }

 private:
  Linear up_, down_;
};

/// down(silu(gate(x)) * up(x)) (Shazeer 2020, arXiv:2002.05202).
class SwigluMlp : public Mlp {
 public:
  SwigluMlp(const MlpOptions& o, const LayerContext& c)
      : gate_({.in = c.width, .out = o.hidden(c.width), .bias = c.bias, .activation = Activation::silu}),
        up_({.in = c.width, .out = o.hidden(c.width), .bias = c.bias}),
        down_({.in = o.hidden(c.width), .out = c.width, .bias = c.bias, .stddev = c.residual_stddev}) {
    add_module("gate", gate_);
    add_module("up", up_);
    add_module("down", down_);
  }
  Var forward(const Var& x) override { return down_.forward(autograd::mul(gate_.forward(x), up_.forward(x))); }

 private:
  Linear gate_, up_, down_;
};

}  // namespace

Registry<Mlp, const LayerContext&>& mlps() {
  static auto& registry = *built_in([] {
    auto* r = new Registry<Mlp, const LayerContext&>("mlp");
    r->add<GeluOptions>("gelu", "two products with gelu between", [](const GeluOptions& o, const LayerContext& c) {
      const Activation activation = o.tanh ? Activation::gelu_tanh : Activation::gelu;
      return std::make_unique<TwoLayerMlp>(o, activation, c);
    });
    r->add<MlpOptions>("relu", "two products with relu between: linear in pieces",
                       [](const MlpOptions& o, const LayerContext& c) {
                         return std::make_unique<TwoLayerMlp>(o, Activation::relu, c);
                       });
    r->add<MlpOptions>("swiglu", "three products, the hidden layer gated by silu; ratio 8/3 has the size of gelu's 4",
                       [](const MlpOptions& o, const LayerContext& c) { return std::make_unique<SwigluMlp>(o, c); });
    return r;
  }());
  return registry;
}

}  // namespace monge::nn
