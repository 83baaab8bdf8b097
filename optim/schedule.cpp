#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "core/error.h"

namespace monge::optim {
namespace {

/// What all schedules share: a linear rise from lr / warmup at step 1 to the peak at step `warmup`.
struct WarmupOptions : Options {
  std::int64_t warmup = 0;
  void fields(Fields& f) override {
    f("warmup", warmup, {.doc = "the rate rises linearly from zero", .unit = "steps", .min = 0});
  }
};

struct DecayOptions : WarmupOptions {
  double final_lr = 0.0;
  void fields(Fields& f) override {
    WarmupOptions::fields(f);
    f("final_lr", final_lr, {.doc = "rate of the last step", .min = 0.0});
  }
};

struct WsdOptions : DecayOptions {
  double decay_fraction = 0.2;
  void fields(Fields& f) override {
    DecayOptions::fields(f);
    f("decay_fraction", decay_fraction,
      {.doc = "share of the run, at its end, over which the rate falls", .min = 0.0, .max = 1.0});
  }
};

/// Warmup, then `shape(progress)` of the way from the peak to the final rate, progress 0 at the end of the warmup and
/// 1 at the last step.
class ShapedSchedule : public Schedule {
 public:
  ShapedSchedule(const ScheduleContext& context, std::int64_t warmup, double final_lr,
                 std::function<double(double)> shape)
      : peak_(context.lr), steps_(context.steps), warmup_(warmup), final_(final_lr), shape_(std::move(shape)) {
    if (warmup > context.steps) {
      throw InputError(
          fmt::format("optimizer.schedule.warmup ({}) is longer than train.steps ({})", warmup, context.steps));
    }
  }

  double lr(std::int64_t step) const override {
    if (step < warmup_) return peak_ * static_cast<double>(step) / static_cast<double>(warmup_);
    const auto length = static_cast<double>(std::max<std::int64_t>(1, steps_ - warmup_));
    const double progress = std::clamp(static_cast<double>(step - warmup_) / length, 0.0, 1.0);
    return peak_ + (final_ - peak_) * shape_(progress);
  }

 private:
  double peak_;
  std::int64_t steps_, warmup_;
  double final_;
  std::function<double(double)> shape_;
};

}  // namespace

Registry<Schedule, const ScheduleContext&>& schedules() {
  static auto& registry = *built_in([] {
    auto* r = new Registry<Schedule, const ScheduleContext&>("schedule");
    r->add<WarmupOptions>("constant", "the peak rate after the warmup",
                          [](const WarmupOptions& o, const ScheduleContext& c) {
                            return std::make_unique<ShapedSchedule>(c, o.warmup, c.lr, [](double) { return 0.0; });
                          });
    r->add<DecayOptions>(
        "cosine", "half a cosine from the peak to the final rate (Loshchilov & Hutter 2017, arXiv:1608.03983)",
        [](const DecayOptions& o, const ScheduleContext& c) {
          return std::make_unique<ShapedSchedule>(
              c, o.warmup, o.final_lr, [](double t) { return 0.5 * (1.0 - std::cos(std::numbers::pi * t)); });
        });
    r->add<DecayOptions>("linear", "a straight line from the peak to the final rate",
                         [](const DecayOptions& o, const ScheduleContext& c) {
                           return std::make_unique<ShapedSchedule>(c, o.warmup, o.final_lr, [](double t) { return t; });
                         });
    r->add<WsdOptions>("wsd", "warmup, stable, decay: the peak rate until the last part, then a straight line down",
                       [](const WsdOptions& o, const ScheduleContext& c) {
                         // The share counts all steps, progress only those after the warmup.
                         const double after = static_cast<double>(std::max<std::int64_t>(1, c.steps - o.warmup));
                         const double share = std::min(1.0, o.decay_fraction * static_cast<double>(c.steps) / after);
                         return std::make_unique<ShapedSchedule>(c, o.warmup, o.final_lr, [share](double t) {
                           return share == 0.0 ? 0.0 : std::max(0.0, (t - (1.0 - share)) / share);
                         });
                       });
    return r;
  }());
  return registry;
}

}  // namespace monge::optim
