// Hyperball (arXiv:2606.16899): every matrix W keeps its initial norm r = |W|, and lr is the length of a step relative
// to it. For each matrix,
//
//   u = u r / |u|        W = W - lr u        W = W r / |W|
//
// No parameter decays. A matrix that starts at zero has no norm to keep: it takes the steps of the rule.
#include "optim/arithmetic.h"
#include "optim/matrix/matrix_rule.h"
#include "optim/transforms/transforms.h"

namespace monge::optim {
namespace {

class Hyperball : public Transform {
 public:
  explicit Hyperball(const RuleContext& context) : Transform(context) {
    std::vector<Target> targets = context.targets;
    std::erase_if(targets, [](const Target& target) { return target.entry.role != nn::Role::matrix; });
    matrices_ = matrices_of(targets, false);
    const Tensor& values = store().values();
    norms_ =
        Tensor::zeros({static_cast<std::int64_t>(matrices_.size())}, values.dtype(), values.device(), Pool::optimizer);
    for (std::size_t i = 0; i < matrices_.size(); ++i) copy(norm(matrices_[i].view(values)), radius(i));
  }

  bool needs_directions() const override { return true; }
  bool handles_decay() const override { return true; }

  void change_directions(const Step&, const Tensor& u) override {
    for (std::size_t i = 0; i < matrices_.size(); ++i) {
      const Tensor direction = matrices_[i].view(u);
      copy(of_norm(direction, radius(i)), direction);
    }
  }

  void after(const Step& step) override {
    for (std::size_t i = 0; i < matrices_.size(); ++i) {
      const Tensor w = matrices_[i].view(store().values());
      step.set(w, of_norm(w, radius(i)));
      if (store().copies().defined()) copy(w, matrices_[i].view(store().copies()));
    }
  }

  std::vector<NamedTensor> state() const override { return {{"hyperball.norms", norms_}}; }

 private:
  Tensor radius(std::size_t i) const { return norms_.flat_view(static_cast<std::int64_t>(i), {1}); }
  /// x with the norm r; x where one of the two is 0.
  static Tensor of_norm(const Tensor& x, const Tensor& r) { return mul(x, positive_or(div(r, norm(x)), 1.0)); }

  std::vector<Matrix> matrices_;
  Tensor norms_;  // of the initial matrices
};

}  // namespace

void add_hyperball(TransformRegistry& registry) {
  registry.add<NoOptions>("hyperball", "matrices keep their initial norm, and lr is relative to it",
                          [](const NoOptions&, const RuleContext& c) { return std::make_unique<Hyperball>(c); });
}

}  // namespace monge::optim
