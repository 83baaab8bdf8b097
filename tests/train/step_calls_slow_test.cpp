// What a training step of the cpu asks its device for: the kernel calls that the model needs and no others, the FLOP
// that its shapes say, and no memory from the system.
#include <algorithm>
#include <map>

#include "core/profile/profile.h"
#include "support/tiny_run.h"

namespace monge::train {
namespace {

constexpr std::int64_t layers = 4, width = 128, context = 64, batch = 12, symbols = 65;

class StepCalls : public testing::TestWithParam<const char*> {
 protected:
  const train::Run parts{load_config(MONGE_SOURCE_DIR "/configs/bench/0.8m.yaml",
                                     {std::string("train.precision=") + GetParam(), "train.threads=2"})};
  const train::Run::Turn turn{parts};
  std::unique_ptr<TrainingStep> step = parts.training_step(/*record=*/20);

  void run(std::int64_t number) {
    step->run(number, [&] {
      return training_batch(*parts.dataset, parts.model->batch_fields(), static_cast<std::uint64_t>(number), batch);
    });
  }
};

TEST_P(StepCalls, AreThoseOfTheModel) {
  run(1);
  profile::start();
  run(2);
  std::map<std::string, std::int64_t> calls;
  double products = 0.0, attention = 0.0;
  for (const profile::Event& event : profile::stop()) {
    if (!event.is_kernel()) continue;
    ++calls[event.name];
    (std::string_view(event.name) == "matmul" ? products : attention) += event.call.flops;
  }
  for (const char* transfer : {"copy_from_host", "copy", "fill"}) calls.erase(transfer);
  EXPECT_EQ(calls, (std::map<std::string, std::int64_t>{
                       {"matmul", 3 * (4 * layers + 1)},  // qkv, out, up, down, and the head; forward, dx and dW
                       {"attention", layers},
                       {"attention_backward", layers},
                       {"activate_backward", layers},  // forward it is the epilogue of a product
                       {"norm", 2 * layers + 1},       // the sum before it included
                       {"norm_backward", 2 * layers + 1},
                       {"embedding", 1},
                       {"embedding_backward", 1},
                       {"add", 1},  // the positions
                       {"sum", 1},  // and back
                       {"cross_entropy", 1},
                       {"cross_entropy_backward", 1},
                       {"add_scaled", 3},  // the loss of the step; gradients of the positions and of the first stream
                       {"clip_factor", 1},
                       {"update", 2},  // what decays and what does not
                   }));
  const std::int64_t multiplied = 12 * layers * width * width + symbols * width;
  EXPECT_EQ(products, 6.0 * static_cast<double>(multiplied * batch * context));
  EXPECT_EQ(attention, 7.0 * static_cast<double>(layers * width * context * context * batch));
}

TEST_P(StepCalls, TakeNoMemoryFromTheSystem) {
  const MemoryPools& memory = parts.backend().memory();
  run(1);
  const MemoryUsage first = memory.usage();
  for (std::int64_t number = 2; number <= 20; ++number) run(number);
  EXPECT_EQ(memory.usage().system_allocations, first.system_allocations);
  EXPECT_EQ(memory.usage().peak, first.peak);
}

INSTANTIATE_TEST_SUITE_P(Precision, StepCalls, testing::Values("float32", "bfloat16"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace monge::train
