#include "train/data/made_up/zipf.h"

#include <gtest/gtest.h>

#include <Eigen/LU>
#include <algorithm>
#include <cmath>

namespace monge::train {
namespace {

ZipfOptions options(std::int32_t symbols, double exponent, double pairing, std::int64_t language_seed = 1) {
  ZipfOptions result;
  result.symbols = symbols;
  result.exponent = exponent;
  result.pairing = pairing;
  result.language_seed = language_seed;
  return result;
}

/// The places of the partners: one in each row, where more than Zipf's share lies.
std::vector<std::size_t> partners(const ZipfOptions& o) {
  const auto V = static_cast<std::size_t>(o.symbols);
  double sum = 0.0;
  for (std::size_t i = 0; i < V; ++i) sum += std::pow(1.0 + static_cast<double>(i), -o.exponent);
  const std::vector<double> rows = zipf_rows(o);
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < V; ++i) {
    for (std::size_t j = 0; j < V; ++j) {
      const double zipf = (1.0 - o.pairing) * std::pow(1.0 + static_cast<double>(j), -o.exponent) / sum;
      const double more = rows[i * V + j] - zipf;
      if (std::abs(more) < 1e-14) continue;
      EXPECT_NEAR(more, o.pairing, 1e-14);
      found.push_back(j);
    }
    EXPECT_EQ(found.size(), i + 1);
  }
  return found;
}

TEST(Zipf, WithoutPartnersHasTheEntropyOfZipfsLaw) {
  // H = -sum p ln p for p ~ 1 / rank.
  EXPECT_NEAR(*ZipfLanguage(options(64, 1.0, 0.0)).entropy_rate(), 3.3714, 5e-5);
  EXPECT_NEAR(*ZipfLanguage(options(256, 1.0, 0.0)).entropy_rate(), 4.3125, 5e-5);
  EXPECT_NEAR(*ZipfLanguage(options(50, 0.0, 0.0)).entropy_rate(), std::log(50.0), 1e-12);
}

TEST(Zipf, EveryTokenHasOnePartnerOfItsOwn) {
  std::vector<std::size_t> one = partners(options(40, 1.2, 0.3));
  const std::vector<std::size_t> other = partners(options(40, 1.2, 0.3, 2));
  EXPECT_NE(one, other);
  EXPECT_EQ(one, partners(options(40, 1.2, 0.3)));
  std::ranges::sort(one);
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_EQ(one[i], i);
}

TEST(Zipf, EntropyRateAgreesWithADenseSolve) {
  const ZipfOptions o = options(30, 1.0, 0.6);
  const ZipfLanguage language(o);
  const std::vector<double> rows = zipf_rows(o);
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Matrix P = Eigen::Map<const Matrix>(rows.data(), 30, 30);
  // pi (I - P) = 0 with one equation replaced by sum pi = 1.
  Matrix system = (Matrix::Identity(30, 30) - P).transpose();
  system.row(0).setOnes();
  const Eigen::VectorXd law = system.partialPivLu().solve(Eigen::VectorXd::Unit(30, 0));
  const double rate = -(law.asDiagonal() * (P.array() * P.array().log()).matrix()).sum();
  EXPECT_NEAR(*language.entropy_rate(), rate, 1e-10);
  for (Eigen::Index i = 0; i < 30; ++i) EXPECT_NEAR(language.stationary()[static_cast<std::size_t>(i)], law[i], 1e-11);
}

TEST(Zipf, IsADatasetThatSaysWhatItIs) {
  const auto data = datasets().make(datasets().choose("zipf"), {.context = 16, .seed = 1});
  EXPECT_EQ(data->vocab(), 256);
  EXPECT_NE(data->description().find("zipf: 256 symbols"), std::string::npos) << data->description();
  EXPECT_NEAR(*data->validation_optimum(256), *data->entropy_rate(), 0.1);
}

}  // namespace
}  // namespace monge::train
