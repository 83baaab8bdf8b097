// Module trees, their names and the flat memory behind them.
#include "nn/module.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "nn/gpt.h"
#include "nn/parameter_store.h"
#include "support/compare.h"

namespace monge::nn {
namespace {

using test::cpu;
using test::reference;

GptOptions tiny() {
  GptOptions o;
  o.layers = 2;
  o.heads = 2;
  o.width = 10;
  o.context = 5;
  return o;
}

TEST(Module, NamesParametersByTheirPlaceInTheTree) {
  Gpt model(tiny(), 7);
  std::vector<std::string> names;
  for (const auto& [name, parameter] : model.parameters()) names.push_back(name);
  const std::vector<std::string> expected{"wte.weight",
                                          "position.weight",
                                          "blocks.0.norm1.gain",
                                          "blocks.0.attention.qkv.weight",
                                          "blocks.0.attention.out.weight",
                                          "blocks.0.norm2.gain",
                                          "blocks.0.mlp.up.weight",
                                          "blocks.0.mlp.down.weight",
                                          "blocks.1.norm1.gain",
                                          "blocks.1.attention.qkv.weight",
                                          "blocks.1.attention.out.weight",
                                          "blocks.1.norm2.gain",
                                          "blocks.1.mlp.up.weight",
                                          "blocks.1.mlp.down.weight",
                                          "norm.gain"};
  EXPECT_EQ(names, expected);
}

// Models that differ elsewhere begin alike, and are compared in pairs.
TEST(ParameterStore, InitialValuesDependOnTheSeedAndTheNameAlone) {
  GptOptions more = tiny();
  more.bias = true;
  more.position = positions().choose("none");
  Gpt one(tiny(), 7), other(more, 7);
  const ParameterStore store(one, cpu, Precision::float32, 5), larger(other, cpu, Precision::float32, 5);
  const ParameterStore again(one, cpu, Precision::float32, 6);
  std::set<std::vector<double>> drawn;
  for (const auto& entry : store.entries()) {
    if (entry.role == Role::gain) continue;
    const std::vector<double> values = store.value(entry).values();
    EXPECT_TRUE(drawn.insert(values).second) << entry.name;
    EXPECT_NE(values, again.value(entry).values()) << entry.name;
    if (entry.name != "position.weight") {
      EXPECT_EQ(values, larger.value(larger.entry(entry.name)).values()) << entry.name;
    }
  }
}

TEST(Module, CountsParametersWithoutMemory) {
  const auto before = backend_of(cpu).memory().usage().active;
  GptOptions o;
  o.layers = 12;
  o.heads = 12;
  o.width = 768;
  o.context = 1024;
  o.bias = true;
  Gpt model(o, 50257);
  EXPECT_EQ(model.parameter_count(), 124439808);  // GPT-2 small
  EXPECT_EQ(backend_of(cpu).memory().usage().active, before);
}

TEST(Module, ParameterBeforeItsStoreIsAnError) {
  Gpt model(tiny(), 7);
  EXPECT_THROW(model.parameters().front().parameter->var(), std::invalid_argument);
}

TEST(ParameterStore, IsSortedByRoleAlignedAndBound) {
  GptOptions o = tiny();
  o.bias = true;
  o.tied_head = false;
  Gpt model(o, 7);
  ParameterStore store(model, cpu, Precision::float32, 1);
  ASSERT_EQ(store.entries().size(), model.parameters().size());
  std::int64_t end = 0;
  Role role = Role::matrix;
  for (const auto& e : store.entries()) {
    EXPECT_EQ(e.begin % 16, 0);
    EXPECT_GE(e.begin, end);
    EXPECT_GE(e.role, role);
    end = e.end();
    role = e.role;
  }
  for (const auto& [name, parameter] : model.parameters()) {
    EXPECT_TRUE(parameter->var().value().same_memory(store.value(store.entry(name)))) << name;
    EXPECT_TRUE(parameter->var().wants_grad()) << name;
    EXPECT_EQ(&store.entry(*parameter), &store.entry(name));
  }
  EXPECT_EQ(store.entry("head.weight").role, Role::head);
  EXPECT_THROW(store.entry("nothing"), std::invalid_argument);
  const Parameter of_another_model({2}, Role::gain, Init::constant(1.0));
  EXPECT_THROW(store.entry(of_another_model), std::invalid_argument);
}

TEST(ParameterStore, InitialisesLikeGpt2) {
  GptOptions o = tiny();
  o.width = 128;
  o.layers = 8;
  o.bias = true;
  Gpt model(o, 512);
  ParameterStore store(model, cpu, Precision::float32, 3);
  const auto stddev = [&](const std::string& name) {
    double sum = 0.0, squares = 0.0;
    const auto values = store.value(store.entry(name)).values();
    for (const double v : values) {
      sum += v;
      squares += v * v;
    }
    const auto n = static_cast<double>(values.size());
    EXPECT_NEAR(sum / n, 0.0, 4 * 0.02 / std::sqrt(n)) << name;
    return std::sqrt(squares / n);
  };
  EXPECT_NEAR(stddev("wte.weight"), 0.02, 0.0005);
  EXPECT_NEAR(stddev("blocks.3.attention.qkv.weight"), 0.02, 0.0005);
  EXPECT_NEAR(stddev("blocks.3.attention.out.weight"), 0.02 / 4, 0.0002);
  EXPECT_NEAR(stddev("blocks.3.mlp.down.weight"), 0.02 / 4, 0.0002);
  for (const double v : store.value(store.entry("blocks.0.norm1.gain")).values()) EXPECT_EQ(v, 1.0);
  for (const double v : store.value(store.entry("blocks.0.mlp.up.bias")).values()) EXPECT_EQ(v, 0.0);
}

TEST(ParameterStore, DrawsTheSameOnEveryDevice) {
  Gpt a(tiny(), 7), b(tiny(), 7);
  ParameterStore on_cpu(a, cpu, Precision::float32, 5), on_reference(b, reference, Precision::float32, 5);
  EXPECT_TRUE(test::close(on_cpu.values(), on_reference.values(), 1e-6));
}

TEST(ParameterStore, KeepsCopiesInBfloat16) {
  Gpt model(tiny(), 7);
  ParameterStore store(model, cpu, Precision::bfloat16, 5);
  EXPECT_EQ(model.parameters().front().parameter->var().value().dtype(), DType::bf16);
  EXPECT_EQ(store.grads().dtype(), DType::f32);
  EXPECT_TRUE(test::close(store.copies(), store.values(), 1.0 / 256));
}

TEST(ParameterStore, CompletesMissingGradientsWithZero) {
  Gpt model(tiny(), 7);
  ParameterStore store(model, cpu, Precision::float32, 5);
  store.grads().backend().fill({.x = store.grads(), .value = 9.0});
  store.clear_grads();
  store.complete_grads();
  for (const auto& e : store.entries()) {
    for (const double g : store.grad(e).values()) EXPECT_EQ(g, 0.0);
  }
}

}  // namespace
}  // namespace monge::nn
