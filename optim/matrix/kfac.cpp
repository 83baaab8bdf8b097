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
#include "optim/matrix/kfac.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/matrix/linear_layers.h"
#include "optim/rules/adamw_direction.h"
#include "optim/rules/elementwise.h"

namespace monge::optim {
namespace {

Tensor zeros_like(const Tensor& x) { return Tensor::zeros(x.shape(), x.dtype(), x.device()); }

/// (x basis)^2
Tensor squares(const Tensor& x, const Tensor& basis) {
  const Tensor along = Tensor::like(x);
  matmul(Tensor(), x, basis, along);
  return square(along);
}

struct KfacOptions : CurvatureOptions {
  bool graft = true;
  double kl_clip = 0.0;
  void fields(Fields& f) override {
    CurvatureOptions::fields(f);
    f("graft", graft, {.doc = "steps of the norm of AdamW's for each matrix; false: of the norm of u"});
    f("kl_clip", kl_clip,
      {.doc = "largest lr^2 <u, M> summed over the matrices, about twice the KL divergence of a step; 0: no limit",
       .min = 0.0});
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

}  // namespace

void CurvatureOptions::fields(Fields& f) {
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
  f("factors", factors, {.doc = "which of A (input) and G (output) are used", .choices = {"both", "input", "output"}});
  f("max_dim", max_dim, {.doc = "sides of a matrix longer than this have no factor", .min = 1});
}

void CurvatureOptions::check() const {
  check_betas(betas, {0.9, 0.95});
  if (decay >= 1.0) throw InputError("optimizer.decay must be less than 1");
}

Kfac::Kfac(const std::string& name, Diagonal diagonal, const CurvatureOptions& options, bool graft, double kl_clip,
           const RuleContext& context)
    : MatrixRule(name, options, context), options_(options), graft_(graft), kl_clip_(kl_clip), diagonal_(diagonal) {
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
                          .v = graft ? make_state(matrix.shape()) : Tensor(),
                          .output = uses("output", matrix.rows) ? make_side(matrix.rows) : MeasuredSide(),
                          .spectrum = make_state(matrix.shape()),
                          .seen = {}});
    }
  }
}

void Kfac::begin(std::int64_t number) {
  MatrixRule::begin(number);
  if (!measures(number)) return;
  for (Weight& w : weights_) {
    w.output.start();
    if (diagonal_ == Diagonal::measured && !factorises(number)) w.seen = zeros_like(w.spectrum);
  }
  for (const auto& layer : layers_) layer->start();
}

void Kfac::sampled(const SampledPass& pass) {
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

std::vector<NamedTensor> Kfac::state() const {
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

void Kfac::MeasuredSide::start() {
  if (covariance.defined()) seen = zeros_like(covariance);
}

void Kfac::MeasuredSide::finish(double decay, const SampledPass& pass) {
  if (seen.defined()) pass.update_average(covariance, decay, seen);
  seen = {};
}

void Kfac::Layer::start() {
  input.start();
  positions = 0;
  linear.set_observer(this);
}

void Kfac::Layer::stop(double decay, const SampledPass& pass) {
  linear.set_observer(nullptr);
  const Tensor& a = input.seen;
  if (a.defined()) scale(a, 1.0 / static_cast<double>(positions), a);
  input.finish(decay, pass);
}

bool Kfac::factorises(std::int64_t number) const {
  const std::int64_t before = measurements_before(number);
  return before < options_.refresh || before % options_.refresh == 0;
}

bool Kfac::uses(const char* factor, std::int64_t n) const {
  return (options_.factors == "both" || options_.factors == factor) && n <= options_.max_dim;
}

void Kfac::observe(Layer& layer, const Tensor& x, const Tensor& dy) {
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

void Kfac::factorise(double unbias, const SampledPass& pass) {
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

void Kfac::direction(std::size_t i, const Step& step, const Tensor& gradient, const Tensor& u) {
  const Weight& w = weights_[i];
  const Tensor &left = w.output.factor, &right = w.layer->input.factor, &s = w.spectrum;
  Tensor adamw;
  if (graft_) {
    adamw = adamw_direction(gradient, options_.betas, 1e-8, w.m, w.v, step.control);
  } else {
    step.update_average(w.m, options_.betas[0], gradient);
  }
  const Tensor along = Tensor::like(u), damping = mean(s);
  scale(damping, options_.damping, damping);
  matmul(transposed(left), w.m, right, along);
  div(along, add(s, damping), along);
  matmul(left, along, transposed(right), u);
  if (graft_) graft(u, adamw);
}

void Kfac::finish(const Step& step, const Tensor& u) {
  if (kl_clip_ == 0.0) return;
  const Tensor total = scalar(0.0, u);
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    const Matrix& matrix = matrices()[i];
    axpy(matrix.lr_scale * matrix.lr_scale, dot(matrix.view(u), weights_[i].m), total);
  }
  const Tensor factor = clip_factor(std::sqrt(kl_clip_), mul(sqrt(total), slot(step.control, Control::lr)));
  for (const Matrix& matrix : matrices()) mul(matrix.view(u), factor, matrix.view(u));
}

namespace {

template <class RuleOptions>
void add_rule(RuleRegistry& registry, const std::string& name, const std::string& doc, Kfac::Diagonal diagonal) {
  registry.add<RuleOptions>(name, doc, [=](const RuleOptions& o, const RuleContext& c) {
    return std::make_unique<Kfac>(name, diagonal, o, o.graft, o.kl_clip, c);
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
