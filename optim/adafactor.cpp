// Adafactor (Shazeer & Stern 2018, arXiv:1804.04235): AdamW whose second moment of a matrix is kept as one number for
// each row and each column. With q = g^2 + 1e-30 and b = 1 - t^-decay,
//
//   R = b R + (1 - b) mean over columns of q        C = b C + (1 - b) mean over rows of q
//   V_ij = R_i C_j / mean(R)                        u = g / sqrt(V)        u = u min(1, clip / rms(u))
//
// Vectors keep V itself. The published form, with its steps in proportion to the parameter, is `relative: true`:
// u = u max(0.001, rms(p)).
#include <cmath>

#include "core/error.h"
#include "optim/device_math.h"
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
      {.doc = "the second moments forget like 1 - t^-decay", .min = 0.0, .max = 1.0, .exclusive_min = true});
    f("clip", clip, {.doc = "largest root mean square of a parameter's direction", .min = 0.0, .exclusive_min = true});
    f("momentum", momentum,
      {.doc = "decay of the averaged direction; 0: none, and no memory for it", .min = 0.0, .max = 1.0});
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

  /// The decay of the second moments is a number of the step.
  bool repeats(std::int64_t) const override { return false; }

  void directions(const Step& step, const Tensor& u) override {
    Backend& backend = u.backend();
    const Tensor clip = step.control.slice(Control::clip, Control::clip + 1);
    const double decay = 1.0 - std::pow(static_cast<double>(step.number), -options_.decay);
    for (std::size_t i = 0; i < moments_.size(); ++i) {
      const Target& target = context().targets[i];
      const Moments& m = moments_[i];
      const Tensor direction = u.flat_view(target.entry.begin, target.entry.shape);
      const Tensor gradient = product(step.gradients.flat_view(target.entry.begin, target.entry.shape), clip);
      backend.pointwise(Pointwise::divide, gradient, root_of_moment(m, gradient, decay), direction);
      const Tensor rms = calculate(Pointwise::root, mean_of(product(direction, direction)));
      backend.mul(direction, limit(options_.clip, rms), direction);
      if (options_.relative) backend.mul(direction, size_of(target), direction);
      if (m.momentum.defined()) {
        average_into(m.momentum, options_.momentum, direction);
        backend.copy(m.momentum, direction);
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

  /// sqrt(V), with V brought up to date.
  static Tensor root_of_moment(const Moments& m, const Tensor& gradient, double decay) {
    Backend& backend = gradient.backend();
    const Tensor q = product(gradient, gradient);
    backend.add(q, number(1e-30, q), q);
    if (m.all.defined()) {
      average_into(m.all, decay, q);
      return calculate(Pointwise::root, m.all);
    }
    const std::int64_t rows = q.size(0), cols = q.size(1);
    const Tensor row_mean = Tensor::like(m.rows), col_mean = Tensor::like(m.cols);
    backend.sum(q, rows, cols, 1, 1.0 / static_cast<double>(cols), row_mean, false);
    backend.sum(q, 1, rows, cols, 1.0 / static_cast<double>(rows), col_mean, false);
    average_into(m.rows, decay, row_mean);
    average_into(m.cols, decay, col_mean);
    const Tensor row_root = calculate(Pointwise::root, calculate(Pointwise::divide, m.rows, mean_of(m.rows)));
    Tensor out = Tensor::like(q);
    backend.matmul({.a = row_root, .b = calculate(Pointwise::root, m.cols), .out = out});
    return out;
  }

  /// max(0.001, rms(p))
  Tensor size_of(const Target& target) const {
    const Tensor p = store().values().flat_view(target.entry.begin, target.entry.shape);
    const Tensor rms = calculate(Pointwise::root, mean_of(product(p, p)));
    return calculate(Pointwise::maximum, rms, number(1e-3, rms));
  }

  AdafactorOptions options_;
  std::vector<Moments> moments_;  // beside the targets
};

}  // namespace

void add_adafactor(RuleRegistry& registry) {
  registry.add<AdafactorOptions>(
      "adafactor", "AdamW with a second moment for each row and column only",
      [](const AdafactorOptions& o, const RuleContext& c) { return std::make_unique<Adafactor>(o, c); });
}

}  // namespace monge::optim
