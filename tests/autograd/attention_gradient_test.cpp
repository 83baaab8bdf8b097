// Gradients of attention for every row map, with trained priors: against central differences, and the two ways that
// gradients take when rows are solved.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "support/row_maps.h"

namespace monge::autograd {
namespace {

using test::Named;
using test::random_tensor;
using test::reference;
using Vars = std::vector<Var>;

struct Setting {
  const char* name;
  std::int64_t batch, tokens, heads, kv_heads, head_dim;
  bool causal = true, priors = false, slopes = false;
  double dropout = 0.0;
};

/// The inputs of a case: qkv and, with priors, the three tables.
std::vector<Tensor> inputs_of(const Setting& s, std::uint64_t seed) {
  std::vector<Tensor> inputs{random_tensor({s.batch, s.tokens, (s.heads + 2 * s.kv_heads) * s.head_dim}, seed)};
  if (s.priors) {
    inputs.push_back(random_tensor({s.heads}, seed + 1));
    inputs.push_back(random_tensor({s.heads, s.tokens}, seed + 2));
    inputs.push_back(random_tensor({s.heads, s.tokens + 1}, seed + 3));
  }
  return inputs;
}

AttentionSpec spec_of(const Setting& s, const RowMap& map) {
  AttentionSpec spec;
  spec.heads = s.heads;
  spec.kv_heads = s.kv_heads;
  spec.causal = s.causal;
  spec.scale = 1.0 / std::sqrt(static_cast<double>(s.head_dim));
  spec.map = map;
  if (s.slopes) {
    std::vector<double> slopes(static_cast<std::size_t>(s.heads), 0.0);
    for (std::size_t h = 0; h < slopes.size(); ++h) slopes[h] = 0.5 / static_cast<double>(h + 1);
    spec.slopes = Tensor::from(slopes, {s.heads}, DType::f64, reference);
  }
  spec.dropout = s.dropout;
  spec.random = {.seed = 5, .stream = 3, .step = {}};
  return spec;
}

/// The scores of every row, from the definition.
std::vector<test::Vector> score_rows(const Setting& s, const AttentionSpec& spec, const std::vector<Tensor>& inputs) {
  const test::Vector qkv = inputs[0].values();
  const auto width = (s.heads + 2 * s.kv_heads) * s.head_dim;
  const auto table = [&](std::size_t input, std::int64_t index) {
    return inputs.size() > input ? inputs[input].values()[static_cast<std::size_t>(index)] : 0.0;
  };
  std::vector<test::Vector> rows;
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t h = 0; h < s.heads; ++h) {
      const double slope = s.slopes ? spec.slopes.values()[static_cast<std::size_t>(h)] : 0.0;
      for (std::int64_t i = 0; i < s.tokens; ++i) {
        test::Vector row;
        for (std::int64_t j = 0; j < (s.causal ? i + 1 : s.tokens); ++j) {
          double z = table(1, h) + table(2, h * s.tokens + std::abs(i - j)) + table(3, h * (s.tokens + 1) + j) -
                     slope * static_cast<double>(i - j);
          for (std::int64_t d = 0; d < s.head_dim; ++d) {
            const auto q = (b * s.tokens + i) * width + h * s.head_dim + d;
            const auto k = (b * s.tokens + j) * width + (s.heads + h / (s.heads / s.kv_heads)) * s.head_dim + d;
            z += spec.scale * qkv[static_cast<std::size_t>(q)] * qkv[static_cast<std::size_t>(k)];
          }
          row.push_back(z);
        }
        rows.push_back(row);
      }
    }
  }
  return rows;
}

/// Inputs of which no row has a score next to a kink of the map.
std::vector<Tensor> smooth_inputs(const Setting& s, const AttentionSpec& spec) {
  for (std::uint64_t seed = 10;; seed += 10) {
    std::vector<Tensor> inputs = inputs_of(s, seed);
    const auto rows = score_rows(s, spec, inputs);
    if (std::all_of(rows.begin(), rows.end(), [&](const auto& z) { return test::away_from_kinks(spec.map, z); })) {
      return inputs;
    }
  }
}

Var attend(AttentionSpec spec, const Vars& v) {
  if (v.size() > 1) {
    spec.head_prior = v[1];
    spec.distance_prior = v[2];
    spec.key_prior = v[3];
  }
  return attention(v[0], spec);
}

class AttentionGradient : public testing::TestWithParam<Named> {
 protected:
  static const RowMap& map() { return GetParam().map; }
};
INSTANTIATE_TEST_SUITE_P(RowMaps, AttentionGradient, testing::ValuesIn(test::every_row_map()), test::name_of_test);

TEST_P(AttentionGradient, AgreesWithCentralDifferences) {
  for (const Setting& s :
       {Setting{"one_token", 2, 1, 2, 2, 3, true, true}, Setting{"two_tokens", 1, 2, 2, 1, 2, true, true},
        Setting{"grouped_priors", 1, 5, 4, 2, 2, true, true}, Setting{"full", 1, 4, 1, 1, 3, false, true},
        Setting{"slopes_and_dropout", 1, 5, 2, 2, 2, true, true, true, 0.4}}) {
    const AttentionSpec spec = spec_of(s, map());
    const auto result =
        gradcheck([&](const Vars& v) { return attend(spec, v); }, smooth_inputs(s, spec), {.tolerance = 1e-8});
    EXPECT_TRUE(result.ok) << s.name << ": " << result.message;
  }
}

// Of long rows, the derivatives in eight random directions.
TEST_P(AttentionGradient, AgreesWithCentralDifferencesInLongRows) {
  const Setting s{"long", 1, 65, 1, 1, 2, true, true};
  AttentionSpec spec = spec_of(s, map());
  if (as<EntmaxMap>(map())) spec.map = EntmaxMap{.alpha = 1.3};  // long rows cannot keep away from a steep edge
  const std::vector<Tensor> at = smooth_inputs(s, spec);
  std::vector<Tensor> directions;
  for (std::size_t i = 0; i < at.size(); ++i) {
    directions.push_back(random_tensor({8, at[i].numel()}, 50 + i, DType::f64, reference, 0.3));
  }
  const auto moved = [&](const Vars& v) {
    Vars inputs;
    for (std::size_t i = 0; i < at.size(); ++i) {
      inputs.push_back(add(reshape(matmul(v[0], directions[i]), at[i].shape()), at[i]));
    }
    return attend(spec, inputs);
  };
  const auto result = gradcheck(moved, {Tensor::zeros({1, 8}, DType::f64, reference)}, {.tolerance = 1e-7});
  EXPECT_TRUE(result.ok) << result.message;
}

// --- solved rows ---

struct Projected {
  Tensor x = random_tensor({2, 5, 6}, 1), w = random_tensor({16, 6}, 2), dy = random_tensor({2, 5, 8}, 3);
  AttentionSpec spec = spec_of({"projected", 2, 5, 4, 2, 2}, {});

  /// dW of attention(x W^T) against dy.
  std::vector<double> weight_gradient(bool solves_rows) const {
    const Var weight = Var::leaf(w);
    Tape tape;
    Var y;
    {
      Tape::Recording recording(tape);
      const SplitLinear qkv = split_linear(x, weight);
      // Read once, all gradients are true.
      y = solves_rows ? attention(qkv.for_input, spec, qkv.for_weight) : attention(qkv.for_weight, spec);
    }
    tape.backward(y, dy);
    return weight.grad().values();
  }
};

TEST(SolvedRows, LeaveEveryGradientTrueButThatOfTheWeight) {
  const Projected p;
  const auto f = [&](const Vars& v) {
    AttentionSpec spec = p.spec;
    spec.head_prior = v[2];
    spec.distance_prior = v[3];
    spec.key_prior = v[4];
    const SplitLinear qkv = split_linear(v[0], p.w, v[1]);
    return attention(qkv.for_input, spec, qkv.for_weight);
  };
  const std::vector<Tensor> inputs{p.x, random_tensor({16}, 4), random_tensor({4}, 5), random_tensor({4, 5}, 6),
                                   random_tensor({4, 5}, 7)};
  const auto result = gradcheck(f, inputs, {.tolerance = 1e-8});
  EXPECT_TRUE(result.ok) << result.message;
  // A leak of the solved rows into the input would not go unseen.
  const auto leaking = [&](const Vars& v) {
    const SplitLinear qkv = split_linear(v[0], p.w);
    return attention(qkv.for_weight, p.spec, qkv.for_input);
  };
  EXPECT_GT(gradcheck(leaking, {p.x}, {}).worst, 0.1);
}

TEST(SolvedRows, ChangeTheGradientsOfQueriesAndKeysOnly) {
  const Projected p;
  const auto plain = p.weight_gradient(false), solved = p.weight_gradient(true);
  const std::ptrdiff_t queries_and_keys = 12 * 6;
  const auto part = [&](const std::vector<double>& dw, bool values) {
    return values ? std::vector<double>(dw.begin() + queries_and_keys, dw.end())
                  : std::vector<double>(dw.begin(), dw.begin() + queries_and_keys);
  };
  EXPECT_TRUE(test::close(part(solved, true), part(plain, true), 1e-14));
  EXPECT_GT(test::max_relative_error(part(solved, false), part(plain, false)), 0.1);
}

TEST(SolvedRows, ApproachTheTrueGradientAsDampingGrows) {
  Projected p;
  p.spec.damping = {.lambda = 1e9, .scale = RowDamping::Scale::absolute};
  auto solved = p.weight_gradient(true);
  for (std::size_t i = 0; i < 12 * 6; ++i) solved[i] *= 1e9;
  EXPECT_TRUE(test::close(solved, p.weight_gradient(false), 1e-8));
}

// The kernels give gradients of the prior in f32; what an op has made wants them in its own dtype.
TEST(LogPrior, MayComeFromAnOpInBfloat16) {
  const auto table_gradient = [](DType dtype) {
    const Var table = Var::leaf(random_tensor({2, 5}, 2, dtype, test::cpu));
    AttentionSpec spec;
    spec.heads = spec.kv_heads = 2;
    Tape tape;
    Var loss;
    {
      const Tape::Recording recording(tape);
      spec.key_prior = gelu(table);
      loss = sum(attention(Var(random_tensor({2, 5, 24}, 1, dtype, test::cpu)), spec));
    }
    tape.backward(loss);
    return table.grad();
  };
  const Tensor narrow = table_gradient(DType::bf16);
  EXPECT_EQ(narrow.dtype(), DType::bf16);
  EXPECT_TRUE(test::close(narrow, table_gradient(DType::f32), 3e-2));
}

}  // namespace
}  // namespace monge::autograd
