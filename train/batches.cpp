#include "train/batches.h"

#include "core/backend.h"
#include "core/profile/profile.h"

namespace monge::train {
namespace {

constexpr std::size_t batches_ahead = 4;

}  // namespace

void HostBatch::copy(const nn::BatchField& field, const Tensor& to) const {
  if (!field.is_real()) {
    to.backend().copy_from_host({.from = (*this)[field.name].data(), .to = to});
  } else if (to.dtype() == DType::f32) {
    to.backend().copy_from_host({.from = reals[field.name].data(), .to = to});
  } else {
    const std::vector<double> wide(reals[field.name].begin(), reals[field.name].end());
    to.backend().copy_from_host({.from = wide.data(), .to = to});
  }
}

nn::Batch HostBatch::on(Device device, const std::vector<nn::BatchField>& fields) const {
  nn::Batch out;
  for (const nn::BatchField& field : fields) {
    const std::size_t size = field.is_real() ? reals[field.name].size() : (*this)[field.name].size();
    const std::int64_t rows = static_cast<std::int64_t>(size) / field.shape(1).numel();
    const DType dtype = field.is_real() ? backend_of(device).default_float() : DType::i32;
    const Tensor tensor = Tensor::empty(field.shape(rows), dtype, device, Pool::data);
    copy(field, tensor);
    out.add(field.name, tensor);
  }
  return out;
}

HostBatch make_batch(const std::vector<nn::BatchField>& fields, std::int64_t rows,
                     const std::function<void(std::int64_t row, const Row& out)>& write) {
  HostBatch batch;
  for (const nn::BatchField& field : fields) {
    const auto size = static_cast<std::size_t>(field.shape(rows).numel());
    if (field.is_real()) {
      batch.reals.add(field.name, std::vector<float>(size));
    } else {
      batch.add(field.name, std::vector<std::int32_t>(size));
    }
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto part = [row, rows](auto& values) {
      const std::size_t size = values.size() / static_cast<std::size_t>(rows);
      return std::span(values).subspan(static_cast<std::size_t>(row) * size, size);
    };
    Row out;
    for (auto& [name, values] : batch) out.add(name, part(values));
    for (auto& [name, values] : batch.reals) out.reals.add(name, part(values));
    write(row, out);
  }
  return batch;
}

HostBatch training_batch(const Dataset& dataset, const std::vector<nn::BatchField>& fields, std::uint64_t index,
                         std::int64_t rows) {
  const profile::Span span("make batch");
  const std::uint64_t first = index * static_cast<std::uint64_t>(rows);
  return make_batch(fields, rows, [&](std::int64_t row, const Row& out) {
    dataset.train_sequence(first + static_cast<std::uint64_t>(row), out);
  });
}

BatchQueue::BatchQueue(const Dataset& dataset, std::vector<nn::BatchField> fields, std::uint64_t first,
                       std::int64_t rows)
    : dataset_(dataset), fields_(std::move(fields)), rows_(rows), thread_([this, first] { produce(first); }) {}

BatchQueue::~BatchQueue() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BatchQueue::produce(std::uint64_t index) {
  try {
    for (;; ++index) {
      HostBatch batch = training_batch(dataset_, fields_, index, rows_);
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stop_ || ready_.size() < batches_ahead; });
      if (stop_) return;
      ready_.push_back(std::move(batch));
      changed_.notify_all();
    }
  } catch (...) {
    std::lock_guard lock(mutex_);
    error_ = std::current_exception();
    changed_.notify_all();
  }
}

HostBatch BatchQueue::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return error_ != nullptr || !ready_.empty(); });
  if (ready_.empty()) std::rethrow_exception(error_);
  HostBatch batch = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return batch;
}

}  // namespace monge::train
