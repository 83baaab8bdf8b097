// fisher: the natural gradient of W_q and W_k under the attention-local Fisher (nn/attention/fisher.h), by Kronecker
// factors (after Martens & Grosse 2015, arXiv:1503.05671), per head, with M the averaged gradient:
//
//   V_q[h] = (A_h + a I)^-1 M_q[h] (B + b I)^-1        V_k[g] likewise
//
// A and B are bias-corrected moving averages of the factors. The damping lambda I of A (x) B is split: each factor gets
// sqrt(lambda) times its mean eigenvalue, which for the left factors is the mean over all heads.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "nn/attention/fisher.h"
#include "optim/arithmetic.h"
#include "optim/attention/attention_updates.h"
#include "optim/attention/directed_update.h"
#include "optim/matrix/device_inverse.h"
#include "optim/matrix/symmetric.h"

namespace monge::optim {
namespace {

struct FisherOptions : DirectedOptions {
  std::int64_t every = 10;
  double decay = 0.9;
  void fields(Fields& f) override {
    DirectedOptions::fields(f);
    f("every", every,
      {.doc = "steps between two measurements and inversions of the factors", .unit = "steps", .min = 1});
    f("decay", decay, {.doc = "decay of the moving average of the factors, per measurement", .min = 0.0, .max = 1.0});
  }
  void check() const override {
    DirectedOptions::check();
    if (decay >= 1.0) throw KeyError("decay", "must be below 1, for example 0.9");
  }
};

class FisherUpdate : public DirectedUpdate {
 public:
  FisherUpdate(const FisherOptions& options, const std::vector<AttentionLayer>& layers)
      : DirectedUpdate("fisher", options, layers), options_(options), factors_(layers.size()) {}

  void begin(std::int64_t step) override {
    if (!refreshes(step)) return;
    for (std::size_t i = 0; i < factors_.size(); ++i) targets()[i].at.layer->add_observer(factors_[i]);
  }

  bool repeats(std::int64_t step) const override { return !refreshes(step); }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = DirectedUpdate::state();
    for (std::size_t i = 0; i < factors_.size(); ++i) {
      for (std::size_t f = 0; f < factor_names.size(); ++f) {
        out.push_back({state_name(i, factor_names[f].average), factors_[i].average[f]});
        out.push_back({state_name(i, factor_names[f].inverse), factors_[i].inverse[f]});
      }
    }
    return out;
  }

  std::vector<std::string> notes() const override {
    std::vector<std::string> out = DirectedUpdate::notes();
    if (targets().front().at.layer->position().rotates()) {
      out.push_back(
          "optimizer.attention fisher: with rope, the left factor of W_q is that of the rotated keys, which is an "
          "approximation; fisher_cg is exact");
    }
    return out;
  }

 private:
  enum Factor : std::size_t { query_left, query_right, key_left, key_right };
  struct FactorNames {
    const char *average, *inverse;
  };
  static constexpr std::array<FactorNames, 4> factor_names{{{"query_left", "query_left_inverse"},
                                                            {"query_right", "query_right_inverse"},
                                                            {"key_left", "key_left_inverse"},
                                                            {"key_right", "key_right_inverse"}}};

  /// The factors of one layer: (n, size, size) each. Measured in the first forward pass that it observes.
  struct LayerFactors : nn::AttentionObserver {
    std::array<Tensor, 4> average, inverse, measured;

    void observe(const nn::AttentionCall& call) override {
      if (measured[0].defined()) return;
      const nn::FisherFactors f = nn::fisher_factors(call);
      measured = {f.query_left, f.query_right, f.key_left, f.key_right};
    }
  };

  bool refreshes(std::int64_t step) const { return (step - 1) % options_.every == 0; }

  void bind_target(std::size_t i) override {
    const Target& t = targets()[i];
    const std::array<Shape, 4> shapes{Shape{t.H, t.D, t.D}, Shape{1, t.C, t.C}, Shape{t.G, t.D, t.D},
                                      Shape{1, t.C, t.C}};
    for (std::size_t f = 0; f < shapes.size(); ++f) {
      factors_[i].average[f] = Tensor::zeros(shapes[f], dtype(), device(), Pool::optimizer);
      factors_[i].inverse[f] = Tensor::zeros(shapes[f], dtype(), device(), Pool::optimizer);
      if (on_device() && i == 0) identities_[f] = identity(shapes[f], dtype(), device());
    }
  }

  void prepare(const Step& step) override {
    if (!refreshes(step.number)) return;
    const std::int64_t measurements = (step.number - 1) / options_.every + 1;
    const double unbias = 1.0 / (1.0 - std::pow(options_.decay, measurements));
    for (std::size_t i = 0; i < factors_.size(); ++i) {
      LayerFactors& layer = factors_[i];
      targets()[i].at.layer->remove_observer(layer);
      for (std::size_t f = 0; f < factor_names.size(); ++f) {
        const Tensor& average = layer.average[f];
        step.update_average(average, options_.decay, layer.measured[f].reshape(average.shape()));
        layer.measured[f] = {};
      }
    }
    if (!on_device()) return invert_on_host(unbias, step);
    for (LayerFactors& layer : factors_) {
      for (std::size_t f = 0; f < factor_names.size(); ++f) {
        const Tensor inverse = Tensor::like(layer.inverse[f]);
        damped_inverse_on_device(layer.average[f], identities_[f], unbias, relative_shift(layer.average[f].size(1)),
                                 inverse);
        step.set(layer.inverse[f], inverse);
      }
    }
  }

  /// What is added to the diagonal of a factor of size n, relative to its mean: the square root of the damping, but
  /// never less than what makes a singular factor positive definite among the rounding of its elements.
  double relative_shift(std::int64_t n) const {
    return std::max(std::sqrt(options_.damping), resolved() * static_cast<double>(n));
  }
  /// The rounding of an element beside the trace of its factor.
  double resolved() const { return dtype() == DType::f64 ? 1e-14 : 1e-6; }

  /// The host does not wait for a GPU.
  bool on_device() const { return device().kind == DeviceKind::cuda; }

  /// The factors of the same kind of all layers are inverted together.
  void invert_on_host(double unbias, const Step& step) {
    for (std::size_t f = 0; f < factor_names.size(); ++f) {
      std::vector<double> matrices, shifts;
      const std::int64_t count = factors_.front().average[f].size(0), n = factors_.front().average[f].size(1);
      for (const LayerFactors& layer : factors_) {
        for (const double v : layer.average[f].values()) matrices.push_back(unbias * v);
        const double* at = matrices.data() + matrices.size() - count * n * n;
        std::vector<double> traces(static_cast<std::size_t>(count));
        for (std::int64_t k = 0; k < count * n; ++k) traces[static_cast<std::size_t>(k / n)] += at[k * n + k % n];
        const double sum = std::accumulate(traces.begin(), traces.end(), 0.0);
        if (!std::isfinite(sum)) return;  // squares that their floats cannot hold
        for (const double trace : traces) {
          shifts.push_back(
              std::max({relative_shift(n) * sum / static_cast<double>(count * n), resolved() * trace, 1e-30}));
        }
      }
      const std::vector<double> inverses = damped_inverses(matrices, n, shifts);
      const auto size = static_cast<std::size_t>(count * n * n);
      for (std::size_t i = 0; i < factors_.size(); ++i) {
        const Tensor& to = factors_[i].inverse[f];
        const auto begin = inverses.begin() + static_cast<std::ptrdiff_t>(i * size);
        step.set(to, Tensor::from(std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(size)), to.shape(),
                                  dtype(), device()));
      }
    }
  }

  void direction(std::size_t i, std::int64_t, const Tensor& gradient, const Tensor& v) override {
    const Target& t = targets()[i];
    const auto& inverse = factors_[i].inverse;
    const auto solve = [&](std::int64_t first, std::int64_t heads, const Tensor& left, const Tensor& right) {
      const auto part = [&](const Tensor& x) { return x.slice(first * t.D, (first + heads) * t.D); };
      const Tensor half = Tensor::empty({heads, t.D, t.C}, dtype(), device());
      matmul(left, part(gradient).reshape(half.shape()), half);
      matmul(half.reshape({heads * t.D, t.C}), right.reshape({t.C, t.C}), part(v));
    };
    solve(0, t.H, inverse[query_left], inverse[query_right]);
    solve(t.H, t.G, inverse[key_left], inverse[key_right]);
  }

  FisherOptions options_;
  std::vector<LayerFactors> factors_;
  std::array<Tensor, 4> identities_;  // of the factors of a layer; all layers are alike
};

}  // namespace

void add_fisher(AttentionUpdateRegistry& registry) {
  registry.add<FisherOptions>("fisher",
                              "natural gradient of W_q and W_k by Kronecker factors of the attention-local Fisher",
                              [](const FisherOptions& o, const std::vector<AttentionLayer>& layers) {
                                return std::make_unique<FisherUpdate>(o, o.chosen(layers));
                              });
}

}  // namespace monge::optim
