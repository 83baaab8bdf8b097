// Hyperball (arXiv:2606.16899): every matrix W keeps the norm r = |W| it started with, and lr is the length of a step
// relative to it. For each matrix,
//
//   u = u r / |u|        W = W - lr u        W = W r / |W|
//
// No parameter decays.
#include "optim/device_math.h"
#include "optim/matrix_rule.h"
#include "optim/transforms.h"

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
    for (std::size_t i = 0; i < matrices_.size(); ++i) values.backend().copy(norm_of(matrices_[i].of(values)), norm(i));
  }

  bool needs_directions() const override { return true; }
  bool takes_decay() const override { return true; }

  void change_directions(const Step&, const Tensor& u) override {
    for (std::size_t i = 0; i < matrices_.size(); ++i) resize(matrices_[i].of(u), norm(i));
  }

  void after(const Step&) override {
    for (std::size_t i = 0; i < matrices_.size(); ++i) {
      const Tensor w = matrices_[i].of(store().values());
      resize(w, norm(i));
      if (store().copies().defined()) w.backend().copy(w, matrices_[i].of(store().copies()));
    }
  }

  std::vector<NamedTensor> state() const override { return {{"hyperball.norms", norms_}}; }

 private:
  Tensor norm(std::size_t i) const {
    return norms_.slice(static_cast<std::int64_t>(i), static_cast<std::int64_t>(i) + 1);
  }
  /// Gives x the norm r; 0 stays 0.
  static void resize(const Tensor& x, const Tensor& r) {
    x.backend().mul(x, calculate(Pointwise::divide, r, norm_of(x)), x);
  }

  std::vector<Matrix> matrices_;
  Tensor norms_;  // of the matrices at the start
};

}  // namespace

void add_hyperball(TransformRegistry& registry) {
  registry.add<NoOptions>("hyperball", "matrices keep the norm they started with, and lr is relative to it",
                          [](const NoOptions&, const RuleContext& c) { return std::make_unique<Hyperball>(c); });
}

}  // namespace monge::optim
