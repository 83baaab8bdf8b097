// recompute: the same bits as without it, at less memory and for one more forward.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "support/compare.h"

namespace monge::autograd {
namespace {

using test::cpu;
using test::random_tensor;
using Vars = std::vector<Var>;

/// A residual stack of MLP blocks with norm and dropout: a block saves about ten times what flows through.
class Stack {
 public:
  static constexpr std::int64_t rows = 64, width = 96, depth = 6;

  Stack() {
    for (int i = 0; i < depth; ++i) {
      Block b;
      b.gain = parameter({width}, 10 * i);
      b.up = parameter({4 * width, width}, 10 * i + 1);
      b.bias = parameter({4 * width}, 10 * i + 2);
      b.down = parameter({width, 4 * width}, 10 * i + 3);
      b.random = {.seed = 1, .stream = static_cast<std::uint32_t>(i), .step = {}};
      blocks_.push_back(b);
    }
  }

  struct Result {
    std::vector<std::vector<double>> numbers;  // output, gradients of the parameters
    std::size_t peak = 0;                      // bytes above what was there before
    int calls = 0;                             // of blocks
  };

  /// The input wants no gradient, as token embeddings that are not trained: only the parameters of a block do.
  Result run(bool recomputed) {
    MemoryPools& memory = backend_of(cpu).memory();
    Result result;
    for (const Var& p : parameters_) p.clear_grad();
    const std::size_t before = memory.usage().active;
    memory.reset_peak();
    {
      Tape tape;
      Vars x{random_tensor({rows, width}, 1000, DType::f32, cpu)};
      {
        Tape::Recording recording(tape);
        for (const Block& b : blocks_) {
          const auto f = [&](const Vars& in) {
            ++result.calls;
            return Vars{b.forward(in[0])};
          };
          x = recomputed ? recompute(f, x) : f(x);
        }
      }
      result.numbers.push_back(x[0].value().values());
      tape.backward(x[0], random_tensor({rows, width}, 1001, DType::f32, cpu));
    }
    result.peak = memory.usage().peak - before;
    for (const Var& p : parameters_) result.numbers.push_back(p.grad().values());
    return result;
  }

 private:
  struct Block {
    Var gain, up, bias, down;
    Random random;

    Var forward(const Var& x) const {
      const Var hidden = linear(layer_norm(x, gain, {}), up, bias, Activation::gelu);
      return add(x, dropout(linear(hidden, down), 0.2, random));
    }
  };

  Var parameter(const Shape& shape, int seed) {
    const Tensor value = random_tensor(shape, static_cast<std::uint64_t>(seed), DType::f32, cpu, 0.1);
    parameters_.push_back(Var::leaf(value, Tensor::zeros(shape, DType::f32, cpu, Pool::gradients)));
    return parameters_.back();
  }

  std::vector<Block> blocks_;
  Vars parameters_;
};

TEST(Recompute, GivesTheSameBitsWithLessMemoryForOneMoreForward) {
  Stack stack;
  const Stack::Result plain = stack.run(false), again = stack.run(true);
  EXPECT_TRUE(plain.numbers == again.numbers);  // not EXPECT_EQ: it would print them all
  EXPECT_EQ(plain.calls, Stack::depth);
  EXPECT_EQ(again.calls, 2 * Stack::depth);
  EXPECT_LT(again.peak, plain.peak / 2) << again.peak << " of " << plain.peak;
}

TEST(Recompute, IsThePlainBlockWhenNothingRecords) {
  int calls = 0;
  const Var x(random_tensor({4}, 1, DType::f32, cpu));
  const auto block = [&](const Vars& in) {
    ++calls;
    return Vars{scale(in[0], 2.0)};
  };
  const Vars y = recompute(block, {x});
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(y[0].wants_grad());
  EXPECT_EQ(y[0].value().values(), scale(x, 2.0).value().values());
}

TEST(Recompute, ABlockThatWantsNoGradientGetsNone) {
  const Var x(random_tensor({4}, 1, DType::f32, cpu));
  const Var w = Var::leaf(random_tensor({4}, 2, DType::f32, cpu));
  Tape tape;
  Var y;
  {
    Tape::Recording recording(tape);
    const Vars r = recompute([](const Vars& in) { return Vars{scale(in[0], 2.0)}; }, {x});
    y = mul(r[0], w);
  }
  tape.backward(y, random_tensor({4}, 3, DType::f32, cpu));
  EXPECT_TRUE(w.grad().defined());
}

}  // namespace
}  // namespace monge::autograd
