#include "train/data/made_up/markov.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/random_streams.h"
#include "train/data/symbols.h"

namespace monge::train {
namespace {

constexpr std::size_t max_table = std::size_t{1} << 20;  // probabilities: a few times 8 MB, and a second to build

std::size_t power(std::size_t base, std::size_t exponent) {
  std::size_t result = 1;
  for (std::size_t i = 0; i < exponent; ++i) result *= base;
  return result;
}

/// Logarithm of a gamma variable: logarithms, because with a small shape the variable itself underflows.
/// Marsaglia & Tsang, "A simple method for generating gamma variables", ACM TOMS 2000.
double log_gamma_draw(double shape, RandomSequence& random) {
  if (shape < 1.0) return log_gamma_draw(shape + 1.0, random) + std::log(1.0 - random.uniform()) / shape;
  const double d = shape - 1.0 / 3.0;
  for (;;) {
    const double x = random.normal();
    const double root = 1.0 + x / std::sqrt(9.0 * d);
    if (root <= 0.0) continue;
    const double v = root * root * root;
    if (std::log(1.0 - random.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return std::log(d * v);
  }
}

}  // namespace

void MarkovOptions::fields(Fields& f) {
  f("symbols", symbols, {.doc = "size of the vocabulary", .min = 2, .max = max_symbols});
  f("order", order, {.doc = "how many symbols back the next one depends on", .unit = "tokens", .min = 0, .max = 16});
  f("concentration", concentration,
    {.doc = "of the Dirichlet law the rows are drawn from: small is predictable, large is uniform",
     .min = 1e-3,
     .max = 1e6});
  f("language_seed", language_seed,
    {.doc = "which language, and its validation sequences", .min = 0, .max = any_integer});
  f("validation_windows", validation_windows, {.doc = "number of validation sequences", .min = 1, .max = 1 << 20});
}

void MarkovOptions::check() const {
  // In floating point: a high order overflows every integer.
  const double table = std::pow(symbols, order + 1.0);
  if (table > static_cast<double>(max_table)) {
    throw InputError(fmt::format(
        "data.symbols = {} with data.order = {} needs a table of symbols^(order + 1) = {:.3g} probabilities; at most "
        "{} are allowed: lower data.order or data.symbols",
        symbols, order, table, max_table));
  }
}

std::vector<double> dirichlet_rows(const MarkovOptions& options) {
  const auto symbols = static_cast<std::size_t>(options.symbols);
  std::vector<double> rows(power(symbols, static_cast<std::size_t>(options.order) + 1));
  RandomSequence random(static_cast<std::uint64_t>(options.language_seed), language_stream);
  for (std::size_t begin = 0; begin < rows.size(); begin += symbols) {
    const std::span<double> row(rows.data() + begin, symbols);
    for (double& p : row) p = log_gamma_draw(options.concentration, random);
    const double largest = *std::ranges::max_element(row);
    for (double& p : row) p = std::exp(p - largest);
    const double sum = std::accumulate(row.begin(), row.end(), 0.0);
    for (double& p : row) p /= sum;
  }
  return rows;
}

MarkovLanguage::MarkovLanguage(std::int32_t symbols, std::int32_t order, std::vector<double> rows)
    : symbols_(static_cast<std::size_t>(symbols)),
      order_(static_cast<std::size_t>(order)),
      contexts_(power(symbols_, order_)),
      tokenizer_(readable_symbols(symbols_)),
      rows_(std::move(rows)) {
  require(rows_.size() == contexts_ * symbols_, "markov: {} probabilities, not {}", rows_.size(), contexts_ * symbols_);

  // Summing out the newest symbol, again and again; by stationarity it does not matter where the prefix stands.
  prefixes_.resize(order_ + 1);
  prefixes_[order_] = find_stationary();
  for (std::size_t j = order_; j-- > 0;) {
    prefixes_[j].resize(prefixes_[j + 1].size() / symbols_);
    for (std::size_t i = 0; i < prefixes_[j + 1].size(); ++i) prefixes_[j][i / symbols_] += prefixes_[j + 1][i];
  }

  first_context_.emplace_back(stationary());
  next_symbol_.reserve(contexts_);
  for (std::size_t context = 0; context < contexts_; ++context) {
    next_symbol_.emplace_back(row(context));
    for (const double p : row(context)) {
      if (p > 0.0) entropy_rate_ -= stationary()[context] * p * std::log(p);
    }
  }
}

std::vector<double> MarkovLanguage::find_stationary() const {
  // Power iteration on the lazy chain (I + P) / 2: the same stationary law, but no period that it could oscillate with.
  constexpr int max_iterations = 10000;
  std::vector<double> law(contexts_, 1.0 / static_cast<double>(contexts_));
  for (int iteration = 0; iteration < max_iterations; ++iteration) {
    std::vector<double> moved(contexts_, 0.0);
    for (std::size_t context = 0; context < contexts_; ++context) {
      const std::span<const double> probabilities = row(context);
      for (std::size_t symbol = 0; symbol < symbols_; ++symbol) {
        moved[next(context, symbol)] += law[context] * probabilities[symbol];
      }
    }
    double change = 0.0;
    double sum = 0.0;
    for (std::size_t context = 0; context < contexts_; ++context) {
      change += std::abs(moved[context] - law[context]);
      law[context] = 0.5 * (law[context] + moved[context]);
      sum += law[context];
    }
    for (double& p : law) p /= sum;
    if (change < 1e-13) return law;
  }
  throw InputError(fmt::format(
      "the stationary law of this Markov language was not found to 1e-12 in {} iterations, because the chain hardly "
      "ever "
      "leaves some of its states: raise data.concentration, lower data.order or take another data.language_seed",
      max_iterations));
}

std::string MarkovLanguage::description() const {
  return fmt::format("markov: order {}, {} symbols, entropy rate {:.4f} nats per token (uniform: {:.4f})", order_,
                     symbols_, entropy_rate_, std::log(static_cast<double>(symbols_)));
}

void MarkovLanguage::generate(RandomSequence& random, std::span<std::int32_t> tokens) const {
  auto context = static_cast<std::size_t>(first_context_.front().draw(random));
  const std::size_t known = std::min(order_, tokens.size());
  std::size_t weight = contexts_;
  for (std::size_t i = 0; i < known; ++i) {
    weight /= symbols_;
    tokens[i] = static_cast<std::int32_t>(context / weight % symbols_);
  }
  for (std::size_t i = known; i < tokens.size(); ++i) {
    tokens[i] = next_symbol_[context].draw(random);
    context = next(context, static_cast<std::size_t>(tokens[i]));
  }
}

double MarkovLanguage::best_loss(std::span<const std::int32_t> tokens) const {
  double loss = 0.0;
  std::size_t context = 0;  // of the last min(i, k) symbols
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto symbol = static_cast<std::size_t>(tokens[i]);
    const double probability =
        i < order_ ? prefixes_[i + 1][context * symbols_ + symbol] / prefixes_[i][context] : row(context)[symbol];
    if (i > 0) loss -= std::log(probability);
    context = next(context, symbol);
  }
  return loss;
}

std::unique_ptr<Dataset> make_markov_dataset(const MarkovOptions& options, const DatasetContext& context) {
  options.check();
  auto language = std::make_unique<MarkovLanguage>(options.symbols, options.order, dirichlet_rows(options));
  return make_language_dataset(std::move(language), options.validation_windows,
                               static_cast<std::uint64_t>(options.language_seed), context);
}

}  // namespace monge::train
