#include "optim/attention/fisher_averages.h"

#include <cmath>

#include "core/error.h"
#include "nn/attention/fisher.h"

namespace monge::optim {

std::array<Shape, 4> fisher_shapes(const nn::RowMapAttention& layer) {
  const std::int64_t D = layer.head_dim(), C = layer.query_rows().parameter->shape()[1];
  const Shape right{1, C, C};
  return {Shape{layer.heads(), D, D}, right, Shape{layer.kv_heads(), D, D}, right};
}

FisherMeasurement::FisherMeasurement(const std::vector<nn::RowMapAttention*>& layers) : layers_(layers.size()) {
  for (std::size_t i = 0; i < layers.size(); ++i) layers_[i].attention = layers[i];
}

void FisherMeasurement::Layer::observe(const nn::AttentionCall& call) {
  if (measured.of[0].defined()) return;
  const nn::FisherFactors f = nn::fisher_factors(call);
  measured = {{f.query_left, f.query_right, f.key_left, f.key_right}};
}

void FisherMeasurement::begin() {
  for (Layer& layer : layers_) layer.attention->add_observer(layer);
}

FisherTensors FisherMeasurement::take(std::size_t i) {
  Layer& layer = layers_[i];
  layer.attention->remove_observer(layer);
  const std::array<Shape, 4> shapes = fisher_shapes(*layer.attention);
  FisherTensors out = std::exchange(layer.measured, {});
  for (std::size_t f = 0; f < shapes.size(); ++f) out.of[f] = out.of[f].reshape(shapes[f]);
  return out;
}

void FisherAveraging::fields(Fields& f) {
  f("every", every, {.doc = "steps between two measurements and inversions of the factors", .unit = "steps", .min = 1});
  f("decay", decay, {.doc = "decay of the moving average of the factors, per measurement", .min = 0.0, .max = 1.0});
}

void FisherAveraging::check() const {
  if (decay >= 1.0) throw KeyError("decay", "must be below 1, for example 0.9");
}

FisherAverages::FisherAverages(const FisherAveraging& options, const std::vector<nn::RowMapAttention*>& layers,
                               DType dtype, Device device)
    : options_(options), measurement_(layers) {
  for (const nn::RowMapAttention* layer : layers) {
    FisherTensors& average = averages_.emplace_back();
    const std::array<Shape, 4> shapes = fisher_shapes(*layer);
    for (std::size_t f = 0; f < shapes.size(); ++f) {
      average.of[f] = Tensor::zeros(shapes[f], dtype, device, Pool::optimizer);
    }
  }
}

void FisherAverages::begin(std::int64_t number) {
  if (measures(number)) measurement_.begin();
}

void FisherAverages::update(const Step& step) {
  for (std::size_t i = 0; i < averages_.size(); ++i) {
    const FisherTensors measured = measurement_.take(i);
    for (std::size_t f = 0; f < measured.of.size(); ++f) {
      step.update_average(averages_[i].of[f], options_.decay, measured.of[f]);
    }
  }
}

double FisherAverages::unbias(std::int64_t number) const {
  const std::int64_t measurements = (number - 1) / options_.every + 1;
  return 1.0 / (1.0 - std::pow(options_.decay, measurements));
}

}  // namespace monge::optim
