// Hyperball (arXiv:2606.16899): every matrix W keeps its initial norm r = |W|, and lr is the length of a step relative
// to it. For each matrix,
//
//   u = u r / |u|        W = W - lr u        W = W r / |W|
//
// No parameter decays.
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
    for (std::size_t i = 0; i < matrices_.size(); ++i) rescale(matrices_[i].view(u), radius(i));
  }

  void after(const Step&) override {
    for (std::size_t i = 0; i < matrices_.size(); ++i) {
      const Tensor w = matrices_[i].view(store().values());
      rescale(w, radius(i));
      if (store().copies().defined()) copy(w, matrices_[i].view(store().copies()));
    }
  }

  std::vector<NamedTensor> state() const override { return {{"hyperball.norms", norms_}}; }

 private:
  Tensor radius(std::size_t i) const { return norms_.flat_view(static_cast<std::int64_t>(i), {1}); }
  /// Gives x the norm r; 0 stays 0.
  static void rescale(const Tensor& x, const Tensor& r) { mul(x, div(r, norm(x)), x); }

  std::vector<Matrix> matrices_;
  Tensor norms_;  // of the initial matrices
};

}  // namespace

void add_hyperball(TransformRegistry& registry) {
  registry.add<NoOptions>("hyperball", "matrices keep their initial norm, and lr is relative to it",
                          [](const NoOptions&, const RuleContext& c) { return std::make_unique<Hyperball>(c); });
}

}  // namespace monge::optim
