// Muon, and NorMuon (Li et al. 2025, arXiv:2510.05491), which normalises the rows of O = polar(M) over time and keeps
// the norm of O:
//
//   r_i = b2 r_i + (1 - b2) mean over j of O_ij^2        O'_i = O_i / sqrt(r_i)        u = s O' |O| / |O'|
#include "optim/matrix/muon.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/matrix/polar.h"
#include "optim/rules.h"

namespace monge::optim {

double muon_scale(const std::string& name, std::int64_t rows, std::int64_t cols) {
  const auto r = static_cast<double>(rows), c = static_cast<double>(cols);
  if (name == "keller") return std::sqrt(std::max(1.0, r / c));
  if (name == "rms") return 0.2 * std::sqrt(std::max(r, c));
  return std::sqrt(r / c);
}

void muon_polar(const nn::ParameterStore& store, const Tensor& m, std::int64_t iterations, const Tensor& out) {
  const bool bf16 = store.copies().defined() && iterations > 0;
  polar(m, iterations, bf16 ? DType::bf16 : out.dtype(), out);
}

void add_muon_scale(Fields& f, std::string& scale) {
  f("scale", scale,
    {.doc = "length of a step of lr 1: keller, spectral norm sqrt(max(1, rows / cols)); rms, elements of root mean "
            "square 0.2; spectral, spectral norm sqrt(rows / cols)",
     .choices = {"keller", "rms", "spectral"}});
}

void add_polar_iterations(Fields& f, std::int64_t& iterations) {
  f("iterations", iterations,
    {.doc = "Newton-Schulz iterations, which bring singular values near 1; 0: until they are 1 up to rounding",
     .min = 0,
     .max = 100});
}

void MuonOptions::fields(Fields& f) {
  MatrixRuleOptions::fields(f);
  f("momentum", momentum, {.doc = "decay of the averaged gradient", .min = 0.0, .max = 1.0});
  f("nesterov", nesterov, {.doc = "look one momentum step ahead"});
  add_muon_scale(f, scale);
  add_polar_iterations(f, iterations);
}

void MuonOptions::check() const {
  if (momentum >= 1.0) throw InputError("optimizer.momentum must be less than 1");
}

Muon::Muon(std::string name, const MuonOptions& options, const RuleContext& context)
    : MatrixRule(std::move(name), options, context), options_(options) {
  for (const Matrix& matrix : matrices()) momentum_.push_back(make_state(matrix.shape()));
}

std::vector<NamedTensor> Muon::state() const {
  std::vector<NamedTensor> out = MatrixRule::state();
  for (std::size_t i = 0; i < momentum_.size(); ++i) add_state(i, {{"momentum", momentum_[i]}}, out);
  return out;
}

void Muon::direction(std::size_t i, const Step& step, const Tensor& gradient, const Tensor& u) {
  const Matrix& matrix = matrices()[i];
  precondition(i, gradient);
  const Tensor &b = momentum_[i], m = options_.nesterov ? gradient : b;
  step.update_average(b, options_.momentum, gradient);
  if (options_.nesterov) axpby(options_.momentum, b, 1.0 - options_.momentum, m);
  orthogonalise(i, step, m, u);
  scale(u, muon_scale(options_.scale, matrix.rows, matrix.cols), u);
}

namespace {

struct NorMuonOptions : MuonOptions {
  double row_decay = 0.95;
  void fields(Fields& f) override {
    MuonOptions::fields(f);
    f("row_decay", row_decay, {.doc = "decay of the second moment of each row", .min = 0.0, .max = 1.0});
  }
  void check() const override {
    MuonOptions::check();
    if (row_decay >= 1.0) throw InputError("optimizer.row_decay must be less than 1");
  }
};

class NorMuon : public Muon {
 public:
  NorMuon(const NorMuonOptions& options, const RuleContext& context)
      : Muon("normuon", options, context), row_decay_(options.row_decay) {
    for (const Matrix& matrix : matrices()) rows_.push_back(make_state({matrix.rows}));
  }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = Muon::state();
    for (std::size_t i = 0; i < rows_.size(); ++i) add_state(i, {{"rows", rows_[i]}}, out);
    return out;
  }

 private:
  void orthogonalise(std::size_t i, const Step& step, const Tensor& m, const Tensor& o) override {
    polar_of(m, o);
    const Tensor &r = rows_[i], length = norm(o);
    step.update_average(r, row_decay_, row_means(square(o)));
    div(o, repeat_columns(sqrt(r), o.size(1)), o);
    mul(o, div(length, norm(o)), o);
  }

  double row_decay_;
  std::vector<Tensor> rows_;  // (rows) of each matrix
};

}  // namespace

void add_normuon(RuleRegistry& registry) {
  registry.add<NorMuonOptions>(
      "normuon", "muon with rows normalised over time",
      [](const NorMuonOptions& o, const RuleContext& c) { return std::make_unique<NorMuon>(o, c); });
}

void add_muon(RuleRegistry& registry) {
  registry.add<MuonOptions>("muon", "momentum, orthogonalised, for matrices",
                            [](const MuonOptions& o, const RuleContext& c) { return std::make_unique<Muon>(o, c); });
}

}  // namespace monge::optim
