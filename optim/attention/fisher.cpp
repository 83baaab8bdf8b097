// fisher: the natural gradient of W_q and W_k under the attention-local Fisher (nn/attention/fisher.h), by Kronecker
// factors (after Martens & Grosse 2015, arXiv:1503.05671), per head, with M the averaged gradient:
//
//   V_q[h] = (A_h + a I)^-1 M_q[h] (B + b I)^-1        V_k[g] likewise
//
// A and B are bias-corrected moving averages of the factors. The damping lambda I of A (x) B is split: each factor gets
// sqrt(lambda) times its mean eigenvalue, which for the left factors is the mean over all heads. `joint` inverts the
// two blocks together (joint_block.h).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/attention/attention_updates.h"
#include "optim/attention/directed_update.h"
#include "optim/attention/fisher_averages.h"
#include "optim/attention/joint_block.h"
#include "optim/matrix/device_inverse.h"
#include "optim/matrix/symmetric.h"

namespace monge::optim {
namespace {

struct FisherOptions : DirectedOptions {
  FisherAveraging averaging;
  bool joint = false;
  void fields(Fields& f) override {
    DirectedOptions::fields(f);
    averaging.fields(f);
    f("joint", joint, {.doc = "W_q and W_k as one block of the Fisher; for models without shared key heads"});
  }
  void check() const override {
    DirectedOptions::check();
    averaging.check();
  }
};

std::vector<nn::RowMapAttention*> attentions_of(const std::vector<AttentionLayer>& layers) {
  std::vector<nn::RowMapAttention*> out;
  for (const AttentionLayer& at : layers) out.push_back(at.layer);
  return out;
}

class FisherUpdate : public DirectedUpdate {
 public:
  FisherUpdate(const FisherOptions& options, const std::vector<AttentionLayer>& layers)
      : DirectedUpdate("fisher", options, layers), options_(options), layers_(attentions_of(layers)) {
    for (const AttentionLayer& at : layers) {
      if (!options.joint || at.layer->kv_heads() == at.layer->heads()) continue;
      throw KeyError(
          "optimizer.attention.joint",
          fmt::format("{} has {} key heads for {} query heads, and a joint block is that of a query head with "
                      "a key head of its own; set it to false, or model.kv_heads to {}",
                      at.name, at.layer->kv_heads(), at.layer->heads(), at.layer->heads()));
    }
  }

  void bind(nn::ParameterStore& store) override {
    averages_.emplace(options_.averaging, layers_, store.values().dtype(), store.values().device());
    DirectedUpdate::bind(store);
  }

  void begin(std::int64_t step) override { averages_->begin(step); }
  bool repeats(std::int64_t step) const override { return !averages_->measures(step); }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = DirectedUpdate::state();
    for (std::size_t i = 0; i < inverses_.size(); ++i) {
      for (std::size_t f = 0; f < fisher_factor_names.size(); ++f) {
        const std::string name = fisher_factor_names[f];
        out.push_back({state_name(i, name), averages_->average(i).of[f]});
        out.push_back({state_name(i, name + "_inverse"), inverses_[i].of[f]});
      }
      if (!options_.joint) continue;
      for (const NamedTensor& x : joint_[i].state()) out.push_back({state_name(i, x.name), x.value});
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
  using enum FisherFactor;

  void bind_target(std::size_t i) override {
    FisherTensors& inverse = inverses_.emplace_back();
    for (std::size_t f = 0; f < inverse.of.size(); ++f) {
      const Shape& shape = averages_->average(i).of[f].shape();
      inverse.of[f] = Tensor::zeros(shape, dtype(), device(), Pool::optimizer);
      if (i == 0 && (on_device() || options_.joint)) identities_.of[f] = identity(shape, dtype(), device());
    }
    const Target& t = targets()[i];
    if (options_.joint) joint_.emplace_back(t.H, t.D, t.C, dtype(), device());
  }

  void prepare(const Step& step) override {
    if (!averages_->measures(step.number)) return;
    averages_->update(step);
    const double unbias = averages_->unbias(step.number);
    on_device() ? invert_on_device(unbias, step) : invert_on_host(unbias, step);
    for (std::size_t i = 0; i < joint_.size(); ++i) {
      joint_[i].set(step, targets()[i].before, damped(i, query_right, unbias), damped(i, key_right, unbias),
                    relative_shift(targets()[i].D));
    }
  }

  /// A right factor of a layer, (C, C), damped.
  Tensor damped(std::size_t i, FisherFactor f, double unbias) const {
    const Tensor average = averages_->average(i)[f].reshape({targets()[i].C, targets()[i].C});
    const Tensor eye = identities_[f].reshape(average.shape());
    const Tensor mean_eigenvalue = scale(dot(average, eye), 1.0 / static_cast<double>(average.size(0)));
    const Tensor shift = mul(eye, scale(mean_eigenvalue, relative_shift(average.size(0))));
    return scale(add(average, shift), unbias);
  }

  void invert_on_device(double unbias, const Step& step) {
    for (std::size_t i = 0; i < inverses_.size(); ++i) {
      for (std::size_t f = 0; f < fisher_factor_names.size(); ++f) {
        const Tensor &average = averages_->average(i).of[f], inverse = Tensor::like(average);
        damped_inverse_on_device(average, identities_.of[f], unbias, relative_shift(average.size(1)), inverse);
        step.set(inverses_[i].of[f], inverse);
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
    for (std::size_t f = 0; f < fisher_factor_names.size(); ++f) {
      std::vector<double> matrices, shifts;
      const std::int64_t count = inverses_.front().of[f].size(0), n = inverses_.front().of[f].size(1);
      for (std::size_t i = 0; i < inverses_.size(); ++i) {
        for (const double v : averages_->average(i).of[f].values()) matrices.push_back(unbias * v);
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
      for (std::size_t i = 0; i < inverses_.size(); ++i) {
        const Tensor& to = inverses_[i].of[f];
        const auto begin = inverses.begin() + static_cast<std::ptrdiff_t>(i * size);
        step.set(to, Tensor::from(std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(size)), to.shape(),
                                  dtype(), device()));
      }
    }
  }

  void direction(std::size_t i, std::int64_t, const Tensor& gradient, const Tensor& v) override {
    const Target& t = targets()[i];
    const FisherTensors& inverse = inverses_[i];
    if (options_.joint) {
      const auto right = [&](FisherFactor f) { return inverse[f].reshape({t.C, t.C}); };
      return joint_[i].solve(gradient, right(query_right), right(key_right), v);
    }
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
  std::vector<nn::RowMapAttention*> layers_;
  std::optional<FisherAverages> averages_;
  std::vector<FisherTensors> inverses_;  // of the damped averages
  std::vector<JointBlock> joint_;        // of all layers, or none
  FisherTensors identities_;             // of the factors of a layer; all layers are alike
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
