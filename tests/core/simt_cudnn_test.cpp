// Attention by cuDNN on the emulated device: the graphs of core/cuda/cudnn/sdpa_graph.h, computed literally, against
// the reference; and how core/cuda/cudnn/sdpa.h plans, compares, refuses, and divides a batch.
#include <gtest/gtest.h>

#include "core/cuda/cuda_backend.h"
#include "core/cuda/cudnn/sdpa.h"
#include "core/fused_calls.h"
#include "simt/libraries/cudnn.h"

namespace monge {
namespace {

using simt::cudnn_library;
using test::AttentionCase;
using test::AttentionInputs;
using test::AttentionResults;

/// GPUs of this machine, and how they do attention: of `parts`, sequences of one head of 128 tokens.
enum : int { ordinary, parts, broken, number_of_devices };
constexpr std::int64_t score_bytes = 2 * 128 * 128;

std::unique_ptr<Backend> make_backend(int index) {
  return std::make_unique<simt::CudaBackend>(index, index == parts ? 4 * score_bytes : simt::Sdpa::usual_score_bytes);
}
Device gpu(int index) {
  [[maybe_unused]] static const bool made = [] {
    simt::machine().devices.resize(number_of_devices);
    make_cuda_backends_with(make_backend);
    return true;
  }();
  return {DeviceKind::cuda, index};
}

/// The library is as it was again afterwards.
struct LibraryGuard {
  simt::CudnnLibrary before = cudnn_library();
  ~LibraryGuard() { cudnn_library() = before; }
};

AttentionInputs inputs_of(const AttentionCase& c) { return test::inputs_of(c, DType::bf16); }

AttentionResults expected(const AttentionCase& c) {
  return test::apart(c, test::run_attention(c, inputs_of(c), test::reference));
}
/// The results on a device, whose notes are then those of this call.
AttentionResults results(const AttentionCase& c, int device) {
  backend_of(gpu(device)).configure({});
  return test::apart(c, test::run_attention(c, inputs_of(c), gpu(device)));
}
/// The notes of a device are two, and say how these two passes went: from the colon on, they begin so.
void expect_notes(int device, const std::string& backward, const std::string& forward) {
  const std::vector<std::string> notes = backend_of(gpu(device)).notes();
  ASSERT_EQ(notes.size(), 2U);
  const auto expect = [](const std::string& note, const std::string& pass, const std::string& words) {
    EXPECT_EQ(note.find(fmt::format("attention {} of softmax bf16, ", pass)), 0U) << note;
    EXPECT_EQ(note.find(": " + words), note.find(": ")) << note;
  };
  expect(notes[0], "backward", backward);
  expect(notes[1], "forward", forward);
}
void expect_notes(int device, const std::string& both) { expect_notes(device, both, both); }

void expect_close(const AttentionResults& got, const AttentionResults& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (const auto& [name, values] : wanted) {
    const double tolerance = name == "row_stat" ? 1e-5 : name == "out" ? 1e-2 : 2e-2;
    EXPECT_TRUE(test::close(got.at(name), values, tolerance)) << name;
  }
}

// --- the graphs ---

struct Named {
  const char* name;
  AttentionCase c;
};
const Named cases[] = {{"causal", {2, 128, 128, 2, 2, 64}},
                       {"full", {2, 128, 128, 2, 2, 64, 0, false}},
                       {"alibi", {2, 128, 128, 2, 2, 64, 0, true, true}},
                       {"groups", {1, 128, 128, 6, 2, 64}},
                       {"one_group_full", {1, 128, 128, 3, 1, 64, 0, false}},
                       {"groups_alibi", {1, 128, 128, 4, 2, 64, 0, true, true}},
                       {"wide", {1, 128, 128, 2, 2, 128}},
                       {"wide_groups", {2, 128, 128, 2, 1, 128}},
                       {"longer", {1, 256, 256, 2, 1, 64}}};

class CudnnAttention : public testing::TestWithParam<Named> {};
INSTANTIATE_TEST_SUITE_P(Calls, CudnnAttention, testing::ValuesIn(cases),
                         [](const auto& info) { return info.param.name; });

TEST_P(CudnnAttention, MatchesTheReference) {
  const AttentionCase& c = GetParam().c;
  expect_close(results(c, ordinary), expected(c));
  expect_notes(ordinary, "cuDNN");
}

// --- how a batch is divided ---

TEST(Cudnn, ABackwardThatNeedsTooMuchMemoryIsDoneInParts) {
  for (const auto& [batch, heads, runs] : {std::tuple{4, 1, 1}, {6, 1, 2}, {5, 1, 5}, {3, 2, 3}}) {
    const AttentionCase c{batch, 128, 128, heads, heads, 64};
    SCOPED_TRACE(testing::Message() << c);
    results(c, parts);  // plans
    const int before = cudnn_library().executed;
    expect_close(results(c, parts), expected(c));
    EXPECT_EQ(cudnn_library().executed - before, 1 + runs);
  }
}

// --- recordings ---

/// One call of a forward and a backward pass, again and again on the same memory.
class Step {
 public:
  Step(const AttentionCase& c, int index) : device_(gpu(index)), a_(test::call_of(c, device_)) {
    const AttentionInputs in = inputs_of(c);
    const auto there = [&](const Tensor& x) { return x.to(DType::bf16, device_); };
    const auto output = [&](const Tensor& x) { return HeadView{x, 0, x.size(2), x.size(1) * x.size(2)}; };
    const auto views = test::views_of(c, there(in.q), {});
    a_.q = views.q;
    a_.k = views.k;
    a_.v = views.v;
    a_.out = output(there(in.dout));
    a_.row_stat = Tensor::zeros({c.batch, c.heads, c.queries}, DType::f32, device_);
    gradient_ = there(in.q);
    const auto gradients = test::views_of(c, gradient_, {});
    back_ = {a_, output(there(in.dout)), gradients.q, gradients.k, gradients.v};
  }
  void run() {
    backend_of(device_).attention(a_);
    backend_of(device_).attention_backward(back_);
  }
  /// The slopes of the forward pass to another place that begins one number later than its memory.
  void shift_slopes() {
    const std::vector<double> slopes = a_.prior.slopes.values();
    std::vector<double> shifted{0.0};
    shifted.insert(shifted.end(), slopes.begin(), slopes.end());
    const auto n = static_cast<std::int64_t>(slopes.size());
    a_.prior.slopes = Tensor::from(shifted, {n + 1}, DType::f32, device_).slice(1, n + 1);
    back_.forward = a_;
  }
  void forget() {
    for (const Tensor& x : {a_.out.data, a_.row_stat, gradient_}) backend_of(device_).fill({.x = x, .value = 7.0});
  }
  std::vector<double> values() const {
    std::vector<double> all;
    for (const Tensor& x : {a_.out.data, a_.row_stat, gradient_}) {
      const auto values = x.values();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

 private:
  Device device_;
  kernel::Attention a_;
  Tensor gradient_;
  kernel::AttentionBackward back_;
};

TEST(Cudnn, ARecordedStepReplaysToTheSameBits) {
  Backend& backend = backend_of(gpu(parts));
  backend.configure({});
  Step step({8, 128, 128, 2, 1, 64}, parts);
  step.run();
  const std::vector<double> eager = step.values();
  const int before = cudnn_library().executed;
  const auto captured = backend.capture([&] { step.run(); });
  EXPECT_EQ(cudnn_library().executed - before, 5);
  EXPECT_EQ(step.values(), eager);
  for (int i = 0; i < 2; ++i) {
    step.forget();
    captured->replay();
    EXPECT_EQ(step.values(), eager);
  }
  EXPECT_EQ(cudnn_library().executed - before, 5) << "a replay asks nobody";
}

TEST(Cudnn, AShapeThatIsFirstSeenWhileRecordingGoesAnotherWayUntilItIsPlanned) {
  Backend& backend = backend_of(gpu(ordinary));
  backend.configure({.attention = GpuSettings::AttentionPath::fused});
  Step step({5, 128, 128, 1, 1, 64}, ordinary);
  step.run();
  const std::vector<double> fused = step.values();

  backend.configure({});
  const auto captured = backend.capture([&] { step.run(); });
  expect_notes(ordinary, "fused kernels (not cuDNN: this shape was not planned before the capture)");
  step.forget();
  captured->replay();
  EXPECT_EQ(step.values(), fused);

  backend.configure({});
  step.run();
  expect_notes(ordinary, "cuDNN");
}

TEST(Cudnn, TwoDevicesTakeTurns) {
  for (const int device : {ordinary, parts}) backend_of(gpu(device)).configure({});
  std::vector<Step> steps{{{1, 128, 128, 1, 1, 64}, ordinary}, {{1, 128, 128, 1, 1, 64}, parts}};
  for (Step& step : steps) step.run();
  const std::vector<double> first = steps[0].values();
  for (Step& step : steps) step.forget();
  backend_of(gpu(parts)).synchronize();  // now `parts` is current
  steps[0].run();
  EXPECT_EQ(steps[0].values(), first);
  for (const int device : {ordinary, parts}) expect_notes(device, "cuDNN");
}

// --- refusals ---

TEST(Cudnn, AWrongForwardIsFoundAndNotUsed) {
  const LibraryGuard guard;
  cudnn_library().wrong_forward = true;
  const AttentionCase c{3, 128, 128, 1, 1, 64};
  expect_close(results(c, ordinary), expected(c));
  expect_notes(ordinary, "cuDNN", "fused kernels (not cuDNN: cuDNN 9.19.0 gives other results: out is off by");
}

TEST(Cudnn, AWrongBackwardIsFoundAndNotUsed) {
  const LibraryGuard guard;
  cudnn_library().wrong_backward = true;
  const AttentionCase c{4, 128, 128, 1, 1, 64};
  expect_close(results(c, ordinary), expected(c));
  const std::string verdict = "fused kernels (not cuDNN: cuDNN 9.19.0 gives other results: dq is off by";
  expect_notes(ordinary, verdict, "cuDNN");
  cudnn_library().wrong_backward = false;
  expect_close(results(c, ordinary), expected(c));
  expect_notes(ordinary, verdict, "cuDNN");  // for good
}

TEST(Cudnn, SlopesThatAreNotAlignedGoAnotherWay) {
  Step step({1, 128, 128, 3, 3, 64, 0, true, true}, ordinary);
  for (const char* way : {"cuDNN", "fused kernels (not cuDNN: the slopes are not aligned to 16 bytes)"}) {
    backend_of(gpu(ordinary)).configure({});
    step.run();
    expect_notes(ordinary, way);
    step.shift_slopes();
  }
}

TEST(Cudnn, AlibiWithoutAMaskGoesAnotherWay) {
  const AttentionCase c{1, 128, 128, 2, 2, 64, 0, false, true};
  expect_close(results(c, ordinary), expected(c));
  expect_notes(ordinary, "fused kernels (not cuDNN: cuDNN knows ALiBi under a causal mask only)");
}

TEST(Cudnn, AnOldLibraryIsNotUsed) {
  const LibraryGuard guard;
  cudnn_library().version = 91701;
  const AttentionCase c{1, 128, 128, 1, 1, 64};
  expect_close(results(c, ordinary), expected(c));
  expect_notes(ordinary, "fused kernels (not cuDNN: cuDNN 9.17 is older than 9.18)");
}

TEST(Cudnn, ALibraryThatDoesNotStartIsNotUsed) {
  const LibraryGuard guard;
  cudnn_library().starts = false;
  const AttentionCase c{1, 128, 128, 1, 1, 64};
  expect_close(results(c, broken), expected(c));
  expect_notes(broken, "fused kernels (not cuDNN: cuDNN does not start: CUDNN_STATUS_NOT_INITIALIZED)");
}

TEST(Cudnn, ARefusedCallIsNotDone) {
  const AttentionCase c{1, 128, 128, 1, 1, 64};
  simt::Runtime runtime(ordinary);
  MemoryPools& memory = backend_of(gpu(ordinary)).memory();
  simt::Sdpa sdpa(runtime, memory);
  EXPECT_THROW(sdpa.forward(test::call_of(c, gpu(ordinary))), std::logic_error);
  EXPECT_EQ(sdpa.version(), "cuDNN 9.19.0");
}

}  // namespace
}  // namespace monge
