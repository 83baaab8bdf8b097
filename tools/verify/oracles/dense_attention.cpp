#include "tools/verify/oracles/dense_attention.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>

namespace monge::oracle {
namespace {

/// [y - t]_+^p with t such that the result sums to one: by bisection.
Vector threshold_weights(const Vector& y, double p) {
  const auto at = [&](double t) -> Vector { return (y.array() - t).max(0.0).pow(p).matrix(); };
  double low = y.maxCoeff() - 1.0, high = y.maxCoeff();
  for (int i = 0; i < 200; ++i) {
    const double middle = 0.5 * (low + high);
    (at(middle).sum() >= 1.0 ? low : high) = middle;
  }
  return at(0.5 * (low + high));
}

/// 1.5-entmax by sorting (Peters, Niculae & Martins 2019, algorithm 2).
Vector entmax15_weights(const Vector& z) {
  std::vector<double> sorted(z.begin(), z.end());
  std::ranges::sort(sorted, std::greater<>());
  double sum = 0.0, squares = 0.0, threshold = 0.0;
  for (std::size_t k = 0; k < sorted.size(); ++k) {
    const double y = sorted[k] / 2.0, count = static_cast<double>(k + 1);
    sum += y;
    squares += y * y;
    const double mean = sum / count, spread = (1.0 - (squares - count * mean * mean)) / count;
    const double candidate = mean - std::sqrt(std::max(spread, 0.0));
    if (spread >= 0.0 && candidate <= y) threshold = candidate;
  }
  return (z.array() / 2.0 - threshold).max(0.0).square().matrix();
}

}  // namespace

Vector sparsemax_weights(const Vector& z) {
  std::vector<double> sorted(z.begin(), z.end());
  std::ranges::sort(sorted, std::greater<>());
  double total = 0.0, threshold = 0.0;
  for (std::size_t k = 0; k < sorted.size(); ++k) {
    total += sorted[k];
    const double candidate = (total - 1.0) / static_cast<double>(k + 1);
    if (sorted[k] > candidate) threshold = candidate;
  }
  return (z.array() - threshold).max(0.0).matrix();
}

Vector weights(const RowMap& map, const Vector& z) {
  const double n = static_cast<double>(z.size());
  if (as<SoftmaxMap>(map)) {
    const Vector e = (z.array() - z.maxCoeff()).exp().matrix();
    return e / e.sum();
  }
  if (as<Softmax1Map>(map)) return z.array().exp().matrix() / (1.0 + z.array().exp().sum());
  if (as<SparsemaxMap>(map)) return sparsemax_weights(z);
  if (as<Entmax15Map>(map)) return entmax15_weights(z);
  if (const auto* m = as<EntmaxMap>(map)) return threshold_weights((m->alpha - 1.0) * z, 1.0 / (m->alpha - 1.0));
  if (const auto* m = as<SigmoidMap>(map)) {
    return (1.0 / (1.0 + (m->balanced ? n : 1.0) * (-z.array()).exp())).matrix();
  }
  if (as<ReluMap>(map)) return z.array().max(0.0).matrix() / n;
  if (const auto* m = as<SoftplusMap>(map)) return (1.0 + (m->beta * z.array()).exp()).log().matrix() / (m->beta * n);
  if (as<SoftpickMap>(map)) {
    const Vector gap = (z.array().exp() - 1.0).matrix();
    return gap.array().max(0.0).matrix() / (gap.array().abs().sum() + 1e-6);
  }
  throw std::invalid_argument("no textbook definition of this map");
}

Matrix jacobian(const RowMap& map, const Vector& z) {
  const Vector a = weights(map, z);
  const double n = static_cast<double>(z.size());
  const auto centred = [](const Vector& s, double c) -> Matrix {
    return Matrix(s.asDiagonal()) - s * s.transpose() / c;
  };
  const auto power_on_support = [&](double alpha) {
    Vector s = a;
    for (double& x : s) x = x > 0.0 ? std::pow(x, 2.0 - alpha) : 0.0;
    return s;
  };
  const auto entmax = [&](double alpha) {
    const Vector s = power_on_support(alpha);
    return centred(s, s.sum());
  };
  if (as<SoftmaxMap>(map) || as<Softmax1Map>(map)) return centred(a, 1.0);
  if (as<SparsemaxMap>(map)) return entmax(2.0);
  if (as<Entmax15Map>(map)) return entmax(1.5);
  if (const auto* m = as<EntmaxMap>(map)) return entmax(m->alpha);
  if (as<SigmoidMap>(map)) return (a.array() * (1.0 - a.array())).matrix().asDiagonal();
  if (as<ReluMap>(map)) return ((z.array() > 0.0).cast<double>() / n).matrix().asDiagonal();
  if (const auto* m = as<SoftplusMap>(map)) {
    return (1.0 / (1.0 + (-m->beta * z.array()).exp()) / n).matrix().asDiagonal();
  }
  throw std::invalid_argument("no symmetric Jacobian by textbook");
}

Matrix kronecker(const Matrix& a, const Matrix& b) {
  Matrix out(a.rows() * b.rows(), a.cols() * b.cols());
  for (Eigen::Index i = 0; i < a.rows(); ++i) {
    for (Eigen::Index j = 0; j < a.cols(); ++j) out.block(i * b.rows(), j * b.cols(), b.rows(), b.cols()) = a(i, j) * b;
  }
  return out;
}

double kl_divergence(const Vector& p, const Vector& q) {
  double total = 0.0;
  for (Eigen::Index j = 0; j < p.size(); ++j) {
    if (p[j] > 0.0) total += p[j] * std::log(p[j] / q[j]);
  }
  return total;
}

bool DenseAttention::counts(std::int64_t i) const {
  const bool shift_invariant =
      as<SoftmaxMap>(map) || as<SparsemaxMap>(map) || as<Entmax15Map>(map) || as<EntmaxMap>(map);
  return !shift_invariant || visible(i) > 1;
}

std::int64_t DenseAttention::counted_rows() const {
  std::int64_t n = 0;
  for (std::int64_t i = 0; i < tokens; ++i) n += counts(i) ? batch : 0;
  return n;
}

Vector DenseAttention::rotated(const Vector& y, std::int64_t t) const {
  if (rope_base == 0.0) return y;
  Vector out = y;
  const Eigen::Index half = y.size() / 2;
  for (Eigen::Index i = 0; i < half; ++i) {
    const double angle =
        static_cast<double>(t) * std::pow(rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(y.size()));
    out[i] = std::cos(angle) * y[i] - std::sin(angle) * y[i + half];
    out[i + half] = std::sin(angle) * y[i] + std::cos(angle) * y[i + half];
  }
  return out;
}

Vector DenseAttention::query(const Matrix& wq, Row at) const {
  return rotated(wq.middleRows(at.h * head_dim, head_dim) * token(at.b, at.i), at.i);
}

Vector DenseAttention::key(const Matrix& wk, Row at, std::int64_t j) const {
  return rotated(wk.middleRows(group(at.h) * head_dim, head_dim) * token(at.b, j), j);
}

Vector DenseAttention::value(const Matrix& wv, Row at, std::int64_t j) const {
  return wv.middleRows(group(at.h) * head_dim, head_dim) * token(at.b, j);
}

Vector DenseAttention::products(const Matrix& wq, const Matrix& wk, Row at) const {
  const Vector q = query(wq, at);
  Vector z(visible(at.i));
  for (Eigen::Index j = 0; j < z.size(); ++j) z[j] = scale * q.dot(key(wk, at, j));
  return z;
}

Vector DenseAttention::scores(const Matrix& wq, const Matrix& wk, Row at) const {
  Vector z = products(wq, wk, at);
  for (Eigen::Index j = 0; j < z.size(); ++j) {
    const std::int64_t distance = at.i - j;
    if (distance_prior.size() > 0) z[j] += distance_prior(at.h, std::abs(distance));
    if (key_prior.size() > 0) z[j] += key_prior(at.h, j);
    if (head_prior.size() > 0) z[j] += head_prior[at.h];
    if (slopes.size() > 0) z[j] -= slopes[at.h] * static_cast<double>(std::abs(distance));
  }
  return z;
}

Vector DenseAttention::scores(Row at) const { return scores(w_q, w_k, at); }

Vector DenseAttention::row_weights(const Matrix& wq, const Matrix& wk, Row at) const {
  return weights(map, scores(wq, wk, at));
}

Vector DenseAttention::row_weights(Row at) const { return row_weights(w_q, w_k, at); }

Matrix DenseAttention::metric(Row at) const { return jacobian(map, scores(at)); }

Matrix DenseAttention::output() const {
  Matrix out = Matrix::Zero(x.rows(), heads * head_dim);
  for_each_row([&](Row at) {
    const Vector a = row_weights(at);
    for (Eigen::Index j = 0; j < a.size(); ++j) {
      out.row(at.b * tokens + at.i).segment(at.h * head_dim, head_dim) += a[j] * value(w_v, at, j).transpose();
    }
  });
  return out;
}

Vector DenseAttention::payoffs(const Matrix& dout, Row at) const {
  Vector u(visible(at.i));
  const Vector d = dout.row(at.b * tokens + at.i).segment(at.h * head_dim, head_dim);
  for (Eigen::Index j = 0; j < u.size(); ++j) u[j] = d.dot(value(w_v, at, j));
  return u;
}

Vector DenseAttention::stacked(const Matrix& wq, const Matrix& wk) const {
  Vector v(parameters());
  v << Eigen::Map<const Vector>(wq.data(), wq.size()), Eigen::Map<const Vector>(wk.data(), wk.size());
  return v;
}

Matrix DenseAttention::score_jacobian(Row at) const {
  Matrix j = Matrix::Zero(visible(at.i), parameters());
  const auto fill = [&](std::int64_t first_row, std::int64_t offset, bool is_query) {
    Matrix unit = Matrix::Zero(is_query ? w_q.rows() : w_k.rows(), width);
    for (std::int64_t e = first_row * width; e < (first_row + head_dim) * width; ++e) {
      unit.data()[e] = 1.0;
      j.col(offset + e) = is_query ? products(unit, w_k, at) : products(w_q, unit, at);
      unit.data()[e] = 0.0;
    }
  };
  fill(at.h * head_dim, 0, true);
  fill(group(at.h) * head_dim, query_parameters(), false);
  return j;
}

Matrix DenseAttention::fisher() const {
  Matrix f = Matrix::Zero(parameters(), parameters());
  for_each_row([&](Row at) {
    if (!counts(at.i)) return;
    const Matrix j = score_jacobian(at);
    f += j.transpose() * metric(at) * j;
  });
  return f / static_cast<double>(counted_rows());
}

DenseAttention::Factors DenseAttention::factors() const {
  const Matrix square = Matrix::Zero(head_dim, head_dim), wide = Matrix::Zero(width, width);
  Factors f{.query_left = std::vector<Matrix>(static_cast<std::size_t>(heads), square),
            .key_left = std::vector<Matrix>(static_cast<std::size_t>(kv_heads), square),
            .query_right = wide,
            .key_right = wide};
  const double share = 1.0 / static_cast<double>(counted_rows()), share_of_head = share / static_cast<double>(heads);
  for_each_row([&](Row at) {
    if (!counts(at.i)) return;
    const Matrix m = metric(at);
    Matrix keys(m.rows(), head_dim), inputs(m.rows(), width);
    for (Eigen::Index j = 0; j < m.rows(); ++j) {
      keys.row(j) = key(w_k, at, j);
      inputs.row(j) = token(at.b, j);
    }
    const Vector q = query(w_q, at), input = token(at.b, at.i);
    f.query_left[static_cast<std::size_t>(at.h)] += share * scale * scale * keys.transpose() * m * keys;
    f.key_left[static_cast<std::size_t>(group(at.h))] += share * scale * scale * q * q.transpose();
    f.query_right += share_of_head * input * input.transpose();
    f.key_right += share_of_head * inputs.transpose() * m * inputs;
  });
  return f;
}

Vector DenseAttention::gradient(const Matrix& dout) const {
  return pulled_back([&](Row at) -> Vector { return metric(at) * payoffs(dout, at); });
}

}  // namespace monge::oracle
