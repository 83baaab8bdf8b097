#include "autograd/tape.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "core/error.h"

namespace monge::autograd {
namespace {

struct OpNames {
  std::mutex mutex;
  std::set<std::string> names;
};

OpNames& op_names() {
  static OpNames names;
  return names;
}

std::shared_ptr<GradCell> cell_for(const Tensor& value) {
  auto cell = std::make_shared<GradCell>();
  cell->shape = value.shape();
  cell->dtype = value.dtype();
  cell->device = value.device();
  return cell;
}

// Two cells may hold the same memory (an addition hands one gradient to both inputs): whoever writes must be alone.
void make_writable(Tensor& grad) {
  if (!grad.sole_owner()) grad = grad.clone();
}

}  // namespace

Op::Op(std::string name) : name_(std::move(name)) {
  OpNames& taken = op_names();
  std::lock_guard lock(taken.mutex);
  require(taken.names.insert(name_).second, "there is already an op '{}'; give this one another name", name_);
}

std::vector<std::string> Op::all() {
  OpNames& taken = op_names();
  std::lock_guard lock(taken.mutex);
  return {taken.names.begin(), taken.names.end()};
}

Var Var::leaf(Tensor value, Tensor grad) {
  require(is_floating(value.dtype()), "[leaf] a {} tensor has no gradient", name_of(value.dtype()));
  Var v(std::move(value));
  v.cell_ = cell_for(v.value_);
  if (grad.defined()) {
    require(grad.shape() == v.shape(), "[leaf] gradient of shape {} for a value of shape {}", grad.shape(), v.shape());
    v.cell_->dtype = grad.dtype();
    v.cell_->grad = std::move(grad);
    v.cell_->fixed = true;
  }
  return v;
}

void Var::clear_grad() const {
  if (!cell_) return;
  cell_->filled = false;
  if (!cell_->fixed) cell_->grad = {};
}

Tensor Gradients::reuse_out(std::size_t i) const {
  const Tensor& grad = outputs_[i]->grad;
  return grad.sole_owner() ? grad : Tensor::like(grad);
}

void Gradients::add(std::size_t i, Tensor grad) {
  GradCell* cell = inputs_[i].get();
  if (cell == nullptr) return;
  require(grad.shape() == cell->shape, "[{}] backward gives a gradient of shape {} for input {} of shape {}",
          op_.name(), grad.shape(), i, cell->shape);
  Backend& backend = grad.backend();
  if (!cell->filled) {
    if (cell->fixed) {
      backend.copy({.from = grad, .to = cell->grad});
    } else {
      cell->grad = std::move(grad);
    }
    cell->filled = true;
    return;
  }
  if (!cell->fixed) make_writable(cell->grad);
  backend.add_scaled({.x = grad, .y = cell->grad});
}

Gradients::Slot Gradients::slot(std::size_t i) {
  GradCell& cell = *inputs_[i];
  const bool accumulate = cell.filled;
  if (!cell.fixed) {
    if (accumulate) {
      make_writable(cell.grad);
    } else {
      cell.grad = Tensor::empty(cell.shape, cell.dtype, cell.device);
    }
  }
  cell.filled = true;
  return {cell.grad, accumulate};
}

thread_local Tape* Tape::current_ = nullptr;

Tape::Recording::Recording(Tape& tape) : previous_(current_) { current_ = &tape; }
Tape::Recording::~Recording() { current_ = previous_; }
Tape::Pause::Pause() : previous_(current_) { current_ = nullptr; }
Tape::Pause::~Pause() { current_ = previous_; }

bool Tape::would_record(std::span<const Var> inputs) {
  return recording() && std::ranges::any_of(inputs, &Var::wants_grad);
}

Var Tape::record(const Op& op, Tensor output, std::span<const Var> inputs, BackwardFn backward) {
  return std::move(record(op, std::vector<Tensor>{std::move(output)}, inputs, std::move(backward)).front());
}

std::vector<Var> Tape::record(const Op& op, std::vector<Tensor> outputs, std::span<const Var> inputs,
                              BackwardFn backward) {
  std::vector<Var> results;
  results.reserve(outputs.size());
  for (Tensor& output : outputs) results.emplace_back(std::move(output));
  if (!would_record(inputs)) return results;

  Node node{&op, {}, {}, std::move(backward)};
  for (const Var& input : inputs) node.inputs.push_back(input.cell());
  for (Var& result : results) {
    result.cell_ = cell_for(result.value_);
    node.outputs.push_back(result.cell_);
  }
  current_->nodes_.push_back(std::move(node));
  return results;
}

void Tape::require_recorded(const Var& y) const {
  const auto holds_y = [&](const Node& node) {
    return std::ranges::find(node.outputs, y.cell()) != node.outputs.end();
  };
  require(y.wants_grad() && std::ranges::any_of(nodes_, holds_y), "[backward] the value was not recorded on this tape");
}

void Tape::backward(const Var& y, Tensor seed) {
  require_recorded(y);
  if (!seed.defined()) {
    require(y.value().numel() == 1, "[backward] a value of shape {} needs a seed", y.shape());
    seed = Tensor::like(y.value());
    seed.backend().fill({.x = seed, .value = 1.0});
  }
  std::vector<Tensor> seeds;
  seeds.push_back(std::move(seed));
  backward(std::span(&y, 1), std::move(seeds));
}

void Tape::backward(std::span<const Var> ys, std::vector<Tensor> seeds) {
  require(ys.size() == seeds.size(), "[backward] {} seeds for {} values", seeds.size(), ys.size());
  for (std::size_t i = 0; i < ys.size(); ++i) {
    if (!seeds[i].defined()) continue;
    require_recorded(ys[i]);
    GradCell& cell = *ys[i].cell();
    require(seeds[i].shape() == cell.shape, "[backward] seed of shape {} for a value of shape {}", seeds[i].shape(),
            cell.shape);
    require(!cell.filled, "[backward] a value is given twice");
    cell.grad = std::move(seeds[i]);  // no second holder, so that its memory can be used again
    cell.filled = true;
  }

  // What backward itself computes is not differentiated again.
  Pause pause;
  while (!nodes_.empty()) {
    Node node = std::move(nodes_.back());
    nodes_.pop_back();
    if (std::ranges::any_of(node.outputs, [](const auto& cell) { return cell->filled; })) {
      Gradients gradients(*node.op, node.inputs, node.outputs);
      node.backward(gradients);
    }
    // An output's gradient has been passed on; it is not needed again.
    for (const auto& cell : node.outputs) {
      cell->grad = {};
      cell->filled = false;
    }
  }
}

}  // namespace monge::autograd
