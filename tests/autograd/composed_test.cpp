// The fused ops against their composed twins: values and every gradient, on the reference device and on the cpu.
#include "autograd/composed.h"

#include <gtest/gtest.h>

#include "support/compare.h"

namespace monge::autograd {
namespace {

using test::close;
using test::cpu;
using test::on;
using test::random_ids;
using test::random_tensor;
using test::reference;
using Vars = std::vector<Var>;
using Function = std::function<Vars(const Vars&)>;

struct Pair {
  std::string name;
  std::vector<Shape> inputs;
  /// Made for a device, because ids, targets and slopes live on it.
  std::function<Function(Device)> fused, twin;
};

void PrintTo(const Pair& p, std::ostream* out) { *out << p.name; }

std::vector<Pair> linear_pairs() {
  std::vector<Pair> pairs;
  for (const auto kind : {Activation::none, Activation::gelu, Activation::gelu_tanh, Activation::silu}) {
    pairs.push_back(
        {"linear_" + std::string(name_of(kind)),
         {{3, 5, 33}, {17, 33}, {17}},
         [=](Device) { return [=](const Vars& v) { return Vars{linear(v[0], v[1], v[2], kind)}; }; },
         [=](Device) { return [=](const Vars& v) { return Vars{composed::linear(v[0], v[1], v[2], kind)}; }; }});
    pairs.push_back({"mlp_" + std::string(name_of(kind)),
                     {{3, 5, 33}, {17, 33}, {17}, {7, 17}, {7}},
                     [=](Device) {
                       return [=](const Vars& v) { return Vars{mlp(v[0], {v[1], v[2], v[3], v[4]}, kind)}; };
                     },
                     [=](Device) {
                       return [=](const Vars& v) {
                         const Var hidden = composed::linear(v[0], v[1], v[2], kind);
                         return Vars{composed::linear(hidden, v[3], v[4], Activation::none)};
                       };
                     }});
  }
  return pairs;
}

std::vector<Pair> norm_pairs() {
  const auto both = [](const SumAndNorm& r) { return Vars{r.sum, r.norm}; };
  const std::vector<Shape> shapes{{3, 5, 33}, {3, 5, 33}, {33}, {33}};
  return {
      {"layer_norm",
       {{3, 5, 33}, {33}, {33}},
       [](Device) { return [](const Vars& v) { return Vars{layer_norm(v[0], v[1], v[2])}; }; },
       [](Device) { return [](const Vars& v) { return Vars{composed::layer_norm(v[0], v[1], v[2])}; }; }},
      {"rms_norm",
       {{3, 5, 33}, {33}},
       [](Device) { return [](const Vars& v) { return Vars{rms_norm(v[0], v[1], 1e-3)}; }; },
       [](Device) { return [](const Vars& v) { return Vars{composed::rms_norm(v[0], v[1], 1e-3)}; }; }},
      {"add_norm_layer", shapes,
       [=](Device) { return [=](const Vars& v) { return both(add_norm(NormKind::layer, v[0], v[1], v[2], v[3])); }; },
       [=](Device) {
         return [=](const Vars& v) { return both(composed::add_norm(NormKind::layer, v[0], v[1], v[2], v[3])); };
       }},
      {"add_norm_rms",
       {shapes[0], shapes[1], shapes[2]},
       [=](Device) { return [=](const Vars& v) { return both(add_norm(NormKind::rms, v[0], v[1], v[2], {})); }; },
       [=](Device) {
         return [=](const Vars& v) { return both(composed::add_norm(NormKind::rms, v[0], v[1], v[2], {})); };
       }},
  };
}

std::vector<Pair> model_pairs() {
  const auto ids = [](Device device) { return random_ids({3, 7}, 11, 1, device); };
  const auto targets = [](Device device) {
    std::vector<std::int32_t> values{4, -1, 0, 36, -1, 7, 7};
    return Tensor::from(values, {7}, device);
  };
  const auto rotated = [](const Var& x) { return Vars{rope(x, 3, 6, 1000.0, 5)}; };
  return {
      {"embedding",
       {{11, 5}},
       [=](Device d) { return [t = ids(d)](const Vars& v) { return Vars{embedding(t, v[0])}; }; },
       [=](Device d) { return [t = ids(d)](const Vars& v) { return Vars{composed::embedding(t, v[0])}; }; }},
      {"cross_entropy",
       {{7, 37}},
       [=](Device d) { return [t = targets(d)](const Vars& v) { return Vars{cross_entropy(v[0], t)}; }; },
       [=](Device d) { return [t = targets(d)](const Vars& v) { return Vars{composed::cross_entropy(v[0], t)}; }; }},
      {"rope",
       {{2, 9, 25}},
       [=](Device) { return [=](const Vars& v) { return rotated(v[0]); }; },
       [](Device) { return [](const Vars& v) { return Vars{composed::rope(v[0], 3, 6, 1000.0, 5)}; }; }},
  };
}

std::vector<Pair> attention_pairs() {
  struct Settings {
    const char* name;
    std::int64_t batch, tokens, heads, kv_heads, head_dim;
    bool causal, slopes;
    double dropout;
    bool priors = false;
  };
  std::vector<Pair> pairs;
  // With priors, the inputs are qkv and the tables of distance and key.
  const auto with_tables = [](AttentionSpec spec, const Vars& v) {
    if (v.size() > 1) {
      spec.distance_prior = v[1];
      spec.key_prior = v[2];
    }
    return spec;
  };
  for (const Settings& s : {Settings{"plain", 2, 9, 3, 3, 8, true, false, 0.0},
                            {"grouped", 2, 7, 6, 2, 5, true, false, 0.0},
                            {"full", 1, 33, 2, 1, 16, false, false, 0.0},
                            {"slopes", 2, 17, 4, 4, 8, true, true, 0.0},
                            {"dropout", 2, 13, 4, 2, 8, true, false, 0.3},
                            {"priors", 2, 11, 4, 2, 8, true, true, 0.2, true},
                            {"full_priors", 2, 11, 4, 2, 8, false, false, 0.0, true}}) {
    const auto spec = [=](Device device) {
      AttentionSpec out;
      out.heads = s.heads;
      out.kv_heads = s.kv_heads;
      out.causal = s.causal;
      out.scale = 0.4;
      if (s.slopes) {
        const std::vector<double> slopes{0.5, 0.25, 0.125, 0.0625};
        out.slopes = Tensor::from(slopes, {4}, backend_of(device).default_float(), device);
      }
      if (s.priors) {
        out.head_prior = random_tensor({s.heads}, 8, backend_of(device).default_float(), device);
      }
      out.dropout = s.dropout;
      out.random = {.seed = 3, .stream = 9, .step = {}};
      return out;
    };
    std::vector<Shape> inputs{{s.batch, s.tokens, (s.heads + 2 * s.kv_heads) * s.head_dim}};
    if (s.priors) inputs.insert(inputs.end(), {{s.heads, s.tokens + 1}, {s.heads, s.tokens}});
    pairs.push_back(
        {std::string("attention_") + s.name, inputs,
         [=](Device d) { return [=, a = spec(d)](const Vars& v) { return Vars{attention(v[0], with_tables(a, v))}; }; },
         [=](Device d) {
           return [=, a = spec(d)](const Vars& v) { return Vars{composed::attention(v[0], with_tables(a, v))}; };
         }});
  }
  for (const auto& [name, query, kv, kv_heads] :
       {std::tuple{"prefix_attention", Shape{3, 8}, Shape{2, 37, 48}, std::int64_t{3}},
        std::tuple{"prefix_attention_grouped", Shape{6, 5}, Shape{3, 9, 20}, std::int64_t{2}}}) {
    const auto run = [g = kv_heads](auto op) {
      return [=](Device) { return [=](const Vars& v) { return Vars{op(v[0], v[1], g, 0.4)}; }; };
    };
    pairs.push_back({name, {query, kv}, run(prefix_attention), run(composed::prefix_attention)});
  }
  return pairs;
}

std::vector<Pair> all_pairs() {
  std::vector<Pair> all;
  for (auto pairs : {linear_pairs(), norm_pairs(), model_pairs(), attention_pairs()}) {
    all.insert(all.end(), pairs.begin(), pairs.end());
  }
  return all;
}

/// Outputs, then the gradients of the inputs, for a fixed random seed.
std::vector<Tensor> run(const Function& f, const std::vector<Shape>& shapes, Device device) {
  const DType dtype = backend_of(device).default_float();
  Vars inputs;
  for (std::size_t i = 0; i < shapes.size(); ++i)
    inputs.push_back(Var::leaf(random_tensor(shapes[i], i, dtype, device)));
  Tape tape;
  Vars outputs;
  {
    Tape::Recording recording(tape);
    outputs = f(inputs);
  }
  std::vector<Tensor> results, seeds;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    results.push_back(outputs[i].value());
    seeds.push_back(random_tensor(outputs[i].shape(), 100 + i, dtype, device));
  }
  tape.backward(outputs, std::move(seeds));
  for (const Var& input : inputs) results.push_back(input.grad());
  return results;
}

class Twins : public testing::TestWithParam<Pair> {
 protected:
  static void compare(Device device, double tolerance) {
    const Pair& p = GetParam();
    const auto fused = run(p.fused(device), p.inputs, device);
    const auto twin = run(p.twin(device), p.inputs, device);
    ASSERT_EQ(fused.size(), twin.size());
    for (std::size_t i = 0; i < fused.size(); ++i) EXPECT_TRUE(close(fused[i], twin[i], tolerance)) << "result " << i;
  }
};

TEST_P(Twins, AgreeOnReference) { compare(reference, 1e-12); }
TEST_P(Twins, AgreeOnCpu) { compare(cpu, 1e-5); }

INSTANTIATE_TEST_SUITE_P(Ops, Twins, testing::ValuesIn(all_pairs()), [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace monge::autograd
