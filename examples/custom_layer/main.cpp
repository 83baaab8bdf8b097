// The whole `monge` program with one more MLP, which YAML calls `squared_gelu`: down(gelu(up(x))^2), the square after
// So et al. 2021, "Primer", arXiv:2109.08668.
#include <tools/monge.h>

#include <cmath>
#include <memory>

namespace {

using monge::autograd::Var;
using monge::nn::LayerContext;

/// What YAML may say about it: model.mlp: {kind: squared_gelu, ratio: 4}
struct SquaredGeluOptions : monge::Options {
  double ratio = 4.0;
  void fields(monge::Fields& f) override { f("ratio", ratio, {.doc = "hidden width", .unit = "x width", .min = 1.0}); }
  std::int64_t hidden(std::int64_t width) const { return std::llround(ratio * static_cast<double>(width)); }
};

class SquaredGelu : public monge::nn::Mlp {
 public:
  SquaredGelu(const SquaredGeluOptions& o, const LayerContext& c)
      : up_({.in = c.width, .out = o.hidden(c.width), .bias = c.bias, .activation = monge::Activation::gelu}),
        down_({.in = o.hidden(c.width), .out = c.width, .bias = c.bias, .stddev = c.residual_stddev}) {
    add_module("up", up_);
    add_module("down", down_);
  }

  Var forward(const Var& x) override {  // (B, T, C) -> (B, T, C)
    const Var h = up_.forward(x);
    return down_.forward(monge::autograd::mul(h, h));
  }

 private:
  monge::nn::Linear up_, down_;
};

}  // namespace

int main(int argc, char** argv) {
  monge::nn::mlps().add<SquaredGeluOptions>(
      "squared_gelu", "two products with gelu squared between",
      [](const SquaredGeluOptions& o, const LayerContext& c) { return std::make_unique<SquaredGelu>(o, c); });
  return monge::tools::run(argc, argv);
}
