// K-FAC for the weights of linear layers: kfac.cpp has the formulas. natural_muon derives from it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/layers.h"
#include "optim/matrix/matrix_rule.h"
#include "optim/matrix/sides.h"

namespace monge::optim {

/// How the curvature is measured, and what is divided by it.
struct CurvatureOptions : MatrixRuleOptions {
  double damping = 0.1;
  std::vector<double> betas{0.9, 0.95};
  std::int64_t every = 10;
  std::int64_t refresh = 5;
  double decay = 0.95;
  std::string factors = "both";
  std::int64_t max_dim = 1024;
  void fields(Fields& f) override;
  void check() const override;
};

class Kfac : public MatrixRule {
 public:
  enum class Diagonal { kronecker, measured };

  /// `graft`: steps of the norm of AdamW's. `kl_clip`: largest lr^2 <u, M> summed over the matrices, or 0.
  Kfac(const std::string& name, Diagonal diagonal, const CurvatureOptions& options, bool graft, double kl_clip,
       const RuleContext& context);

  void begin(std::int64_t number) override;
  bool samples(std::int64_t number) const override { return measures(number) || MatrixRule::samples(number); }
  void sampled(const SampledPass& pass) override;
  std::vector<NamedTensor> state() const override;

 protected:
  void direction(std::size_t i, const Step& step, const Tensor& gradient, const Tensor& u) override;
  void finish(const Step& step, const Tensor& u) override;

 private:
  /// A or G with its eigenvectors in the columns of `factor`, and the measurement under way; or none.
  struct MeasuredSide : Side {
    Tensor seen;  // (n, n)

    void start();
    void finish(double decay, const SampledPass& pass);
  };

  /// A Linear, whose weight holds the matrices [first, first + count).
  struct Layer : nn::LinearObserver {
    Layer(Kfac& of, nn::Linear& at, std::string named) : rule(of), linear(at), name(std::move(named)) {}

    void start();
    void observe(const Tensor& x, const Tensor& dy) override { rule.observe(*this, x, dy); }
    void stop(double decay, const SampledPass& pass);

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

  bool measures(std::int64_t number) const { return (number - 1) % options_.every == 0; }
  std::int64_t measurements_before(std::int64_t number) const { return (number - 1) / options_.every; }
  /// Whether a step with a measurement computes new bases.
  bool factorises(std::int64_t number) const;
  bool uses(const char* factor, std::int64_t n) const;
  MeasuredSide make_side(std::int64_t n) const { return {{make_state({n, n}), make_state({n, n})}, {}}; }
  void observe(Layer& layer, const Tensor& x, const Tensor& dy);
  /// New bases, and S = e a^T in them. Waits for the device.
  void factorise(double unbias, const SampledPass& pass);

  CurvatureOptions options_;
  bool graft_;
  double kl_clip_;
  Diagonal diagonal_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<Weight> weights_;  // beside the matrices
};

}  // namespace monge::optim
