#include "train/training_step.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/profile/profile.h"

namespace monge::train {

double StepRecord::mean_loss() const {
  return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
}

std::size_t StepRecord::first_bad() const {
  for (std::size_t i = 0; i < size(); ++i) {
    if (!std::isfinite(losses[i]) || !std::isfinite(grad_norms[i])) return i;
  }
  return size();
}

TrainingStep::TrainingStep(const Options& options, nn::Model& model, nn::ParameterStore& store,
                           optim::Optimizer& optimizer)
    : options_(options), model_(model), store_(store), optimizer_(optimizer) {
  const Device device = store.values().device();
  const DType dtype = store.values().dtype();
  for (const nn::BatchField& field : model.batch_fields()) {
    const std::int64_t rows = options.accumulate * options.batch;
    batches_.emplace_back(field,
                          Tensor::empty(field.shape(rows), field.is_real() ? dtype : DType::i32, device, Pool::data));
  }
  micro_steps_ = Tensor::zeros({options.accumulate}, DType::i32, device, Pool::data);
  seed_ = Tensor::empty({1}, dtype, device, Pool::data);
  store.values().backend().fill({.x = seed_, .value = 1.0 / static_cast<double>(options.accumulate)});
  loss_ = Tensor::zeros({1}, dtype, device, Pool::data);
  share_ = Tensor::zeros({1}, dtype, device, Pool::data);
  losses_ = Tensor::zeros({options.record}, dtype, device, Pool::data);
  norms_ = Tensor::zeros({options.record}, dtype, device, Pool::data);
}

void TrainingStep::load(std::int64_t step, const std::function<HostBatch()>& next) {
  const profile::Span span("data");
  Backend& backend = store_.values().backend();
  for (std::int64_t micro = 0; micro < options_.accumulate; ++micro) {
    const HostBatch batch = next();
    const auto index = static_cast<std::int32_t>(first_batch(step) + static_cast<std::uint64_t>(micro));
    for (const auto& [field, all] : batches_) batch.copy(field, rows_of(all, micro));
    backend.copy_from_host({.from = &index, .to = micro_steps_.slice(micro, micro + 1)});
  }
  optimizer_.begin(step);
}

void TrainingStep::compute_gradients(Labels labels) {
  const profile::Span span("gradients");
  Backend& backend = store_.values().backend();
  backend.fill({.x = loss_});
  store_.clear_grads();
  for (std::int64_t micro = 0; micro < options_.accumulate; ++micro) {
    nn::Batch batch;
    for (const auto& [field, all] : batches_) batch.add(field.name, rows_of(all, micro));
    const Random random{options_.seed, 0, micro_steps_.slice(micro, micro + 1)};
    model_.train(random);
    autograd::Tape tape;
    autograd::Var loss;
    {
      const profile::Span forward("forward");
      const autograd::Tape::Recording recording(tape);
      loss = labels == Labels::given ? model_.loss(batch) : model_.sampled_loss(batch, random);
    }
    backend.add_scaled({.x = loss.value(), .factor = 1.0 / static_cast<double>(options_.accumulate), .y = loss_});
    const profile::Span backward("backward");
    tape.backward(loss, seed_);
  }
  store_.complete_grads();
}

void TrainingStep::gradients(std::int64_t step, const std::function<HostBatch()>& next) {
  load(step, next);
  compute_gradients(Labels::given);
}

void TrainingStep::compute(std::int64_t step) {
  if (optimizer_.samples(step)) {
    const profile::Span span("curvature");
    compute_gradients(Labels::sampled);
    nn::Batch all;
    for (const auto& [field, batches] : batches_) all.add(field.name, batches);
    model_.write_target_share(all, share_);
    optimizer_.sampled(step, share_);
  }
  compute_gradients(Labels::given);
  const profile::Span span("update");
  optimizer_.apply(step);
}

void TrainingStep::run(std::int64_t step, const std::function<HostBatch()>& next) {
  // Before a step is captured it runs eagerly: memory is taken from the system, algorithms are chosen.
  constexpr std::int64_t eager_steps = 2;
  require(recorded_ < losses_.size(0), "[training step] the record of {} steps is full", losses_.size(0));
  Backend& backend = store_.values().backend();
  load(step, next);
  {
    const profile::Span span("update");
    optimizer_.prepare(step);
  }
  const bool repeats = options_.replay && optimizer_.repeats(step);
  if (repeats && captured_ != nullptr) {
    captured_->replay();
  } else if (repeats && computed_ == eager_steps) {
    captured_ = backend.capture([&] { compute(step); });
    ++computed_;
  } else {
    compute(step);
    if (repeats) ++computed_;
  }
  const profile::Span span("log");
  backend.copy({.from = loss_, .to = losses_.slice(recorded_, recorded_ + 1)});
  backend.copy({.from = optimizer_.control().slice(Control::grad_norm, Control::grad_norm + 1),
                .to = norms_.slice(recorded_, recorded_ + 1)});
  ++recorded_;
}

StepRecord TrainingStep::record() const {
  if (recorded_ == 0) return {};
  return {losses_.slice(0, recorded_).values(), norms_.slice(0, recorded_).values()};
}

void TrainingStep::restore_record(const StepRecord& record) {
  recorded_ = static_cast<std::int64_t>(record.size());
  require(recorded_ <= losses_.size(0), "[training step] a record of {} steps does not fit in {}", recorded_,
          losses_.size(0));
  if (recorded_ == 0) return;
  const auto restore = [&](const std::vector<double>& values, const Tensor& to) {
    to.backend().copy(
        {.from = Tensor::from(values, {recorded_}, to.dtype(), to.device(), Pool::data), .to = to.slice(0, recorded_)});
  };
  restore(record.losses, losses_);
  restore(record.grad_norms, norms_);
}

std::string first_nonfinite_tensor(const nn::ParameterStore& store, double loss) {
  const auto finite = [](const Tensor& x) {
    const std::vector<double> values = x.values();
    return std::ranges::all_of(values, [](double v) { return std::isfinite(v); });
  };
  for (const auto& entry : store.entries()) {
    if (!finite(store.value(entry))) return fmt::format("parameter {}", entry.name);
  }
  for (const auto& entry : store.entries()) {
    if (!finite(store.grad(entry))) return fmt::format("the gradient of {}", entry.name);
  }
  return std::isfinite(loss) ? "the norm of all gradients (each of them is finite)" : "the loss";
}

}  // namespace monge::train
