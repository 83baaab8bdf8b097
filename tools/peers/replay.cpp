// Lets an optimizer walk along recorded gradients, and writes where it went:
//
//   replay DATA OUT DEVICE YAML        YAML: what stands under `optimizer:`
//   replay                             prints the names of all rules and transforms
//
// DATA and OUT are safetensors files, in float64. DATA has, for `steps` steps,
//
//   param/NAME                        its first value; a matrix is the weight of a linear layer, a vector a gain
//   grad/NAME       (steps, ...)      its gradients
//   input/NAME      (steps, N, in)    for curvature passes, of a matrix: the inputs of the layer
//   output/NAME     (steps, N, out)   and the gradients of its outputs, for the mean loss over N targets
//
// and OUT
//
//   trained/NAME    (steps, ...)      the parameter after each step
//   evaluated/NAME  (steps, ...)      what evaluation and checkpoints see of it
//   lr              (steps)           the scheduled rate
#include <monge.h>

#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/options/yaml.h"
#include "core/safetensors.h"

namespace {

using monge::DType;
using monge::SafeTensors;
using monge::Shape;
using monge::Tensor;

constexpr monge::Device host{monge::DeviceKind::reference};

/// What DATA describes: matrices and vectors side by side.
class Parameters : public monge::nn::Module {
 public:
  explicit Parameters(const SafeTensors& data) {
    for (const auto& [key, entry] : data.entries()) {
      if (!key.starts_with("param/")) continue;
      const std::string name = key.substr(key.find('/') + 1);
      if (entry.shape.rank() == 2) {
        layers_[name] = std::make_unique<monge::nn::Linear>(
            monge::nn::Linear::Options{.in = entry.shape[1], .out = entry.shape[0]});
        add_module(name, *layers_[name]);
      } else {
        add_parameter(name, entry.shape, monge::nn::Role::gain, monge::nn::Init::constant(0.0));
      }
    }
  }
  const std::map<std::string, std::unique_ptr<monge::nn::Linear>>& layers() const { return layers_; }

 private:
  std::map<std::string, std::unique_ptr<monge::nn::Linear>> layers_;
};

/// The name in the files of the parameter "NAME.weight" or "NAME".
std::string name_of(const monge::nn::ParameterStore::Entry& entry) {
  return entry.name.substr(0, entry.name.find(".weight"));
}

/// What `key` holds for a step (from 1).
Tensor at(const SafeTensors& data, const std::string& key, std::int64_t step, monge::Device device) {
  const Tensor all = data.tensor(key, host);
  const DType dtype = device.kind == monge::DeviceKind::reference ? DType::f64 : DType::f32;
  return Tensor::from(all.slice(step - 1, step).values(), all.shape().without(0), dtype, device);
}

/// The curvature pass of a step: every layer sees its recorded inputs and gradients.
Tensor measure(const SafeTensors& data, const Parameters& model, std::int64_t step, monge::Device device) {
  Tensor share;
  for (const auto& [name, layer] : model.layers()) {
    const Tensor x = at(data, "input/" + name, step, device), dy = at(data, "output/" + name, step, device);
    share = Tensor::from(std::vector<double>{1.0 / static_cast<double>(x.size(0))}, {1}, x.dtype(), device);
    monge::autograd::Tape tape;
    monge::autograd::Var y;
    {
      const monge::autograd::Tape::Recording recording(tape);
      y = layer->forward(monge::autograd::Var(x));
    }
    tape.backward(y, dy);
  }
  return share;
}

void replay(const SafeTensors& data, const std::string& out, monge::Device device, const std::string& yaml) {
  monge::optim::OptimizerOptions options;
  monge::read_yaml_text(yaml, "YAML", {}, options);
  Parameters model(data);
  monge::nn::ParameterStore store(model, device, monge::nn::Precision::float32, 1);
  for (const auto& entry : store.entries()) data.read("param/" + name_of(entry), store.value(entry));
  const std::int64_t steps = data.entry("grad/" + name_of(store.entries().front())).shape[0];
  monge::optim::Optimizer optimizer(options, model, store, steps);

  std::map<std::string, std::vector<double>> paths;
  std::map<std::string, Shape> shapes{{"lr", {steps}}};
  const auto note = [&](const std::string& what) {
    for (const auto& entry : store.entries()) {
      const std::string key = what + "/" + name_of(entry);
      const std::vector<double> values = store.value(entry).values();
      paths[key].insert(paths[key].end(), values.begin(), values.end());
      shapes[key] =
          entry.shape.rank() == 2 ? Shape{steps, entry.shape[0], entry.shape[1]} : Shape{steps, entry.shape[0]};
    }
  };
  for (std::int64_t step = 1; step <= steps; ++step) {
    optimizer.begin(step);
    if (optimizer.samples(step)) {
      store.clear_grads();
      const Tensor share = measure(data, model, step, device);
      store.complete_grads();
      optimizer.sampled(step, share);
    }
    store.clear_grads();
    store.complete_grads();
    for (const auto& entry : store.entries()) {
      store.grads().backend().copy({.from = at(data, "grad/" + name_of(entry), step, device), .to = store.grad(entry)});
    }
    optimizer.step(step);
    paths["lr"].push_back(optimizer.lr(step));
    note("trained");
    const monge::optim::EvaluationWeights evaluated(optimizer);
    note("evaluated");
  }

  std::vector<monge::NamedTensor> tensors;
  for (const auto& [key, values] : paths) {
    tensors.push_back({key, Tensor::from(values, shapes.at(key), DType::f64, host)});
  }
  monge::write_safetensors(out, tensors);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 1) {
    for (const std::string& name : monge::optim::rules().names()) std::cout << name << "\n";
    for (const std::string& name : monge::optim::transforms().names()) std::cout << name << "\n";
    return 0;
  }
  if (argc != 5) {
    std::cerr << "usage: replay [DATA OUT DEVICE YAML]\n";
    return 2;
  }
  try {
    replay(SafeTensors(argv[1]), argv[2], monge::parse_device(argv[3]), argv[4]);
  } catch (const std::exception& error) {
    std::cerr << "replay: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
