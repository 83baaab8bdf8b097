#include "train/data/made_up/zipf.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "core/random_streams.h"
#include "train/data/symbols.h"

namespace monge::train {

void ZipfOptions::fields(Fields& f) {
  f("symbols", symbols, {.doc = "size of the vocabulary", .min = 2, .max = max_symbols});
  f("exponent", exponent, {.doc = "frequency falls as 1 / rank^exponent; 0: all alike", .min = 0.0, .max = 10.0});
  f("pairing", pairing,
    {.doc = "probability that a token is followed by its partner; 0: independent tokens", .min = 0.0, .max = 0.99});
  f("language_seed", language_seed,
    {.doc = "which partners, and the validation sequences", .min = 0, .max = any_integer});
  f("validation_windows", validation_windows, {.doc = "number of validation sequences", .min = 1, .max = 1 << 20});
}

std::vector<double> zipf_rows(const ZipfOptions& options) {
  const auto symbols = static_cast<std::size_t>(options.symbols);
  std::vector<double> law(symbols);
  for (std::size_t i = 0; i < symbols; ++i) law[i] = std::pow(static_cast<double>(i + 1), -options.exponent);
  const double sum = std::accumulate(law.begin(), law.end(), 0.0);

  std::vector<std::size_t> partner(symbols);
  std::iota(partner.begin(), partner.end(), std::size_t{0});
  RandomSequence random(static_cast<std::uint64_t>(options.language_seed), language_stream);
  for (std::size_t i = symbols; i > 1; --i) std::swap(partner[i - 1], partner[random.below(i)]);

  std::vector<double> rows(symbols * symbols);
  for (std::size_t i = 0; i < symbols; ++i) {
    for (std::size_t j = 0; j < symbols; ++j) rows[i * symbols + j] = (1.0 - options.pairing) * law[j] / sum;
    rows[i * symbols + partner[i]] += options.pairing;
  }
  return rows;
}

ZipfLanguage::ZipfLanguage(const ZipfOptions& options)
    : MarkovLanguage(options.symbols, 1, zipf_rows(options)), options_(options) {}

std::string ZipfLanguage::description() const {
  return fmt::format("zipf: {} symbols, frequency 1 / rank^{}, partners {:.0f} %, entropy rate {:.4f} nats per token",
                     options_.symbols, options_.exponent, 100.0 * options_.pairing, *entropy_rate());
}

std::unique_ptr<Dataset> make_zipf_dataset(const ZipfOptions& options, const DatasetContext& context) {
  return make_language_dataset(std::make_unique<ZipfLanguage>(options), options.validation_windows,
                               static_cast<std::uint64_t>(options.language_seed), context);
}

}  // namespace monge::train
