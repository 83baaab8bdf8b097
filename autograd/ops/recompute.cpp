// recompute: trade a second forward for the memory of the activations.
// Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv:1604.06174.
#include "autograd/ops.h"

namespace monge::autograd {
namespace {

const Op op_recompute("recompute");

}  // namespace

std::vector<Var> recompute(const std::function<std::vector<Var>(const std::vector<Var>&)>& block,
                           const std::vector<Var>& inputs) {
  if (!Tape::recording()) return block(inputs);
  std::vector<Tensor> outputs;
  {
    Tape::Pause pause;
    for (const Var& y : block(inputs)) outputs.push_back(y.value());
  }
  // The block may read parameters besides its inputs. A leaf of no further use stands for them, so that the results
  // want a gradient even when no input does.
  std::vector<Var> depends_on = inputs;
  if (!outputs.empty()) depends_on.push_back(Var::leaf(outputs.front()));
  return Tape::record(op_recompute, std::move(outputs), depends_on, [block, inputs](Gradients& g) {
    Tape tape;
    std::vector<Var> again;
    std::vector<Tensor> seeds;
    {
      Tape::Recording recording(tape);
      // The inputs are the same variables as before, so their gradients gather where they should. Each reshape is
      // there for a block that returns one of them, or one value twice: what it returns gets a place on this tape.
      for (const Var& y : block(inputs)) again.push_back(reshape(y, y.shape()));
    }
    for (std::size_t i = 0; i < again.size(); ++i) seeds.push_back(again[i].wants_grad() ? g.out(i) : Tensor());
    tape.backward(again, std::move(seeds));
  });
}

}  // namespace monge::autograd
