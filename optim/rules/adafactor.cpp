// Adafactor (Shazeer & Stern 2018, arXiv:1804.04235): AdamW with a factored second moment: one number for each
// row and column of a matrix. With q = g^2 + 1e-30 and b = 1 - t^-decay,
//
//   R = b R + (1 - b) mean over columns of q        C = b C + (1 - b) mean over rows of q
//   V_ij = R_i C_j / mean(R)                        u = g / sqrt(V)        u = u min(1, clip / rms(u))
//
// The momentum averages steps, rate included, as published: with a_t the rate of the schedule in step t,
//
//   m = momentum m + (1 - momentum) a_t u           p = p - m
//
// and m is kept in units of the peak rate. Vectors keep V itself. The published form, with its steps in proportion to
// the parameter, is `relative: true`: u = u max(0.001, rms(p)).
#include <cmath>

#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/rules.h"

namespace monge::optim {
namespace {

struct AdafactorOptions : Options {
  double decay = 0.8;
  double clip = 1.0;
  double momentum = 0.9;
  bool relative = false;
  void fields(Fields& f) override {
    f("decay", decay,
      {.doc = "the decay of the second moments in step t is 1 - t^-decay",
       .min = 0.0,
       .max = 1.0,
       .exclusive_min = true});
    f("clip", clip, {.doc = "largest root mean square of a parameter's direction", .min = 0.0, .exclusive_min = true});
    f("momentum", momentum,
      {.doc = "decay of the averaged step; 0: no average, and no memory for one", .min = 0.0, .max = 1.0});
    f("relative", relative, {.doc = "steps in proportion to the root mean square of the parameter"});
  }
  void check() const override {
    if (momentum >= 1.0) throw InputError("optimizer.momentum must be less than 1");
  }
};

class Adafactor : public Rule {
 public:
  Adafactor(const AdafactorOptions& options, const RuleContext& context) : Rule(context), options_(options) {
    for (const Target& target : context.targets) {
      const Shape& shape = target.entry.shape;
      Moments m;
      if (shape.rank() == 2) {
        m.rows = make_state({shape[0], 1});
        m.cols = make_state({1, shape[1]});
      } else {
        m.all = make_state(shape);
      }
      if (options.momentum > 0.0) m.momentum = make_state(shape);
      moments_.push_back(std::move(m));
    }
  }

  /// The decay of the second moments depends on the step.
  bool repeats(std::int64_t) const override { return false; }

  void directions(const Step& step, const Tensor& u) override {
    const Tensor clip = slot(step.control, Control::clip);
    constexpr double least = 1e-30;  // below it nothing moves, and 1 / lr is no float
    const Tensor rate = scale(slot(step.control, Control::lr), context().lr > least ? 1.0 / context().lr : 1.0);
    const double decay = 1.0 - std::pow(static_cast<double>(step.number), -options_.decay);
    for (std::size_t i = 0; i < moments_.size(); ++i) {
      const Target& target = context().targets[i];
      const Moments& m = moments_[i];
      const Tensor direction = target.view(u), gradient = mul(target.view(step.gradients), clip);
      div(gradient, root_of_moment(m, gradient, decay, step), direction);
      mul(direction, clip_factor(options_.clip, rms(direction)), direction);
      if (options_.relative) mul(direction, max(rms(target.view(store().values())), 1e-3), direction);
      if (m.momentum.defined()) {
        step.update_average(m.momentum, options_.momentum, mul(direction, rate));
        div(m.momentum, rate, direction);
      }
    }
  }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out;
    for (std::size_t i = 0; i < moments_.size(); ++i) {
      const auto add = [&](const char* what, const Tensor& tensor) {
        if (tensor.defined())
          out.push_back({fmt::format("adafactor.{}.{}", context().targets[i].entry.name, what), tensor});
      };
      add("rows", moments_[i].rows);
      add("cols", moments_[i].cols);
      add("moment", moments_[i].all);
      add("momentum", moments_[i].momentum);
    }
    return out;
  }

 private:
  struct Moments {
    Tensor rows, cols;  // (rows, 1), (1, cols) of a matrix
    Tensor all;         // of anything else
    Tensor momentum;    // or none
  };

  /// sqrt(V), after updating V.
  static Tensor root_of_moment(const Moments& m, const Tensor& gradient, double decay, const Step& step) {
    const Tensor q = square(gradient);
    add(q, 1e-30, q);
    if (m.all.defined()) {
      step.update_average(m.all, decay, q);
      return sqrt(m.all);
    }
    step.update_average(m.rows, decay, row_means(q).reshape(m.rows.shape()));
    step.update_average(m.cols, decay, column_means(q).reshape(m.cols.shape()));
    Tensor out = Tensor::like(q);
    matmul(sqrt(div(m.rows, mean(m.rows))), sqrt(m.cols), out);
    return out;
  }

  AdafactorOptions options_;
  std::vector<Moments> moments_;  // beside the targets
};

}  // namespace

void add_adafactor(RuleRegistry& registry) {
  registry.add<AdafactorOptions>(
      "adafactor", "AdamW with one second moment for each row and column",
      [](const AdafactorOptions& o, const RuleContext& c) { return std::make_unique<Adafactor>(o, c); });
}

}  // namespace monge::optim
