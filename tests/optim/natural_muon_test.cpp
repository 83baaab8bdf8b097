// Natural Muon by its identities: without a bound it is K-FAC, far beyond the bound a polar factor, and in between a
// matrix function of K-FAC's step; in attention for each head, in the metric of its partner.
#include <gtest/gtest.h>

#include <Eigen/Dense>

#include "core/options/yaml.h"
#include "nn/gpt.h"
#include "optim/optimizer.h"
#include "support/compare.h"
#include "support/expect_error.h"

namespace monge::optim {
namespace {

using test::Matrix;
using test::reference;

constexpr std::int64_t heads = 4, head_dim = 3, width = 12, vocab = 11, context = 6;

/// A Gpt with random weights after one step along random gradients, its curvature measured by a sampled pass; and the
/// changes of its weights.
class OneStep {
 public:
  explicit OneStep(const std::string& yaml, std::int64_t kv_heads = heads)
      : model_(options(kv_heads), vocab), store_(model_, reference, nn::Precision::float32, 1) {
    Optimizer optimizer(read(yaml), model_, store_, 100);
    set(store_.values(), 1);
    before_ = store_.values().clone();
    optimizer.begin(1);
    const Tensor tokens = test::random_ids({2, context}, vocab, 2), targets = test::random_ids({2, context}, vocab, 3);
    backward(model_.sampled_loss(tokens, targets, {5, 0, Tensor::zeros({1}, DType::i32, reference)}));
    const Tensor share = Tensor::from(std::vector<double>{1.0 / (2 * context)}, {1}, DType::f64, reference);
    optimizer.sampled(1, share);
    set(store_.grads(), 4);
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
    read_yaml_text("{betas: [0, 0.95], weight_decay: 0, every: 1, refresh: 1, decay: 0, " + yaml + "}", "test", {}, o);
    return o;
  }
  static void set(const Tensor& to, std::uint64_t seed) {
    to.backend().copy(
        {.from = Tensor::from(test::random_values(to.numel(), seed), to.shape(), to.dtype(), to.device()), .to = to});
  }
  /// sampled_loss must be recorded.
  template <class Loss>
  void backward(const Loss&) = delete;
  Matrix part(const Tensor& flat, const std::string& name) const {
    const auto& e = store_.entry(name);
    return test::to_matrix(flat.flat_view(e.begin, e.shape));
  }

  nn::Gpt model_;
  nn::ParameterStore store_;
  Tensor before_;
};

}  // namespace
}  // namespace monge::optim
