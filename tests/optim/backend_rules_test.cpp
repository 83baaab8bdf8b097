// Every rule and every transform on a device, in single precision, against the reference.
#include "optim/optimizer.h"
#include "support/rule_steps.h"
#include "support/tested_device.h"

namespace monge::optim {
namespace {

using test::RuleSteps;

constexpr int steps = 6;

/// The values of a matrix of two parts, one of an odd size and a vector after some steps of `yaml`. The matrices are
/// square: otherwise G^T G or G G^T is singular in the first steps, and rounding determines the null directions.
std::vector<std::vector<double>> path(const std::string& yaml, Device device) {
  const std::vector<test::OneParameter> parameters{
      {.name = "joint", .shape = {32, 16}, .parts = {{"q", 16, 2}, {"k", 16, 2}}},
      {.name = "odd", .shape = {19, 19}},
      {.name = "gain", .shape = {37}, .role = nn::Role::gain}};
  RuleSteps run(yaml, device, parameters);
  std::vector<std::vector<double>> gradients;
  for (int t = 1; t <= steps; ++t) {
    gradients.clear();
    for (const auto& entry : run.store().entries()) {
      gradients.push_back(test::random_gradient(t + 10 * static_cast<int>(gradients.size()), entry.shape.numel()));
    }
    if (run.optimizer().samples(t)) run.sampled(gradients, 9.0);
    run.step(gradients);
  }
  std::vector<std::vector<double>> out;
  const EvaluationWeights averaged(run.optimizer());
  for (std::size_t i = 0; i < run.store().entries().size(); ++i) out.push_back(run.value(i));
  return out;
}

void expect_agreement(const std::string& yaml) {
  const auto got = path(yaml, test::tested), expected = path(yaml, test::reference);
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(test::close(got[i], expected[i], 1e-4)) << yaml << ", parameter " << i;
  }
}

TEST(DeviceRules, AgreeWithTheReference) {
  for (const std::string& name : rules().names()) {
    if (name == "kfac" || name == "ekfac" || name == "newton_muon") continue;  // need a model: train/backend_training
    expect_agreement("name: " + name + ", lr: 0.01");
  }
  expect_agreement("name: muon, lr: 0.01, per_head: true, base: {name: lamb, lr: 0.02}");
}

TEST(DeviceRules, AgreeUnderTransforms) {
  for (const std::string& name : transforms().names()) {
    expect_agreement("name: adamw, lr: 0.01, chain: [{kind: " + name + "}]");
  }
  expect_agreement("name: soap, lr: 0.01, chain: [{kind: mars}, {kind: cautious}, {kind: ema, decay: 0.5}]");
}

}  // namespace
}  // namespace monge::optim
