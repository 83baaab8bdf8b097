// The `row` update: W_q and W_k receive the damped natural gradient of each row, everything else its true gradient.
#include <gtest/gtest.h>

#include <Eigen/Cholesky>
#include <ostream>

#include "autograd/tape.h"
#include "nn/attention/attention.h"
#include "nn/parameter_store.h"
#include "support/attention_call.h"
#include "support/expect_error.h"

namespace monge::nn {
namespace {

using autograd::Tape;
using test::close;
using test::DenseAttention;
using test::Matrix;
using test::random_matrix;
using test::reference;
using test::to_matrix;
using test::to_tensor;
using test::Vector;

constexpr std::int64_t B = 2, T = 5, H = 4, G = 2, D = 2, C = H * D;

/// A layer with all that can have a gradient, and the loss sum(dout * layer(x)).
struct Layer {
  Layer(const RowMap& map, const std::string& where, const AttentionOptions& options, const HeadBias& head_bias = {},
        bool bias = true)
      : context{.width = C,
                .heads = H,
                .kv_heads = G,
                .layers = 1,
                .context = T,
                .bias = bias,
                .dropout = &dropout,
                .residual_stddev = 0.5},
        position(positions().make(positions().choose(where), context)),
        attention(map, options, context, *position, head_bias),
        store(attention, reference, Precision::float32, 1) {
    const Tensor noise = test::random_tensor({store.flat_size()}, 2, DType::f64, reference, 0.6);
    store.values().backend().add({.a = store.values(), .b = noise, .out = store.values()});
    x = Var::leaf(test::random_tensor({B, T, C}, 3));
    dout = test::random_tensor({B, T, C}, 4);
  }

  double loss() {
    const Tape::Pause pause;
    return autograd::sum(autograd::mul(attention.forward(x), dout)).value().item();
  }
  void backward() {
    store.clear_grads();
    x.clear_grad();
    Tape tape;
    Var y;
    {
      const Tape::Recording recording(tape);
      y = attention.forward(x);
    }
    tape.backward(y, dout);
    store.complete_grads();
  }
  /// Central differences over all elements of `t`.
  std::vector<double> numeric(const Tensor& t) {
    constexpr double h = 1e-5;
    std::vector<double> out(static_cast<std::size_t>(t.numel()));
    auto* const data = t.data_as<double>();
    for (std::size_t i = 0; i < out.size(); ++i) {
      const double kept = data[i];
      data[i] = kept + h;
      const double above = loss();
      data[i] = kept - h;
      out[i] = (above - loss()) / (2 * h);
      data[i] = kept;
    }
    return out;
  }

  DropoutState dropout;
  LayerContext context;
  std::unique_ptr<Position> position;
  RowMapAttention attention;
  ParameterStore store;
  Var x;
  Tensor dout;
};

AttentionOptions everything(bool qk_norm) {
  AttentionOptions o;
  o.qk_norm = qk_norm;
  o.relative_prior = o.key_prior = true;
  return o;
}

struct Case {
  const char* name;
  RowMap map;
  const char* position;
  bool qk_norm = false;
  HeadBias bias;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

const Case cases[] = {
    {"softmax", {}, "none"},
    {"softmax_alibi", {}, "alibi"},
    {"softmax_rope", {}, "rope"},
    {"softmax_normed", {}, "none", true},
    {"softmax_normed_rope", {}, "rope", true},
    {"softmax1", Softmax1Map(), "none"},
    {"entmax15", Entmax15Map(), "none"},
    {"sigmoid", SigmoidMap(), "rope", false, {{-1.0}, true}},
    {"sigmoid_normed", SigmoidMap(), "none", true, {{-1.0, 0.5, 0.0, 1.0}, true}},
    {"softplus", SoftplusMap(), "alibi", false, {{0.3}, true}},
};

class RowUpdate : public testing::TestWithParam<Case> {};

TEST_P(RowUpdate, EveryGradientButThoseOfQueriesAndKeysIsTrue) {
  const Case& c = GetParam();
  Layer layer(c.map, c.position, everything(c.qk_norm), c.bias);
  layer.attention.set_row_damping(RowDamping{.lambda = 0.1});
  layer.backward();
  EXPECT_TRUE(close(layer.x.grad().values(), layer.numeric(layer.x.value()), 1e-7)) << "x";
  for (const auto& entry : layer.store.entries()) {
    auto analytic = layer.store.grad(entry).values(), numeric = layer.numeric(layer.store.value(entry));
    if (entry.name == "qkv.weight") {  // W_v alone
      const auto values_at = static_cast<std::ptrdiff_t>((H + G) * D * C);
      analytic.erase(analytic.begin(), analytic.begin() + values_at);
      numeric.erase(numeric.begin(), numeric.begin() + values_at);
    }
    EXPECT_TRUE(close(analytic, numeric, 1e-7)) << entry.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, RowUpdate, testing::ValuesIn(cases),
                         [](const auto& test) { return std::string(test.param.name); });

/// The layer as its oracle reads it, without biases; the gradient of what attention puts out beside it.
DenseAttention dense(Layer& layer, double rope_base) {
  const Matrix w = to_matrix(layer.store.value(layer.store.entry("qkv.weight")));
  return {.batch = B,
          .tokens = T,
          .heads = H,
          .kv_heads = G,
          .head_dim = D,
          .width = C,
          .scale = 1.0 / std::sqrt(static_cast<double>(D)),
          .map = layer.attention.map(),
          .rope_base = rope_base,
          .x = to_matrix(layer.x.value()),
          .w_q = w.topRows(H * D),
          .w_k = w.middleRows(H * D, G * D),
          .w_v = w.bottomRows(G * D)};
}

double damping(const RowDamping& d, const Matrix& h) {
  const double n = static_cast<double>(h.rows());
  if (d.scale == RowDamping::Scale::absolute) return d.lambda;
  if (d.scale == RowDamping::Scale::trace) return d.lambda * std::max(h.trace(), 0.01) / n;
  return d.lambda / n;
}

TEST(RowUpdateDirection, IsTheDenseSolveOfEachRowPulledBackToTheWeights) {
  using Scale = RowDamping::Scale;
  for (const Scale scale : {Scale::per_key, Scale::absolute, Scale::trace}) {
    for (const RowMap& map : std::vector<RowMap>{SoftmaxMap(), SparsemaxMap(), SigmoidMap()}) {
      for (const bool rotates : {false, true}) {
        Layer layer(map, rotates ? "rope" : "none", {}, {}, /*bias=*/false);
        const RowDamping row{.lambda = 0.1, .scale = scale};
        layer.attention.set_row_damping(row);
        layer.backward();
        const DenseAttention d = dense(layer, rotates ? 10000.0 : 0.0);
        const Matrix dout = to_matrix(layer.dout) * to_matrix(layer.store.value(layer.store.entry("out.weight")));
        const Vector expected = d.pulled_back([&](DenseAttention::Row at) -> Vector {
          const Matrix h = d.metric(at);
          const Matrix shifted = h + damping(row, h) * Matrix::Identity(h.rows(), h.rows());
          return shifted.ldlt().solve(h * d.payoffs(dout, at));
        });
        const auto all = layer.store.grad(layer.store.entry("qkv.weight")).values();
        const std::vector<double> got(all.begin(), all.begin() + d.parameters());
        EXPECT_TRUE(close(got, {expected.begin(), expected.end()}, 1e-11))
            << name_of(map) << " scale " << static_cast<int>(scale);
      }
    }
  }
}

// The negative control of the tests above: let the row's natural gradient through to x, and differences notice.
TEST(RowUpdateDirection, ALeakIntoTheInputIsNoticed) {
  const Var x = Var::leaf(test::random_tensor({B, T, C}, 5));
  const Tensor w = test::random_tensor({(H + 2 * G) * D, C}, 6, DType::f64, reference, 0.5);
  const Tensor dout = test::random_tensor({B, T, H * D}, 7);
  const autograd::AttentionSpec spec{.heads = H, .kv_heads = G, .scale = 0.7};
  const auto gradient = [&](bool leaks) {
    x.clear_grad();
    Tape tape;
    Var y;
    {
      const Tape::Recording recording(tape);
      const auto [for_input, for_weight] = autograd::split_linear(x, Var::leaf(w));
      const Var leaked = autograd::linear(x, w);
      y = leaks ? autograd::attention(Var(for_input.value()), spec, leaked)
                : autograd::attention(for_input, spec, for_weight);
    }
    tape.backward(y, dout);
    return x.grad().values();
  };
  std::vector<double> numeric(static_cast<std::size_t>(x.value().numel()));
  const auto loss = [&] {
    return autograd::sum(autograd::mul(autograd::attention(autograd::linear(x, w), spec), dout)).value().item();
  };
  auto* const data = x.value().data_as<double>();
  for (std::size_t i = 0; i < numeric.size(); ++i) {
    const double kept = data[i];
    data[i] = kept + 1e-5;
    const double above = loss();
    data[i] = kept - 1e-5;
    numeric[i] = (above - loss()) / 2e-5;
    data[i] = kept;
  }
  EXPECT_TRUE(close(gradient(false), numeric, 1e-7));
  EXPECT_GT(test::max_relative_error(gradient(true), numeric), 0.1);
}

TEST(RowUpdateDirection, NeedsASymmetricJacobian) {
  Layer layer(SoftpickMap(), "none", {});
  const std::string message = error_of<std::invalid_argument>([&] { layer.attention.set_row_damping(RowDamping{}); });
  EXPECT_HAS(message, "softpick");
  layer.attention.set_row_damping(std::nullopt);  // nothing to refuse
}

// A bias of the keys shifts all scores of a row by one amount.
TEST(KeyBias, HasNoGradientWhereAShiftOfTheScoresMovesNothing) {
  const auto gradient_of_key_bias = [](const RowMap& map, const char* position) {
    Layer layer(map, position, {});
    layer.backward();
    const auto all = layer.store.grad(layer.store.entry("qkv.bias")).values();
    const double largest = std::abs(*std::ranges::max_element(all, {}, [](double g) { return std::abs(g); }));
    double keys = 0.0;
    for (std::int64_t i = H * D; i < (H + G) * D; ++i)
      keys = std::max(keys, std::abs(all[static_cast<std::size_t>(i)]));
    return keys / largest;
  };
  for (const RowMap& map : std::vector<RowMap>{SoftmaxMap(), SparsemaxMap(), Entmax15Map(), EntmaxMap()}) {
    EXPECT_LE(gradient_of_key_bias(map, "none"), 1e-14) << name_of(map);
    EXPECT_LE(gradient_of_key_bias(map, "alibi"), 1e-14) << name_of(map);
    EXPECT_GT(gradient_of_key_bias(map, "rope"), 1e-3) << name_of(map);
  }
  for (const RowMap& map : std::vector<RowMap>{Softmax1Map(), SigmoidMap(), ReluMap(), SoftplusMap()}) {
    EXPECT_GT(gradient_of_key_bias(map, "none"), 1e-3) << name_of(map);
  }
}

// The same of the Fisher: sum_i 1^T H_i 1, from the sums that the factors are made of.
TEST(KeyBias, HasNoFisherWhereAShiftOfTheScoresMovesNothing) {
  const auto fisher_of_shift = [](const RowMap& map) {
    const auto shipped = test::layer_call(test::random_attention(
        {.batch = B, .tokens = T, .heads = 1, .kv_heads = 1, .head_dim = D, .width = C, .map = map}, 8));
    const Tensor ones = to_tensor(Matrix::Ones(B * T, 1)).reshape({B, T, 1});
    const Tensor sums = Tensor::zeros({B, T}, DType::f64, reference), products = Tensor::like(ones);
    ones.backend().attention_metric(
        {.forward = shipped.call.args, .head = 0, .y = ones, .column_sums = sums, .products = products});
    return to_matrix(sums).sum() - to_matrix(products).squaredNorm();
  };
  for (const RowMap& map : std::vector<RowMap>{SoftmaxMap(), SparsemaxMap(), Entmax15Map(), EntmaxMap()}) {
    EXPECT_NEAR(fisher_of_shift(map), 0.0, 1e-13) << name_of(map);
  }
  for (const RowMap& map : std::vector<RowMap>{Softmax1Map(), SigmoidMap(), ReluMap(), SoftplusMap()}) {
    EXPECT_GT(fisher_of_shift(map), 1e-2) << name_of(map);
  }
}

}  // namespace
}  // namespace monge::nn
