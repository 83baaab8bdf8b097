// The whole `monge` program with one more MLP and one more attention. YAML calls them `squared_gelu`,
// down(gelu(up(x))^2), and `squared_relu`, weights relu(z)^2 / n; the squares are after So et al. 2021, "Primer",
// arXiv:2109.08668.
#include <monge.h>

#include <cmath>
#include <limits>
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

/// relu(z)^2 / n in a row of n keys: each weight depends on its own score, so c is infinite; s = 2 relu(z) / n.
struct SquaredReluMap {
  static constexpr const char* name = "squared_relu";
  static constexpr monge::Metric metric = monge::Metric::conjugate_hessian;

  template <class Row>
  typename Row::Number weights(Row& row) const {
    recompute(row, 0);
    return 0;  // nothing needs to be kept for backward
  }
  template <class Row>
  void recompute(Row& row, typename Row::Number) const {
    using Number = typename Row::Number;
    const auto n = static_cast<Number>(row.size());
    row.apply([n](Number z) { return Row::relu(z) * Row::relu(z) / n; });
  }
  template <class Row, class Number>
  Number curvature(Number weight, Number n) const {
    return 2 * Row::sqrt(weight / n);
  }
  template <class Row>
  typename Row::Number slack(typename Row::Number) const {
    return std::numeric_limits<typename Row::Number>::infinity();
  }
};

}  // namespace

int main(int argc, char** argv) {
  monge::nn::mlps().add<SquaredGeluOptions>(
      "squared_gelu", "two products with gelu squared between",
      [](const SquaredGeluOptions& o, const LayerContext& c) { return std::make_unique<SquaredGelu>(o, c); });
  monge::nn::add_row_map<SquaredReluMap>(monge::nn::attentions(), "weights relu(z)^2 / n");
  return monge::tools::run(argc, argv);
}
