// A model of given parameters and an optimizer, step by step.
#pragma once

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/options/yaml.h"
#include "optim/optimizer.h"
#include "support/compare.h"

namespace monge::test {

struct OneParameter {
  std::string name = "weight";
  Shape shape{4, 6};
  nn::Role role = nn::Role::matrix;
  std::vector<nn::Part> parts = {};
};

/// A random gradient for step `step`, and the norm of a list of numbers, for oracles.
inline std::vector<double> random_gradient(int step, std::int64_t n, double stddev = 1.0) {
  return random_values(n, static_cast<std::uint64_t>(1000 + step), 0.0, stddev);
}
inline double norm(const std::vector<double>& x) {
  return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
}

/// Parameters start as normal(0, 1). Clipping is off and the rate constant, unless `yaml` says otherwise.
class RuleSteps {
 public:
  RuleSteps(const std::string& yaml, Device device, const std::vector<OneParameter>& parameters = {{}})
      : model_(parameters),
        store_(model_, device, nn::Precision::float32, 1),
        optimizer_(read(yaml), model_, store_, 100) {
    store_.clear_grads();
  }

  /// Gradients of all parameters, in the order of the store.
  void step(const std::vector<std::vector<double>>& gradients) {
    for (std::size_t i = 0; i < gradients.size(); ++i) set(store_.grad(store_.entries()[i]), gradients[i]);
    optimizer_.step(++steps_);
  }

  /// The extra pass before the next step, with `count` targets drawn from the model and these gradients.
  void sampled(const std::vector<std::vector<double>>& gradients, double count) {
    for (std::size_t i = 0; i < gradients.size(); ++i) set(store_.grad(store_.entries()[i]), gradients[i]);
    optimizer_.sampled(steps_ + 1, Tensor::from(std::vector<double>{1.0 / count}, {1}, store_.values().dtype(),
                                                store_.values().device()));
  }

  std::vector<double> value(std::size_t i = 0) const { return store_.value(store_.entries()[i]).values(); }
  void set_value(const std::vector<double>& value, std::size_t i = 0) { set(store_.value(store_.entries()[i]), value); }
  nn::ParameterStore& store() { return store_; }
  optim::Optimizer& optimizer() { return optimizer_; }

 private:
  struct Model : nn::Module {
    explicit Model(const std::vector<OneParameter>& parameters) {
      for (const OneParameter& p : parameters) add_parameter(p.name, p.shape, p.role, nn::Init::normal(1.0), p.parts);
    }
  };

  static optim::OptimizerOptions read(const std::string& yaml) {
    optim::OptimizerOptions options;
    options.clip_norm = 0.0;
    options.schedule = optim::schedules().choose("constant");
    read_yaml_text("{" + yaml + "}", "test", {}, options);
    return options;
  }
  static void set(const Tensor& to, const std::vector<double>& values) {
    to.backend().copy({.from = Tensor::from(values, to.shape(), to.dtype(), to.device()), .to = to});
  }

  Model model_;
  nn::ParameterStore store_;
  optim::Optimizer optimizer_;
  std::int64_t steps_ = 0;
};

}  // namespace monge::test
