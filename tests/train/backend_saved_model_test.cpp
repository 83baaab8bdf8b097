// A saved model is read under the settings of its run, or those that replace them.
#include "support/tested_device.h"
#include "support/tiny_run.h"
#include "train/checkpoint/saved_model.h"

namespace monge::train {
namespace {

using test::tested;

class SavedModelTest : public testing::Test {
 protected:
  void SetUp() override {
    test::train_tiny(dir_ / "run", {"device=" + tested.str(), "data={kind: random, symbols: 3000}", "train.steps=2",
                                    "train.sample_tokens=0"});
  }

  struct Seen {
    double loss = 0.0;
    std::size_t bytes = 0;           // most memory in use
    std::vector<std::string> notes;  // of the device
  };
  Seen evaluate_with(const std::vector<std::string>& overrides) {
    const SavedModel saved = load_model(dir_ / "run", overrides);
    const train::Run::Turn turn(saved);
    const auto data = data_of(saved);
    MemoryPools& memory = saved.backend().memory();
    memory.reset_peak();
    const std::size_t before = memory.usage().active;
    const double loss = evaluate(*saved.model, *data, saved.device, saved.config.train.batch).loss;
    return {loss, memory.usage().peak - before, saved.backend().notes()};
  }

  test::TempDirectory dir_;
};

TEST_F(SavedModelTest, HoldsTheLogitsOfAChunkOfTheHead) {
  const Seen whole = evaluate_with({}), chunks = evaluate_with({"train.head_chunk=4"});  // of 32 tokens
  EXPECT_NEAR(chunks.loss, whole.loss, 1e-5);
  EXPECT_LT(chunks.bytes, whole.bytes / 2);
}

TEST_F(SavedModelTest, TakesThePathOfAttentionThatIsAskedFor) {
  const auto refused = [](const Seen& seen) {
    return std::ranges::count_if(
        seen.notes, [](const std::string& note) { return note.find("(not cuDNN: ") != std::string::npos; });
  };
  const bool is_gpu = tested.kind == DeviceKind::cuda;
  EXPECT_EQ(refused(evaluate_with({"cuda.attention=fastest"})), is_gpu ? 1 : 0);
  EXPECT_EQ(refused(evaluate_with({"cuda.attention=unfused"})), 0);
}

}  // namespace
}  // namespace monge::train
