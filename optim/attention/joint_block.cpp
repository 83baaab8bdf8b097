#include "optim/attention/joint_block.h"

#include <algorithm>
#include <numeric>

#include "optim/arithmetic.h"
#include "optim/matrix/sides.h"

namespace monge::optim {

JointBlock::JointBlock(std::int64_t heads, std::int64_t head_dim, std::int64_t width, DType dtype, Device device)
    : heads_(heads), head_dim_(head_dim), width_(width), scale_squared_(1.0 / static_cast<double>(head_dim)) {
  const auto make = [&](const Shape& shape) { return Tensor::zeros(shape, dtype, device, Pool::optimizer); };
  weights_ = make({2 * heads * head_dim, width});
  for (Side* side : {&q_, &k_}) {
    for (Tensor* x : {&side->vectors, &side->inverse, &side->own, &side->other}) {
      *x = make({heads, head_dim, head_dim});
    }
  }
}

namespace {

/// Half of (2 H D, C), by heads: (H, D, C).
Tensor half(const Tensor& x, int which, std::int64_t heads) {
  const std::int64_t rows = x.size(0) / 2;
  return x.slice(which * rows, (which + 1) * rows).reshape({heads, rows / heads, x.size(1)});
}

/// y (H, D, C) = x y' for each head, with x (H, D, D).
Tensor by_head(const Factor& x, const Tensor& y) {
  const Tensor out = Tensor::like(y);
  matmul(x, y, out);
  return out;
}

/// x (H, D, C) times r (C, C).
Tensor times(const Tensor& x, const Tensor& r) {
  const std::int64_t C = r.size(1);
  const Tensor out = Tensor::like(x);
  matmul(x.reshape({x.size(0) * x.size(1), C}), r, out.reshape({x.size(0) * x.size(1), C}));
  return out;
}

/// What a side's matrices, A or B, are made of.
struct Spectrum {
  std::vector<Eigensystem> of;  // by head
  double damping = 0.0;
};

Spectrum spectrum(const std::vector<SquareMatrix>& matrices, double relative) {
  Spectrum s{.of = eigensystems(matrices)};
  double sum = 0.0;
  for (Eigensystem& e : s.of) {
    for (double& value : e.values) sum += value = std::max(value, 0.0);
  }
  s.damping = std::max(relative * sum / static_cast<double>(s.of.size() * s.of.front().values.size()), 1e-30);
  return s;
}

}  // namespace

void JointBlock::set(const Step& step, const Tensor& weights, const Tensor& R, const Tensor& S, double relative) {
  const auto n = static_cast<std::size_t>(head_dim_);
  const auto products = [&](const Tensor& w, const Tensor& right) {
    const Tensor out = Tensor::empty({heads_, head_dim_, head_dim_}, w.dtype(), w.device());
    matmul(times(w, right), transposed(w), out);
    std::vector<SquareMatrix> matrices(static_cast<std::size_t>(heads_), {head_dim_, {}});
    const std::vector<double> values = scale(out, scale_squared_, out).values();
    for (std::size_t h = 0; h < matrices.size(); ++h) {
      matrices[h].values.assign(values.begin() + static_cast<std::ptrdiff_t>(h * n * n),
                                values.begin() + static_cast<std::ptrdiff_t>((h + 1) * n * n));
    }
    return matrices;
  };
  const auto of_q = products(half(weights, 1, heads_), S), of_k = products(half(weights, 0, heads_), R);
  if (!all_finite(of_q) || !all_finite(of_k)) return;
  const Spectrum a = spectrum(of_q, relative), b = spectrum(of_k, relative);
  const double lambda = a.damping, mu = b.damping;

  std::vector<double> own_q, other_q, own_k, other_k;
  for (std::size_t h = 0; h < a.of.size(); ++h) {
    for (const double ai : a.of[h].values) {
      for (const double bj : b.of[h].values) {
        const double d = (lambda * bj + mu * ai + lambda * mu) / scale_squared_;
        own_q.push_back((ai + lambda) / d);
        other_q.push_back(ai / d);
        own_k.push_back((bj + mu) / d);
        other_k.push_back(bj / d);
      }
    }
  }
  const auto put = [&](const Side& side, const Spectrum& s, const std::vector<double>& own,
                       const std::vector<double>& other) {
    std::vector<double> vectors, inverse(s.of.size() * n * n);
    for (std::size_t h = 0; h < s.of.size(); ++h) {
      const std::vector<double>& u = s.of[h].vectors;
      vectors.insert(vectors.end(), u.begin(), u.end());
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
          double& out = inverse[(h * n + i) * n + j];
          for (std::size_t k = 0; k < n; ++k) out += u[i * n + k] * u[j * n + k] / (s.of[h].values[k] + s.damping);
        }
      }
    }
    step.set(side.vectors, upload(vectors, side.vectors));
    step.set(side.inverse, upload(inverse, side.inverse));
    step.set(side.own, upload(own, side.own));
    step.set(side.other, upload(other, side.other));
  };
  put(q_, a, own_q, other_q);
  put(k_, b, own_k, other_k);
  step.set(weights_, weights);
}

void JointBlock::solve(const Tensor& gradient, const Tensor& R_inverse, const Tensor& S_inverse,
                       const Tensor& v) const {
  const Tensor w_q = half(weights_, 0, heads_), w_k = half(weights_, 1, heads_);
  const Tensor g_q = half(gradient, 0, heads_), g_k = half(gradient, 1, heads_);
  const auto in_bases = [&](const Tensor& left, const Tensor& right) {  // U^T left right^T Q
    const Tensor product = Tensor::like(q_.vectors), out = Tensor::like(product);
    matmul(left, transposed(right), product);
    matmul(by_head(transposed(q_.vectors), product), k_.vectors, out);
    return out;
  };
  const auto from_bases = [&](const Tensor& x) {  // U x Q^T
    const Tensor out = Tensor::like(x);
    matmul(by_head(q_.vectors, x), transposed(k_.vectors), out);
    return out;
  };
  const Tensor n_k = in_bases(w_k, g_k), n_q = in_bases(g_q, w_q);
  const auto mix = [](const Side& side, const Tensor& own, const Tensor& other) {
    const Tensor out = mul(side.own, own);
    axpy(-1.0, mul(side.other, other), out);
    return out;
  };
  const auto write = [&](int which, const Tensor& g, const Tensor& inverse, const Tensor& met, const Side& side) {
    const Tensor rest = times(g, inverse);
    axpy(-1.0, met, rest);
    matmul(side.inverse, rest, half(v, which, heads_));
  };
  write(0, g_q, R_inverse, by_head(from_bases(mix(q_, n_k, n_q)), w_q), q_);
  write(1, g_k, S_inverse, by_head(transposed(from_bases(mix(k_, n_q, n_k))), w_k), k_);
}

std::vector<NamedTensor> JointBlock::state() const {
  std::vector<NamedTensor> out{{"joint.weights", weights_}};
  for (const auto& [name, side] : {std::pair{"query", &q_}, {"key", &k_}}) {
    const std::string prefix = std::string("joint.") + name;
    out.push_back({prefix + "_vectors", side->vectors});
    out.push_back({prefix + "_inverse", side->inverse});
    out.push_back({prefix + "_own", side->own});
    out.push_back({prefix + "_other", side->other});
  }
  return out;
}

}  // namespace monge::optim
