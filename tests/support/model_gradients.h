// Gradients of a model's loss: what backward gives, and central differences.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "nn/model.h"
#include "nn/parameter_store.h"

namespace monge::test {

/// Flat, like the store's buffers.
inline Tensor loss_gradients(nn::Model& model, nn::ParameterStore& store, const nn::Batch& batch) {
  store.clear_grads();
  autograd::Tape tape;
  autograd::Var loss;
  {
    autograd::Tape::Recording recording(tape);
    loss = model.loss(batch);
  }
  tape.backward(loss);
  store.complete_grads();
  return store.grads().clone();
}

/// Three elements of every parameter against central differences, on the reference device.
inline void expect_right_gradients(nn::Model& model, nn::ParameterStore& store, const nn::Batch& batch) {
  const auto analytic = loss_gradients(model, store, batch).values();
  auto values = store.values().values();
  const auto loss_at = [&](std::size_t i, double x) {
    std::vector<double> changed = values;
    changed[i] = x;
    store.values().backend().copy_from_host({.from = changed.data(), .to = store.values()});
    return model.loss(batch).value().item();
  };
  const double h = 2e-6;
  double largest = 0.0;
  for (const double g : analytic) largest = std::max(largest, std::abs(g));
  for (const auto& e : store.entries()) {
    for (int k = 0; k < 3; ++k) {
      const auto i = static_cast<std::size_t>(e.begin + (k * 7919) % e.shape.numel());
      const auto difference = [&](double step) { return loss_at(i, values[i] + step) - loss_at(i, values[i] - step); };
      const double numeric = (8 * difference(h) - difference(2 * h)) / (12 * h);  // exact to h^4
      EXPECT_NEAR(analytic[i], numeric, 1e-7 * std::max(1.0, largest)) << e.name << " element " << i - e.begin;
    }
  }
  store.values().backend().copy_from_host({.from = values.data(), .to = store.values()});
}

}  // namespace monge::test
