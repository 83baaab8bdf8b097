// gradcheck itself: it accepts a right backward and refuses wrong ones.
#include "autograd/gradcheck.h"

#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "support/compare.h"

namespace monge::autograd {
namespace {

using test::random_tensor;
using test::reference;
using Vars = std::vector<Var>;

/// x^2 whose backward gives `factor` x dy: right for 2.
Var square(const Var& x, double factor) {
  return custom_op(
      "test_square", {x},
      [](const std::vector<Tensor>& in) {
        const Tensor y = Tensor::like(in[0]);
        y.backend().mul({.a = in[0], .b = in[0], .out = y});
        return y;
      },
      [factor](const std::vector<Tensor>& in, const Tensor&, const Tensor& dy) {
        const Tensor dx = Tensor::like(dy);
        dx.backend().mul({.a = dy, .b = in[0], .out = dx});
        dx.backend().scale({.x = dx, .factor = factor, .out = dx});
        return std::vector<Tensor>{dx};
      });
}

TEST(Gradcheck, AcceptsARightBackward) {
  const GradcheckResult result = gradcheck([](const Vars& v) { return square(v[0], 2.0); }, {random_tensor({3, 5}, 1)});
  EXPECT_TRUE(result.ok) << result.message;
  EXPECT_LT(result.worst, 1e-8);
}

TEST(Gradcheck, RefusesAWrongBackwardAndSaysWhere) {
  const GradcheckResult result = gradcheck([](const Vars& v) { return add(v[0], square(v[1], 2.001)); },
                                           {random_tensor({3, 5}, 1), random_tensor({3, 5}, 2)});
  EXPECT_FALSE(result.ok);
  EXPECT_NE(result.message.find("input 1 (3, 5), element"), std::string::npos) << result.message;
}

TEST(Gradcheck, RefusesAMissingGradient) {
  const auto f = [](const Vars& v) {
    return custom_op(
        "test_no_gradient", {v[0]}, [](const auto& in) { return in[0].clone(); },
        [](const auto&, const Tensor&, const Tensor&) { return std::vector<Tensor>{Tensor()}; });
  };
  EXPECT_FALSE(gradcheck(f, {random_tensor({4}, 1)}).ok);
}

TEST(Gradcheck, RefusesNaN) {
  const auto f = [](const Vars& v) { return square(v[0], std::nan("")); };
  EXPECT_FALSE(gradcheck(f, {random_tensor({4}, 1)}).ok);
}

TEST(Gradcheck, RefusesErrorsThatCancelInThePlainSum) {
  // dx = dy reversed has the right sum of gradients for a sum of outputs, and the wrong place for each.
  const auto f = [](const Vars& v) {
    return custom_op(
        "test_reversed", {v[0]}, [](const auto& in) { return in[0].clone(); },
        [](const auto&, const Tensor&, const Tensor& dy) {
          std::vector<double> values = dy.values();
          std::reverse(values.begin(), values.end());
          return std::vector<Tensor>{Tensor::from(values, dy.shape(), dy.dtype(), dy.device())};
        });
  };
  EXPECT_FALSE(gradcheck(f, {random_tensor({4}, 1)}).ok);
}

TEST(Gradcheck, WantsDoublesOnTheReferenceDevice) {
  const Tensor ids = test::random_ids({4}, 3, 1);
  EXPECT_THROW(gradcheck([](const Vars& v) { return v[0]; }, {ids}), std::invalid_argument);
  EXPECT_THROW(gradcheck([](const Vars& v) { return v[0]; }, {Tensor()}), std::invalid_argument);
}

TEST(CustomOp, TakesANameOnceAndNotOneOfTheFramework) {
  const Var x(random_tensor({2}, 1));
  const auto use = [&](const std::string& name) {
    return custom_op(
        name, {x}, [](const auto& in) { return in[0].clone(); },
        [](const auto&, const Tensor&, const Tensor& dy) { return std::vector<Tensor>{dy}; });
  };
  use("test_own_name");
  use("test_own_name");
  gelu(x);
  EXPECT_THROW(use("gelu"), std::invalid_argument);
  const auto names = Op::all();
  EXPECT_EQ(std::ranges::count(names, "test_own_name"), 1);
}

TEST(CustomOp, ABackwardOfTheWrongFormIsNamed) {
  const auto message = [](const std::string& name, const std::vector<Tensor>& gives) -> std::string {
    Tape tape;
    Var y;
    {
      Tape::Recording recording(tape);
      y = custom_op(
          name, {Var::leaf(random_tensor({2}, 1))}, [](const auto& in) { return in[0].clone(); },
          [=](const auto&, const Tensor&, const Tensor&) { return gives; });
    }
    try {
      tape.backward(y, random_tensor({2}, 2));
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(message("test_no_list", {}), "[test_no_list] backward gives 0 gradients for 1 inputs");
  EXPECT_EQ(message("test_long", {random_tensor({3}, 1)}),
            "[test_long] backward gives a gradient of shape (3) for input 0 of shape (2)");
}

}  // namespace
}  // namespace monge::autograd
