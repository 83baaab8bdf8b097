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
    f("warmup", warmup,
      {.doc = "the rate rises linearly from zero; longer than the run: a tenth of it", .unit = "steps", .min = 0});
  }
};

struct DecayOptions : WarmupOptions {
  double final_lr = 0.0;
  void fields(Fields& f) override {
    WarmupOptions::fields(f);
    f("final_lr", final_lr,
      {.doc = "rate of the last step; 0: of the step after it, so that the last one moves", .min = 0.0});
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

struct PowerOptions : DecayOptions {
  double power = 2.0;
  void fields(Fields& f) override {
    DecayOptions::fields(f);
    f("power", power,
      {.doc = "1 is a straight line; larger ones fall sooner and end flatter", .min = 0.01, .max = 100.0});
  }
};

/// Warmup, then `shape(progress)` of the way from the peak to the final rate: progress is 0 at the end of the warmup,
/// or in the first step without one, and 1 where the final rate is reached.
class ShapedSchedule : public Schedule {
 public:
  ShapedSchedule(const ScheduleContext& context, std::int64_t warmup, double final_lr,
                 std::function<double(double)> shape)
      : peak_(context.lr),
        steps_(context.steps),
        asked_(warmup),
        warmup_(warmup > context.steps ? context.steps / 10 : warmup),
        first_(std::max<std::int64_t>(1, warmup_)),
        end_(final_lr > 0.0 ? context.steps : context.steps + 1),
        final_(final_lr),
        shape_(std::move(shape)) {}

  double lr(std::int64_t step) const override {
    if (step < warmup_) return peak_ * static_cast<double>(step) / static_cast<double>(warmup_);
    return peak_ + (final_ - peak_) * shape_(std::clamp(static_cast<double>(step - first_) / falling(), 0.0, 1.0));
  }

  /// Steps from the peak to the final rate.
  double falling() const { return static_cast<double>(std::max<std::int64_t>(1, end_ - first_)); }

  std::vector<std::string> notes() const override {
    if (warmup_ == asked_) return {};
    return {fmt::format(
        "optimizer.schedule.warmup ({} steps) is longer than the run ({}): it takes a tenth of the run, {} steps",
        asked_, steps_, warmup_)};
  }

 private:
  double peak_;
  std::int64_t steps_, asked_, warmup_;
  std::int64_t first_, end_;  // steps of the peak and of the final rate
  double final_;
  std::function<double(double)> shape_;
};

/// `share` of all steps, at the end.
class WsdSchedule : public ShapedSchedule {
 public:
  WsdSchedule(const ScheduleContext& context, const WsdOptions& o)
      : ShapedSchedule(context, o.warmup, o.final_lr, [this](double t) {
          return share_ == 0.0 ? 0.0 : std::max(0.0, (t - (1.0 - share_)) / share_);
        }) {
    share_ = std::min(1.0, o.decay_fraction * static_cast<double>(context.steps) / falling());
  }

 private:
  double share_ = 0.0;  // of the steps after the warmup, which progress counts
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
    r->add<PowerOptions>("power", "a power of what is left of the run, from the peak to the final rate",
                         [](const PowerOptions& o, const ScheduleContext& c) {
                           return std::make_unique<ShapedSchedule>(
                               c, o.warmup, o.final_lr,
                               [power = o.power](double t) { return 1.0 - std::pow(1.0 - t, power); });
                         });
    r->add<WsdOptions>(
        "wsd", "warmup, stable, decay: the peak rate until the last part, then a straight line down",
        [](const WsdOptions& o, const ScheduleContext& c) { return std::make_unique<WsdSchedule>(c, o); });
    return r;
  }());
  return registry;
}

}  // namespace monge::optim
