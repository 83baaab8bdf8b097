#include "optim/matrix/symmetric.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <numeric>

#include "core/error.h"
#include "optim/matrix/lapack.h"

namespace monge::optim {
namespace {

/// While it lives, OpenBLAS runs on the calling thread: parallelism is over matrices, and results are those of one
/// thread.
class SerialBlas {
 public:
  SerialBlas() : before_(openblas_get_num_threads()) { openblas_set_num_threads(1); }
  ~SerialBlas() { openblas_set_num_threads(before_); }
  SerialBlas(const SerialBlas&) = delete;
  SerialBlas& operator=(const SerialBlas&) = delete;

 private:
  int before_;
};

/// Calls f(k) for each k < sizes.size(), in parallel, large sizes first. An OpenBLAS built without threads is not
/// thread-safe, so the loop is serial there.
template <class F>
void for_each_by_size(std::span<const std::int64_t> sizes, F f) {
  std::vector<std::size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return sizes[a] > sizes[b]; });
  const SerialBlas serial;
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic, 1) if (openblas_get_parallel() != 0)
  for (std::size_t i = 0; i < order.size(); ++i) {
    try {
      f(order[i]);
    } catch (...) {
#pragma omp critical
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

/// f(M) of each.
template <class Result, class F>
std::vector<Result> map(std::span<const SquareMatrix> matrices, F f) {
  std::vector<std::int64_t> sizes;
  for (const SquareMatrix& m : matrices) sizes.push_back(m.n);
  std::vector<Result> out(matrices.size());
  for_each_by_size(sizes, [&](std::size_t k) { out[k] = f(matrices[k].values, matrices[k].n); });
  return out;
}

bool finite(std::span<const double> values) {
  return std::ranges::all_of(values, [](double x) { return std::isfinite(x); });
}

void check(std::span<const double> m, std::int64_t n) {
  require(static_cast<std::int64_t>(m.size()) == n * n, "{} elements do not make a {} x {} matrix", m.size(), n, n);
  require(finite(m), "a {} x {} matrix is not finite", n, n);
}

/// Between row-major and LAPACK's column-major.
std::vector<double> transposed(std::span<const double> m, std::int64_t n) {
  constexpr std::int64_t block = 16;
  std::vector<double> out(m.size());
  for (std::int64_t i0 = 0; i0 < n; i0 += block) {
    for (std::int64_t j0 = 0; j0 < n; j0 += block) {
      for (std::int64_t i = i0; i < std::min(n, i0 + block); ++i) {
        for (std::int64_t j = j0; j < std::min(n, j0 + block); ++j) {
          out[static_cast<std::size_t>(j * n + i)] = m[static_cast<std::size_t>(i * n + j)];
        }
      }
    }
  }
  return out;
}

/// Eigenvalues, and the eigenvectors as rows.
Eigensystem eigenvectors_in_rows(std::span<const double> m, std::int64_t n) {
  check(m, n);
  const int size = static_cast<int>(n);
  Eigensystem out{std::vector<double>(static_cast<std::size_t>(n)), {m.begin(), m.end()}};
  int info = 0, integers_size = 3 + 5 * size;
  // LAPACK counts the elements of its workspace in 32 bits.
  require(n < 32000, "a {} x {} matrix is too large for an eigendecomposition", n, n);
  const int work_size = 1 + 6 * size + 2 * size * size;
  std::vector<double> work(static_cast<std::size_t>(work_size));
  std::vector<int> integers(static_cast<std::size_t>(integers_size));
  dsyevd_("V", "L", &size, out.vectors.data(), &size, out.values.data(), work.data(), &work_size, integers.data(),
          &integers_size, &info, 1, 1);
  require(info == 0, "the eigendecomposition of a {} x {} matrix did not converge", n, n);
  return out;
}

Eigensystem eigensystem_of(std::span<const double> m, std::int64_t n) {
  Eigensystem out = eigenvectors_in_rows(m, n);
  out.vectors = transposed(out.vectors, n);
  return out;
}

std::vector<double> inverse_of(std::span<const double> m, std::int64_t n, double shift) {
  check(m, n);
  const int size = static_cast<int>(n);
  std::vector<double> out(m.begin(), m.end());
  for (std::int64_t i = 0; i < n; ++i) out[static_cast<std::size_t>(i * n + i)] += shift;
  int info = 0;
  dpotrf_("U", &size, out.data(), &size, &info, 1);
  if (info == 0) dpotri_("U", &size, out.data(), &size, &info, 1);
  require(info == 0 && finite(out), "a {} x {} matrix is not positive definite", n, n);
  // The upper triangle by columns is the lower one by rows.
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < i; ++j) {
      out[static_cast<std::size_t>(j * n + i)] = out[static_cast<std::size_t>(i * n + j)];
    }
  }
  return out;
}

SquareMatrix power_of(std::span<const double> m, std::int64_t n, double exponent, double eps) {
  const Eigensystem system = eigenvectors_in_rows(m, n);
  const double largest = system.values.back();
  SquareMatrix out{n, std::vector<double>(m.size(), 0.0)};
  if (largest <= 0.0) {
    for (std::int64_t i = 0; i < n; ++i) out.values[static_cast<std::size_t>(i * n + i)] = 1.0;
    return out;
  }
  // V f V^T = (V sqrt(f)) (V sqrt(f))^T; the columns of V are those of LAPACK.
  std::vector<double> scaled = system.vectors;
  for (std::int64_t j = 0; j < n; ++j) {
    const double f =
        std::pow(std::max(system.values[static_cast<std::size_t>(j)], 0.0) + eps * largest, 0.5 * exponent);
    for (std::int64_t i = 0; i < n; ++i) scaled[static_cast<std::size_t>(j * n + i)] *= f;
  }
  const int size = static_cast<int>(n);
  const double one = 1.0, none = 0.0;
  dgemm_("N", "T", &size, &size, &size, &one, scaled.data(), &size, scaled.data(), &size, &none, out.values.data(),
         &size, 1, 1);
  return out;
}

SquareMatrix orthonormal_columns_of(std::span<const double> m, std::int64_t n) {
  check(m, n);
  const int size = static_cast<int>(n), work_size = 64 * size;
  std::vector<double> q = transposed(m, n), tau(static_cast<std::size_t>(n)), work(static_cast<std::size_t>(work_size));
  std::vector<bool> flipped;
  int info = 0;
  dgeqrf_(&size, &size, q.data(), &size, tau.data(), work.data(), &work_size, &info);
  for (std::int64_t j = 0; j < n; ++j) flipped.push_back(q[static_cast<std::size_t>(j * n + j)] < 0.0);
  dorgqr_(&size, &size, &size, q.data(), &size, tau.data(), work.data(), &work_size, &info);
  for (std::int64_t j = 0; j < n; ++j) {
    if (!flipped[static_cast<std::size_t>(j)]) continue;
    for (std::int64_t i = 0; i < n; ++i) q[static_cast<std::size_t>(j * n + i)] *= -1.0;
  }
  return {n, transposed(q, n)};
}

}  // namespace

bool all_finite(std::span<const SquareMatrix> matrices) {
  return std::ranges::all_of(matrices, [](const SquareMatrix& m) { return finite(m.values); });
}

std::vector<double> damped_inverse(std::span<const double> m, std::int64_t n, double shift) {
  return damped_inverses(m, n, std::span(&shift, 1));
}

std::vector<double> damped_inverses(std::span<const double> matrices, std::int64_t n, std::span<const double> shifts) {
  const auto size = static_cast<std::size_t>(n * n);
  require(matrices.size() == shifts.size() * size, "{} elements for {} matrices of {} x {}", matrices.size(),
          shifts.size(), n, n);
  std::vector<double> out(matrices.size());
  for_each_by_size(std::vector<std::int64_t>(shifts.size(), n), [&](std::size_t k) {
    std::ranges::copy(inverse_of(matrices.subspan(k * size, size), n, shifts[k]),
                      out.begin() + static_cast<std::ptrdiff_t>(k * size));
  });
  return out;
}

Eigensystem eigensystem(std::span<const double> m, std::int64_t n) {
  const SerialBlas serial;
  return eigensystem_of(m, n);
}

std::vector<Eigensystem> eigensystems(std::span<const SquareMatrix> matrices) {
  return map<Eigensystem>(matrices, eigensystem_of);
}

std::vector<SquareMatrix> matrix_powers(std::span<const SquareMatrix> matrices, double exponent, double eps) {
  return map<SquareMatrix>(matrices,
                           [=](std::span<const double> m, std::int64_t n) { return power_of(m, n, exponent, eps); });
}

std::vector<SquareMatrix> orthonormal_columns(std::span<const SquareMatrix> matrices) {
  return map<SquareMatrix>(matrices, orthonormal_columns_of);
}

}  // namespace monge::optim
