// An exponential moving average of the parameters (Polyak & Juditsky 1992), at which the model is evaluated, sampled
// and saved; training goes on at the parameters themselves:
//
//   e = b e + (1 - b) p        e = p up to step `start`
#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/transforms/transforms.h"

namespace monge::optim {
namespace {

struct EmaOptions : Options {
  double decay = 0.999;
  std::int64_t start = 0;
  void fields(Fields& f) override {
    f("decay", decay, {.doc = "of the average; it spans 1 / (1 - decay) steps", .min = 0.0, .max = 1.0});
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
      step.update_average(average_, options_.decay, store().values());
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
