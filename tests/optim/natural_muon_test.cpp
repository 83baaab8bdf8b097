// Natural Muon by its identities: without a bound it is K-FAC; with one, a function of the singular values of K-FAC's
// step, in attention head by head in the metric of the partner, whose change of the product is bounded.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <functional>

#include "core/options/yaml.h"
#include "nn/gpt.h"
#include "optim/optimizer.h"
#include "support/attention_call.h"
#include "support/dense.h"

namespace monge::optim {
namespace {

using test::difference;
using test::Matrix;
using test::reference;

constexpr std::int64_t heads = 4, head_dim = 3, width = heads * head_dim, vocab = 11, context = 6;

/// A Gpt with random weights and what one step along random gradients changes, after a sampled pass.
class OneStep {
 public:
  explicit OneStep(const std::string& yaml, std::int64_t kv_heads = heads)
      : model_(options(kv_heads), vocab), store_(model_, reference, nn::Precision::float32, 1) {
    set(store_.values(), 1, 0.5);
    before_ = store_.values().clone();
    Optimizer optimizer(read(yaml), model_, store_, 100);
    optimizer.begin(1);
    const Tensor tokens = test::random_ids({2, context}, vocab, 2), targets = test::random_ids({2, context}, vocab, 3);
    autograd::Tape tape;
    autograd::Var loss;
    {
      const autograd::Tape::Recording recording(tape);
      loss = model_.sampled_loss(tokens, targets, {5, 0, Tensor::zeros({1}, DType::i32, reference)});
    }
    store_.clear_grads();
    tape.backward(loss);
    store_.complete_grads();
    optimizer.sampled(1, Tensor::from(std::vector<double>{1.0 / (2 * context)}, {1}, DType::f64, reference));
    set(store_.grads(), 4, 1.0);
    optimizer.step(1);
  }

  Matrix before(const std::string& name) const { return part(before_, name); }
  Matrix moved(const std::string& name) const { return part(before_, name) - part(store_.values(), name); }
  std::vector<std::string> matrices() const {
    std::vector<std::string> out;
    for (const auto& e : store_.entries()) {
      if (e.role == nn::Role::matrix) out.push_back(e.name);
    }
    return out;
  }

 private:
  static nn::GptOptions options(std::int64_t kv_heads) {
    nn::GptOptions o;
    o.layers = 2;
    o.heads = heads;
    o.kv_heads = kv_heads;
    o.width = width;
    o.context = context;
    return o;
  }
  static OptimizerOptions read(const std::string& yaml) {
    OptimizerOptions o;
    o.clip_norm = 0.0;
    o.schedule = schedules().choose("constant");
    read_yaml_text("{betas: [0, 0.95], weight_decay: 0, every: 1, refresh: 1, decay: 0, damping: 0.1, " + yaml + "}",
                   "test", {}, o);
    return o;
  }
  static void set(const Tensor& to, std::uint64_t seed, double size) {
    const std::vector<double> values = test::random_values(to.numel(), seed, 0.0, size);
    to.backend().copy({.from = Tensor::from(values, to.shape(), to.dtype(), to.device()), .to = to});
  }
  Matrix part(const Tensor& flat, const std::string& name) const {
    const auto& e = store_.entry(name);
    return test::to_matrix(flat.flat_view(e.begin, e.shape));
  }

  nn::Gpt model_;
  nn::ParameterStore store_;
  Tensor before_;
};

/// f of the singular values.
Matrix with_singular_values(const Matrix& m, const std::function<double(double)>& f) {
  const Eigen::JacobiSVD<Matrix> svd(m, Eigen::ComputeThinU | Eigen::ComputeThinV);
  return svd.matrixU() * svd.singularValues().unaryExpr(f).asDiagonal() * svd.matrixV().transpose();
}
double spectral_norm(const Matrix& m) { return Eigen::JacobiSVD<Matrix>(m).singularValues()(0); }

Matrix root(const Matrix& gram) {
  return with_singular_values(gram + Matrix::Identity(gram.rows(), gram.cols()), [](double x) { return std::sqrt(x); });
}

/// Rows of W_q, W_k and W_v, one head after another; columns of W_o.
struct Heads {
  Matrix qkv, out;
  std::int64_t kv_heads;

  Matrix q(std::int64_t h) const { return qkv.middleRows(h * head_dim, head_dim); }
  Matrix k(std::int64_t g) const { return q(heads + g); }
  Matrix v(std::int64_t g) const { return q(heads + kv_heads + g); }
  Matrix o(std::int64_t h) const { return out.middleCols(h * head_dim, head_dim); }
  std::int64_t key_head(std::int64_t h) const { return h / (heads / kv_heads); }
  Matrix sum(std::int64_t g, const std::function<Matrix(std::int64_t)>& of) const {
    Matrix total = Matrix::Zero(head_dim, head_dim);
    for (std::int64_t h = 0; h < heads; ++h) {
      if (key_head(h) == g) total += of(h);
    }
    return total;
  }
  Matrix metric_of_query(std::int64_t h) const { return root(k(key_head(h)) * k(key_head(h)).transpose()); }
  Matrix metric_of_key(std::int64_t g) const {
    return root(sum(g, [&](std::int64_t h) { return Matrix(q(h) * q(h).transpose()); }));
  }
  Matrix metric_of_value(std::int64_t g) const {
    return root(sum(g, [&](std::int64_t h) { return Matrix(o(h).transpose() * o(h)); }));
  }
  Matrix metric_of_output(std::int64_t h) const { return root(v(key_head(h)) * v(key_head(h)).transpose()); }
};

// A rate far above what the natural gradient moves bounds nothing.
TEST(NaturalMuon, WithoutABoundItIsKfac) {
  for (const std::int64_t kv_heads : {4, 2}) {
    const OneStep kfac("name: kfac, lr: 1, graft: false", kv_heads);
    const OneStep bounded("name: natural_muon, lr: 1e12, newton: 1", kv_heads);
    const OneStep shorter("name: natural_muon, lr: 1e12, newton: 0.25", kv_heads);
    for (const std::string& name : kfac.matrices()) {
      EXPECT_LT(difference(bounded.moved(name), kfac.moved(name)), 1e-8) << name;
      EXPECT_LT(difference(4.0 * shorter.moved(name), kfac.moved(name)), 1e-8) << name;
    }
  }
}

TEST(NaturalMuon, FollowsItsFormula) {
  for (const std::int64_t kv_heads : {4, 2, 1}) {
    for (const double newton : {0.05, 1e5}) {
      constexpr double lr = 0.3;
      SCOPED_TRACE(fmt::format("{} key heads, newton {}", kv_heads, newton));
      const OneStep kfac("name: kfac, lr: 1, graft: false", kv_heads);
      const OneStep bounded(fmt::format("name: natural_muon, lr: {}, newton: {}, scale: keller", lr, newton), kv_heads);
      // The change of a leg or of all of a matrix, from K-FAC's: `of_matrix` are all singular values that are cut
      // together, of which `all` is the norm before.
      const auto in_bounds = [&](const Matrix& x, double s, double all) {
        const double cut = std::min(1.0, 1e3 / (all * newton / (s * lr)));
        return Matrix(s * lr * with_singular_values(x * (cut * newton / (s * lr)), [](double sigma) {
                        return sigma / std::sqrt(1.0 + sigma * sigma);
                      }));
      };
      for (const std::string block : {"blocks.0.", "blocks.1."}) {
        const Heads w{bounded.before(block + "attention.qkv.weight"), bounded.before(block + "attention.out.weight"),
                      kv_heads};
        const Heads n{kfac.moved(block + "attention.qkv.weight"), kfac.moved(block + "attention.out.weight"), kv_heads};
        const Heads got{bounded.moved(block + "attention.qkv.weight"), bounded.moved(block + "attention.out.weight"),
                        kv_heads};
        const auto leg = [&](std::int64_t count, const auto& of, const auto& metric, const char* what) {
          double squares = 0.0;
          for (std::int64_t h = 0; h < count; ++h) squares += (metric(h) * of(n, h)).squaredNorm();
          for (std::int64_t h = 0; h < count; ++h) {
            const Matrix c = metric(h), expected = c.inverse() * in_bounds(c * of(n, h), 0.5, std::sqrt(squares));
            EXPECT_LT(difference(of(got, h), expected), 1e-7) << block << what << h;
            // At most half the rate of the product changes by it.
            EXPECT_LE(spectral_norm(c * of(got, h)), 0.5 * lr * (1 + 1e-9)) << block << what << h;
          }
        };
        leg(
            heads, [](const Heads& x, auto h) { return x.q(h); }, [&](auto h) { return w.metric_of_query(h); }, "q");
        leg(
            kv_heads, [](const Heads& x, auto g) { return x.k(g); }, [&](auto g) { return w.metric_of_key(g); }, "k");
        leg(
            kv_heads, [](const Heads& x, auto g) { return x.v(g); }, [&](auto g) { return w.metric_of_value(g); }, "v");
        leg(
            heads, [](const Heads& x, auto h) { return Matrix(x.o(h).transpose()); },
            [&](auto h) { return w.metric_of_output(h); }, "o");
        for (const std::string& name : {block + "mlp.up.weight", block + "mlp.down.weight"}) {
          const Matrix x = kfac.moved(name);
          const double s = std::sqrt(std::max(1.0, static_cast<double>(x.rows()) / static_cast<double>(x.cols())));
          EXPECT_LT(difference(bounded.moved(name), in_bounds(x, s, x.norm())), 1e-7) << name;
        }
      }
    }
  }
}

}  // namespace
}  // namespace monge::optim
