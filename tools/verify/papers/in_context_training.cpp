// The unit of in_context.h as Monge trains it: on its own, and as an attention layer under each update of W_q and W_k.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "core/options/yaml.h"
#include "nn/attention/attention.h"
#include "nn/parameter_store.h"
#include "optim/optimizer.h"
#include "tools/verify/papers/in_context.h"

namespace monge::tools {
namespace {

using autograd::Var;

constexpr Device cpu{DeviceKind::cpu, 0};

Tensor on_cpu(const std::vector<double>& values, const Shape& shape) {
  return Tensor::from(values, shape, DType::f32, cpu);
}

optim::OptimizerOptions optimizer_of(const std::string& yaml) {
  optim::OptimizerOptions out;
  read_yaml_text(yaml, "optimizer of a verification", {}, out);
  return out;
}

/// Values of a parameter, given or read.
void give(const nn::ParameterStore& store, const std::string& name, const Matrix& values) {
  const Tensor to = store.value(store.entry(name));
  const std::span span{values.data(), static_cast<std::size_t>(values.size())};
  to.backend().copy({.from = Tensor::from(span, to.shape(), to.dtype(), to.device()), .to = to});
}

/// Batches of a set of tasks, in order, again and again.
class Batches {
 public:
  Batches(const TaskLaw& law, std::int64_t batch, RandomSequence& random)
      : all_(draw_tasks(law, set, random)), batch_(batch) {}
  Tasks next() {
    const std::int64_t begin = at_;
    at_ = (at_ + batch_) % set;
    return slice(all_, begin, begin + batch_);
  }

 private:
  static constexpr std::int64_t set = 8192;  // a multiple of each batch
  Tasks all_;
  std::int64_t batch_, at_ = 0;
};

/// Steps on the losses that `loss` gives for new tasks. `before_step` sees the gradients, `after_step` the number.
struct Training {
  nn::Module& model;
  nn::ParameterStore& store;
  optim::OptimizerOptions options;
  std::int64_t steps = 0;
  std::function<Var()> loss;
  std::function<void()> before_step = [] {};
  std::function<void(std::int64_t)> after_step = [](std::int64_t) {};

  void run() {
    optim::Optimizer optimizer(options, model, store, steps);
    for (std::int64_t step = 1; step <= steps; ++step) {
      optimizer.begin(step);
      store.clear_grads();
      autograd::Tape tape;
      Var y;
      {
        const autograd::Tape::Recording recording(tape);
        y = loss();
      }
      tape.backward(y);
      store.complete_grads();
      before_step();
      optimizer.step(step);
      after_step(step);
    }
  }
};

/// h(x) with M = w I, or any M.
class Estimator : public nn::Module {
 public:
  Estimator(std::int64_t d, bool whole, const InContextUnit& unit)
      : unit_(unit),
        m_(add_parameter("m", whole ? Shape{d, d} : Shape{1}, nn::Role::gain,
                         whole ? nn::Init::normal(0.1) : nn::Init::constant(1.0))) {}

  /// The loss over tasks.
  Var loss(const Tasks& t) const {
    const Var query = on_cpu(t.query, {t.count, 1, t.d}), x = on_cpu(t.x, {t.count, t.n, t.d});
    const Var read = m_.shape().rank() == 2 ? autograd::linear(query, m_) : autograd::mul(query, m_);
    const Var weights = unit_.weights(autograd::matmul(read, x, false, true));     // (B, 1, n)
    const Var h = autograd::matmul(weights, Var(on_cpu(t.y, {t.count, t.n, 1})));  // (B, 1, 1)
    return unit_.loss(autograd::reshape(h, {t.count}), Var(on_cpu(t.target, {t.count})));
  }

 private:
  const InContextUnit& unit_;
  nn::Parameter& m_;
};

Matrix trained(const TaskLaw& law, std::uint64_t seed, const InContextUnit& unit, bool whole, std::int64_t steps,
               double lr) {
  constexpr std::int64_t tasks = 256;
  Estimator estimator(law.d, whole, unit);
  nn::ParameterStore store(estimator, cpu, nn::Precision::float32, seed);
  RandomSequence random(seed, in_context_stream, 1);
  Batches batches(law, tasks, random);
  Training{.model = estimator,
           .store = store,
           .options = optimizer_of(fmt::format("{{lr: {}, clip_norm: 0, schedule: {{kind: cosine, warmup: 0}}}}", lr)),
           .steps = steps,
           .loss = [&] { return estimator.loss(batches.next()); }}
      .run();
  return to_matrix(store.value(store.entry("m")));
}

// --- the unit as an attention layer ---

/// Adds minus infinity, nearly, to the score of the last key: the token that asks.
class HiddenQuery : public nn::Position {
 public:
  bool has_prior() const override { return true; }

 protected:
  std::unique_ptr<nn::PositionPrior> prior_of_layer() override { return std::make_unique<Prior>(); }

 private:
  struct Prior : nn::PositionPrior {
    Var of_distance(std::int64_t n, Device device) const override {
      return Tensor::zeros({1, n}, backend_of(device).default_float(), device);
    }
    Var of_key(std::int64_t n, Device device) const override {
      std::vector<double> out(static_cast<std::size_t>(n), 0.0);
      out.back() = -1e9;
      return Tensor::from(out, {1, n}, backend_of(device).default_float(), device);
    }
  };
};

/// One head over tokens (x_i, 0, y_i) and, the last, (0, x, 0), C = 2 d + 1 wide, so that W_k can read the first x and
/// W_q the second. W_v hands on y, W_o everything.
class Layer : public nn::Module {
 public:
  explicit Layer(const TaskLaw& law) : width_(2 * law.d + 1), attention_(RowMap(), {}, context(law), position_) {
    add_module("attention", attention_);
  }

  /// The last token's y.
  Var predictions(const Tasks& t) {
    const std::int64_t T = t.n + 1, d = t.d;
    std::vector<double> tokens(static_cast<std::size_t>(t.count * T * width_), 0.0);
    for (std::int64_t b = 0; b < t.count; ++b) {
      for (std::int64_t i = 0; i < T; ++i) {
        double* token = tokens.data() + (b * T + i) * width_;
        if (i < t.n) {
          std::copy_n(t.x.data() + (b * t.n + i) * d, d, token);
          token[2 * d] = t.y[static_cast<std::size_t>(b * t.n + i)];
        } else {
          std::copy_n(t.query.data() + b * d, d, token + d);
        }
      }
    }
    const Var out = attention_.forward(on_cpu(tokens, {t.count, T, width_}));
    return autograd::reshape(autograd::slice(autograd::slice(out, 1, t.n, T), 2, 2 * d, width_), {t.count});
  }

  void start(const nn::ParameterStore& store, RandomSequence& random) const {
    Matrix qkv = Matrix::Zero(3 * width_, width_);
    for (double& x : qkv.topRows(2 * width_).reshaped()) x = random.normal() / std::sqrt(static_cast<double>(width_));
    qkv(3 * width_ - 1, width_ - 1) = 1.0;
    give(store, "attention.qkv.weight", qkv);
    give(store, "attention.out.weight", Matrix::Identity(width_, width_));
  }

  /// Leaves the gradients of W_q and W_k alone.
  void keep_values(const nn::ParameterStore& store) const {
    const Tensor qkv = store.grad(store.entry("attention.qkv.weight"));
    const Tensor out = store.grad(store.entry("attention.out.weight"));
    qkv.backend().fill({.x = qkv.slice(2 * width_, 3 * width_)});
    out.backend().fill({.x = out});
  }

 private:
  nn::LayerContext context(const TaskLaw& law) {
    return {.width = width_, .heads = 1, .kv_heads = 1, .context = law.n + 1, .dropout = &dropout_};
  }

  std::int64_t width_;
  nn::DropoutState dropout_;
  HiddenQuery position_;
  nn::RowMapAttention attention_;
};

/// Errors on `test` as training goes on, relative to `unit_error`.
std::vector<double> errors_under(const std::string& update, double lr, const TaskLaw& law, const Tasks& test,
                                 double unit_error, std::uint64_t seed) {
  constexpr std::int64_t tasks = 64, steps = 100;
  RandomSequence random(seed, in_context_stream, 2);
  const Tensor targets = on_cpu(test.target, {test.count});
  Batches batches(law, tasks, random);
  Layer layer(law);
  nn::ParameterStore store(layer, cpu, nn::Precision::float32, seed);
  layer.start(store, random);
  std::vector<double> out;
  const std::string schedule = "schedule: {kind: constant, warmup: 0}, clip_norm: 0, weight_decay: 0";
  Training{.model = layer,
           .store = store,
           .options = optimizer_of(fmt::format("{{lr: {}, {}, attention: {}}}", lr, schedule, update)),
           .steps = steps,
           .loss =
               [&] {
                 const Tasks t = batches.next();
                 return autograd::mean_squared_error(layer.predictions(t), Var(on_cpu(t.target, {t.count})));
               },
           .before_step = [&] { layer.keep_values(store); },
           .after_step =
               [&](std::int64_t step) {
                 if (step % UpdateRun::measured_every != 0) return;
                 const Var error = autograd::mean_squared_error(layer.predictions(test), Var(targets));
                 out.push_back(error.value().item() / unit_error);
               }}
      .run();
  return out;
}

/// The mean over three starts.
UpdateRun run_update(const std::string& update, double lr, const TaskLaw& law, const Tasks& test, double unit_error,
                     std::uint64_t seed) {
  constexpr std::uint64_t starts = 3;
  UpdateRun out{.update = update, .lr = lr};
  for (std::uint64_t i = 0; i < starts; ++i) {
    const std::vector<double> errors = errors_under(update, lr, law, test, unit_error, seed * starts + i);
    out.errors.resize(errors.size(), 0.0);
    for (std::size_t j = 0; j < errors.size(); ++j) out.errors[j] += errors[j] / starts;
  }
  const auto reached = std::ranges::find_if(out.errors, [](double e) { return e <= UpdateRun::goal; });
  if (reached != out.errors.end()) out.steps = (reached - out.errors.begin() + 1) * UpdateRun::measured_every;
  return out;
}

}  // namespace

double trained_window(const TaskLaw& law, std::uint64_t seed, const InContextUnit& unit) {
  return trained(law, seed, unit, false, 500, 0.4)(0, 0);
}

Matrix trained_matrix(const TaskLaw& law, std::uint64_t seed, const InContextUnit& unit) {
  return trained(law, seed, unit, true, 800, 0.1);
}

std::vector<UpdateRun> update_runs(const TaskLaw& law, std::uint64_t seed) {
  RandomSequence random(seed, in_context_stream, 3);
  const Tasks test = draw_tasks(law, 512, random);
  const double unit_error = window_error(test, best_window(law, seed).w);
  std::vector<UpdateRun> out;
  for (const char* update : {"backprop", "row", "fisher", "fisher_cg"}) {
    std::optional<UpdateRun> best;
    for (const double lr : {0.03, 0.1, 0.3}) {
      UpdateRun run = run_update(update, lr, law, test, unit_error, seed);
      const bool sooner = run.steps && (!best || !best->steps || *run.steps < *best->steps);
      const bool nearer = !run.steps && best && !best->steps && run.errors.back() < best->errors.back();
      if (!best || sooner || nearer) best = std::move(run);
    }
    out.push_back(std::move(*best));
  }
  return out;
}

}  // namespace monge::tools
