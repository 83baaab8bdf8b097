// What ops answer to wrong shapes, and what they leave alone.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "support/compare.h"

namespace monge::autograd {
namespace {

using test::random_ids;
using test::random_tensor;
using test::reference;

const Random stream{.seed = 5, .stream = 3, .step = {}};

AttentionSpec heads(std::int64_t heads, std::int64_t kv_heads) {
  AttentionSpec spec;
  spec.heads = heads;
  spec.kv_heads = kv_heads;
  return spec;
}

TEST(Ops, AnswerWrongShapesWithTheirNameAndTheShapes) {
  const auto v = [](const Shape& shape) { return Var(Tensor::zeros(shape, DType::f64, reference)); };
  const Tensor ids = random_ids({2, 2, 2}, 3, 1);
  const struct {
    std::string op;
    std::function<void()> call;
  } cases[] = {
      {"[matmul] (2, 3) by (2, 3)",
       [&] {
         matmul(v({2, 3}), v({2, 3}));
       }},
      {"[matmul] (2, 3) transposed by",
       [&] {
         matmul(v({2, 3}), v({3, 2}), true);
       }},
      {"[matmul] (2, 2, 3)",
       [&] {
         matmul(v({2, 2, 3}), v({3, 3, 2}));
       }},
      {"[matmul] (2, 2, 3)",
       [&] {
         matmul(v({2, 2, 3}), v({3, 2}));
       }},
      {"[linear] x (2, 3) by weight (4, 5)",
       [&] {
         linear(v({2, 3}), v({4, 5}));
       }},
      {"[linear] bias (3)",
       [&] {
         linear(v({2, 5}), v({4, 5}), v({3}));
       }},
      {"[linear] x (2, 3) by weight (4, 5)",
       [&] {
         split_linear(v({2, 3}), v({4, 5}));
       }},
      {"[add] (2, 3) and (2)",
       [&] {
         add(v({2, 3}), v({2}));
       }},
      {"[mul] (3) and (2, 3)",
       [&] {
         mul(v({3}), v({2, 3}));
       }},
      {"[dropout] p is 1", [&] { dropout(v({3}), 1.0, stream); }},
      {"[reshape] (2, 3)",
       [&] {
         reshape(v({2, 3}), {4});
       }},
      {"[slice] rows [1, 4)",
       [&] {
         slice(v({3, 2}), 1, 4);
       }},
      {"[1, 4) is not a part of dimension 2 of (2, 3, 3)",
       [&] {
         slice(v({2, 3, 3}), -1, 1, 4);
       }},
      {"(2, 3) has no dimension 2",
       [&] {
         transpose(v({2, 3}), 0, 2);
       }},
      {"[concat] of nothing", [&] { concat({}, 0); }},
      {"[concat] (2, 3) and (3, 3)",
       [&] {
         concat({v({2, 3}), v({3, 3})}, 1);
       }},
      {"dimension 2 does not exist",
       [&] {
         sum(v({2, 3}), 2);
       }},
      {"[mean] of no elements",
       [&] {
         mean(v({0, 3}));
       }},
      {"[layer_norm] gain (3)",
       [&] {
         layer_norm(v({2, 4}), v({3}), {});
       }},
      {"[rms_norm] gain (2, 2)",
       [&] {
         rms_norm(v({2, 4}), v({2, 2}));
       }},
      {"[add_norm] x (2, 4)",
       [&] {
         add_norm(NormKind::rms, v({2, 4}), v({4}), {}, {});
       }},
      {"[add_norm] an rms norm",
       [&] {
         add_norm(NormKind::rms, v({2, 4}), v({2, 4}), {}, v({4}));
       }},
      {"[embedding] ids (2, 2, 2)",
       [&] {
         embedding(ids, v({3, 2}));
       }},
      {"[cross_entropy] 8 targets",
       [&] {
         cross_entropy(v({2, 3}), ids);
       }},
      {"[rope] 2 heads of width 3",
       [&] {
         rope(v({1, 2, 6}), 2, 3);
       }},
      {"[attention] 3 heads",
       [&] {
         attention(v({1, 2, 14}), heads(3, 2));
       }},
      {"[attention] row_qkv (1, 3, 8) for qkv (1, 2, 8)",
       [&] {
         attention(v({1, 2, 8}), heads(2, 1), v({1, 3, 8}));
       }},
      {"[cross_attention] q (1, 2, 8) and kv (2, 3, 8)",
       [&] {
         cross_attention(v({1, 2, 8}), v({2, 3, 8}), heads(2, 1));
       }},
      {"[cross_attention] row_q (1, 2, 8) and row_kv ()",
       [&] {
         cross_attention(v({1, 2, 8}), v({1, 3, 8}), heads(2, 1), v({1, 2, 8}));
       }},
      {"[prefix_attention] query (3, 2) for 2 key/value heads",
       [&] {
         prefix_attention(v({3, 2}), v({1, 2, 8}), 2, 1.0);
       }},
      {"[prefix_attention] kv (1, 2, 6) for 2 key/value heads of 2",
       [&] {
         prefix_attention(v({4, 2}), v({1, 2, 6}), 2, 1.0);
       }},
      {"[attention] qkv (1, 2, 7)",
       [&] {
         attention(v({1, 2, 7}), heads(2, 1));
       }},
  };
  for (const auto& c : cases) {
    try {
      c.call();
      ADD_FAILURE() << "accepted: " << c.op;
    } catch (const std::invalid_argument& e) {
      EXPECT_NE(std::string(e.what()).find(c.op), std::string::npos) << e.what();
    }
  }
}

TEST(Ops, DoNothingWhereNothingIsToBeDone) {
  const Var x = Var::leaf(random_tensor({3, 4}, 1));
  EXPECT_EQ(dropout(x, 0.0, stream).cell(), x.cell());
  EXPECT_EQ(activation(x, Activation::none).cell(), x.cell());
  EXPECT_TRUE(reshape(x, {12}).value().same_memory(x.value()));
  EXPECT_TRUE(slice(x, 0, 2).value().same_memory(x.value()));
}

TEST(Ops, AttentionWithAllKeysMaskedButOneCopiesItsValue) {
  // Query 0 sees key 0 only, whatever the scores.
  const Var qkv(random_tensor({1, 3, 6}, 1));
  const std::vector<double> y = attention(qkv, heads(1, 1)).value().values();
  const std::vector<double> x = qkv.value().values();
  EXPECT_DOUBLE_EQ(y[0], x[4]);
  EXPECT_DOUBLE_EQ(y[1], x[5]);
}

}  // namespace
}  // namespace monge::autograd
