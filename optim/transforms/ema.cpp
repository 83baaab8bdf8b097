// An exponential moving average of the parameters (Polyak & Juditsky 1992), at which the model is evaluated, sampled
// and saved; training goes on at the parameters themselves:
//
//   e = b_t e + (1 - b_t) p,   b_t = min(b, (1 + t) / (10 + t))   in the t-th step after step `start`; e = p until then
//
// The decay rises with t, as that of TensorFlow's ExponentialMovingAverage with num_updates does: the average spans the
// last ninth of the steps, until 1 / (1 - b) of them are enough. A fixed decay of 0.999 would give the random start a
// weight of 0.74 after 300 steps, and an average without bias still counts the first of these steps like the last.
#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/transforms/transforms.h"

namespace monge::optim {
namespace {

struct EmaOptions : Options {
  double decay = 0.999;
  std::int64_t start = 0;
  void fields(Fields& f) override {
    f("decay", decay,
      {.doc = "of the average in the end, when it spans 1 / (1 - decay) steps; before, it spans a ninth of the steps "
              "so far",
       .min = 0.0,
       .max = 1.0});
    f("start", start, {.doc = "the average begins with the parameters after this step", .unit = "steps", .min = 0});
  }
  void check() const override {
    if (decay >= 1.0) throw KeyError("decay", "must be below 1, for example 0.999");
  }
};

class Ema : public Transform {
 public:
  Ema(const EmaOptions& options, const RuleContext& context)
      : Transform(context), options_(options), average_(Tensor::like(store().values(), Pool::optimizer)) {
    copy(store().values(), average_);
  }

  void after(const Step& step) override {
    if (step.number <= options_.start) {
      step.set(average_, store().values());
    } else {
      // On the device, so that a captured step stays right: 1 - b_t = max(1 - b, 9 / (10 + t)), t = step - start.
      const Tensor t = slot(step.control, Control::step);
      const Tensor share = div(scalar(9.0, t), add(t, 10.0 - static_cast<double>(options_.start)));
      max(share, 1.0 - options_.decay, share);
      const Tensor change = store().values().clone();
      axpy(-1.0, average_, change);
      mul(change, share, change);
      axpy(1.0, average_, change);
      step.set(average_, change);
    }
  }
  bool repeats(std::int64_t number) const override { return number > options_.start; }

  bool averages() const override { return true; }
  void write_average(const Tensor& values) const override { copy(average_, values); }
  std::vector<NamedTensor> state() const override { return {{"ema.average", average_}}; }

 private:
  EmaOptions options_;
  Tensor average_;
};

}  // namespace

void add_ema(TransformRegistry& registry) {
  registry.add<EmaOptions>("ema", "evaluate at an average of the parameters",
                           [](const EmaOptions& o, const RuleContext& c) { return std::make_unique<Ema>(o, c); });
}

}  // namespace monge::optim
