#include "tools/verify/papers/spline_run.h"

#include <algorithm>
#include <cmath>

#include "core/options/yaml.h"
#include "nn/attention/attention.h"
#include "nn/encoder_decoder.h"
#include "tools/verify/papers/interpolant.h"
#include "train/batches.h"
#include "train/checkpoint/saved_model.h"

namespace monge::tools {
namespace {

const Source lai{"Lai 2024", "Lai, Lim & Liu, Attention is a smoothed cubic spline, arXiv:2408.09624"};
constexpr Device reference{DeviceKind::reference, 0};

/// A model in double precision with given weights, whose learned positions move along a line.
class ModelOnLine {
 public:
  ModelOnLine(const train::SavedModel& saved, const std::vector<std::string>& overrides, nn::Batch batch)
      : config_(changed(saved, overrides)),
        model_(train::make_model(config_, saved.state.vocab)),
        store_(*model_, reference, nn::Precision::float32, 1),
        batch_(std::move(batch)) {
    for (const auto& e : store_.entries()) {
      const Tensor value = saved.store->value(saved.store->entry(e.name)).to(DType::f64, reference);
      store_.value(e).backend().copy({.from = value, .to = store_.value(e)});
      if (e.name.ends_with("position.weight")) moving_.push_back({store_.value(e), to_matrix(value), {}});
    }
    model_->eval();
    model_->visit([this](const std::string&, nn::Module& module) {
      if (auto* attention = dynamic_cast<nn::RowMapAttention*>(&module)) {
        attentions_.push_back(std::make_unique<Scores>());
        attention->add_observer(*attentions_.back());
      }
      auto* linear = dynamic_cast<nn::Linear*>(&module);
      if (linear != nullptr && linear->activation() == Activation::relu) {
        hidden_.push_back(std::make_unique<Hidden>(*linear));
        linear->set_observer(hidden_.back().get());
      }
    });
  }

  /// The line X0 + t X1 with |X1| = `length` in the mean, in a random direction.
  void aim(RandomSequence& random, double length) {
    for (Moving& m : moving_) {
      m.direction = Matrix(m.start.rows(), m.start.cols());
      for (double& x : m.direction.reshaped()) x = length * random.normal();
    }
  }
  /// The same line, another length.
  void scale(double factor) {
    for (Moving& m : moving_) m.direction *= factor;
  }
  void aim_like(const ModelOnLine& other) {
    for (std::size_t i = 0; i < moving_.size(); ++i) moving_[i].direction = other.moving_[i].direction;
  }

  Matrix logits(double t) {
    move(t);
    const autograd::Tape::Pause pause;
    return to_matrix(model_->logits(batch_).value());
  }

  /// Which scores and hidden units are positive at t.
  std::vector<bool> signs(double t) {
    move(t);
    autograd::Tape tape;
    autograd::Var loss;
    {
      const autograd::Tape::Recording recording(tape);
      loss = model_->loss(batch_);
    }
    tape.backward(loss);  // the linear layers show themselves on the way back
    std::vector<bool> out;
    for (const auto& scores : attentions_) {
      const LayerScores of(*scores->call);
      const kernel::Attention& a = scores->call->args;
      for (std::int64_t h = 0; h < a.heads; ++h) {
        for (std::int64_t i = 0; i < a.queries; ++i) {
          for (const double z : of.scores(0, h, i)) out.push_back(z > 0.0);
        }
      }
      scores->call.reset();
    }
    for (const auto& hidden : hidden_) {
      for (const double z : hidden->z.reshaped()) out.push_back(z > 0.0);
    }
    return out;
  }

 private:
  struct Moving {
    Tensor value;
    Matrix start, direction;
  };
  struct Scores : nn::AttentionObserver {
    std::optional<nn::AttentionCall> call;
    void observe(const nn::AttentionCall& seen) override { call = seen; }
  };
  /// A hidden layer before its activation.
  struct Hidden : nn::LinearObserver {
    explicit Hidden(const nn::Linear& layer) : linear(layer) {}
    void observe(const Tensor& x, const Tensor&) override {
      z = to_matrix(x) * to_matrix(linear.weight().var().value()).transpose();
      if (linear.bias() != nullptr) z.rowwise() += to_matrix(linear.bias()->var().value()).row(0);
    }
    const nn::Linear& linear;
    Matrix z;
  };

  static train::Config changed(const train::SavedModel& saved, std::vector<std::string> overrides) {
    train::Config config, trained = saved.config;
    overrides.insert(overrides.end(), {"device=reference", "train.precision=float32"});
    read_yaml_text(write_yaml(trained), "config", overrides, config);
    return config;
  }
  void move(double t) {
    for (const Moving& m : moving_) {
      const Matrix at = m.start + t * m.direction;
      m.value.backend().copy_from_host({.from = at.data(), .to = m.value});
    }
  }

  train::Config config_;
  std::unique_ptr<nn::Model> model_;
  nn::ParameterStore store_;
  nn::Batch batch_;
  std::vector<Moving> moving_;
  std::vector<std::unique_ptr<Scores>> attentions_;
  std::vector<std::unique_ptr<Hidden>> hidden_;
};

struct Piece {
  double begin, end;
  double length() const { return end - begin; }
};

/// The pieces of (-1, 1) on which no sign changes, as far as `points` of it tell.
std::vector<Piece> same_signs(ModelOnLine& model, int points) {
  const auto at = [points](int i) { return -1.0 + 2.0 * i / points; };
  std::vector<Piece> out;
  std::vector<bool> signs = model.signs(-1.0);
  int begin = 0;
  for (int i = 1; i <= points; ++i) {
    std::vector<bool> next = model.signs(at(i));
    if (next == signs && i < points) continue;
    out.push_back({at(begin), at(next == signs ? i : i - 1)});
    signs = std::move(next);
    begin = i;
  }
  return out;
}

/// By how much the polynomial of this degree through Chebyshev points misses others, relative to the logits' change.
double miss(ModelOnLine& model, const Piece& piece, int degree) {
  const auto f = [&](double t) { return model.logits(t); };
  const Interpolant polynomial(f, piece.begin, piece.end, degree);
  double error = 0.0, size = 0.0;
  for (int i = 0; i < 5; ++i) {
    const double t = piece.begin + piece.length() * (i + 0.5) / 5;
    const Matrix value = f(t);
    error = std::max(error, (polynomial(t) - value).cwiseAbs().maxCoeff());
    size = std::max(size, value.cwiseAbs().maxCoeff());
  }
  return error / size;
}

/// The layers that a number passes on its way. Throws InputError for a model that is no spline.
int layers_of(const train::SavedModel& saved) {
  const auto refuse = [&](const std::string& why) {
    throw InputError(
        fmt::format("'{}' is no spline: {}; allowed: model.attention relu, model.norm none, model.mlp relu "
                    "and model.position learned, as in configs/spline.yaml",
                    saved.checkpoint.string(), why));
  };
  const auto* options = dynamic_cast<const nn::TransformerOptions*>(saved.config.model.options.get());
  if (options == nullptr) refuse(fmt::format("model.kind is {}", saved.config.model.kind));
  for (const auto& [key, choice, needed] : {std::tuple{"attention", &options->attention, "relu"},
                                            {"norm", &options->norm, "none"},
                                            {"mlp", &options->mlp, "relu"},
                                            {"position", &options->position, "learned"}}) {
    if (choice->kind != needed) refuse(fmt::format("model.{} is {}", key, choice->kind));
  }
  const auto* attention = dynamic_cast<const nn::AttentionOptions*>(options->attention.options.get());
  if (attention != nullptr && (attention->qk_norm || attention->relative_prior || attention->key_prior)) {
    refuse("attention has qk_norm or a prior");
  }
  const auto* pairs = dynamic_cast<const nn::EncoderDecoderOptions*>(options);
  if (pairs == nullptr) return static_cast<int>(options->layers);
  // Cross-attention to states of degree d is of degree 3 d at most if the decoder's is no higher.
  const std::int64_t encoder = pairs->encoder_layers > 0 ? pairs->encoder_layers : pairs->layers;
  return static_cast<int>(encoder + 2 * pairs->layers);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.empty() ? NAN : values[values.size() / 2];
}

}  // namespace

Findings trained_spline_findings(const std::filesystem::path& run_or_checkpoint, std::uint64_t seed,
                                 const std::vector<std::string>& planted) {
  constexpr int lines = 6, points = 200, most_pieces = 30;
  const train::SavedModel saved = train::load_model(run_or_checkpoint);
  const int layers = layers_of(saved);
  const train::Run::Turn turn(saved);
  const auto dataset = train::data_of(saved);
  const std::vector<nn::BatchField> fields = saved.model->batch_fields();
  const train::HostBatch window =
      train::make_batch(fields, 1, [&](std::int64_t, const train::Row& out) { dataset->validation_window(0, out); });
  const nn::Batch batch = window.on(reference, fields);

  ModelOnLine relu(saved, planted, batch), softmax(saved, {"model.attention=softmax"}, batch);
  ModelOnLine soft(saved, {"model.attention={kind: softplus, beta: 4}"}, batch);
  ModelOnLine sharp(saved, {"model.attention={kind: softplus, beta: 64}"}, batch);
  const int degree = static_cast<int>(std::lround(std::pow(3.0, layers)));
  if (layers > 3) {
    throw InputError(
        fmt::format("{} attention layers lie behind each other: a polynomial of degree 3^{} is beyond "
                    "double precision; allowed: 3 of them",
                    layers, layers));
  }

  std::vector<double> of_relu, of_softmax, lengths;
  double gap_soft = 0.0, gap_sharp = 0.0;
  RandomSequence random(seed, trained_spline_stream);
  for (int line = 0; line < lines; ++line) {
    relu.aim(random, 1.0);
    std::vector<Piece> pieces = same_signs(relu, points);
    double length = 1.0;
    for (; std::ssize(pieces) > most_pieces; length /= 2.0) {
      relu.scale(0.5);
      pieces = same_signs(relu, points);
    }
    for (ModelOnLine* other : {&softmax, &soft, &sharp}) other->aim_like(relu);
    std::ranges::sort(pieces, std::greater{}, &Piece::length);
    pieces.resize(std::min<std::size_t>(pieces.size(), 4));
    for (const Piece& piece : pieces) {
      if (piece.length() < 10.0 / points) continue;
      of_relu.push_back(miss(relu, piece, degree));
      of_softmax.push_back(miss(softmax, piece, degree));
      lengths.push_back(length * piece.length());
    }
    for (int i = 0; i <= 10; ++i) {
      const double t = -1.0 + i / 5.0;
      const Matrix exact = relu.logits(t);
      gap_soft = std::max(gap_soft, (soft.logits(t) - exact).cwiseAbs().maxCoeff());
      gap_sharp = std::max(gap_sharp, (sharp.logits(t) - exact).cwiseAbs().maxCoeff());
    }
  }
  Findings out{.title = fmt::format("{} (step {}): logits along {} lines through the embeddings, {} layers",
                                    saved.checkpoint.string(), saved.state.step, lines, layers)};
  const double worst = of_relu.empty() ? NAN : *std::ranges::max_element(of_relu);
  out.claims.push_back({fmt::format("degree {} where no sign changes", degree), lai, worst, 1e-12});
  const double control = median(of_softmax);
  if (gap_soft > 0.0) {  // scores that differ from where relu is 0 for all
    out.claims.push_back({"softplus: gap of beta 64 / of beta 4", lai, gap_sharp / gap_soft, 0.5});
  }
  out.notes.push_back(
      fmt::format("{} pieces, {:.2g} long in the median, in standard deviations of a random direction. On short ones "
                  "every smooth function passes for a polynomial of a high degree; softmax misses by {:.1e} there.",
                  of_relu.size(), median(lengths), control));
  return out;
}

}  // namespace monge::tools
