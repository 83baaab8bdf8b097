// Every op against central differences, over odd shapes and all options. An op without a case fails the last test.
#include "autograd/ops.h"

#include <gtest/gtest.h>

#include <set>

#include "autograd/gradcheck.h"
#include "support/compare.h"
#include "support/spans.h"

namespace monge::autograd {
namespace {

using test::random_ids;
using test::random_tensor;
using test::reference;
using Vars = std::vector<Var>;

struct Case {
  std::string op;
  std::string variant;
  std::vector<Shape> inputs;
  std::function<Var(const Vars&)> f;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.op << " " << c.variant; }

const Random stream{.seed = 5, .stream = 3, .step = {}};

Tensor targets(std::vector<std::int32_t> values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())}, reference);
}

AttentionSpec heads(std::int64_t heads, std::int64_t kv_heads, double scale = 1.0) {
  AttentionSpec spec;
  spec.heads = heads;
  spec.kv_heads = kv_heads;
  spec.scale = scale;
  return spec;
}

Case attention_case(const std::string& variant, std::int64_t batch, std::int64_t tokens, std::int64_t head_dim,
                    AttentionSpec spec) {
  const Shape qkv{batch, tokens, (spec.heads + 2 * spec.kv_heads) * head_dim};
  return {"attention", variant, {qkv}, [spec](const Vars& v) { return attention(v[0], spec); }};
}

/// Queries (2, 3, H D) and another sequence's keys and values (2, 4, 2 G D), of which the second has three.
Case cross_attention_case(const std::string& variant, std::int64_t head_dim, AttentionSpec spec) {
  const Shape q{2, 3, spec.heads * head_dim}, kv{2, 4, 2 * spec.kv_heads * head_dim};
  spec.causal = false;
  spec.spans = test::padding_spans({4, 3}, 3, reference);
  return {"cross_attention", variant, {q, kv}, [spec](const Vars& v) { return cross_attention(v[0], v[1], spec); }};
}

/// Both results of add_norm, so that both gradients arrive.
Var both(const SumAndNorm& r) { return add(scale(r.sum, 0.3), r.norm); }

Var cube(const Var& x) {
  return custom_op(
      "test_cube", {x},
      [](const std::vector<Tensor>& in) {
        const Tensor y = Tensor::like(in[0]);
        y.backend().mul({.a = in[0], .b = in[0], .out = y});
        y.backend().mul({.a = y, .b = in[0], .out = y});
        return y;
      },
      [](const std::vector<Tensor>& in, const Tensor&, const Tensor& dy) {
        const Tensor dx = Tensor::like(dy);
        dx.backend().mul({.a = dy, .b = in[0], .out = dx});
        dx.backend().mul({.a = dx, .b = in[0], .out = dx});
        dx.backend().scale({.x = dx, .factor = 3.0, .out = dx});
        return std::vector<Tensor>{dx};
      });
}

std::vector<Case> product_cases() {
  std::vector<Case> cases;
  for (const bool batched : {false, true}) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        Shape a = ta ? Shape{5, 3} : Shape{3, 5}, b = tb ? Shape{4, 5} : Shape{5, 4};
        if (batched) a = {2, a[0], a[1]}, b = {2, b[0], b[1]};
        cases.push_back({"matmul",
                         std::string(batched ? "batch_" : "") + (ta ? "t" : "n") + (tb ? "t" : "n"),
                         {a, b},
                         [=](const Vars& v) { return matmul(v[0], v[1], ta, tb); }});
      }
    }
  }
  cases.push_back({"matmul", "with_itself", {{3, 4}}, [](const Vars& v) { return matmul(v[0], v[0], true, false); }});
  for (const auto kind : {Activation::none, Activation::gelu, Activation::gelu_tanh, Activation::silu}) {
    const std::string name(name_of(kind));
    cases.push_back({"linear", name, {{2, 3, 5}, {7, 5}}, [=](const Vars& v) { return linear(v[0], v[1], {}, kind); }});
    cases.push_back({"linear", name + "_bias", {{2, 3, 5}, {7, 5}, {7}}, [=](const Vars& v) {
                       return linear(v[0], v[1], v[2], kind);
                     }});
  }
  cases.push_back({"mlp", "without_bias", {{2, 3, 5}, {7, 5}, {4, 7}}, [](const Vars& v) {
                     return mlp(v[0], {v[1], {}, v[2], {}}, Activation::gelu);
                   }});
  cases.push_back({"mlp",
                   "constant_weights",
                   {{2, 3, 5}},
                   [w1 = random_tensor({7, 5}, 3), w2 = random_tensor({4, 7}, 4)](const Vars& v) {
                     return mlp(v[0], {w1, {}, w2, {}}, Activation::silu);
                   }});
  // Each reading alone gives true gradients: the first to x and the bias, the second to the weight.
  const Tensor x = random_tensor({2, 3, 5}, 1), w = random_tensor({7, 5}, 2);
  cases.push_back({"split_linear", "for_input", {{2, 3, 5}, {7}}, [=](const Vars& v) {
                     return gelu(split_linear(v[0], w, v[1]).for_input);
                   }});
  cases.push_back(
      {"split_linear", "for_weight", {{7, 5}}, [=](const Vars& v) { return gelu(split_linear(x, v[0]).for_weight); }});
  cases.push_back({"split_linear", "both", {{7, 5}}, [=](const Vars& v) {
                     const SplitLinear y = split_linear(x, v[0]);
                     return add(y.for_weight, scale(linear(x, v[0]), 0.5));
                   }});
  cases.push_back({"linear", "twice", {{3, 5}, {5, 5}, {5}}, [](const Vars& v) {
                     return linear(linear(v[0], v[1], v[2], Activation::gelu), v[1], v[2]);
                   }});
  return cases;
}

std::vector<Case> elementwise_cases() {
  return {
      {"add", "same", {{3, 5}, {3, 5}}, [](const Vars& v) { return add(v[0], v[1]); }},
      {"add", "suffix", {{2, 3, 5}, {3, 5}}, [](const Vars& v) { return add(v[0], v[1]); }},
      {"add", "one", {{3, 5}, {1}}, [](const Vars& v) { return add(v[0], v[1]); }},
      {"add", "itself", {{3, 5}}, [](const Vars& v) { return add(v[0], v[0]); }},
      {"mul", "same", {{3, 5}, {3, 5}}, [](const Vars& v) { return mul(v[0], v[1]); }},
      {"mul", "suffix", {{2, 3, 5}, {5}}, [](const Vars& v) { return mul(v[0], v[1]); }},
      {"mul", "one", {{3, 5}, {1, 1}}, [](const Vars& v) { return mul(v[0], v[1]); }},
      {"mul", "itself", {{3, 5}}, [](const Vars& v) { return mul(v[0], v[0]); }},
      {"scale", "minus", {{3, 5}}, [](const Vars& v) { return scale(v[0], -2.5); }},
      {"gelu", "odd", {{3, 17}}, [](const Vars& v) { return gelu(v[0]); }},
      {"gelu_tanh", "odd", {{3, 17}}, [](const Vars& v) { return gelu_tanh(v[0]); }},
      {"silu", "odd", {{3, 17}}, [](const Vars& v) { return silu(v[0]); }},
      {"relu", "odd", {{3, 17}}, [](const Vars& v) { return relu(v[0]); }},
      {"sigmoid", "odd", {{3, 17}}, [](const Vars& v) { return sigmoid(v[0]); }},
      {"tanh", "odd", {{3, 17}}, [](const Vars& v) { return tanh(v[0]); }},
      {"exp", "odd", {{3, 17}}, [](const Vars& v) { return exp(v[0]); }},
      {"abs", "odd", {{3, 17}}, [](const Vars& v) { return abs(v[0]); }},
      {"log", "of_positive", {{3, 17}}, [](const Vars& v) { return log(exp(scale(v[0], 0.5))); }},
      {"sqrt", "of_positive", {{3, 17}}, [](const Vars& v) { return sqrt(exp(v[0])); }},
      {"reciprocal", "of_positive", {{3, 17}}, [](const Vars& v) { return reciprocal(exp(v[0])); }},
      {"add", "sub", {{2, 3, 5}, {5}}, [](const Vars& v) { return sub(v[0], v[1]); }},
      {"mul", "div", {{2, 3, 5}, {5}}, [](const Vars& v) { return div(v[0], exp(v[1])); }},
      {"maximum", "same", {{3, 17}, {3, 17}}, [](const Vars& v) { return maximum(v[0], v[1]); }},
      {"maximum", "suffix", {{3, 17}, {17}}, [](const Vars& v) { return maximum(v[0], v[1]); }},
      {"minimum", "same", {{3, 17}, {3, 17}}, [](const Vars& v) { return minimum(v[0], v[1]); }},
      {"minimum", "one", {{3, 17}, {1}}, [](const Vars& v) { return minimum(v[0], v[1]); }},
      {"cast", "twice", {{3, 17}}, [](const Vars& v) { return mul(cast(v[0], DType::f64), cast(v[0], DType::f64)); }},
      {"dropout", "third", {{3, 17}}, [](const Vars& v) { return dropout(v[0], 1.0 / 3.0, stream); }},
  };
}

std::vector<Case> shape_cases() {
  return {
      {"reshape",
       "to_three",
       {{6, 5}},
       [](const Vars& v) {
         return gelu(reshape(v[0], {2, 3, 5}));
       }},
      {"on_gradient",
       "passes_on",
       {{3, 2}},
       [](const Vars& v) { return mul(on_gradient(v[0], [](const Tensor&) {}), v[0]); }},
      {"slice", "middle", {{7, 3}}, [](const Vars& v) { return slice(v[0], 2, 5); }},
      {"slice", "overlapping", {{7, 3}}, [](const Vars& v) { return mul(slice(v[0], 0, 5), slice(v[0], 2, 7)); }},
      {"slice", "last", {{2, 3, 7}}, [](const Vars& v) { return slice(v[0], -1, 2, 6); }},
      {"slice",
       "inner_overlapping",
       {{3, 7, 2}},
       [](const Vars& v) { return mul(slice(v[0], 1, 0, 5), slice(v[0], 1, 2, 7)); }},
      {"concat",
       "first",
       {{2, 3}, {4, 3}},
       [](const Vars& v) {
         return concat({v[0], v[1]}, 0);
       }},
      {"concat", "last", {{2, 3, 4}, {2, 3, 1}, {2, 3, 5}}, [](const Vars& v) { return concat(v, -1); }},
      {"concat",
       "with_itself",
       {{3, 2}},
       [](const Vars& v) {
         return concat({v[0], gelu(v[0]), v[0]}, 1);
       }},
      {"transpose", "matrix", {{3, 5}}, [](const Vars& v) { return transpose(v[0], 0, 1); }},
      {"transpose", "middle", {{2, 3, 5, 4}}, [](const Vars& v) { return transpose(v[0], 1, 2); }},
      {"transpose",
       "far",
       {{2, 3, 5, 4}},
       [](const Vars& v) { return mul(transpose(v[0], 0, -1), transpose(v[0], 3, 0)); }},
      {"sum", "all", {{3, 5}}, [](const Vars& v) { return sum(v[0]); }},
      {"sum", "first", {{3, 5, 2}}, [](const Vars& v) { return sum(v[0], 0); }},
      {"sum", "middle", {{3, 5, 2}}, [](const Vars& v) { return sum(v[0], 1); }},
      {"sum", "last", {{3, 5, 2}}, [](const Vars& v) { return sum(v[0], -1); }},
      {"mean", "all", {{3, 5}}, [](const Vars& v) { return mean(v[0]); }},
      {"mean", "squared_error", {{3, 5}, {3, 5}}, [](const Vars& v) { return mean_squared_error(v[0], v[1]); }},
      {"mean", "middle", {{3, 5, 2}}, [](const Vars& v) { return mean(v[0], -2); }},
  };
}

std::vector<Case> row_cases() {
  std::vector<Case> cases{
      {"softmax", "odd", {{3, 17}}, [](const Vars& v) { return softmax(v[0]); }},
      {"softmax", "one_column", {{3, 1}}, [](const Vars& v) { return softmax(v[0]); }},
      {"layer_norm", "plain", {{2, 3, 7}}, [](const Vars& v) { return layer_norm(v[0], {}, {}); }},
      {"layer_norm", "gain", {{3, 7}, {7}}, [](const Vars& v) { return layer_norm(v[0], v[1], {}); }},
      {"layer_norm", "gain_bias", {{2, 3, 7}, {7}, {7}}, [](const Vars& v) { return layer_norm(v[0], v[1], v[2]); }},
      {"layer_norm",
       "twice",
       {{3, 7}, {7}, {7}},
       [](const Vars& v) { return layer_norm(gelu(layer_norm(v[0], v[1], v[2])), v[1], v[2], 1e-3); }},
      {"rms_norm", "plain", {{3, 7}}, [](const Vars& v) { return rms_norm(v[0], {}); }},
      {"rms_norm", "gain", {{2, 3, 7}, {7}}, [](const Vars& v) { return rms_norm(v[0], v[1], 1e-2); }},
  };
  for (const auto kind : {NormKind::layer, NormKind::rms}) {
    const std::string name = kind == NormKind::layer ? "layer" : "rms";
    const std::vector<Shape> shapes{{2, 3, 7}, {2, 3, 7}, {7}};
    cases.push_back(
        {"add_norm", name, shapes, [=](const Vars& v) { return both(add_norm(kind, v[0], v[1], v[2], {})); }});
    cases.push_back({"add_norm", name + "_norm_only", shapes,
                     [=](const Vars& v) { return add_norm(kind, v[0], v[1], v[2], {}).norm; }});
    cases.push_back({"add_norm", name + "_sum_only", shapes,
                     [=](const Vars& v) { return add_norm(kind, v[0], v[1], v[2], {}).sum; }});
  }
  cases.push_back({"add_norm", "bias", {{3, 7}, {3, 7}, {7}, {7}}, [](const Vars& v) {
                     return both(add_norm(NormKind::layer, v[0], v[1], v[2], v[3]));
                   }});
  cases.push_back({"add_norm", "itself", {{3, 7}}, [](const Vars& v) {
                     return both(add_norm(NormKind::layer, v[0], v[0], {}, {}));
                   }});
  return cases;
}

std::vector<Case> model_cases() {
  const Tensor ids = random_ids({2, 5}, 7, 1);  // some repeat, some never occur
  std::vector<Case> cases{
      {"embedding", "repeated", {{7, 3}}, [=](const Vars& v) { return embedding(ids, v[0]); }},
      {"embedding", "twice", {{7, 3}}, [=](const Vars& v) { return mul(embedding(ids, v[0]), embedding(ids, v[0])); }},
      {"cross_entropy",
       "all",
       {{4, 9}},
       [](const Vars& v) {
         return cross_entropy(v[0], targets({0, 8, 3, 3}));
       }},
      {"cross_entropy",
       "some_left_out",
       {{2, 2, 9}},
       [](const Vars& v) {
         return cross_entropy(v[0], targets({-1, 8, 3, -1}).reshape({2, 2}));
       }},
      {"cross_entropy",
       "none_counts",
       {{2, 5}},
       [](const Vars& v) {
         return cross_entropy(v[0], targets({-1, -1}));
       }},
      {"cross_entropy",
       "scaled",
       {{3, 5}, {4, 5}},
       [](const Vars& v) {
         return scale(cross_entropy(linear(v[0], v[1]), targets({1, 0, 3})), 0.25);
       }},
      {"rope", "all", {{2, 5, 12}}, [](const Vars& v) { return rope(v[0], 3, 4); }},
      {"rope", "some_heads_later", {{2, 3, 14}}, [](const Vars& v) { return rope(v[0], 2, 4, 100.0, 11); }},
  };
  const Tensor slopes = Tensor::from(std::vector<double>{0.5, 0.25, 0.1, 0.05}, {4}, DType::f64, reference);
  cases.push_back(attention_case("one_head", 1, 5, 3, heads(1, 1, 1.0)));
  cases.push_back(attention_case("one_token", 2, 1, 3, heads(2, 2, 1.0)));
  cases.push_back(attention_case("heads", 2, 4, 3, heads(3, 3, 0.5)));
  cases.push_back(attention_case("grouped", 2, 4, 2, heads(4, 2, 0.7)));
  AttentionSpec full = heads(2, 1, 1.0), sloped = heads(4, 2, 1.0), dropped = heads(2, 2, 1.0);
  full.causal = false;
  sloped.slopes = slopes;
  dropped.dropout = 0.4;
  dropped.random = stream;
  cases.push_back(attention_case("full", 1, 4, 3, full));
  cases.push_back(attention_case("slopes", 1, 5, 2, sloped));
  cases.push_back(attention_case("dropout", 2, 4, 3, dropped));
  cases.push_back(cross_attention_case("heads", 3, heads(2, 2, 0.7)));
  cases.push_back(cross_attention_case("grouped", 2, heads(4, 2, 0.7)));
  cases.push_back(cross_attention_case("dropout", 3, dropped));
  const auto prefix_case = [](const std::string& variant, const Shape& query, const Shape& kv, std::int64_t kv_heads) {
    return Case{"prefix_attention", variant, {query, kv}, [kv_heads](const Vars& v) {
                  return prefix_attention(v[0], v[1], kv_heads, 0.7);
                }};
  };
  cases.push_back(prefix_case("one_head", {1, 3}, {1, 5, 6}, 1));
  cases.push_back(prefix_case("one_token", {2, 2}, {2, 1, 8}, 2));
  cases.push_back(prefix_case("grouped", {4, 2}, {2, 6, 8}, 2));
  return cases;
}

std::vector<Case> user_cases() {
  const auto block = [](const Vars& v) { return Vars{gelu(mul(v[0], v[0]))}; };
  const auto pair = [](const Vars& v) { return Vars{mul(v[0], v[1]), scale(v[0], 3.0)}; };
  return {
      {"test_cube", "odd", {{3, 5}}, [](const Vars& v) { return cube(v[0]); }},
      {"recompute", "input", {{3, 5}}, [=](const Vars& v) { return scale(recompute(block, {v[0]})[0], 2.0); }},
      {"recompute",
       "parameter",
       {{3, 5}, {4, 5}},
       [](const Vars& v) {
         return recompute([w = v[1]](const Vars& in) { return Vars{linear(in[0], w, {}, Activation::gelu)}; },
                          {v[0]})[0];
       }},
      {"recompute",
       "nested",
       {{3, 5}},
       [=](const Vars& v) {
         return recompute([=](const Vars& in) { return Vars{mul(recompute(block, in)[0], in[0])}; }, {v[0]})[0];
       }},
      {"recompute",
       "two_results",
       {{3, 5}, {3, 5}},
       [=](const Vars& v) {
         const Vars y = recompute(pair, {v[0], v[1]});
         return mul(y[0], gelu(y[1]));
       }},
      {"recompute",
       "second_result",
       {{3, 5}, {3, 5}},
       [=](const Vars& v) {
         return recompute(pair, {v[0], v[1]})[1];
       }},
      {"recompute",
       "input_returned_twice",
       {{3, 5}},
       [](const Vars& v) {
         const Vars y = recompute([](const Vars& in) { return Vars{in[0], in[0]}; }, {v[0]});
         return mul(y[0], y[1]);
       }},
  };
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (auto cases : {product_cases(), elementwise_cases(), shape_cases(), row_cases(), model_cases(), user_cases()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

class OpGradient : public testing::TestWithParam<Case> {};

TEST_P(OpGradient, AgreesWithCentralDifferences) {
  const Case& c = GetParam();
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) inputs.push_back(random_tensor(c.inputs[i], 10 + i));
  const GradcheckResult result = gradcheck(c.f, inputs, {.tolerance = 1e-8});
  EXPECT_TRUE(result.ok) << result.message;
}

INSTANTIATE_TEST_SUITE_P(Ops, OpGradient, testing::ValuesIn(all_cases()),
                         [](const auto& info) { return info.param.op + "_" + info.param.variant; });

TEST(Ops, EveryOpHasACase) {
  std::set<std::string> covered;
  for (const Case& c : all_cases()) covered.insert(c.op);
  for (const std::string& name : Op::all()) EXPECT_TRUE(covered.contains(name)) << "no gradcheck case for " << name;
}

}  // namespace
}  // namespace monge::autograd
