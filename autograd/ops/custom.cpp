// custom_op: a differentiable op from a user's two functions. on_gradient: a look at a gradient.
#include <map>
#include <mutex>

#include "autograd/ops.h"
#include "core/error.h"

namespace monge::autograd {
namespace {

const Op op_on_gradient("on_gradient");

/// The op of a user's name, made at its first use.
const Op& op_named(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, Op> ops;
  std::lock_guard lock(mutex);
  return ops.try_emplace(name, name).first->second;
}

}  // namespace

Var on_gradient(const Var& x, std::function<void(const Tensor& dx)> see) {
  return Tape::record(op_on_gradient, x.value(), {x}, [see = std::move(see)](Gradients& g) {
    see(g.out());
    g.add(0, g.out());
  });
}

Var custom_op(
    const std::string& name, const std::vector<Var>& inputs,
    const std::function<Tensor(const std::vector<Tensor>&)>& forward,
    const std::function<std::vector<Tensor>(const std::vector<Tensor>&, const Tensor& y, const Tensor& dy)>& backward) {
  const Op& op = op_named(name);
  std::vector<Tensor> values;
  for (const Var& input : inputs) values.push_back(input.value());
  const Tensor y = forward(values);
  return Tape::record(op, y, inputs, [&op, values, y, backward](Gradients& g) {
    std::vector<Tensor> grads = backward(values, y, g.out());
    require(grads.size() == values.size(), "[{}] backward gives {} gradients for {} inputs", op.name(), grads.size(),
            values.size());
    for (std::size_t i = 0; i < grads.size(); ++i) {
      if (grads[i].defined()) g.add(i, std::move(grads[i]));
    }
  });
}

}  // namespace monge::autograd
