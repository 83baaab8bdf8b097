// K-FAC (Martens & Grosse 2015, arXiv:1503.05671) for the weights of linear layers y = W x: the natural gradient under
// a Fisher matrix of the form G (x) A for each weight. With g the gradient of one target's loss with respect to y, for
// targets drawn from the model, and means over all positions (the expand approximation of Eschenhagen et al. 2023,
// arXiv:2311.00636),
//
//   A = mean of x x^T = Q_a diag(a) Q_a^T        G = mean of g g^T = Q_g diag(e) Q_g^T        S = e a^T
//   u = Q_g [ (Q_g^T M Q_a) / (S + damping mean(S)) ] Q_a^T,        M = b1 M + (1 - b1) dW
//
// which is (G (x) A + lambda I)^-1 M exactly. A and G are bias-corrected moving averages. EK-FAC (George et al. 2018,
// arXiv:1806.03884) measures the curvature along these directions instead, S = mean of (Q_g^T g)^2 ((Q_a^T x)^2)^T,
// starting with the first measurement after the bases were computed.
//
// `factors: input` uses A alone (G = I; Benzing 2022, arXiv:2201.12250), `output` G alone. Biases are left to the base
// rule. W_q, W_k and W_v of a joint projection share one A.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/matrix/linear_layers.h"
#include "optim/matrix/matrix_rule.h"
#include "optim/matrix/sides.h"
#include "optim/rules/adamw_direction.h"
#include "optim/rules/elementwise.h"

namespace monge::optim {
namespace {

struct KfacOptions : MatrixRuleOptions {
  double damping = 0.1;
  std::vector<double> betas{0.9, 0.95};
  std::int64_t every = 10;
  std::int64_t refresh = 5;
  double decay = 0.95;
  std::string factors = "both";
  std::int64_t max_dim = 1024;
  bool graft = true;
  double kl_clip = 0.0;
  void fields(Fields& f) override {
    MatrixRuleOptions::fields(f);
    f("damping", damping, {.doc = "added to the curvature, relative to its mean over a matrix", .min = 0.0});
    f("betas", betas,
      {.doc = "decay of the averaged gradient that is preconditioned, and of the second moment for the norm of AdamW's "
              "step",
       .min = 0.0,
       .max = 1.0});
    f("every", every,
      {.doc = "steps between two measurements, each an extra forward and backward pass", .unit = "steps", .min = 1});
    f("refresh", refresh,
      {.doc = "measurements between two computations of the eigenvectors, which follow each of the first so many",
       .min = 1});
    f("decay", decay, {.doc = "decay of the moving averages of A and G, per measurement", .min = 0.0, .max = 1.0});
    f("factors", factors,
      {.doc = "which of A (input) and G (output) are used", .choices = {"both", "input", "output"}});
    f("max_dim", max_dim, {.doc = "sides of a matrix longer than this have no factor", .min = 1});
    f("graft", graft, {.doc = "steps of the norm of AdamW's for each matrix; false: of the norm of u"});
    f("kl_clip", kl_clip,
      {.doc = "largest lr^2 <u, M> summed over the matrices, about twice the KL divergence of a step; 0: no limit",
       .min = 0.0});
  }
  void check() const override {
    check_betas(betas, {0.9, 0.95});
    if (decay >= 1.0) throw InputError("optimizer.decay must be less than 1");
  }
};

struct EkfacOptions : KfacOptions {
  void check() const override {
    KfacOptions::check();
    if (refresh == 1) {
      throw KeyError(
          "refresh",
          "must be 2 at least under ekfac, which measures the curvature along the eigenvectors of an earlier "
          "measurement; with 1 it would be kfac");
    }
  }
};

class Kfac : public MatrixRule {
 public:
  enum class Diagonal { kronecker, measured };

  Kfac(const std::string& name, Diagonal diagonal, const KfacOptions& options, const RuleContext& context)
      : MatrixRule(name, options, context), options_(options), diagonal_(diagonal) {
    const std::vector<nn::Linear*> linears = linear_layers(name, context.model, matrix_targets());
    for (std::size_t t = 0; t < linears.size(); ++t) {
      const nn::ParameterStore::Entry& entry = matrix_targets()[t].entry;
      layers_.push_back(std::make_unique<Layer>(*this, *linears[t], entry.name));
      Layer& layer = *layers_.back();
      if (uses("input", entry.shape[1])) layer.input = make_side(entry.shape[1]);
      layer.first = weights_.size();
      for (; weights_.size() < matrices().size(); ++layer.count) {
        const Matrix& matrix = matrices()[weights_.size()];
        if (matrix.begin >= entry.end()) break;
        weights_.push_back({.layer = &layer,
                            .m = make_state(matrix.shape()),
                            .v = options.graft ? make_state(matrix.shape()) : Tensor(),
                            .output = uses("output", matrix.rows) ? make_side(matrix.rows) : MeasuredSide(),
                            .spectrum = make_state(matrix.shape()),
                            .seen = {}});
      }
    }
  }

  void begin(std::int64_t number) override {
    MatrixRule::begin(number);
    if (!measures(number)) return;
    for (Weight& w : weights_) {
      w.output.start();
      if (diagonal_ == Diagonal::measured && !factorises(number)) w.seen = zeros_like(w.spectrum);
    }
    for (const auto& layer : layers_) layer->start();
  }

  bool samples(std::int64_t number) const override { return measures(number) || MatrixRule::samples(number); }

  void sampled(const SampledPass& pass) override {
    MatrixRule::sampled(pass);
    if (!measures(pass.number)) return;
    for (const auto& layer : layers_) layer->stop(options_.decay, pass);
    for (Weight& w : weights_) {
      // Gradients of the mean loss are `share` times those of one target. Of share^2 in a square, one stays: the mean's
      // 1 / N.
      for (const Tensor& seen : {w.output.seen, w.seen}) {
        if (seen.defined()) div(seen, pass.share, seen);
      }
      w.output.finish(options_.decay, pass);
    }
    const std::int64_t before = measurements_before(pass.number);
    if (factorises(pass.number)) factorise(1.0 / (1.0 - std::pow(options_.decay, before + 1)), pass);
    for (Weight& w : weights_) {
      if (!w.seen.defined()) continue;
      // The mean of the measurements in these bases.
      pass.update_average(w.spectrum, 1.0 - 1.0 / static_cast<double>(before % options_.refresh), w.seen);
      w.seen = {};
    }
  }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = MatrixRule::state();
    for (const auto& layer : layers_) {
      if (!layer->input.covariance.defined()) continue;
      out.push_back({fmt::format("{}.{}.input", name(), layer->name), layer->input.covariance});
      out.push_back({fmt::format("{}.{}.input_basis", name(), layer->name), layer->input.factor});
    }
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      const Weight& w = weights_[i];
      add_state(i,
                {{"m", w.m},
                 {"v", w.v},
                 {"output", w.output.covariance},
                 {"output_basis", w.output.factor},
                 {"spectrum", w.spectrum}},
                out);
    }
    return out;
  }

 private:
  /// A or G with its eigenvectors in the columns of `factor`, and the measurement under way; or none.
  struct MeasuredSide : Side {
    Tensor seen;  // (n, n)

    void start() {
      if (covariance.defined()) seen = zeros_like(covariance);
    }
    void finish(double decay, const SampledPass& pass) {
      if (seen.defined()) pass.update_average(covariance, decay, seen);
      seen = {};
    }
  };

  /// A Linear, whose weight holds the matrices [first, first + count).
  struct Layer : nn::LinearObserver {
    Layer(Kfac& of, nn::Linear& at, std::string named) : rule(of), linear(at), name(std::move(named)) {}

    void start() {
      input.start();
      positions = 0;
      linear.set_observer(this);
    }
    void observe(const Tensor& x, const Tensor& dy) override { rule.observe(*this, x, dy); }
    void stop(double decay, const SampledPass& pass) {
      linear.set_observer(nullptr);
      const Tensor& a = input.seen;
      if (a.defined()) scale(a, 1.0 / static_cast<double>(positions), a);
      input.finish(decay, pass);
    }

    Kfac& rule;
    nn::Linear& linear;
    std::string name;
    MeasuredSide input;  // A
    std::size_t first = 0, count = 0;
    std::int64_t positions = 0;  // of this measurement
  };

  struct Weight {
    Layer* layer;
    Tensor m, v;          // (rows, cols): the averaged gradient; AdamW's second moment or none
    MeasuredSide output;  // G
    Tensor spectrum;      // (rows, cols): S
    Tensor seen;          // (rows, cols): sum of the measurement of S under way, for EK-FAC
  };

  static Tensor zeros_like(const Tensor& x) { return Tensor::zeros(x.shape(), x.dtype(), x.device()); }
  /// (x basis)^2
  static Tensor squares(const Tensor& x, const Tensor& basis) {
    const Tensor along = Tensor::like(x);
    matmul(Tensor(), x, basis, along);
    return square(along);
  }

  bool measures(std::int64_t number) const { return (number - 1) % options_.every == 0; }
  std::int64_t measurements_before(std::int64_t number) const { return (number - 1) / options_.every; }
  /// Whether a step with a measurement computes new bases.
  bool factorises(std::int64_t number) const {
    const std::int64_t before = measurements_before(number);
    return before < options_.refresh || before % options_.refresh == 0;
  }
  bool uses(const char* factor, std::int64_t n) const {
    return (options_.factors == "both" || options_.factors == factor) && n <= options_.max_dim;
  }
  MeasuredSide make_side(std::int64_t n) const { return {{make_state({n, n}), make_state({n, n})}, {}}; }

  void observe(Layer& layer, const Tensor& x, const Tensor& dy) {
    const Tensor& like = weights_[layer.first].m;
    const Tensor inputs = as_matrix(x, like), gradients = as_matrix(dy, like);  // (N, in), (N, out)
    layer.positions += inputs.size(0);
    if (layer.input.seen.defined()) add_matmul(transposed(inputs), inputs, layer.input.seen);
    const bool sees_spectrum = weights_[layer.first].seen.defined();
    const Tensor input_squares = sees_spectrum ? squares(inputs, layer.input.factor) : Tensor();
    std::int64_t row = 0;
    for (std::size_t i = layer.first; i < layer.first + layer.count; ++i) {
      Weight& w = weights_[i];
      const Tensor g = slice_columns(gradients, row, row + matrices()[i].rows);
      row += matrices()[i].rows;
      if (w.output.seen.defined()) add_matmul(transposed(g), g, w.output.seen);
      if (sees_spectrum) add_matmul(transposed(squares(g, w.output.factor)), input_squares, w.seen);
    }
  }

  /// New bases, and S = e a^T in them. Waits for the device.
  void factorise(double unbias, const SampledPass& pass) {
    std::vector<const Side*> sides;
    for (const auto& layer : layers_) sides.push_back(&layer->input);
    for (const Weight& w : weights_) sides.push_back(&w.output);
    std::erase_if(sides, [](const Side* side) { return !side->covariance.defined(); });
    std::vector<SquareMatrix> covariances;
    for (const Side* side : sides) covariances.push_back(download(side->covariance));
    if (!all_finite(covariances)) return;  // squares that their floats cannot hold
    const std::vector<Eigensystem> systems = eigensystems(covariances);
    std::map<const Side*, std::vector<double>> values;
    for (std::size_t k = 0; k < sides.size(); ++k) {
      pass.set(sides[k]->factor, upload(systems[k].vectors, sides[k]->factor));
      for (const double v : systems[k].values) values[sides[k]].push_back(unbias * std::max(v, 0.0));
    }
    const auto eigenvalues = [&](const Side& side, std::int64_t n, const Tensor& like) {
      std::vector<double>& of_this = values[&side];
      if (of_this.empty()) of_this.assign(static_cast<std::size_t>(n), 1.0);
      return Tensor::from(of_this, {n, 1}, like.dtype(), like.device());
    };
    for (const Weight& w : weights_) {
      const Tensor& s = w.spectrum;
      const Tensor product = Tensor::like(s);
      matmul(eigenvalues(w.output, s.size(0), s), transposed(eigenvalues(w.layer->input, s.size(1), s)), product);
      pass.set(s, product);
    }
  }

  void direction(std::size_t i, const Step& step, const Tensor& gradient, const Tensor& u) override {
    const Weight& w = weights_[i];
    const Tensor &left = w.output.factor, &right = w.layer->input.factor, &s = w.spectrum;
    Tensor adamw;
    if (options_.graft) {
      adamw = adamw_direction(gradient, options_.betas, 1e-8, w.m, w.v, step.control);
    } else {
      step.update_average(w.m, options_.betas[0], gradient);
    }
    const Tensor along = Tensor::like(u), damping = mean(s);
    scale(damping, options_.damping, damping);
    matmul(transposed(left), w.m, right, along);
    div(along, add(s, damping), along);
    matmul(left, along, transposed(right), u);
    if (options_.graft) graft(u, adamw);
  }

  void finish(const Step& step, const Tensor& u) override {
    if (options_.kl_clip == 0.0) return;
    const Tensor total = scalar(0.0, u);
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      const Matrix& matrix = matrices()[i];
      axpy(matrix.lr_scale * matrix.lr_scale, dot(matrix.view(u), weights_[i].m), total);
    }
    const Tensor factor = clip_factor(std::sqrt(options_.kl_clip), mul(sqrt(total), slot(step.control, Control::lr)));
    for (const Matrix& matrix : matrices()) mul(matrix.view(u), factor, matrix.view(u));
  }

  KfacOptions options_;
  Diagonal diagonal_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<Weight> weights_;  // beside the matrices
};

template <class RuleOptions>
void add_rule(RuleRegistry& registry, const std::string& name, const std::string& doc, Kfac::Diagonal diagonal) {
  registry.add<RuleOptions>(name, doc, [=](const RuleOptions& o, const RuleContext& c) {
    return std::make_unique<Kfac>(name, diagonal, o, c);
  });
}

}  // namespace

void add_ekfac(RuleRegistry& registry) {
  add_rule<EkfacOptions>(registry, "ekfac", "kfac with the curvature measured along its eigenvectors",
                         Kfac::Diagonal::measured);
}

void add_kfac(RuleRegistry& registry) {
  add_rule<KfacOptions>(registry, "kfac",
                        "natural gradient under a Kronecker-factored Fisher of sampled targets, for linear layers",
                        Kfac::Diagonal::kronecker);
}

}  // namespace monge::optim
