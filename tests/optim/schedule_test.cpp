// Schedules against the formulas, at their corners.
#include "optim/schedule.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "core/options/yaml.h"

namespace monge::optim {
namespace {

struct Holder : Options {
  Choice schedule = schedules().choose("constant");
  void fields(Fields& f) override { f("schedule", schedule, schedules(), {}); }
};

std::unique_ptr<Schedule> make(const std::string& yaml, double lr, std::int64_t steps) {
  Holder holder;
  read_yaml_text("schedule: " + yaml, "test", {}, holder);
  return schedules().make(holder.schedule, {.lr = lr, .steps = steps});
}

TEST(Schedule, WarmsUpLinearly) {
  for (const char* kind : {"constant", "cosine", "linear", "power", "wsd"}) {
    const auto s = make(std::string("{kind: ") + kind + ", warmup: 10}", 2.0, 100);
    EXPECT_DOUBLE_EQ(s->lr(1), 0.2) << kind;
    EXPECT_DOUBLE_EQ(s->lr(5), 1.0) << kind;
    EXPECT_DOUBLE_EQ(s->lr(10), 2.0) << kind;
  }
}

TEST(Schedule, ConstantStays) {
  const auto s = make("{kind: constant}", 0.5, 100);
  EXPECT_DOUBLE_EQ(s->lr(1), 0.5);
  EXPECT_DOUBLE_EQ(s->lr(100), 0.5);
}

TEST(Schedule, CosineFallsAlongHalfAPeriod) {
  const auto s = make("{kind: cosine, warmup: 100, final_lr: 1e-4}", 1e-3, 2000);
  EXPECT_DOUBLE_EQ(s->lr(2000), 1e-4);
  EXPECT_NEAR(s->lr(1050), 0.5 * (1e-3 + 1e-4), 1e-15);
  EXPECT_NEAR(s->lr(575), 1e-4 + 9e-4 * 0.5 * (1 + std::cos(std::numbers::pi / 4)), 1e-15);
}

TEST(Schedule, LinearFallsOnALine) {
  const auto power = make("{kind: power, power: 3, warmup: 10, final_lr: 0.2}", 1.0, 110),
             one = make("{kind: power, power: 1}", 1.0, 9);
  EXPECT_NEAR(power->lr(10), 1.0, 1e-12);
  EXPECT_NEAR(power->lr(60), 0.2 + 0.8 * 0.125, 1e-12);  // half of the way is left, and its cube
  EXPECT_NEAR(power->lr(110), 0.2, 1e-12);
  EXPECT_NEAR(one->lr(5), make("{kind: linear}", 1.0, 9)->lr(5), 1e-12);
  const auto s = make("{kind: linear, final_lr: 0.2}", 1.0, 100);
  EXPECT_DOUBLE_EQ(s->lr(1), 1.0);
  EXPECT_NEAR(s->lr(45), 1.0 - 0.8 * 44.0 / 99.0, 1e-12);
  EXPECT_DOUBLE_EQ(s->lr(100), 0.2);
}

TEST(Schedule, WsdDecaysOverItsShareOfAllSteps) {
  const auto s = make("{kind: wsd, warmup: 20, decay_fraction: 0.25, final_lr: 0}", 1.0, 200);
  EXPECT_DOUBLE_EQ(s->lr(20), 1.0);
  EXPECT_NEAR(s->lr(151), 1.0, 1e-12);
  EXPECT_NEAR(s->lr(176), 0.5, 1e-12);
  EXPECT_NEAR(s->lr(200), 0.02, 1e-12);
  const auto above = make("{kind: wsd, warmup: 20, decay_fraction: 0.25, final_lr: 0.2}", 1.0, 200);
  EXPECT_NEAR(above->lr(150), 1.0, 1e-12);
  EXPECT_NEAR(above->lr(200), 0.2, 1e-12);
  EXPECT_DOUBLE_EQ(make("{kind: wsd, decay_fraction: 0}", 1.0, 200)->lr(200), 1.0);
}

// No step is wasted: without a warmup the first one has the peak, and the last one has more than a final rate of 0.
TEST(Schedule, BeginsAtThePeakAndEndsAboveZero) {
  for (const char* kind : {"cosine", "linear", "power", "wsd"}) {
    for (const std::int64_t steps : {1, 2, 10, 1000}) {
      const auto s = make(fmt::format("{{kind: {}}}", kind), 1.0, steps);
      EXPECT_DOUBLE_EQ(s->lr(1), 1.0) << kind << " " << steps;
      EXPECT_GT(s->lr(steps), 0.0) << kind << " " << steps;
      for (std::int64_t t = 2; t <= steps; ++t) EXPECT_LE(s->lr(t), s->lr(t - 1)) << kind << " " << steps;
    }
  }
  EXPECT_NEAR(make("{kind: linear}", 1.0, 4)->lr(4), 0.25, 1e-12);
}

// As in a quick trial of settings for a long run.
TEST(Schedule, ShortensAWarmupBeyondTheRun) {
  const auto s = make("{kind: cosine, warmup: 2000}", 1.0, 100);
  EXPECT_DOUBLE_EQ(s->lr(1), 0.1);
  EXPECT_DOUBLE_EQ(s->lr(10), 1.0);
  EXPECT_LT(s->lr(50), 0.7);
  ASSERT_EQ(s->notes().size(), 1U);
  EXPECT_EQ(
      s->notes()[0],
      "optimizer.schedule.warmup (2000 steps) is longer than the run (100): it takes a tenth of the run, 10 steps");
  EXPECT_TRUE(make("{kind: cosine, warmup: 100}", 1.0, 100)->notes().empty());
  EXPECT_DOUBLE_EQ(make("{kind: cosine, warmup: 2000}", 1.0, 5)->lr(1), 1.0);
}

}  // namespace
}  // namespace monge::optim
