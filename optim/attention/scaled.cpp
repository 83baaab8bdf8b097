// scaled: W_q and W_k take `factor` times the step of the base rule. The control experiment for the natural updates,
// whose steps may be longer than the rule's (graft): it shows the effect of length alone.
#include "optim/arithmetic.h"
#include "optim/attention/attention_updates.h"

namespace monge::optim {
namespace {

struct ScaledOptions : AttentionUpdateOptions {
  double factor = 1.0;
  void fields(Fields& f) override {
    AttentionUpdateOptions::fields(f);
    f("factor", factor, {.doc = "length of the step, as a multiple of the base rule's", .min = 0.0});
  }
};

class ScaledUpdate : public AttentionUpdate {
 public:
  ScaledUpdate(const ScaledOptions& options, const std::vector<AttentionLayer>& layers)
      : factor_(options.factor), layers_(layers) {
    require_queries("scaled", layers);
  }

  void bind(nn::ParameterStore& store) override {
    store_ = &store;
    for (const AttentionLayer& at : layers_) {
      for (const AttentionMatrix* matrix : {&at.query, &at.key}) {
        ranges_.push_back({matrix->begin(store), matrix->size(), {}});
      }
    }
  }

  void before_rule() override {
    for (Range& r : ranges_) r.before = r.view(store_->values()).clone();
  }

  void after_rule(const Step& step) override {
    for (Range& r : ranges_) {
      const Tensor now = r.view(store_->values());
      step.update_average(now, factor_, r.before);  // factor now + (1 - factor) before
      if (store_->copies().defined()) copy(now, r.view(store_->copies()));
      r.before = {};
    }
  }

 private:
  /// W_q or W_k of a layer in the flat buffers.
  struct Range {
    std::int64_t begin, size;
    Tensor before;  // during a step
    Tensor view(const Tensor& flat) const { return flat.flat_view(begin, {size}); }
  };

  double factor_;
  std::vector<AttentionLayer> layers_;
  nn::ParameterStore* store_ = nullptr;
  std::vector<Range> ranges_;
};

}  // namespace

void add_scaled(AttentionUpdateRegistry& registry) {
  registry.add<ScaledOptions>("scaled",
                              "W_q and W_k take a multiple of the rule's step: the control experiment for fisher",
                              [](const ScaledOptions& o, const std::vector<AttentionLayer>& layers) {
                                return std::make_unique<ScaledUpdate>(o, o.chosen(layers));
                              });
}

}  // namespace monge::optim
