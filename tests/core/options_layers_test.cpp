// Layers of YAML over one another, each with places of its own, and YAML of any form as an option.
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/options/registry.h"
#include "core/options/yaml.h"
#include "support/expect_error.h"

namespace monge {
namespace {

struct Rate : Options {
  double rate = 1.0;
  std::vector<double> betas{0.9, 0.99};
  void fields(Fields& f) override {
    f("rate", rate, {.doc = "speed", .min = 0.0});
    f("betas", betas, {.doc = "decays"});
  }
};
struct Slope : Options {
  double slope = 2.0;
  void fields(Fields& f) override { f("slope", slope, {.doc = "steepness"}); }
};

const RegistryBase& shapes() {
  static auto& registry = *[] {
    auto* r = new Registry<int>("shape");
    r->add<Rate>("rate", "one", [](const Rate&) { return std::make_unique<int>(1); });
    r->add<Slope>("slope", "other", [](const Slope&) { return std::make_unique<int>(2); });
    return r;
  }();
  return registry;
}

struct Recipe : Options {
  Choice shape = shapes().choose("rate");
  double clip = 1.0;
  YamlNode extra;
  void fields(Fields& f) override {
    f(shape, shapes(), {.doc = "shape"}, "name");
    f("clip", clip, {.doc = "limit"});
    f("extra", extra, {.doc = "anything"});
  }
};

std::string read(Recipe& recipe, const std::vector<std::string>& texts) {
  std::vector<YamlNode> layers;
  for (const std::string& text : texts) layers.push_back(parse_yaml(text, fmt::format("layer{}", layers.size())));
  read_yaml_layers(std::move(layers), recipe);
  return write_yaml(recipe);
}

TEST(Layers, LaterOnesReplaceWhatEarlierOnesSay) {
  Recipe recipe;
  read(recipe, {"{name: rate, rate: 3.0, clip: 2.0}", "rate: 4.0", "betas: {1: 0.5}"});
  const auto& rate = dynamic_cast<const Rate&>(*recipe.shape.options);
  EXPECT_EQ(rate.rate, 4.0);
  EXPECT_EQ(rate.betas, (std::vector<double>{0.9, 0.5}));
  EXPECT_EQ(recipe.clip, 2.0);
}

TEST(Layers, AnotherKindLeavesTheKeysOfTheOldOneBehindAndKeepsTheOthers) {
  Recipe recipe;
  read(recipe, {"{name: rate, rate: 3.0, clip: 2.0}", "{name: slope, slope: 7.0}"});
  EXPECT_EQ(recipe.shape.kind, "slope");
  EXPECT_EQ(dynamic_cast<const Slope&>(*recipe.shape.options).slope, 7.0);
  EXPECT_EQ(recipe.clip, 2.0);
}

TEST(Layers, ErrorsNameThePlaceInTheLayer) {
  Recipe recipe;
  const std::string unknown = error_of([&] { read(recipe, {"name: rate", "clip: 1.0\nrtae: 2.0"}); });
  EXPECT_HAS(unknown, "layer1:2:1: rtae: unknown key");
  EXPECT_HAS(unknown, "Did you mean 'rate'");
  Recipe other;
  EXPECT_HAS(error_of([&] { read(other, {"name: slope", "rate: 2.0"}); }), "layer1:1:1");
  Recipe third;
  EXPECT_HAS(error_of([&] { read(third, {"name: rate", "rate: -1.0"}); }), "layer1:1:7: rate");
  Recipe fourth;
  EXPECT_HAS(error_of([&] { read(fourth, {"betas: {1: 0.5}"}); }), "expected a number or a list of numbers");
}

TEST(FreeForm, IsKeptAsWrittenAndReadsBack) {
  const std::string text = "{a: [1, 2.50e-3, x], b: {c: \"1\", d: true, e: \"p, q\"}, f: null}";
  Recipe recipe;
  EXPECT_HAS(read(recipe, {"extra: " + text}), "extra: " + text + "\n");
  Recipe block;
  EXPECT_HAS(read(block, {"extra:\n  plain: p, q\n  sub: [a]\n"}), "extra: {plain: \"p, q\", sub: [a]}\n");
}

}  // namespace
}  // namespace monge
