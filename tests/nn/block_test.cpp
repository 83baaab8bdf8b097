// What the options of a block mean, said in its own parts: LayerScale is a factor of the last weights of each branch,
// a hybrid norm stands between attention and the stream, and without norms a block adds what it makes of the stream.
#include <gtest/gtest.h>

#include "core/options/yaml.h"
#include "nn/gpt.h"
#include "nn/parameter_store.h"
#include "support/compare.h"

namespace monge::nn {
namespace {

using test::reference;

GptOptions small(const std::string& yaml) {
  GptOptions o;
  o.layers = 2;
  o.heads = 2;
  o.width = 8;
  o.context = 6;
  read_yaml_text(yaml, "block test", {}, o);
  return o;
}

/// The module of a dotted name below `root`.
template <class M>
M& part(Module& root, const std::string& name) {
  M* found = nullptr;
  root.visit([&](const std::string& at, Module& module) {
    if (at == name) found = dynamic_cast<M*>(&module);
  });
  require(found != nullptr, "no part '{}'", name);
  return *found;
}

struct BlockWithParts {
  explicit BlockWithParts(const std::string& yaml, bool bias = false) : options(small(yaml)) {
    const LayerContext c{.width = options.width,
                         .heads = options.heads,
                         .kv_heads = options.heads,
                         .layers = 1,
                         .context = options.context,
                         .bias = bias,
                         .dropout = &dropout,
                         .residual_stddev = 0.5};
    position = positions().make(options.position, c);
    block = blocks().make(options.block, c, {options.attention, options.mlp, options.norm, position.get()});
    store = std::make_unique<ParameterStore>(*block, reference, Precision::float32, 1);
  }
  /// The stream after the block.
  Var forward(const Tensor& x) const {
    const Residual out = block->forward({x, {}});
    return autograd::add(out.stream, out.branch);
  }

  DropoutState dropout;
  GptOptions options;
  std::unique_ptr<Position> position;
  std::unique_ptr<Block> block;
  std::unique_ptr<ParameterStore> store;
};

TEST(Block, LayerScaleIsAFactorOfTheLastWeightsOfABranch) {
  const std::string start = "{position: none, block: {kind: prenorm, layer_scale: 0.5}}";
  const BlockWithParts scaled(start, true), plain("position: none", true);
  const Tensor x = test::random_tensor({2, 6, 8}, 3);
  std::vector<double> gains(8);
  for (std::size_t i = 0; i < gains.size(); ++i) gains[i] = 0.2 * static_cast<double>(i) - 0.5;
  for (const std::string branch : {"attention", "mlp"}) {
    const Tensor gain = scaled.store->value(scaled.store->entry(branch + "_scale.gain"));
    EXPECT_EQ(gain.values(), std::vector<double>(8, 0.5));
    gain.backend().copy_from_host({.from = gains.data(), .to = gain});
    const std::string last = branch == "mlp" ? "mlp.down" : "attention.out";
    for (const std::string kind : {".weight", ".bias"}) {
      const Tensor to = plain.store->value(plain.store->entry(last + kind));
      std::vector<double> values = to.values();
      const std::size_t columns = values.size() / gains.size();
      for (std::size_t i = 0; i < values.size(); ++i) values[i] *= gains[i / columns];
      to.backend().copy_from_host({.from = values.data(), .to = to});
    }
  }
  EXPECT_TRUE(test::close(scaled.forward(x).value(), plain.forward(x).value(), 1e-13));
}

TEST(Block, AHybridNormStandsBetweenAttentionAndTheStream) {
  const BlockWithParts hybrid("{norm: rmsnorm, block: {kind: prenorm, hybrid_norm: true, layer_scale: 0.25}}");
  const Tensor x = test::random_tensor({2, 6, 8}, 4);
  Block& block = *hybrid.block;
  const Var attended = part<Attention>(block, "attention").forward(part<Norm>(block, "norm1").forward(x));
  const Var normalised = part<Norm>(block, "attention_norm").forward(attended);
  const Var stream = autograd::add(x, autograd::scale(normalised, 0.25));
  const Var mlp = part<Mlp>(block, "mlp").forward(part<Norm>(block, "norm2").forward(stream));
  EXPECT_TRUE(test::close(hybrid.forward(x).value(), autograd::add(stream, autograd::scale(mlp, 0.25)).value(), 1e-13));
  // Whatever the size of attention's output, the branch has that of a norm.
  double squares = 0.0;
  for (const double v : normalised.value().values()) squares += v * v;
  EXPECT_NEAR(squares / static_cast<double>(normalised.shape().numel()), 1.0, 1e-2);
}

TEST(Block, WithoutNormsItReadsTheStreamAsItIs) {
  const BlockWithParts none("norm: none");
  const Tensor x = test::random_tensor({2, 6, 8}, 5);
  for (const auto& entry : none.store->entries()) EXPECT_NE(entry.role, Role::gain) << entry.name;
  const Var stream = autograd::add(x, part<Attention>(*none.block, "attention").forward(x));
  const Var expected = autograd::add(stream, part<Mlp>(*none.block, "mlp").forward(stream));
  EXPECT_TRUE(test::close(none.forward(x).value(), expected.value(), 1e-13));
}

}  // namespace
}  // namespace monge::nn
