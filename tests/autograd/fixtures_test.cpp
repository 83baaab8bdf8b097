// Every op's value and gradients against PyTorch in double precision (tools/fixtures/make_fixtures.py).
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "autograd/ops.h"
#include "core/safetensors.h"
#include "support/compare.h"

namespace monge::autograd {
namespace {

using test::close;
using test::cpu;
using test::reference;

/// The inputs of a case by name.
struct Inputs {
  std::map<std::string, Var> vars;
  const Var& operator[](const std::string& name) const { return vars.at(name); }
  Device device() const { return vars.begin()->second.value().device(); }
};

struct Case {
  std::string name;
  std::function<Var(const Inputs&)> f;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

Case linear_case(const std::string& name, Activation kind) {
  return {name, [=](const Inputs& in) { return linear(in["x"], in["weight"], in["bias"], kind); }};
}

Case attention_case(const std::string& name, std::int64_t heads, std::int64_t kv_heads, double scale, bool causal,
                    const std::vector<double>& slopes = {}) {
  return {name, [=](const Inputs& in) {
            AttentionSpec spec;
            spec.heads = heads;
            spec.kv_heads = kv_heads;
            spec.scale = scale;
            spec.causal = causal;
            if (!slopes.empty()) {
              spec.slopes = Tensor::from(slopes, {heads}, backend_of(in.device()).default_float(), in.device());
            }
            return attention(in["qkv"], spec);
          }};
}

std::vector<Case> all_cases() {
  const double scale_of_5 = 1.0 / std::sqrt(5.0);
  return {
      {"matmul", [](const Inputs& in) { return matmul(in["a"], in["b"]); }},
      {"matmul_batched", [](const Inputs& in) { return matmul(in["a"], in["b"]); }},
      {"matmul_transposed", [](const Inputs& in) { return matmul(in["a"], in["b"], true, true); }},
      {"linear", [](const Inputs& in) { return linear(in["x"], in["weight"]); }},
      linear_case("linear_bias", Activation::none),
      linear_case("linear_bias_gelu", Activation::gelu),
      linear_case("linear_bias_gelu_tanh", Activation::gelu_tanh),
      linear_case("linear_bias_silu", Activation::silu),
      {"add", [](const Inputs& in) { return add(in["a"], in["b"]); }},
      {"add_suffix", [](const Inputs& in) { return add(in["a"], in["b"]); }},
      {"mul", [](const Inputs& in) { return mul(in["a"], in["b"]); }},
      {"mul_suffix", [](const Inputs& in) { return mul(in["a"], in["b"]); }},
      {"scale_0.375", [](const Inputs& in) { return scale(in["x"], 0.375); }},
      {"gelu", [](const Inputs& in) { return gelu(in["x"]); }},
      {"gelu_tanh", [](const Inputs& in) { return gelu_tanh(in["x"]); }},
      {"silu", [](const Inputs& in) { return silu(in["x"]); }},
      {"sum", [](const Inputs& in) { return sum(in["x"]); }},
      {"mean", [](const Inputs& in) { return mean(in["x"]); }},
      {"sum_last", [](const Inputs& in) { return sum(in["x"], -1); }},
      {"mean_dim_1", [](const Inputs& in) { return mean(in["x"], 1); }},
      {"slice_1_3", [](const Inputs& in) { return slice(in["x"], 1, 3); }},
      {"swap_middle", [](const Inputs& in) { return transpose(in["x"], 1, 2); }},
      {"softmax", [](const Inputs& in) { return softmax(in["x"]); }},
      {"layer_norm", [](const Inputs& in) { return layer_norm(in["x"], in["gain"], in["bias"]); }},
      {"layer_norm_plain", [](const Inputs& in) { return layer_norm(in["x"], {}, {}); }},
      {"rms_norm", [](const Inputs& in) { return rms_norm(in["x"], in["gain"]); }},
      {"embedding", [](const Inputs& in) { return embedding(in["ids"].value(), in["table"]); }},
      {"cross_entropy", [](const Inputs& in) { return cross_entropy(in["logits"], in["targets"].value()); }},
      attention_case("attention", 3, 3, scale_of_5, true),
      attention_case("attention_grouped", 4, 2, 0.5, true),
      attention_case("attention_full", 3, 3, scale_of_5, false),
      attention_case("attention_alibi", 3, 3, scale_of_5, true, {0.5, 0.25, 0.125}),
      {"rope", [](const Inputs& in) { return rope(in["x"], 3, 6); }},
      {"rope_start_4", [](const Inputs& in) { return rope(in["x"], 3, 6, 10000.0, 4); }},
  };
}

const SafeTensors& fixtures() {
  static const SafeTensors file(MONGE_SOURCE_DIR "/tests/fixtures/ops.safetensors");
  return file;
}

class Fixture : public testing::TestWithParam<Case> {
 protected:
  static void compare(Device device, double tolerance) {
    const Case& c = GetParam();
    const std::string prefix = c.name + "/in/";
    Inputs in;
    for (const auto& [name, entry] : fixtures().entries()) {
      if (!name.starts_with(prefix)) continue;
      const Tensor value = fixtures().tensor(name, device);
      in.vars[name.substr(prefix.size())] = is_floating(value.dtype()) ? Var::leaf(value) : Var(value);
    }
    Tape tape;
    Var y;
    {
      Tape::Recording recording(tape);
      y = c.f(in);
    }
    EXPECT_TRUE(close(y.value(), fixtures().tensor(c.name + "/out", reference), tolerance)) << "output";
    tape.backward(y, fixtures().tensor(c.name + "/dout", device));
    for (const auto& [name, var] : in.vars) {
      if (!var.wants_grad()) continue;
      const Tensor expected = fixtures().tensor(c.name + "/grad/" + name, reference);
      EXPECT_TRUE(close(var.grad(), expected, tolerance)) << "gradient of " << name;
    }
  }
};

TEST_P(Fixture, AgreesOnReference) { compare(reference, 1e-9); }
TEST_P(Fixture, AgreesOnCpu) { compare(cpu, 1e-5); }

INSTANTIATE_TEST_SUITE_P(PyTorch, Fixture, testing::ValuesIn(all_cases()), [](const auto& info) {
  std::string name = info.param.name;
  std::ranges::replace(name, '.', '_');
  return name;
});

TEST(Fixtures, EveryCaseOfTheFileIsUsed) {
  std::set<std::string> in_file, here;
  for (const auto& [name, entry] : fixtures().entries()) in_file.insert(name.substr(0, name.find('/')));
  for (const Case& c : all_cases()) here.insert(c.name);
  EXPECT_EQ(in_file, here);
}

}  // namespace
}  // namespace monge::autograd
