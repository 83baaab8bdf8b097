// Groups with a rate of 0.
#include "support/expect_error.h"
#include "support/rule_steps.h"

namespace monge::optim {
namespace {

using test::RuleSteps;

// In the middle of the others: nothing moves it, its gradient is not part of the norm, and no state is kept for it,
// which leaves that of the others as it is.
TEST(FrozenParameters, StayAndCostNoState) {
  const std::vector<test::OneParameter> parameters{
      {.name = "first", .shape = {16, 16}}, {.name = "middle", .shape = {16, 32}}, {.name = "last", .shape = {16, 16}}};
  for (const char* rule : {"adamw", "lion", "muon", "soap", "lamb"}) {
    const std::string yaml = fmt::format("name: {}, lr: 0.05, weight_decay: 0, clip_norm: 0.5", rule);
    RuleSteps frozen(yaml + ", groups: [{match: middle, lr_scale: 0}]", test::cpu, parameters),
        free(yaml, test::cpu, parameters);
    const auto start = frozen.value(1);
    for (int t = 1; t <= 5; ++t) {
      const auto first = test::random_gradient(t, 256), last = test::random_gradient(t + 50, 256);
      frozen.step({first, test::random_gradient(t + 90, 512), last});
      free.step({first, std::vector<double>(512), last});
    }
    EXPECT_EQ(frozen.value(1), start) << rule;
    EXPECT_EQ(frozen.value(0), free.value(0)) << rule;
    EXPECT_EQ(frozen.value(2), free.value(2)) << rule;
    EXPECT_LT(frozen.optimizer().state_bytes() * 3, free.optimizer().state_bytes() * 2) << rule;
  }
}

TEST(FrozenParameters, CannotBeAll) {
  EXPECT_HAS(error_of([] { RuleSteps("name: adamw, groups: [{lr_scale: 0}]", test::cpu); }),
             "nothing is left to train");
}

}  // namespace
}  // namespace monge::optim
