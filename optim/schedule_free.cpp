// Schedule-Free AdamW (Defazio et al. 2024, arXiv:2405.15682). The model is trained at y and evaluated, sampled and
// kept at the average x; z is what plain AdamW without momentum would have:
//
//   y = (1 - b1) z + b1 x                        the gradient g is taken here
//   v = b2 v + (1 - b2) g^2                      u = g / (sqrt(v / (1 - b2^t)) + eps) + weight_decay y
//   w = (largest lr so far)^2                    c = w / (sum of all w)
//   z = z - lr u                                 x = (1 - c) x + c z
//
// y and z are kept, and y follows by y + c (z - y) - lr (1 - b1 (1 - c)) u. Made for `schedule: constant` with warmup.
#include "core/error.h"
#include "optim/device_math.h"
#include "optim/elementwise.h"

namespace monge::optim {
namespace {

struct ScheduleFreeOptions : AdamOptions<AdamWRule> {
  void check() const override {
    AdamOptions::check();
    if (betas[0] == 0.0) throw KeyError("betas", "the first must be above 0: y and z would be the same");
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
    z_.backend().copy(store().values(), z_);
  }

  bool has_directions() const override { return false; }
  void directions(const Step&, const Tensor&) override {
    throw std::logic_error("schedule_free has no directions");  // the optimizer refuses chains that want them
  }

  void update(const Step& step) override {
    Backend& backend = z_.backend();
    const Tensor u = Tensor::like(z_);
    adam_.directions(step, u);
    const Tensor share = next_share(step.control);
    const Tensor slow = share.clone();  // 1 - b1 (1 - c)
    backend.scale(slow, beta_, slow);
    backend.add(slow, number(1.0 - beta_, slow), slow);
    for (const Segment& s : segments_of(context())) {
      const Tensor y = piece(store().values(), s), z = piece(z_, s), direction = piece(u, s);
      backend.add_scaled(y, s.weight_decay, direction);
      const Tensor towards = z.clone();
      backend.add_scaled(y, -1.0, towards);
      backend.add(y, product(towards, share), y);
    }
    move(step, u, z_, {});
    move(step, product(u, slow), store().values(), store().copies());
  }

  bool averages() const override { return true; }
  /// x = (y - (1 - b1) z) / b1
  void write_average(const Tensor& values) const override {
    for (const Segment& s : segments_of(context())) {
      const Tensor x = piece(values, s);
      x.backend().scale(piece(store().values(), s), 1.0 / beta_, x);
      x.backend().add_scaled(piece(z_, s), -(1.0 - beta_) / beta_, x);
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
  Tensor next_share(const Tensor& control) {
    Backend& backend = control.backend();
    backend.pointwise(Pointwise::maximum, largest_lr_, control.slice(Control::lr, Control::lr + 1), largest_lr_);
    const Tensor weight = product(largest_lr_, largest_lr_);
    backend.add(weights_, weight, weights_);
    return calculate(Pointwise::divide, weight, weights_);
  }

  /// values = values - lr u
  void move(const Step& step, const Tensor& u, const Tensor& values, const Tensor& copies) {
    const Tensor unclipped = with(step.control, Control::clip, 1.0);
    for (const Segment& s : segments_of(context())) {
      u.backend().update({.rule = SgdRule{},
                          .param = piece(values, s),
                          .grad = piece(u, s),
                          .copy = piece(copies, s),
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
      "schedule_free", "AdamW that needs no schedule: trained at a point beside the average it is evaluated at",
      [](const ScheduleFreeOptions& o, const RuleContext& c) { return std::make_unique<ScheduleFree>(o, c); });
}

}  // namespace monge::optim
