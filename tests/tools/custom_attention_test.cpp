// The attention of examples/custom_attention: its gradients, its cache, and the built-in layer that it repeats.
#include "../../examples/custom_attention/plain_attention.h"

#include <gtest/gtest.h>

#include "support/compare.h"

namespace plain_attention {
namespace {

using monge::DType;
using monge::Shape;
using monge::test::cpu;
using monge::test::random_ids;
using monge::test::random_tensor;
using monge::test::reference;

constexpr std::int64_t V = 7;

class PlainAttentionTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { add_plain_attention(); }
  static nn::GptOptions small(const char* attention, const char* position) {
    nn::GptOptions o;
    o.layers = 2;
    o.heads = 2;
    o.width = 8;
    o.context = 10;
    o.attention = nn::attentions().choose(attention);
    o.position = nn::positions().choose(position);
    return o;
  }
};

TEST_F(PlainAttentionTest, GradientsOfInputsAndParametersAgreeWithCentralDifferences) {
  const nn::LayerContext context{.width = 6, .heads = 2, .kv_heads = 2, .layers = 1, .context = 5, .bias = true};
  const auto position = nn::positions().make(nn::positions().choose("none"), context);
  PlainAttention layer(context, *position);
  std::vector<Tensor> inputs{random_tensor({2, 5, 6}, 1)};
  for (const auto& [name, parameter] : layer.parameters())
    inputs.push_back(random_tensor(parameter->shape(), inputs.size()));
  const auto result = autograd::gradcheck(
      [&](const std::vector<Var>& in) {
        for (std::size_t i = 1; i < in.size(); ++i) layer.parameters()[i - 1].parameter->bind(in[i]);
        return layer.forward(in[0]);
      },
      inputs);
  EXPECT_EQ(inputs.size(), 5u);
  EXPECT_TRUE(result.ok) << result.message;
}

TEST_F(PlainAttentionTest, SaysWhatTheBuiltInSoftmaxSays) {
  for (const char* position : {"learned", "rope", "none"}) {
    nn::Gpt plain(small("plain", position), V), builtin(small("softmax", position), V);
    const nn::ParameterStore plain_store(plain, reference, nn::Precision::float32, 1, false),
        builtin_store(builtin, reference, nn::Precision::float32, 1, false);
    const Tensor tokens = random_ids({2, 10}, V, 2);
    EXPECT_TRUE(monge::test::close(plain.forward(tokens).value(), builtin.forward(tokens).value(), 1e-12)) << position;
  }
}

TEST_F(PlainAttentionTest, ItsCacheStandsForTheTokensBefore) {
  for (const char* position : {"learned", "rope", "none"}) {
    nn::Gpt model(small("plain", position), V);
    const nn::ParameterStore store(model, cpu, nn::Precision::float32, 1, false);
    store.values().backend().scale({.x = store.values(), .factor = 10.0, .out = store.values()});
    const nn::CacheCheck check = nn::cache_check(model, random_ids({3, 10}, V, 2, cpu), DType::f32);
    EXPECT_TRUE(check.ok) << position << ": " << check.message;
  }
}

}  // namespace
}  // namespace plain_attention
