// How often a comparison claims a difference that is not there. Searches, finalists and reports are those of the
// program, on made-up losses: a parabola in octaves of one setting, and the luck of seeds. Losses are in standard
// deviations of what a seed adds to one run and to no other.
//
// The tables printed are those of docs/results/compare.md.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>

#include "core/random.h"
#include "support/temp_directory.h"
#include "tools/compare/search/plan.h"
#include "tools/compare/search/search.h"
#include "tools/compare/statistics/family.h"
#include "tools/compare/statistics/significance.h"

namespace monge::compare {
namespace {

constexpr double level = 0.05;
constexpr double allowed_rate = 0.06;
constexpr std::array<double, 3> curvatures = {0.1, 1.0, 10.0};  // per octave squared
constexpr std::array<std::size_t, 3> numbers_of_variants = {2, 4, 12};
constexpr std::array<std::size_t, 3> numbers_of_studies = {3, 5, 8};
constexpr std::array<std::size_t, 2> numbers_of_report_seeds = {1, 3};

// Losses

enum class Law { normal, t3, lognormal };
constexpr std::array<Law, 3> laws = {Law::normal, Law::t3, Law::lognormal};
const char* name(Law law) { return law == Law::normal ? "normal" : law == Law::t3 ? "t3" : "lognormal"; }

/// Of mean 0 and standard deviation 1.
double deviate(Law law, RandomSequence& random) {
  const double normal = random.normal();
  if (law == Law::normal) return normal;
  if (law == Law::lognormal) return (std::exp(normal) - std::exp(0.5)) / std::sqrt(std::exp(1.0) * std::expm1(1.0));
  // Student's t with 3 degrees of freedom has variance 3. The sum of three squares of normals: one, and two at once.
  const double third = random.normal();
  return normal / std::sqrt(third * third - 2.0 * std::log(1.0 - random.uniform()));
}

const std::vector<Axis> axes = {{"optimizer.lr", {0.005, 0.01, 0.02}}};

struct Surface {
  double curvature = 1.0;
  double optimum = 0.01;
  double loss(const Setting& setting) const { return curvature * std::pow(std::log2(setting[0] / optimum), 2.0); }
};

// The protocol, as plan.cpp plans it

struct Protocol {
  std::size_t max_trials = 12, finalists = 3, final_seeds = 2, report_seeds = 3;
  std::size_t seeds() const { return 1 + final_seeds + report_seeds; }  // of a study: tuning, finalists, report
};

template <class Loss>  // of a setting and a seed
class Tuning {
 public:
  Tuning(const Protocol& protocol, Loss loss) : protocol_(protocol), loss_(std::move(loss)) {}

  void search() {
    follow([&] { return next_settings(axes, trials_, protocol_.max_trials, anything); });
  }
  void refine(std::size_t count) {
    follow([&] { return refinements(axes, trials_, count - std::min(count, trials_.size()), anything); });
  }
  Setting choose() {
    std::vector<Trial> last = finalists(trials_, protocol_.finalists);
    if (last.size() > 1) {
      for (Trial& trial : last) {
        for (std::size_t seed = 1; seed <= protocol_.final_seeds; ++seed) trial.loss += loss_(trial.setting, seed);
        trial.loss /= static_cast<double>(1 + protocol_.final_seeds);
      }
    }
    return best_of(last).setting;
  }
  std::size_t trials() const { return trials_.size(); }

 private:
  static bool anything(const Setting&) { return true; }

  template <class Next>
  void follow(const Next& next) {
    for (std::vector<Setting> settings = next(); !settings.empty(); settings = next()) {
      for (const Setting& setting : settings) trials_.push_back({setting, loss_(setting, 0)});
    }
  }

  Protocol protocol_;
  Loss loss_;
  std::vector<Trial> trials_;
};

/// What each variant chooses in one study. `loss` is a function of variant, setting and seed.
template <class Loss>
std::vector<Setting> tuned(std::size_t variants, const Protocol& protocol, const Loss& loss) {
  const auto loss_of = [&loss](std::size_t variant) {
    return [&loss, variant](const Setting& setting, std::size_t seed) { return loss(variant, setting, seed); };
  };
  std::vector<Tuning<decltype(loss_of(0))>> tunings;
  std::size_t most = 0;
  for (std::size_t variant = 0; variant < variants; ++variant) {
    tunings.emplace_back(protocol, loss_of(variant));
    tunings.back().search();
    most = std::max(most, tunings.back().trials());
  }
  std::vector<Setting> chosen;
  for (auto& tuning : tunings) {
    tuning.refine(most);
    chosen.push_back(tuning.choose());
  }
  return chosen;
}

/// Losses of the report seeds of one study, [variant][seed]. All variants have one surface; what a seed adds to all of
/// them is as large as what it adds to one.
std::vector<std::vector<double>> study(std::size_t variants, const Protocol& protocol, const Surface& surface, Law law,
                                       RandomSequence& random) {
  std::vector<double> shared;
  for (std::size_t seed = 0; seed < protocol.seeds(); ++seed) shared.push_back(deviate(law, random));
  const auto loss = [&](std::size_t, const Setting& setting, std::size_t seed) {
    return surface.loss(setting) + shared[seed] + deviate(law, random);
  };
  const std::vector<Setting> chosen = tuned(variants, protocol, loss);
  std::vector<std::vector<double>> reports(variants);
  for (std::size_t variant = 0; variant < variants; ++variant) {
    for (std::size_t seed = protocol.seeds() - protocol.report_seeds; seed < protocol.seeds(); ++seed) {
      reports[variant].push_back(loss(variant, chosen[variant], seed));
    }
  }
  return reports;
}

/// The given values lie around a place up to an octave from the optimum.
Surface somewhere(double curvature, RandomSequence& random) {
  return {curvature, axes[0].values[1] * std::exp2(2.0 * random.uniform() - 1.0)};
}

TEST(FalseClaims, AreThoseOfTheProtocolThatPlansRuns) {
  const test::TempDirectory folder;
  test::write_file(folder / "tiny.yaml",
                   "data: {kind: markov, symbols: 6, order: 1}\n"
                   "model: {layers: 1, heads: 2, width: 16, context: 8}\n"
                   "optimizer: {name: adamw, lr: 1.0e-2}\n"
                   "train: {steps: 40, batch: 4}\n");
  test::write_file(folder / "c.yaml",
                   "baseline: a\nworkloads: [{config: tiny.yaml}]\ntune: {studies: 6}\nvariants:\n"
                   "  a: {optimizer: {lr: [0.005, 0.01, 0.02]}}\n"
                   "  b: {optimizer: {lr: [0.005, 0.01, 0.02]}}\n"
                   "  c: {optimizer: {lr: [0.005, 0.01, 0.02]}}\n");
  Comparison comparison(folder / "c.yaml", {}, 1);
  // A function of the run alone. The optima differ, so that the searches take different numbers of trials.
  const auto loss_of = [](std::size_t variant, const Setting& setting, std::int64_t seed) {
    RandomSequence random(std::bit_cast<std::uint64_t>(setting[0]) ^ static_cast<std::uint64_t>(seed),
                          static_cast<std::uint32_t>(variant));
    return Surface{1.0, 0.01 * std::exp2(1.5 * static_cast<double>(variant))}.loss(setting) + random.normal();
  };
  std::map<PlannedRun, double> losses;
  const FinishedRuns finished = [&](const PlannedRun& run) -> std::optional<FinishedRun> {
    if (!losses.contains(run)) return std::nullopt;
    return FinishedRun{.loss = losses.at(run)};
  };
  RunPlan plan = plan_runs(comparison, finished);
  for (int rounds = 0; !plan.complete && rounds < 100; ++rounds) {
    for (const PlannedRun& run : plan.runs) losses[run] = loss_of(run.variant, run.setting, run.seed);
    plan = plan_runs(comparison, finished);
  }
  ASSERT_TRUE(plan.complete);
  ASSERT_EQ(plan.tuned.size(), comparison.variants() * comparison.studies());
  for (const Tuned& of_plan : plan.tuned) {
    std::vector<std::int64_t> seeds = comparison.tuning_seeds(of_plan.study, of_plan.variant);
    const std::vector<std::int64_t> more = comparison.final_seeds(of_plan.study, of_plan.variant);
    seeds.insert(seeds.end(), more.begin(), more.end());
    EXPECT_EQ(seeds.size() + Protocol{}.report_seeds, Protocol{}.seeds());
    const auto loss = [&](std::size_t variant, const Setting& setting, std::size_t seed) {
      return loss_of(variant, setting, seeds.at(seed));
    };
    const std::vector<Setting> chosen = tuned(comparison.variants(), Protocol{}, loss);
    EXPECT_EQ(of_plan.axes[0].second, chosen[of_plan.variant][0]) << of_plan.study << ", " << of_plan.variant;
  }
}

// Many comparisons

/// As many studies as are ever needed; of smaller comparisons they are the first.
using Simulated = std::vector<std::vector<std::vector<double>>>;  // [study][variant][report seed]

struct Situation {
  std::size_t variants = 2;
  Law law = Law::normal;
  double curvature = 1.0;
};

std::vector<Simulated> simulate(const Situation& situation, std::size_t repetitions, std::uint64_t seed) {
  std::vector<Simulated> comparisons(repetitions);
  for (std::size_t repetition = 0; repetition < repetitions; ++repetition) {
    RandomSequence random(seed, static_cast<std::uint32_t>(repetition));
    const Surface surface = somewhere(situation.curvature, random);
    for (std::size_t i = 0; i < numbers_of_studies.back(); ++i) {
      comparisons[repetition].push_back(study(situation.variants, Protocol{}, surface, situation.law, random));
    }
  }
  return comparisons;
}

/// The values of studies. A constant added to all losses of a variant changes none of its choices: `heights` are added
/// here.
Contenders contenders(const Simulated& simulated, std::size_t studies, std::size_t report_seeds,
                      const std::vector<double>& heights) {
  Contenders contenders;
  for (std::size_t variant = 0; variant < heights.size(); ++variant) {
    std::vector<double>& values = contenders.values.emplace_back();
    for (std::size_t i = 0; i < studies; ++i) {
      values.push_back(heights[variant] + mean(std::span(simulated[i][variant]).first(report_seeds)));
    }
  }
  return contenders;
}

Family family_of(const Contenders& contenders) { return test_family(std::span(&contenders, 1), level); }

/// Whether a pair is claimed to differ that does not, or the wrong way round.
bool has_false_claim(const Family& family, const std::vector<double>& heights) {
  return std::ranges::any_of(family.pairs[0], [&](const PairTest& pair) {
    const double truth = heights[pair.one] - heights[pair.other];
    return pair.side != 0 && !(pair.side * truth > 0.0);
  });
}

double false_claims(const std::vector<Simulated>& comparisons, std::size_t studies, std::size_t report_seeds,
                    const std::vector<double>& heights) {
  const auto claims = std::ranges::count_if(comparisons, [&](const Simulated& simulated) {
    return has_false_claim(family_of(contenders(simulated, studies, report_seeds, heights)), heights);
  });
  return static_cast<double>(claims) / static_cast<double>(comparisons.size());
}

/// The standard deviation of the difference of two variants in one study.
double paired_deviation(const std::vector<Simulated>& comparisons, std::size_t report_seeds) {
  double squares = 0.0, count = 0.0;
  for (const Simulated& simulated : comparisons) {
    for (const auto& reports : simulated) {
      for (std::size_t variant = 0; variant + 1 < reports.size(); variant += 2, ++count) {
        const double one = mean(std::span(reports[variant]).first(report_seeds));
        squares += std::pow(one - mean(std::span(reports[variant + 1]).first(report_seeds)), 2.0);
      }
    }
  }
  return std::sqrt(squares / count);
}

/// How many of the pairs of the first variant, which is better by this much, are found.
double power(const std::vector<Simulated>& comparisons, std::size_t studies, std::size_t report_seeds,
             std::size_t variants, double difference) {
  std::vector<double> heights(variants, 0.0);
  heights[0] = -difference;
  std::ptrdiff_t found = 0;
  for (const Simulated& simulated : comparisons) {
    const Family family = family_of(contenders(simulated, studies, report_seeds, heights));
    found += std::ranges::count_if(family.pairs[0], [](const PairTest& p) { return p.one == 0 && p.side < 0; });
  }
  return static_cast<double>(found) / static_cast<double>(comparisons.size() * (variants - 1));
}

// Tables

/// Rows by their first columns; further columns in the order in which they are added.
class Table {
 public:
  explicit Table(std::string header) : text_(std::move(header)) {
    const auto columns = std::ranges::count(text_, '|') - 1;
    text_ += "\n|";
    for (std::ptrdiff_t i = 0; i < columns; ++i) text_ += "---|";
    text_ += '\n';
  }
  void add(const std::string& row, const std::vector<double>& shares) {
    if (!rows_.contains(row)) order_.push_back(row);
    std::vector<std::string> percents;
    for (const double share : shares) percents.push_back(fmt::format("{:.1f}", 100.0 * share));
    rows_[row] += fmt::format(" {} |", fmt::join(percents, " / "));
  }
  void print() const {
    fmt::print("\n{}", text_);
    for (const std::string& row : order_) fmt::print("{}{}\n", row, rows_.at(row));
    fmt::print("\n");
  }

 private:
  std::string text_;
  std::vector<std::string> order_;
  std::map<std::string, std::string> rows_;
};

double standard_error(double rate, std::size_t repetitions) {
  return std::sqrt(rate * (1.0 - rate) / static_cast<double>(repetitions));
}

TEST(FalseClaims, AreRareAndDifferencesAreFound) {
  Table rates(
      "| variants | half of them worse | studies | report seeds | normal, curvature 0.1 / 1 / 10 | t3 | lognormal |");
  Table powers("| variants | studies | normal, better by 1 / 2 / 3 | t3 | lognormal |");
  std::vector<double> all_rates;
  std::uint64_t seed = 0;
  for (const std::size_t variants : numbers_of_variants) {
    const std::size_t repetitions = variants == 2 ? 6000 : variants == 4 ? 1000 : 300;
    const std::size_t rates_before = all_rates.size();
    std::vector<double> equal(variants, 0.0), half_worse(variants, 0.0);
    std::fill(half_worse.begin() + static_cast<std::ptrdiff_t>(variants / 2), half_worse.end(), 5.0);
    for (const Law law : laws) {
      std::map<double, std::vector<Simulated>> comparisons;
      for (const double curvature : curvatures) {
        comparisons[curvature] = simulate({variants, law, curvature}, repetitions, ++seed);
      }
      for (const auto& heights : {equal, half_worse}) {
        const bool some_worse = heights.back() > 0.0;
        if (some_worse && variants == 2) continue;  // no two are equal
        for (const std::size_t studies : numbers_of_studies) {
          for (const std::size_t report_seeds : numbers_of_report_seeds) {
            const std::string row =
                fmt::format("| {} | {} | {} | {} |", variants, some_worse ? "yes" : "no", studies, report_seeds);
            std::vector<double> cells;
            for (const double curvature : curvatures) {
              cells.push_back(false_claims(comparisons[curvature], studies, report_seeds, heights));
              EXPECT_LE(cells.back(), allowed_rate + 3.0 * standard_error(allowed_rate, repetitions))
                  << fmt::format("{} {} {}", row, name(law), curvature);
            }
            // The luck of this simulation is less in a mean.
            EXPECT_LE(mean(cells), allowed_rate + 3.0 * standard_error(allowed_rate, 3 * repetitions))
                << row << ' ' << name(law);
            rates.add(row, cells);
            all_rates.insert(all_rates.end(), cells.begin(), cells.end());
          }
        }
      }
      for (const std::size_t studies : numbers_of_studies) {
        std::vector<double> found;
        for (const double deviations : {1.0, 2.0, 3.0}) {
          std::vector<double> cells;
          for (const double curvature : curvatures) {
            const double difference = deviations * paired_deviation(comparisons[curvature], 3);
            cells.push_back(power(comparisons[curvature], studies, 3, variants, difference));
          }
          found.push_back(mean(cells));
        }
        // A test that claims nothing is never wrong.
        if (studies == 8) {
          EXPECT_GE(found.back(), 0.9) << variants << " variants, " << name(law);
        }
        powers.add(fmt::format("| {} | {} |", variants, studies), found);
      }
    }
    EXPECT_LE(mean(std::span(all_rates).subspan(rates_before)), level) << variants << " variants";
  }
  fmt::print("\nComparisons with a false claim, per cent:\n");
  rates.print();
  fmt::print("Mean {:.2f} %, largest {:.1f} %.\n", 100.0 * mean(all_rates), 100.0 * std::ranges::max(all_rates));
  fmt::print(
      "\nDifferences found, per cent, one variant being better by so many standard deviations of a difference:\n");
  powers.print();
}

/// Whether any pair is significant by tests of single pairs, corrected by Holm.
bool found_by_holm(const std::vector<std::vector<double>>& values) {
  std::vector<double> p_values;
  for (std::size_t one = 0; one < values.size(); ++one) {
    for (std::size_t other = one + 1; other < values.size(); ++other) {
      p_values.push_back(paired_t_test(values[one], values[other]).p);
    }
  }
  return std::ranges::min(holm(p_values)) <= level;
}

TEST(FalseClaims, AreCommonWhereSettingsAreChosenOnceByOneSeed) {
  // Report seeds repeat the runs, not the choice: a variant that was lucky in tuning has better settings in all of
  // them. Eight studies of one report seed have as many reports, and choices as poor, but each has luck of its own.
  constexpr std::size_t variants = 12, repetitions = 300, reports = 8;
  const Protocol one_study{.finalists = 1, .final_seeds = 0, .report_seeds = reports};
  const Protocol of_many{.finalists = 1, .final_seeds = 0, .report_seeds = 1};
  const std::vector<double> equal(variants, 0.0);
  Table rates("| curvature | one study, Holm | one study, as a family | eight studies, Holm | eight, as a family |");
  for (const double curvature : curvatures) {
    std::array<double, 4> claims{};
    for (std::size_t repetition = 0; repetition < repetitions; ++repetition) {
      RandomSequence random(1000, static_cast<std::uint32_t>(repetition));
      const Surface surface = somewhere(curvature, random);
      const auto seeds = study(variants, one_study, surface, Law::normal, random);
      std::vector<std::vector<double>> studies(variants);
      for (std::size_t i = 0; i < reports; ++i) {
        const auto values = study(variants, of_many, surface, Law::normal, random);
        for (std::size_t variant = 0; variant < variants; ++variant) studies[variant].push_back(values[variant][0]);
      }
      claims[0] += found_by_holm(seeds);
      claims[1] += has_false_claim(family_of({.values = seeds}), equal);
      claims[2] += found_by_holm(studies);
      claims[3] += has_false_claim(family_of({.values = studies}), equal);
    }
    for (double& claim : claims) claim /= repetitions;
    // On a flat surface one setting is as good as another.
    if (curvature >= 1.0) {
      EXPECT_GT(claims[0], 0.15) << curvature;
    }
    const double most = allowed_rate + 3.0 * standard_error(allowed_rate, repetitions);
    EXPECT_LE(claims[2], most) << curvature;
    EXPECT_LE(claims[3], most) << curvature;
    for (const double claim : claims) rates.add(fmt::format("| {} |", curvature), {claim});
  }
  fmt::print("\nComparisons with a false claim, per cent, {} variants tuned by one seed, {} reports of each:\n",
             variants, reports);
  rates.print();
}

}  // namespace
}  // namespace monge::compare
