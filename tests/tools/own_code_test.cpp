// A user's own program that goes wrong is told where to look, and not that Monge is broken.
#include <monge.h>

#include <stdexcept>

#include "support/expect_error.h"
#include "support/program.h"

namespace monge {
namespace {

using autograd::Var;
using nn::LayerContext;

/// Its projection is not registered.
struct Forgotten : nn::Mlp {
  explicit Forgotten(const LayerContext& c) : up({.in = c.width, .out = c.width}) {}
  Var forward(const Var& x) override { return up.forward(x); }
  nn::Linear up;
};

struct Wide : nn::Mlp {
  explicit Wide(const LayerContext& c) : up({.in = c.width, .out = 2 * c.width}) { add_module("up", up); }
  Var forward(const Var& x) override { return up.forward(x); }
  nn::Linear up;
};

struct Throws : nn::Mlp {
  explicit Throws(const LayerContext&) {}
  Var forward(const Var&) override { throw std::out_of_range("no such entry"); }
};

/// An op that gives two gradients for its one input.
struct Generous : nn::Mlp {
  explicit Generous(const LayerContext&) {}
  Var forward(const Var& x) override {
    return autograd::custom_op(
        "generous", {x}, [](const std::vector<Tensor>& in) { return in[0].clone(); },
        [](const std::vector<Tensor>&, const Tensor&, const Tensor& dy) {
          return std::vector<Tensor>{dy, dy};
        });
  }
};

/// An op written for f32 alone.
struct FloatOnly : nn::Mlp {
  explicit FloatOnly(const LayerContext&) {}
  Var forward(const Var& x) override {
    return autograd::custom_op(
        "float_only", {x},
        [](const std::vector<Tensor>& in) {
          Tensor y = in[0].clone();
          for (std::int64_t i = 0; i < y.numel(); ++i) y.data_as<float>()[i] *= 2.0f;
          return y;
        },
        [](const std::vector<Tensor>&, const Tensor&, const Tensor& dy) { return std::vector<Tensor>{dy}; });
  }
};

template <class Layer>
void add(const char* name) {
  nn::mlps().add<NoOptions>(name, "a layer with a fault",
                            [](const NoOptions&, const LayerContext& c) { return std::make_unique<Layer>(c); });
}

class OwnCode : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    add<Forgotten>("forgotten");
    add<Wide>("wide");
    add<Throws>("throws");
    add<Generous>("generous");
    add<FloatOnly>("float_only");
  }
  void SetUp() override { program_.write_config(); }

  /// What `monge train` of a program with these layers says. It must fail with `code`.
  std::string train(const std::string& mlp, int code, const std::string& override = "train.steps=2") {
    const std::string config = (program_ / "config.yaml").string(), out = (program_ / "run").string();
    std::vector<std::string> words{"monge", "train", config, "model.mlp=" + mlp, override, "--out", out};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    EXPECT_EQ(tools::run(static_cast<int>(argv.size()), argv.data()), code);
    testing::internal::GetCapturedStdout();
    return testing::internal::GetCapturedStderr();
  }

  test::Program program_;
};

TEST_F(OwnCode, ALayerThatWasNotRegistered) {
  const std::string said = train("forgotten", 3);
  EXPECT_HAS(said, "a parameter of shape (16, 16) has no memory");
  EXPECT_HAS(said, "add_module was not called");
  EXPECT_HAS(said, "mlp 'forgotten'");
  EXPECT_EQ(said.find("bug in Monge"), std::string::npos) << said;
}

TEST_F(OwnCode, ALayerThatChangesTheWidth) {
  const std::string said = train("wide", 3);
  EXPECT_HAS(said, "mlp 'wide' gives (1, 8, 32) for (1, 8, 16)");
  EXPECT_EQ(said.find("bug in Monge"), std::string::npos) << said;
}

TEST_F(OwnCode, AnExceptionOfItsOwn) {
  const std::string said = train("throws", 3);
  EXPECT_HAS(said, "no such entry");
  EXPECT_HAS(said, "This program adds mlp 'forgotten'");
  EXPECT_EQ(said.find("bug in Monge"), std::string::npos) << said;
}

TEST_F(OwnCode, AWrongNumberOfGradients) {
  EXPECT_HAS(train("generous", 3), "[generous] backward gives 2 gradients for 1 inputs");
}

TEST_F(OwnCode, AnOpForAnotherType) {
  EXPECT_HAS(train("float_only", 3, "train.precision=bfloat16"), "elements of bf16 are read as f32");
}

TEST_F(OwnCode, ANameThatIsTaken) {
  struct Gates : nn::Norm {
    explicit Gates(const LayerContext&) {}
    Var forward(const Var& x) override { return x; }
  };
  nn::norms().add<NoOptions>("rmsnorm", "",
                             [](const NoOptions&, const LayerContext& c) { return std::make_unique<Gates>(c); });
  EXPECT_HAS(train("gelu", 2), "this program registers norm 'rmsnorm', a name that is taken");
}

}  // namespace
}  // namespace monge
