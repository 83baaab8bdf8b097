// Newton-Muon (Du & Su 2026, arXiv:2604.01472): Muon of gradients that are divided by the second moment of the layer's
// inputs Z, the right-hand side of a Newton step,
//
//   K = mean of z z^T        G' = G (K + damping mean(diag K) I)^-1        u = Muon(G')
//
// K-FAC's factor A before the polar step. K is a bias-corrected moving average over measurements, one every few steps,
// in that step's own forward and backward pass. As in the authors' code the gradient is divided before it is averaged,
// and the damping is relative. There the average starts at a multiple of I, and the first measurement comes with the
// first refresh; here it comes with the first step. They split the input of the second matrix of an MLP into four
// blocks; here a side longer than max_dim counts as K = I. W_q, W_k and W_v of a joint projection share one K.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/matrix/device_inverse.h"
#include "optim/matrix/linear_layers.h"
#include "optim/matrix/muon.h"
#include "optim/matrix/symmetric.h"
#include "optim/rules.h"

namespace monge::optim {
namespace {

struct NewtonMuonOptions : MuonOptions {
  double damping = 0.2;
  std::int64_t every = 64;
  double decay = 0.95;
  std::int64_t max_dim = 2048;
  void fields(Fields& f) override {
    MuonOptions::fields(f);
    f("damping", damping,
      {.doc = "added to the second moment of the inputs, relative to its mean eigenvalue",
       .min = 0.0,
       .max = 1e12,
       .exclusive_min = true});
    f("every", every,
      {.doc = "steps between two measurements and inversions of the second moment", .unit = "steps", .min = 1});
    f("decay", decay, {.doc = "decay of its moving average, per measurement", .min = 0.0, .max = 1.0});
    f("max_dim", max_dim, {.doc = "matrices with more columns than this take the steps of muon", .min = 1});
  }
  void check() const override {
    MuonOptions::check();
    if (decay >= 1.0) throw KeyError("decay", "must be below 1, for example 0.95");
  }
};

class NewtonMuon : public Muon {
 public:
  NewtonMuon(const NewtonMuonOptions& options, const RuleContext& context)
      : Muon("newton_muon", options, context), options_(options) {
    const std::vector<nn::Linear*> linears = linear_layers(name(), context.model, matrix_targets());
    std::size_t i = 0;
    for (std::size_t t = 0; t < linears.size(); ++t) {
      const nn::ParameterStore::Entry& entry = matrix_targets()[t].entry;
      const std::int64_t n = entry.shape[1];
      Input* input = nullptr;
      if (n <= options.max_dim) {
        inputs_.push_back(std::make_unique<Input>(*linears[t], entry.name));
        input = inputs_.back().get();
        input->average = make_state({n, n});
        input->inverse = make_state({n, n});
        if (on_device() && !identities_.contains(n)) {
          identities_[n] = identity({1, n, n}, input->average.dtype(), input->average.device());
        }
      }
      for (; i < matrices().size() && matrices()[i].begin < entry.end(); ++i) input_of_.push_back(input);
    }
  }
  ~NewtonMuon() override {
    for (const auto& input : inputs_) input->stop();
  }

  void begin(std::int64_t number) override {
    Muon::begin(number);
    if (!measures(number)) return;
    for (const auto& input : inputs_) input->start();
  }
  bool repeats(std::int64_t number) const override { return !measures(number); }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = Muon::state();
    for (const auto& input : inputs_) {
      out.push_back({fmt::format("{}.{}.input", name(), input->name), input->average});
      out.push_back({fmt::format("{}.{}.input_inverse", name(), input->name), input->inverse});
    }
    return out;
  }

  std::vector<std::string> notes() const override {
    std::vector<std::string> out = Muon::notes();
    const auto plain = std::ranges::count(input_of_, nullptr);
    if (plain > 0) {
      out.push_back(fmt::format(
          "newton_muon: {} of {} matrices have more columns than optimizer.max_dim = {}, and take the steps "
          "of muon",
          plain, input_of_.size(), options_.max_dim));
    }
    return out;
  }

 private:
  /// The input of a linear layer.
  struct Input : nn::LinearObserver {
    Input(nn::Linear& at, std::string named) : linear(at), name(std::move(named)) {}

    void start() {
      seen = Tensor::zeros(average.shape(), average.dtype(), average.device());
      positions = 0;
      linear.set_observer(this);
      observes = true;
    }
    void observe(const Tensor& x, const Tensor&) override {
      const Tensor z = as_matrix(x, average);
      add_matmul(transposed(z), z, seen);
      positions += z.size(0);
    }
    void stop() {
      if (observes) linear.set_observer(nullptr);
      observes = false;
    }

    nn::Linear& linear;
    std::string name;
    Tensor average, inverse;  // (n, n): K, and that of K with its damping
    Tensor seen;              // (n, n): the sum of this measurement
    std::int64_t positions = 0;
    bool observes = false;
  };

  bool measures(std::int64_t number) const { return (number - 1) % options_.every == 0; }
  /// The host does not wait for a GPU.
  bool on_device() const { return store().values().device().kind == DeviceKind::cuda; }
  /// The damping, or what makes a singular K positive definite among the rounding of its elements.
  double relative_shift(std::int64_t n) const {
    const double resolved = store().values().dtype() == DType::f64 ? 1e-14 : 1e-6;
    return std::max(options_.damping, resolved * static_cast<double>(n));
  }

  void prepare(const Step& step) override {
    if (!measures(step.number)) return;
    for (const auto& input : inputs_) {
      input->stop();
      if (input->positions > 0) scale(input->seen, 1.0 / static_cast<double>(input->positions), input->seen);
      step.update_average(input->average, options_.decay, input->seen);
      input->seen = {};
    }
    const std::int64_t measurements = (step.number - 1) / options_.every + 1;
    const double unbias = 1.0 / (1.0 - std::pow(options_.decay, measurements));
    on_device() ? invert_on_device(unbias, step) : invert_on_host(unbias, step);
  }

  void invert_on_device(double unbias, const Step& step) {
    for (const auto& input : inputs_) {
      const std::int64_t n = input->average.size(0);
      const Tensor inverse = Tensor::like(identities_.at(n));
      damped_inverse_on_device(input->average.reshape({1, n, n}), identities_.at(n), unbias, relative_shift(n),
                               inverse);
      step.set(input->inverse, inverse.reshape({n, n}));
    }
  }

  /// All of one size together.
  void invert_on_host(double unbias, const Step& step) {
    std::map<std::int64_t, std::vector<const Input*>> by_size;
    for (const auto& input : inputs_) by_size[input->average.size(0)].push_back(input.get());
    for (const auto& [n, inputs] : by_size) {
      std::vector<double> matrices, shifts;
      for (const Input* input : inputs) {
        double trace = 0.0;
        const std::vector<double> values = input->average.values();
        for (std::int64_t k = 0; k < n; ++k) trace += values[static_cast<std::size_t>(k * n + k)];
        if (!std::isfinite(trace)) return;  // squares that their floats cannot hold
        for (const double v : values) matrices.push_back(unbias * v);
        shifts.push_back(std::max(relative_shift(n) * unbias * trace / static_cast<double>(n), 1e-30));
      }
      const std::vector<double> inverses = damped_inverses(matrices, n, shifts);
      const auto size = static_cast<std::size_t>(n * n);
      for (std::size_t k = 0; k < inputs.size(); ++k) {
        const Tensor& to = inputs[k]->inverse;
        step.set(to, Tensor::from(std::span(inverses).subspan(k * size, size), to.shape(), to.dtype(), to.device()));
      }
    }
  }

  void precondition(std::size_t i, const Tensor& gradient) override {
    if (input_of_[i] == nullptr) return;
    const Tensor given = gradient.clone();
    matmul(given, input_of_[i]->inverse, gradient);
  }

  NewtonMuonOptions options_;
  std::vector<std::unique_ptr<Input>> inputs_;
  std::vector<const Input*> input_of_;         // of each matrix, or none
  std::map<std::int64_t, Tensor> identities_;  // (1, n, n)
};

}  // namespace

void add_newton_muon(RuleRegistry& registry) {
  registry.add<NewtonMuonOptions>(
      "newton_muon", "muon of gradients divided by the second moment of the layer's inputs",
      [](const NewtonMuonOptions& o, const RuleContext& c) { return std::make_unique<NewtonMuon>(o, c); });
}

}  // namespace monge::optim
