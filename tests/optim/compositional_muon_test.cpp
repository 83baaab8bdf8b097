// Compositional Muon against its formula in plain dense loops, its identities, and its metric beside the attention
// Fisher.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <map>

#include "core/options/yaml.h"
#include "nn/attention/fisher.h"
#include "nn/encoder_decoder.h"
#include "nn/gpt.h"
#include "optim/matrix/circuit_metric.h"
#include "optim/optimizer.h"
#include "support/attention_call.h"
#include "support/dense.h"
#include "support/expect_error.h"

namespace monge::optim {
namespace {

using test::difference;
using test::Matrix;
using test::polar_factor;
using test::reference;

constexpr std::int64_t head_dim = 3, width = 12, heads = 4;

nn::GptOptions gpt_options(std::int64_t kv_heads) {
  nn::GptOptions o;
  o.layers = 2;
  o.heads = heads;
  o.kv_heads = kv_heads;
  o.width = width;
  o.context = 6;
  return o;
}

OptimizerOptions read(const std::string& yaml) {
  OptimizerOptions o;
  o.clip_norm = 0.0;
  o.schedule = schedules().choose("constant");
  read_yaml_text("{" + yaml + "}", "test", {}, o);
  return o;
}

/// A Gpt with random weights of size 1 and an optimizer, step by step along random gradients.
class GptSteps {
 public:
  explicit GptSteps(const std::string& yaml, std::int64_t kv_heads = heads)
      : model_(gpt_options(kv_heads), 11),
        store_(model_, reference, nn::Precision::float32, 1),
        optimizer_(read(yaml), model_, store_, 100) {
    std::uint64_t seed = 0;
    for (const auto& e : store_.entries()) set(store_.value(e), test::random_values(e.shape.numel(), ++seed));
    store_.clear_grads();
  }

  void step() {
    ++steps_;
    optimizer_.begin(steps_);
    std::uint64_t seed = static_cast<std::uint64_t>(1000 * steps_);
    for (const auto& e : store_.entries()) set(store_.grad(e), test::random_values(e.shape.numel(), ++seed));
    optimizer_.step(steps_);
  }
  Matrix value(const std::string& name) const { return test::to_matrix(store_.value(store_.entry(name))); }
  Matrix grad(const std::string& name) const { return test::to_matrix(store_.grad(store_.entry(name))); }
  void set_value(const std::string& name, const Matrix& value) {
    set(store_.value(store_.entry(name)), {value.data(), value.data() + value.size()});
  }
  nn::ParameterStore& store() { return store_; }
  nn::Gpt& model() { return model_; }
  const Optimizer& optimizer() const { return optimizer_; }

 private:
  static void set(const Tensor& to, const std::vector<double>& values) {
    to.backend().copy({.from = Tensor::from(values, to.shape(), to.dtype(), to.device()), .to = to});
  }

  nn::Gpt model_;
  nn::ParameterStore store_;
  Optimizer optimizer_;
  std::int64_t steps_ = 0;
};

double spectral_norm(const Matrix& m) { return Eigen::JacobiSVD<Matrix>(m).singularValues()(0); }

const std::string qkv = "blocks.1.attention.qkv.weight", out = "blocks.1.attention.out.weight";

/// The formula for the attention layer of block 1, with loops over heads.
struct Oracle {
  std::int64_t kv_heads;
  bool qk = true, ov = true, isotropic = false, keep_norm = false;
  double damping = 1.0, factor = 0.5;

  std::int64_t group() const { return heads / kv_heads; }
  static Matrix rows(const Matrix& w, std::int64_t first) { return w.middleRows(first * head_dim, head_dim); }
  Matrix q(const Matrix& w, std::int64_t h) const { return rows(w, h); }
  Matrix k(const Matrix& w, std::int64_t g) const { return rows(w, heads + g); }
  Matrix v(const Matrix& w, std::int64_t g) const { return rows(w, heads + kv_heads + g); }
  static Matrix o(const Matrix& w, std::int64_t h) { return w.middleCols(h * head_dim, head_dim); }

  /// C^-1 of a Gram matrix.
  Matrix inverse_root(const Matrix& gram) const {
    if (isotropic) {
      return Matrix::Identity(head_dim, head_dim) / std::sqrt(gram.trace() / static_cast<double>(head_dim) + damping);
    }
    const Eigen::SelfAdjointEigenSolver<Matrix> solver(gram);
    const Eigen::VectorXd values = (solver.eigenvalues().array() + damping).rsqrt();
    return solver.eigenvectors() * values.asDiagonal() * solver.eigenvectors().transpose();
  }
  Matrix sum_over_group(std::int64_t g, const std::function<Matrix(std::int64_t)>& of) const {
    Matrix sum = Matrix::Zero(head_dim, head_dim);
    for (std::int64_t h = g * group(); h < (g + 1) * group(); ++h) sum += of(h);
    return sum;
  }

  /// The directions of (W_q, W_k, W_v) and W_o, from M of both.
  std::pair<Matrix, Matrix> operator()(const Matrix& w, const Matrix& wo, const Matrix& m, const Matrix& mo) const {
    Matrix u(w.rows(), w.cols()), turned(w.rows(), w.cols());
    const auto leg = [&](std::int64_t first, std::int64_t n, bool circuit,
                         const std::function<Matrix(std::int64_t)>& gram) {
      auto to = u.middleRows(first * head_dim, n * head_dim), polar = turned.middleRows(first * head_dim, n * head_dim);
      if (!circuit) {
        to = polar_factor(m.middleRows(first * head_dim, n * head_dim));
        return;
      }
      for (std::int64_t h = 0; h < n; ++h) {
        const Matrix c = inverse_root(gram(h));
        polar.middleRows(h * head_dim, head_dim) = polar_factor(c * rows(m, first + h));
        to.middleRows(h * head_dim, head_dim) = c * polar.middleRows(h * head_dim, head_dim);
      }
      to *= keep_norm ? polar.norm() / to.norm() : factor;
    };
    leg(0, heads, qk, [&](std::int64_t h) { return Matrix(k(w, h / group()) * k(w, h / group()).transpose()); });
    leg(heads, kv_heads, qk, [&](std::int64_t g) {
      return sum_over_group(g, [&](std::int64_t h) { return Matrix(q(w, h) * q(w, h).transpose()); });
    });
    leg(heads + kv_heads, kv_heads, ov, [&](std::int64_t g) {
      return sum_over_group(g, [&](std::int64_t h) { return Matrix(o(wo, h).transpose() * o(wo, h)); });
    });
    if (!ov) return {u, polar_factor(mo)};
    Matrix c = Matrix::Zero(wo.cols(), wo.cols());
    for (std::int64_t h = 0; h < heads; ++h) {
      c.block(h * head_dim, h * head_dim, head_dim, head_dim) =
          inverse_root(v(w, h / group()) * v(w, h / group()).transpose());
    }
    const Matrix polar = polar_factor(mo * c);
    Matrix uo = polar * c;
    uo *= keep_norm ? polar.norm() / uo.norm() : factor;
    return {u, uo};
  }
};

void expect_path(const std::string& yaml, const Oracle& oracle) {
  SCOPED_TRACE(yaml);
  GptSteps run(
      "name: compositional_muon, lr: 0.1, weight_decay: 0.3, momentum: 0.8, iterations: 0, scale: keller, " + yaml,
      oracle.kv_heads);
  Matrix w = run.value(qkv), wo = run.value(out), b = Matrix::Zero(w.rows(), w.cols()),
         bo = Matrix::Zero(wo.rows(), wo.cols());
  for (int t = 1; t <= 6; ++t) {
    run.step();
    const Matrix g = run.grad(qkv), go = run.grad(out);
    b = 0.8 * b + 0.2 * g;
    bo = 0.8 * bo + 0.2 * go;
    const auto [u, uo] = oracle(w, wo, 0.8 * b + 0.2 * g, 0.8 * bo + 0.2 * go);
    w = (1 - 0.1 * 0.3) * w - 0.1 * u;
    wo = (1 - 0.1 * 0.3) * wo - 0.1 * uo;
    ASSERT_LT(difference(run.value(qkv), w), 1e-8) << t;
    ASSERT_LT(difference(run.value(out), wo), 1e-8) << t;
  }
}

TEST(CompositionalMuon, FollowsItsFormula) {
  for (const std::int64_t kv_heads : {heads, heads / 2, std::int64_t{1}}) {
    SCOPED_TRACE(kv_heads);
    expect_path("damping: 1", {.kv_heads = kv_heads});
    expect_path("damping: 0.1, circuits: qk", {.kv_heads = kv_heads, .ov = false, .damping = 0.1});
    expect_path("damping: 0.1, circuits: ov", {.kv_heads = kv_heads, .qk = false, .damping = 0.1});
    expect_path("split: isotropic, damping: 0.2", {.kv_heads = kv_heads, .isotropic = true, .damping = 0.2});
    expect_path("keep_norm: true", {.kv_heads = kv_heads, .keep_norm = true});
  }
}

// The scale is that of Muon for the whole matrix, here (12, 12).
TEST(CompositionalMuon, TakesTheScaleOfMuon) {
  GptSteps keller("name: compositional_muon, lr: 0.1, weight_decay: 0, iterations: 0, scale: keller"),
      rms("name: compositional_muon, lr: 0.1, weight_decay: 0, iterations: 0, scale: rms");
  const Matrix start = keller.value(out);
  keller.step();
  rms.step();
  const Matrix expected = 0.2 * std::sqrt(12.0) * (keller.value(out) - start);
  EXPECT_LT(difference(rms.value(out) - start, expected), 1e-12);
}

// Whether W_q, W_k and W_v are one matrix or one for each head, their circuits are those of heads.
TEST(CompositionalMuon, GoesHeadByHeadInAnyCase) {
  const std::string yaml = "name: compositional_muon, lr: 0.1, damping: 0.1";
  GptSteps whole(yaml, 2), apart(yaml + ", per_head: true", 2);
  for (int t = 1; t <= 3; ++t) {
    whole.step();
    apart.step();
  }
  EXPECT_LT(difference(apart.value(qkv), whole.value(qkv)), 1e-12);
  EXPECT_LT(difference(apart.value(out), whole.value(out)), 1e-12);
}

TEST(CompositionalMuon, GivesAllOtherMatricesTheStepsOfMuon) {
  const std::string settings = ", lr: 0.1, weight_decay: 0.3, base: {name: lion, lr: 0.02}";
  GptSteps muon("name: muon" + settings), compositional("name: compositional_muon" + settings);
  for (int t = 1; t <= 3; ++t) {
    muon.step();
    compositional.step();
  }
  for (const auto& e : muon.store().entries()) {
    const bool circuit = e.name.find("attention.qkv.weight") != std::string::npos ||
                         e.name.find("attention.out.weight") != std::string::npos;
    EXPECT_EQ(muon.value(e.name) == compositional.value(e.name), !circuit) << e.name;
  }
}

// Without damping, what a step of one matrix does to the product of a head has a spectral norm of half the rate, and no
// more with it: nor has any query head of a group under a step of the key head that it shares.
TEST(CompositionalMuon, MovesTheProductsOfHeadsByHalfTheRate) {
  for (const std::int64_t kv_heads : {heads, heads / 2}) {
    for (const double damping : {1e-9, 1.0}) {
      GptSteps run(
          fmt::format("name: compositional_muon, lr: 0.1, weight_decay: 0, iterations: 0, scale: keller, damping: {}",
                      damping),
          kv_heads);
      const Matrix w = run.value(qkv), wo = run.value(out);
      run.step();
      const Matrix dw = run.value(qkv) - w, dwo = run.value(out) - wo;
      const Oracle at{.kv_heads = kv_heads};
      const bool exact = damping < 1e-6;
      for (std::int64_t h = 0; h < heads; ++h) {
        const std::int64_t g = h / at.group();
        const double by_query = spectral_norm(at.q(dw, h).transpose() * at.k(w, g));
        EXPECT_LE(by_query, 0.05 + 1e-9);
        if (exact) {
          EXPECT_NEAR(by_query, 0.05, 1e-7);
        } else {
          EXPECT_LT(by_query, 0.0499);
        }
        for (const double norm :
             {spectral_norm(at.q(w, h).transpose() * at.k(dw, g)), spectral_norm(Oracle::o(wo, h) * at.v(dw, g))}) {
          EXPECT_LE(norm, 0.05 + 1e-9);
          if (exact && kv_heads == heads) {
            EXPECT_NEAR(norm, 0.05, 1e-7);
          }
        }
      }
      // W_o as one matrix: the products of all heads beside each other.
      Matrix c = Matrix::Zero(width, heads * width);
      for (std::int64_t h = 0; h < heads; ++h) {
        c.middleCols(h * width, width) = Oracle::o(dwo, h) * at.v(w, h / at.group());
      }
      EXPECT_LE(spectral_norm(c), 0.05 + 1e-9);
      if (exact) {
        EXPECT_NEAR(spectral_norm(c), 0.05, 1e-7);
      }
    }
  }
}

// A change of basis inside a head, W_q -> A W_q and W_k -> A^-T W_k, leaves the function as it is, and the gradients
// follow it. Without damping the steps follow as well, so the product moves alike; those of Muon do not.
TEST(CompositionalMuon, DoesNotSeeTheBasisInsideAHead) {
  const auto product_after = [](const std::string& yaml, bool turned) {
    const Oracle at{.kv_heads = heads};
    nn::Gpt model(gpt_options(heads), 11);
    nn::ParameterStore store(model, reference, nn::Precision::float32, 1);
    Optimizer optimizer(read(yaml), model, store, 10);
    const Tensor value = store.value(store.entry(qkv)), grad = store.grad(store.entry(qkv));
    Matrix w = test::random_matrix(3 * width, width, 7), g = test::random_matrix(3 * width, width, 8);
    if (turned) {
      for (std::int64_t h = 0; h < heads; ++h) {
        const Matrix a = test::random_matrix(head_dim, head_dim, static_cast<std::uint64_t>(20 + h));
        const Matrix inverse = a.inverse();
        w.middleRows(h * head_dim, head_dim) = a * at.q(w, h);
        w.middleRows((heads + h) * head_dim, head_dim) = inverse.transpose() * at.k(w, h);
        g.middleRows(h * head_dim, head_dim) = inverse.transpose() * at.q(g, h);
        g.middleRows((heads + h) * head_dim, head_dim) = a * at.k(g, h);
      }
    }
    store.clear_grads();
    store.complete_grads();
    value.backend().copy({.from = test::to_tensor(w), .to = value});
    grad.backend().copy({.from = test::to_tensor(g), .to = grad});
    optimizer.begin(1);
    optimizer.step(1);
    const Matrix now = test::to_matrix(value);
    Matrix products(heads * width, width);
    for (std::int64_t h = 0; h < heads; ++h) {
      products.middleRows(h * width, width) = at.q(now, h).transpose() * at.k(now, h);
    }
    return products;
  };
  for (const auto& [rule, sees] : {std::pair{"compositional_muon, damping: 1.0e-11", false},
                                   {"compositional_muon, damping: 1", true},
                                   {"muon, per_head: true", true}}) {
    const std::string yaml = fmt::format("name: {}, lr: 0.1, weight_decay: 0, iterations: 0, scale: keller", rule);
    const Matrix plain = product_after(yaml, false), turned = product_after(yaml, true);
    EXPECT_EQ(difference(turned, plain) > 1e-5, sees) << rule << " " << difference(turned, plain);
  }
}

TEST(CompositionalMuon, TakesDecodersThatReadASource) {
  nn::EncoderDecoderOptions o;
  o.layers = 1;
  o.heads = 2;
  o.width = 8;
  o.context = 6;
  nn::EncoderDecoder model(o, 11);
  nn::ParameterStore store(model, reference, nn::Precision::float32, 1);
  std::vector<std::string> names;
  for (const Circuit& at : circuits_of(model, store)) {
    names.push_back(at.name);
    const auto begin = [&](const std::string& parameter) { return store.entry(at.name + "." + parameter).begin; };
    const bool crosses = at.name.find("cross") != std::string::npos;
    EXPECT_EQ(at.place(Leg::query).begin, begin(crosses ? "q.weight" : "qkv.weight")) << at.name;
    EXPECT_EQ(at.place(Leg::key).begin, crosses ? begin("kv.weight") : begin("qkv.weight") + 64) << at.name;
    EXPECT_EQ(at.place(Leg::value).begin, at.place(Leg::key).begin + 64) << at.name;
    EXPECT_EQ(at.place(Leg::output).begin, begin("out.weight")) << at.name;
  }
  EXPECT_EQ(names.size(), 3u);
}

TEST(CompositionalMuon, SaysWhatItKnowsOfTheModel) {
  const auto notes = [](const std::string& model) {
    nn::GptOptions o = gpt_options(heads);
    read_yaml_text(model, "test", {}, o);
    nn::Gpt gpt(o, 11);
    nn::ParameterStore store(gpt, reference, nn::Precision::float32, 1);
    std::string all;
    for (const std::string& note : Optimizer(read("name: compositional_muon"), gpt, store, 10).notes())
      all += note + "\n";
    return all;
  };
  EXPECT_HAS(notes("{position: learned}"),
             "8 matrices take steps for the circuit of their attention layer, 4 those of");
  EXPECT_HAS(notes("{attention: aaren, position: none}"), "0 matrices take steps for the circuit");
  EXPECT_HAS(notes("{position: rope, width: 16}"), "before rotation");
  EXPECT_HAS(notes("{attention: {kind: softmax, qk_norm: true}}"), "circuits: ov leaves these two");
  EXPECT_EQ(notes("{position: learned}").find("rope"), std::string::npos);
}

TEST(CompositionalMuon, RefusesBadSettings) {
  EXPECT_HAS(error_of([] { read("name: compositional_muon, damping: 0"); }), "damping");
  EXPECT_HAS(error_of([] { read("name: compositional_muon, circuits: mlp"); }), "both | qk | ov");
}

/// Tokens (B T, C) whose mean is 0 and whose covariance is I, exactly, in each sequence.
Matrix white_tokens(std::int64_t batch, std::int64_t tokens, std::int64_t columns) {
  Matrix x(batch * tokens, columns);
  for (std::int64_t b = 0; b < batch; ++b) {
    Matrix part = test::random_matrix(tokens, columns, static_cast<std::uint64_t>(70 + b));
    part.rowwise() -= part.colwise().mean().eval();
    const Matrix q = Eigen::HouseholderQR<Matrix>(part).householderQ() * Matrix::Identity(tokens, columns);
    x.middleRows(b * tokens, tokens) = std::sqrt(static_cast<double>(tokens)) * q;
  }
  return x;
}

// The link between the two: for white inputs and uniform attention the left factors of the attention Fisher are the
// Gram matrices of the partners, times scale^2, and its right factors are I. As attention sharpens they part.
TEST(CompositionalMuon, ItsMetricIsTheFisherOfWhiteInputsAndUniformAttention) {
  for (const std::int64_t kv_heads : {heads, heads / 2}) {
    GptSteps run("name: compositional_muon", kv_heads);
    const Matrix w = run.value(qkv);
    const std::vector<Circuit> circuits = circuits_of(run.model(), run.store());
    constexpr double damping = 1e-3;
    const auto metric =
        make_partner_metric(circuits, run.store(), {.damping = damping, .legs = {Leg::query, Leg::key}});
    metric->measure(Step(1, run.store().grads(), Tensor::zeros({Control::size}, DType::f64, reference)));
    // P = L^-2 - damping I.
    const auto grams = [&](Leg leg) {
      const Matrix l = test::to_matrix(metric->factors(1, leg).left);
      std::vector<Matrix> all;
      for (std::int64_t h = 0; h < l.rows() / head_dim; ++h) {
        const Matrix inverse = Oracle::rows(l, h).inverse();
        all.push_back(inverse * inverse - damping * Matrix::Identity(head_dim, head_dim));
      }
      return all;
    };
    const auto fisher_over_grams = [&](double temperature) {
      test::DenseAttention d{.batch = 2,
                             .tokens = 20,
                             .heads = heads,
                             .kv_heads = kv_heads,
                             .head_dim = head_dim,
                             .width = width,
                             .causal = false,
                             .scale = 1.0 / temperature};
      d.x = white_tokens(d.batch, d.tokens, width);
      d.w_q = w.topRows(heads * head_dim);
      d.w_k = w.middleRows(heads * head_dim, kv_heads * head_dim);
      d.w_v = w.bottomRows(kv_heads * head_dim);
      const nn::FisherFactors f = nn::fisher_factors(test::layer_call(d).call);
      double worst = 0.0;
      const auto compare = [&](const Tensor& left, Leg leg) {
        const Matrix factors = temperature * temperature * test::to_matrix(left);
        const std::vector<Matrix> expected = grams(leg);
        for (std::size_t h = 0; h < expected.size(); ++h) {
          worst = std::max(worst, difference(Oracle::rows(factors, static_cast<std::int64_t>(h)), expected[h]));
        }
      };
      compare(f.query_left, Leg::query);
      compare(f.key_left, Leg::key);
      const Matrix one = Matrix::Identity(width, width);
      worst = std::max(
          {worst, difference(test::to_matrix(f.query_right), one), difference(test::to_matrix(f.key_right), one)});
      return worst;
    };
    EXPECT_LT(fisher_over_grams(1e9), 1e-7) << kv_heads;
    EXPECT_GT(fisher_over_grams(1.0), 0.5) << kv_heads;
  }
}

}  // namespace
}  // namespace monge::optim
