// Schedule-Free AdamW (Defazio et al. 2024, arXiv:2405.15682). The model is trained at y and evaluated, sampled and
// saved at the average x; z follows plain AdamW without momentum:
//
//   y = (1 - b1) z + b1 x                        the gradient g is taken here
//   v = b2 v + (1 - b2) g^2                      u = g / (sqrt(v / (1 - b2^t)) + eps) + weight_decay y
//   w = (largest lr so far)^2                    c = w / (sum of all w)
//   z = z - lr u                                 x = (1 - c) x + c z
//
// The state is y and z, with y = y + c (z - y) - lr (1 - b1 (1 - c)) u. Made for `schedule: constant` with warmup.
#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/rules/elementwise.h"

namespace monge::optim {
namespace {

struct ScheduleFreeOptions : AdamOptions<AdamWRule> {
  void check() const override {
    AdamOptions::check();
    if (betas[0] == 0.0) throw KeyError("betas", "the first must be above 0, or y and z are the same");
  }
};

class ScheduleFree : public Rule {
 public:
  ScheduleFree(const ScheduleFreeOptions& options, const RuleContext& context)
      : Rule(context),
        beta_(options.betas[0]),
        adam_(RmsRule{options.betas[1], options.eps}, context, "schedule_free"),
        z_(make_state(store().values().shape())),
        largest_lr_(make_state({1})),
        weights_(make_state({1})) {
    copy(store().values(), z_);
  }

  bool has_directions() const override { return false; }
  void directions(const Step&, const Tensor&) override {
    throw std::logic_error("schedule_free has no directions");  // the optimizer refuses transforms that need them
  }

  void update(const Step& step) override {
    const Tensor u = Tensor::like(z_);
    adam_.directions(step, u);
    const Tensor c = next_share(step);
    const Tensor slow = scale(c, beta_);  // 1 - b1 (1 - c)
    add(slow, 1.0 - beta_, slow);
    for (const Segment& s : segments_of(context())) {
      const Tensor y = s.view(store().values()), towards = s.view(z_).clone();
      axpy(s.weight_decay, y, s.view(u));
      axpy(-1.0, y, towards);
      step.set(y, add(y, mul(towards, c)));  // y + c (z - y)
    }
    move(step, u, z_, {});
    move(step, mul(u, slow), store().values(), store().copies());
  }

  bool averages() const override { return true; }
  /// x = (y - (1 - b1) z) / b1
  void write_average(const Tensor& values) const override {
    for (const Segment& s : segments_of(context())) {
      const Tensor x = s.view(values);
      scale(s.view(store().values()), 1.0 / beta_, x);
      axpy(-(1.0 - beta_) / beta_, s.view(z_), x);
    }
  }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = adam_.state();
    out.push_back({"schedule_free.z", z_});
    out.push_back({"schedule_free.largest_lr", largest_lr_});
    out.push_back({"schedule_free.weights", weights_});
    return out;
  }

 private:
  /// c of this step.
  Tensor next_share(const Step& step) const {
    step.set(largest_lr_, max(largest_lr_, slot(step.control, Control::lr)));
    const Tensor w = square(largest_lr_);
    step.set(weights_, add(weights_, w));
    return div(w, weights_);
  }

  /// values = values - lr u
  void move(const Step& step, const Tensor& u, const Tensor& values, const Tensor& copies) {
    const Tensor unclipped = with_slot(step.control, Control::clip, 1.0);
    for (const Segment& s : segments_of(context())) {
      u.backend().update({.rule = SgdRule{},
                          .param = s.view(values),
                          .grad = s.view(u),
                          .copy = s.view(copies),
                          .control = unclipped,
                          .lr_scale = s.lr_scale});
    }
  }

  double beta_;
  ElementwiseRule adam_;
  Tensor z_;  // (flat)
  Tensor largest_lr_, weights_;
};

}  // namespace

void add_schedule_free(RuleRegistry& registry) {
  registry.add<ScheduleFreeOptions>(
      "schedule_free", "AdamW that needs no schedule: trained near, and evaluated at, an average of its iterates",
      [](const ScheduleFreeOptions& o, const RuleContext& c) { return std::make_unique<ScheduleFree>(o, c); });
}

}  // namespace monge::optim
