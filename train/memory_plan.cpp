#include "train/memory_plan.h"

#include <algorithm>

#include "core/dry_run.h"
#include "train/run.h"

namespace monge::train {
namespace {

/// Most memory in use at once, beyond what was in use before, in forward and backward of `rows` sequences.
std::size_t peak_of(nn::Model& model, nn::ParameterStore& store, std::int64_t rows) {
  const Device device = store.values().device();
  MemoryPools& memory = store.values().backend().memory();
  memory.reset_peak();
  const std::size_t before = memory.usage().active;
  nn::Batch batch;
  for (const nn::BatchField& field : model.batch_fields()) {
    const DType dtype = field.is_real() ? store.values().dtype() : DType::i32;
    batch.add(field.name, Tensor::zeros(field.shape(rows), dtype, device, Pool::data));
  }
  const Tensor micro_step = Tensor::zeros({1}, DType::i32, device, Pool::data);
  model.train({0, 0, micro_step});
  autograd::Tape tape;
  autograd::Var loss;
  {
    const autograd::Tape::Recording recording(tape);
    loss = model.loss(batch);
  }
  tape.backward(loss);
  store.clear_grads();
  return memory.usage().peak - before;
}

std::size_t bytes_of(const Tensor& x) { return x.defined() ? x.bytes() : 0; }

}  // namespace

MemoryPlan plan_memory(const Config& config, std::int64_t vocab) {
  const Device device = parse_device(config.device);
  const DryRun dry_run(backend_of(device));
  const std::unique_ptr<nn::Model> model = make_model(config, vocab);
  nn::ParameterStore store(*model, device, precision_of(config), 0);
  const optim::Optimizer optimizer(config.optimizer, *model, store, config.train.steps);
  MemoryPlan plan;
  plan.parameters = bytes_of(store.values()) + bytes_of(store.copies());
  plan.gradients = bytes_of(store.grads());
  plan.optimizer = optimizer.state_bytes();
  // With a chunked head the line begins where the first chunk is full.
  const std::int64_t batch = config.train.batch;
  const std::int64_t rows = model->head_chunk() / model->context() + 1;
  if (batch <= rows + 1) {
    plan.activations = peak_of(*model, store, batch);
  } else {
    const auto first = static_cast<double>(peak_of(*model, store, rows));
    const double per_row = static_cast<double>(peak_of(*model, store, rows + 1)) - first;
    const double planned = first + per_row * static_cast<double>(batch - rows);
    plan.activations = static_cast<std::size_t>(std::clamp(planned, 0.0, 0x1p62));
  }
  return plan;
}

}  // namespace monge::train
