// The tape: what is recorded, how gradients gather, and when memory goes.
#include "autograd/tape.h"

#include <gtest/gtest.h>

#include <array>

#include "autograd/ops.h"
#include "support/compare.h"

namespace monge::autograd {
namespace {

using test::random_tensor;
using test::reference;
using Values = std::vector<double>;

Tensor of(const Values& values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())}, DType::f64, reference);
}

Var leaf(const Values& values) { return Var::leaf(of(values)); }

/// Records f and runs backward with the seed.
template <class F>
void differentiate(const Values& seed, F f) {
  Tape tape;
  Var y;
  {
    Tape::Recording recording(tape);
    y = f();
  }
  tape.backward(y, of(seed));
}

TEST(Tape, RecordsOnlyWhileRecordingAndOnlyWhatWantsAGradient) {
  Tape tape;
  const Var x = leaf({1, 2}), constant = of({3, 4});
  EXPECT_FALSE(scale(x, 2.0).wants_grad());
  {
    Tape::Recording recording(tape);
    EXPECT_FALSE(scale(constant, 2.0).wants_grad());
    EXPECT_EQ(tape.size(), 0u);
    EXPECT_TRUE(mul(constant, x).wants_grad());
    EXPECT_EQ(tape.size(), 1u);
    {
      Tape::Pause pause;
      EXPECT_FALSE(scale(x, 2.0).wants_grad());
    }
    EXPECT_TRUE(scale(x, 2.0).wants_grad());
  }
  EXPECT_FALSE(scale(x, 2.0).wants_grad());
  EXPECT_EQ(tape.size(), 2u);
  tape.clear();
  EXPECT_EQ(tape.size(), 0u);
}

TEST(Tape, NestedRecordingsAreSeparate) {
  Tape outer, inner;
  const Var x = leaf({1, 2});
  Var y, z;
  {
    Tape::Recording a(outer);
    y = scale(x, 2.0);
    {
      Tape::Recording b(inner);
      z = scale(x, 5.0);
    }
    y = scale(y, 3.0);
  }
  EXPECT_EQ(outer.size(), 2u);
  EXPECT_EQ(inner.size(), 1u);
  inner.backward(z, of({1, 1}));
  EXPECT_EQ(x.grad().values(), (Values{5, 5}));
  outer.backward(y, of({1, 1}));
  EXPECT_EQ(x.grad().values(), (Values{11, 11}));
}

TEST(Tape, AddsTheContributionsOfADiamond) {
  // y = (2 x) (3 x) + x: dy/dx = 12 x + 1
  const Var x = leaf({1, -2});
  differentiate({1, 10}, [&] { return add(mul(scale(x, 2.0), scale(x, 3.0)), x); });
  EXPECT_EQ(x.grad().values(), (Values{13, -230}));
}

TEST(Tape, SharedGradientMemoryIsNotWrittenThrough) {
  // add hands one gradient to a and b; what then reaches a must not reach b, nor the seed.
  const Var a = leaf({1, 1}), b = leaf({1, 1});
  const Tensor seed = of({1, 2});
  Tape tape;
  Var y;
  {
    Tape::Recording recording(tape);
    const Var early = scale(a, 10.0);  // its contribution to a comes after that of the sum
    y = add(add(a, b), early);
  }
  tape.backward(y, seed);
  EXPECT_EQ(a.grad().values(), (Values{11, 22}));
  EXPECT_EQ(b.grad().values(), (Values{1, 2}));
  EXPECT_EQ(seed.values(), (Values{1, 2}));
}

TEST(Tape, AVariableAddedToItselfCountsTwice) {
  const Var x = leaf({1, 2});
  differentiate({1, 3}, [&] { return add(x, x); });
  EXPECT_EQ(x.grad().values(), (Values{2, 6}));
}

TEST(Tape, OpsThatReuseTheGradientLeaveOtherHoldersAlone) {
  // The gradient of the sum is held by x and by the gelu branch, whose backward likes to work in place.
  const Var x = leaf({0, 0}), z = leaf({0, 0});
  differentiate({1, 2}, [&] { return add(x, gelu(z)); });
  EXPECT_EQ(x.grad().values(), (Values{1, 2}));
  EXPECT_EQ(z.grad().values(), (Values{0.5, 1}));
}

TEST(Tape, ASlotAddsToAGradientThatMovedIn) {
  // x first gets the moved-in gradient of the sum (shared with the other operand), then a product writes into a slot.
  const Var x = Var::leaf(of({1, 2}).reshape({1, 2})), other = Var::leaf(of({0, 0}).reshape({1, 2}));
  const Var w(of({1, 2, 3, 4}).reshape({2, 2}));
  Tape tape;
  Var y;
  {
    Tape::Recording recording(tape);
    const Var product = linear(x, w);
    y = add(add(x, other), product);
  }
  tape.backward(y, of({1, 10}).reshape({1, 2}));
  EXPECT_EQ(x.grad().values(), (Values{1 + 31, 10 + 42}));
  EXPECT_EQ(other.grad().values(), (Values{1, 10}));
}

TEST(Tape, ViewsPassTheirGradientOn) {
  const Var x = leaf({1, 2, 3, 4});
  differentiate({1, 1}, [&] {
    const Var matrix = reshape(x, {2, 2});
    return reshape(mul(slice(matrix, 0, 1), slice(matrix, 1, 2)), {2});
  });
  EXPECT_EQ(x.grad().values(), (Values{3, 4, 1, 2}));
}

TEST(Tape, AnUnusedOutputIsLeftOut) {
  const Var x = leaf({1, 2}), residual = leaf({0, 1});
  differentiate({1, 10}, [&] { return add_norm(NormKind::layer, x, residual, {}, {}).sum; });
  EXPECT_EQ(x.grad().values(), (Values{1, 10}));
  EXPECT_EQ(residual.grad().values(), (Values{1, 10}));
}

TEST(Tape, ABranchThatDoesNotReachTheResultIsSkipped) {
  const Var x = leaf({1, 2}), unrelated = leaf({5, 6});
  differentiate({1, 1}, [&] {
    scale(unrelated, 2.0);
    const Var y = scale(x, 2.0);
    scale(y, 7.0);
    return y;
  });
  EXPECT_EQ(x.grad().values(), (Values{2, 2}));
  EXPECT_FALSE(unrelated.grad().defined());
}

TEST(Tape, GivenMemoryGathersAcrossBackwardsUntilCleared) {
  // Two parameters in one flat buffer, as an optimizer wants them.
  const Tensor flat = of({100, 100, 100, 100});
  const Var a = Var::leaf(of({1, 2}), flat.flat_view(0, {2}));
  const Var b = Var::leaf(of({3, 4}), flat.flat_view(2, {2}));
  EXPECT_FALSE(a.grad().defined());  // what was there before does not count
  differentiate({1, 1}, [&] { return mul(a, b); });
  EXPECT_EQ(flat.values(), (Values{3, 4, 1, 2}));
  EXPECT_TRUE(b.grad().same_memory(flat.flat_view(2, {2})));
  differentiate({1, 1}, [&] { return mul(a, b); });
  EXPECT_EQ(flat.values(), (Values{6, 8, 2, 4}));
  a.clear_grad();
  EXPECT_FALSE(a.grad().defined());
  differentiate({1, 1}, [&] { return mul(a, b); });
  EXPECT_EQ(flat.values(), (Values{3, 4, 3, 6}));
}

TEST(Tape, AMovedInGradientOutlivesTheTape) {
  const Var x = leaf({1, 2});
  differentiate({3, 4}, [&] { return add(x, of({0, 0})); });
  differentiate({1, 1}, [&] { return scale(x, 2.0); });
  EXPECT_EQ(x.grad().values(), (Values{5, 6}));
  x.clear_grad();
  EXPECT_FALSE(x.grad().defined());
}

TEST(Tape, ASingleElementNeedsNoSeed) {
  const Var x = leaf({1, 2});
  Tape tape;
  Var y;
  {
    Tape::Recording recording(tape);
    y = sum(mul(x, x));
  }
  tape.backward(y);
  EXPECT_EQ(x.grad().values(), (Values{2, 4}));
  EXPECT_EQ(tape.size(), 0u);
}

TEST(Tape, StartsFromSeveralValuesAtOnce) {
  const Var x = leaf({1, 2}), unused = leaf({1, 2});
  Tape tape;
  std::vector<Var> ys;
  {
    Tape::Recording recording(tape);
    ys = {scale(x, 2.0), mul(x, x), scale(unused, 2.0)};
  }
  tape.backward(ys, std::vector<Tensor>{of({1, 1}), of({1, 10}), Tensor()});
  EXPECT_EQ(x.grad().values(), (Values{4, 42}));
  EXPECT_FALSE(unused.grad().defined());
  EXPECT_THROW(tape.backward(ys, std::vector<Tensor>{of({1, 1})}), std::invalid_argument);
}

TEST(Tape, RefusesWhatItDidNotRecord) {
  const Var x = leaf({1, 2});
  Tape tape, other;
  Var y, z;
  {
    Tape::Recording recording(tape);
    y = scale(x, 2.0);
  }
  {
    Tape::Recording recording(other);
    z = scale(x, 2.0);
  }
  const Tensor seed = of({1, 1});
  EXPECT_THROW(tape.backward(z, seed), std::invalid_argument);
  EXPECT_THROW(tape.backward(x, seed), std::invalid_argument);
  EXPECT_THROW(tape.backward(Var(seed), seed), std::invalid_argument);
  EXPECT_THROW(tape.backward(Var(), seed), std::invalid_argument);
  EXPECT_THROW(tape.backward(y), std::invalid_argument);  // two elements and no seed
  EXPECT_THROW(tape.backward(y, of({1, 1, 1})), std::invalid_argument);
  tape.backward(y, seed);
  EXPECT_THROW(tape.backward(y, seed), std::invalid_argument);  // the tape is empty
  EXPECT_EQ(x.grad().values(), (Values{2, 2}));
}

TEST(Tape, LeavesAreFloatsWithAGradientOfTheirShape) {
  EXPECT_THROW(Var::leaf(test::random_ids({3}, 5, 1)), std::invalid_argument);
  EXPECT_THROW(Var::leaf(of({1, 2}), of({1, 2, 3})), std::invalid_argument);
  EXPECT_THROW(Op("gelu"), std::invalid_argument);
  gelu(leaf({1}));  // the op above exists in this program because of this line
}

TEST(Tape, BackwardFreesWhatEachNodeSavedAsItGoes) {
  const auto active = [] { return backend_of(reference).memory().usage().active; };
  const std::int64_t n = 1 << 16;
  const std::size_t one = n * sizeof(double);
  const Var x = Var::leaf(random_tensor({n}, 1));
  const std::size_t before = active();
  std::vector<std::size_t> seen;
  const auto watched = [&](const Var& v) {
    return custom_op(
        "test_watch", {v}, [](const auto& in) { return in[0].clone(); },
        [&](const auto&, const Tensor&, const Tensor& dy) {
          seen.push_back(active());
          return std::vector<Tensor>{dy};
        });
  };
  Tape tape;
  Var y;
  {
    Tape::Recording recording(tape);
    y = x;
    for (int layer = 0; layer < 4; ++layer) y = watched(gelu(y));
  }
  EXPECT_EQ(active(), before + 8 * one);
  tape.backward(y, random_tensor({n}, 2));
  // With each layer go its two values; only the last, `y`, stays as long as its variable.
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen, (std::vector<std::size_t>{before + 9 * one, before + 8 * one, before + 6 * one, before + 4 * one}));
  y = {};
  x.clear_grad();
  EXPECT_EQ(active(), before);
}

TEST(Tape, AnUnrecordedOpMakesNothingForBackward) {
  MemoryPools& memory = backend_of(reference).memory();
  const Var x = Var::leaf(random_tensor({64, 64}, 1)), w = Var::leaf(random_tensor({64, 64}, 2));
  const std::size_t one = x.value().bytes();
  const auto peak_of_call = [&] {
    memory.reset_peak();
    const std::size_t before = memory.usage().active;
    linear(x, w, {}, Activation::gelu);
    return memory.usage().peak - before;
  };
  EXPECT_EQ(peak_of_call(), one);
  Tape tape;
  Tape::Recording recording(tape);
  EXPECT_EQ(peak_of_call(), 2 * one);  // with the value before the activation
}

TEST(Tape, AnMlpKeepsItsHiddenLayerOnce) {
  MemoryPools& memory = backend_of(reference).memory();
  const auto leaf_of = [](const Shape& shape) { return Var::leaf(random_tensor(shape, 1)); };
  const Var x = leaf_of({64, 64}), up = leaf_of({256, 64}), down = leaf_of({64, 256});
  const std::size_t one = x.value().bytes(), before = memory.usage().active;
  Tape tape;
  Var y;
  {
    Tape::Recording recording(tape);
    y = mlp(x, {up, {}, down, {}}, Activation::gelu);
  }
  EXPECT_EQ(memory.usage().active, before + (1 + 4) * one);  // y, and what comes before the activation
  memory.reset_peak();
  tape.backward(y, random_tensor(y.shape(), 2));
  // Beside these: the seed, and the gradients of the hidden layer, of both weights and of x.
  EXPECT_EQ(memory.usage().peak, before + (5 + 1 + 4 + 4 + 4 + 1) * one);
}

TEST(Tape, Bf16ParametersGatherF32Gradients) {
  // Rounding of values and activations is 2^-9; a gradient in bf16 would also show it as a value that bf16 holds.
  const Tensor ids = test::random_ids({3, 9}, 11, 1, test::cpu);
  const auto run = [&](DType dtype) {
    std::vector<Var> p;  // table, gain, bias of the norm, weight, bias
    for (const Shape& shape : {Shape{11, 32}, Shape{32}, Shape{32}, Shape{16, 32}, Shape{16}}) {
      const Tensor value = random_tensor(shape, 2 + p.size(), dtype, test::cpu);
      p.push_back(Var::leaf(value, Tensor::zeros(shape, DType::f32, test::cpu)));
    }
    for (int step = 0; step < 2; ++step) {  // the second adds to the first
      Tape tape;
      Var y;
      {
        Tape::Recording recording(tape);
        y = linear(layer_norm(embedding(ids, p[0]), p[1], p[2]), p[3], p[4], Activation::gelu);
      }
      EXPECT_EQ(y.value().dtype(), dtype);
      tape.backward(y, random_tensor(y.shape(), 7, dtype, test::cpu));
    }
    return p;
  };
  const auto wide = run(DType::f32), narrow = run(DType::bf16);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    EXPECT_EQ(narrow[i].grad().dtype(), DType::f32);
    EXPECT_TRUE(test::close(narrow[i].grad(), wide[i].grad(), 0.03)) << "parameter " << i;
    const Tensor rounded = narrow[i].grad().to(DType::bf16, test::cpu);
    EXPECT_NE(rounded.values(), narrow[i].grad().values()) << "parameter " << i;
  }
}

}  // namespace
}  // namespace monge::autograd
