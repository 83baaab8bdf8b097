// The workloads of configs/compare: each run comes close to the best possible loss, and none passes it.
#include <gtest/gtest.h>

#include "support/tiny_run.h"

namespace monge::train {
namespace {

struct Workload {
  const char* name;
  double excess;            // nats that the recipe may end above the optimum: a few times what it says to expect
  bool determined = false;  // whether there is one right answer each
};

void PrintTo(const Workload& workload, std::ostream* out) { *out << workload.name; }

class Workloads : public testing::TestWithParam<Workload> {};

TEST_P(Workloads, ApproachTheirOptimum) {
  const test::TempDirectory dir;
  const Config config = load_config(std::string(MONGE_SOURCE_DIR "/configs/compare/") + GetParam().name + ".yaml", {});
  Progress silent(nullptr);
  Trainer trainer(config, dir / "run", false, silent);
  ASSERT_EQ(trainer.run(), RunEnd::finished);
  for (const auto& line : test::metrics_of(dir / "run")) {
    // On the same windows a model can beat the best predictor by luck only.
    if (line.contains("excess_loss")) {
      EXPECT_GT(line["excess_loss"].get<double>(), -0.002);
    }
  }
  const nlohmann::json last = test::metrics_of(dir / "run").back();
  const double excess = last.at("excess_loss").get<double>();
  RecordProperty("excess_loss", std::to_string(excess));
  EXPECT_LT(excess, GetParam().excess);
  EXPECT_EQ(last.contains("val_accuracy"), GetParam().determined);
  if (last.contains("val_accuracy")) {
    EXPECT_GT(last["val_accuracy"].get<double>(), 0.99);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Workloads,
                         testing::Values(Workload{"markov", 0.06}, Workload{"in_context_markov", 0.03},
                                         Workload{"mess3", 0.003}, Workload{"zipf", 0.08}, Workload{"grammar", 0.03},
                                         Workload{"recall", 0.01, true}, Workload{"modular_addition", 0.02, true}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace monge::train
