// Tape: reverse-mode differentiation by recording.
//
//   Tape tape;
//   Var loss;
//   { Tape::Recording recording(tape); loss = model(x); }
//   tape.backward(loss);
//
// An op computes its result through the backend and, while a tape records on this thread and an input wants a
// gradient, appends one node. The order of execution is a topological order, so backward is one walk in reverse; each
// node frees what it saved as soon as it has run. Without a tape the same ops are plain inference.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/tensor.h"

namespace monge::autograd {

/// Where the gradient of one value gathers.
struct GradCell {
  Shape shape;
  DType dtype = DType::f32;  // of the gradient: that of the value, but f32 for a bf16 parameter
  Device device;
  Tensor grad;          // undefined until the first contribution, unless `fixed`
  bool fixed = false;   // `grad` is a given piece of memory (a parameter's view of the flat buffer)
  bool filled = false;  // `grad` holds at least one contribution
};

/// A tensor that ops can differentiate through. A value type: copies share value and gradient.
class Var {
 public:
  Var() = default;
  /// A constant: gradients stop here.
  Var(Tensor value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor): ops take tensors as inputs
  /// A value that wants a gradient. With `grad`, contributions gather in that memory (same shape; f32 or the value's
  /// dtype).
  static Var leaf(Tensor value, Tensor grad = {});

  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  std::int64_t size(int i) const { return value_.size(i); }
  bool defined() const { return value_.defined(); }
  bool wants_grad() const { return cell_ != nullptr; }
  /// The gradient gathered so far; undefined when none has arrived.
  Tensor grad() const { return cell_ && cell_->filled ? cell_->grad : Tensor(); }
  /// Forgets the gradient: the next contribution overwrites.
  void clear_grad() const;
  const std::shared_ptr<GradCell>& cell() const { return cell_; }

 private:
  friend class Tape;
  Tensor value_;
  std::shared_ptr<GradCell> cell_;
};

/// The identity of a differentiable op: one at namespace scope beside the op. A test demands a gradcheck case for
/// every name. Thread-safe.
class Op {
 public:
  /// Throws std::invalid_argument when the name is taken.
  explicit Op(std::string name);
  const std::string& name() const { return name_; }
  /// The names of all ops in this program, sorted.
  static std::vector<std::string> all();

 private:
  std::string name_;
};

/// What a backward function sees: the gradients of its outputs, and the places for those of its inputs.
///
/// The contract of a backward: accumulate, never overwrite what is there; skip inputs that want nothing; hand over a
/// tensor with `add` (the first contribution moves in) or write into `slot`.
class Gradients {
 public:
  /// Memory to write a gradient into, added to what is there when `accumulate`.
  struct Slot {
    Tensor grad;
    bool accumulate = false;
  };

  /// Gradient of output `i`; undefined when nothing depends on that output.
  const Tensor& out(std::size_t i = 0) const { return outputs_[i]->grad; }
  /// Memory like `out(i)` for a result: that of `out(i)` itself when nobody else holds it (for kernels that work in
  /// place), else fresh.
  Tensor reuse_out(std::size_t i = 0) const;

  bool wants(std::size_t i) const { return inputs_[i] != nullptr; }
  /// Adds a contribution of the input's shape; the tensor must not be written to afterwards.
  void add(std::size_t i, Tensor grad);
  /// For kernels that accumulate by themselves. Every element must be written.
  Slot slot(std::size_t i);

 private:
  friend class Tape;
  Gradients(const Op& op, std::span<const std::shared_ptr<GradCell>> inputs,
            std::span<const std::shared_ptr<GradCell>> outputs)
      : op_(op), inputs_(inputs), outputs_(outputs) {}
  const Op& op_;
  std::span<const std::shared_ptr<GradCell>> inputs_;
  std::span<const std::shared_ptr<GradCell>> outputs_;
};

/// May be called with some outputs lacking a gradient (`out(i)` undefined), never with all lacking.
using BackwardFn = std::function<void(Gradients&)>;

class Tape {
 public:
  Tape() = default;
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// While it lives, ops of this thread record on `tape`. Recordings nest; the innermost counts.
  class Recording {
   public:
    explicit Recording(Tape& tape);
    ~Recording();
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;

   private:
    Tape* previous_;
  };

  /// While it lives, ops of this thread record nothing.
  class Pause {
   public:
    Pause();
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    Tape* previous_;
  };

  /// Walks the tape in reverse from `y` with the gradient `seed` (default: one, for a one-element `y`) and empties it.
  /// Throws std::invalid_argument when `y` was not recorded here or the seed has another shape.
  void backward(const Var& y, Tensor seed = {});
  /// The same from several values, each with its seed; an undefined seed: nothing comes from there.
  void backward(std::span<const Var> ys, std::vector<Tensor> seeds);

  std::size_t size() const { return nodes_.size(); }
  void clear() { nodes_.clear(); }

  /// Appends a node when something records and an input wants a gradient, and wraps the results. `backward` refers to
  /// inputs by their position in `inputs`; undefined inputs want nothing.
  static Var record(const Op& op, Tensor output, std::span<const Var> inputs, BackwardFn backward);
  static std::vector<Var> record(const Op& op, std::vector<Tensor> outputs, std::span<const Var> inputs,
                                 BackwardFn backward);
  static Var record(const Op& op, Tensor output, std::initializer_list<Var> inputs, BackwardFn backward) {
    return record(op, std::move(output), std::span<const Var>(inputs.begin(), inputs.size()), std::move(backward));
  }

  /// Whether a tape records on this thread.
  static bool recording() { return current_ != nullptr; }
  /// Whether a call with these inputs would be recorded: lets an op skip saving what only backward needs.
  static bool would_record(std::span<const Var> inputs);
  static bool would_record(std::initializer_list<Var> inputs) {
    return would_record(std::span<const Var>(inputs.begin(), inputs.size()));
  }

 private:
  struct Node {
    const Op* op;
    std::vector<std::shared_ptr<GradCell>> inputs;
    std::vector<std::shared_ptr<GradCell>> outputs;
    BackwardFn backward;
  };
  void require_recorded(const Var& y) const;

  static thread_local Tape* current_;
  std::vector<Node> nodes_;
};

}  // namespace monge::autograd
