// Vectors as data: what an attention layer made, what a file holds, and whole runs on them.
#include "train/data/vector_dataset.h"

#include <cmath>
#include <limits>
#include <set>

#include "core/safetensors.h"
#include "nn/attention_layer.h"
#include "nn/parameter_store.h"
#include "support/expect_error.h"
#include "support/tiny_run.h"
#include "train/batches.h"
#include "train/checkpoint/saved_model.h"
#include "train/evaluate.h"
#include "train/folder/run_summary.h"
#include "train/run.h"
#include "train/sampler.h"

namespace monge::train {
namespace {

constexpr std::int64_t T = 6, C = 8, N = 40, windows = 10;

const std::vector<std::string> layer{"model={kind: attention_layer, width: 8, context: 6}",
                                     "optimizer={name: adamw, lr: 1e-2, weight_decay: 0}", "train.batch=8",
                                     "train.accumulate=1"};
const std::string teacher = "data={kind: attention_teacher, range: 0.5, sequences: 40, validation_windows: 10}";

std::vector<std::string> with(std::vector<std::string> base, const std::vector<std::string>& more) {
  base.insert(base.end(), more.begin(), more.end());
  return base;
}

HostBatch windows_of(const Dataset& data) {
  return make_batch({{"inputs", T, C}, {"outputs", T, C}}, windows,
                    [&](std::int64_t row, const Row& out) { data.validation_window(row, out); });
}

std::unique_ptr<Dataset> dataset(const std::vector<std::string>& overrides) {
  return make_dataset(test::tiny_config(with(layer, overrides)));
}

// A layer with the teacher's weights, drawn here once more, has no error on any window.
TEST(AttentionTeacher, ItsOutputsAreThoseOfALayer) {
  const auto data = dataset({teacher});
  nn::AttentionLayerOptions options;
  options.width = C;
  options.context = T;
  nn::AttentionLayerModel model(options);
  const nn::ParameterStore store(model, Device{}, nn::Precision::float32, 99, false);
  EXPECT_GT(evaluate(model, *data, Device{}, 4).loss, 0.01);
  store.values().backend().uniform({.x = store.values(), .low = -0.5, .high = 0.5, .random = {1, language_stream, {}}});
  const Evaluation right = evaluate(model, *data, Device{}, 4);
  EXPECT_LT(right.loss, 1e-12);
  EXPECT_EQ(right.optimum, 0.0);
  EXPECT_FALSE(right.accuracy);
}

TEST(AttentionTeacher, InputsAreNormalAndDrawnWithReplacement) {
  const auto data = dataset({"data={kind: attention_teacher, sequences: 40, validation_windows: 10}"});
  const HostBatch read = windows_of(*data);
  double sum = 0.0, squares = 0.0;
  for (const float x : read.reals["inputs"]) {
    sum += x;
    squares += static_cast<double>(x) * x;
  }
  const double n = windows * T * C;
  EXPECT_NEAR(sum / n, 0.0, 5.0 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1.0, 5.0 * std::sqrt(2.0 / n));

  std::set<float> seen;
  for (std::uint64_t i = 0; i < 10 * N; ++i) {
    std::vector<float> inputs(T * C), outputs(T * C);
    Row row;
    row.reals = {{"inputs", std::span(inputs)}, {"outputs", std::span(outputs)}};
    data->train_sequence(i, row);
    seen.insert(inputs.front());
  }
  EXPECT_GE(std::ssize(seen), N - 1);  // one is missed by chance with probability 40 (1 - 1/40)^400 = 0.0016
  EXPECT_LE(std::ssize(seen), N);
}

TEST(AttentionTeacher, SeedsMakeAnotherTask) {
  const auto outputs = [](const std::string& more) {
    return windows_of(*dataset({"data={kind: attention_teacher, sequences: 40, validation_windows: 10, " + more + "}",
                                "train.seed=5"}))
        .reals["outputs"];
  };
  EXPECT_EQ(outputs("teacher_seed: 5"), outputs("teacher_seed: 0"));  // that of the run
  EXPECT_NE(outputs("teacher_seed: 5"), outputs("teacher_seed: 1"));
  EXPECT_NE(outputs("range: 0.5"), outputs("range: 1"));
}

struct TensorFile {
  test::TempDirectory dir;
  std::filesystem::path path = dir / "vectors.safetensors";
  std::string data = "data={kind: tensors, path: " + path.string() + "}";

  void write(const Shape& train_outputs = {N, T, C}, double value = 0.25, bool validates = true) const {
    const auto numbers = [](const Shape& shape, double first) {
      std::vector<double> values(static_cast<std::size_t>(shape.numel()));
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = first + 0.5 * static_cast<double>(i);
      values.back() = first;
      return Tensor::from(values, shape, DType::f32, Device{});
    };
    std::vector<NamedTensor> tensors{{"train.inputs", numbers({N, T, C}, 1.0)},
                                     {"train.outputs", numbers(train_outputs, value)},
                                     {"validation.inputs", numbers({windows, T, C}, 2.0)}};
    if (validates) tensors.push_back({"validation.outputs", numbers({windows, T, C}, 3.0)});
    write_safetensors(path, tensors);
  }
};

TEST(Tensors, AreReadAsTheyAre) {
  const TensorFile file;
  file.write();
  const auto data = dataset({file.data});
  const HostBatch read = windows_of(*data);
  EXPECT_EQ(data->validation_windows(), windows);
  EXPECT_EQ(read.reals["inputs"][T * C], 2.0F + 0.5F * T * C);  // the first number of the second window
  EXPECT_EQ(read.reals["outputs"].front(), 3.0F);
  EXPECT_FALSE(data->validation_optimum(windows));
  // What belongs together stays together.
  for (std::uint64_t i = 0; i < 20; ++i) {
    const HostBatch one = training_batch(*data, {{"inputs", T, C}, {"outputs", T, C}}, i, 1);
    EXPECT_EQ(one.reals["inputs"].front() - one.reals["outputs"].front(), 0.75F);
  }
}

TEST(Tensors, SaysWhatIsWrongWithAFile) {
  const TensorFile file;
  const auto message = [&] { return error_of([&] { dataset({file.data}); }); };
  EXPECT_HAS(message(), "vectors.safetensors");
  file.write({N, T, C + 1});
  EXPECT_HAS(message(), "train.outputs is (40, 6, 9); allowed for this model: (N, 6, 8)");
  file.write({N - 1, T, C});
  EXPECT_HAS(message(), "train.inputs holds 40 sequences and train.outputs 39");
  file.write({N, T, C}, std::numeric_limits<double>::quiet_NaN());
  EXPECT_HAS(message(), "element 0 of train.outputs is nan");
  file.write({N, T, C}, 0.25, false);
  EXPECT_HAS(message(), "validation.outputs");
}

TEST(Vectors, ModelsAndDataMustAgree) {
  EXPECT_HAS(error_of([] { make_dataset(test::tiny_config({teacher})); }), "attention_layer");
  EXPECT_HAS(error_of([] { make_dataset(test::tiny_config({layer[0]})); }), "reads 'inputs'");
  EXPECT_HAS(error_of([] { dataset({"data={kind: attention_teacher, heads: 3}"}); }), "data.heads = 3");
}

TEST(Vectors, ARunLearnsAndIsSaved) {
  const test::TempDirectory dir;
  ASSERT_EQ(test::train_tiny(dir / "run", with(layer, {teacher, "train.steps=300", "train.eval_every=150"})),
            RunEnd::finished);
  const RunSummary summary = read_summary(dir / "run" / "summary.json");
  EXPECT_LT(*summary.val_loss, 0.02);
  EXPECT_EQ(summary.optimum, 0.0);
  SavedModel saved = load_model(dir / "run");
  const Run::Turn turn(saved);
  const auto data = data_of(saved);
  EXPECT_EQ(evaluate(*saved.model, *data, saved.device, 8).loss, *summary.val_loss);
  EXPECT_HAS(error_of([&] { make_prompt(*saved.model, *saved.tokenizer, saved.device, "a"); }), "predicts no tokens");
}

TEST(Vectors, ResumesToTheSameBits) {
  for (const char* rule : {"optimizer={name: adamw, lr: 1e-2}", "optimizer={name: kfac, lr: 1e-2, every: 3}",
                           "optimizer={name: natural_muon, lr: 1e-2, every: 3}",
                           "optimizer={name: muon, lr: 1e-2, attention: {update: fisher, every: 2}}"}) {
    SCOPED_TRACE(rule);
    const test::TempDirectory dir;
    const auto overrides = with(layer, {teacher, "train.steps=12", rule, "train.accumulate=2"});
    test::train_tiny(dir / "whole", overrides);
    EXPECT_EQ(test::train_tiny(dir / "parts", overrides, false, 5), RunEnd::interrupted);
    EXPECT_EQ(test::train_tiny(dir / "parts", overrides, true), RunEnd::finished);
    test::expect_same_run(dir / "whole", dir / "parts", 12);
  }
}

// Real fields in the floats of the device, in two micro-batches as in one.
TEST(Vectors, TheReferenceAgrees) {
  const auto loss = [](const std::vector<std::string>& more) {
    const test::TempDirectory dir;
    test::train_tiny(dir / "run", with(with(layer, {teacher, "train.steps=10"}), more));
    return *read_summary(dir / "run" / "summary.json").val_loss;
  };
  const double expected = loss({"device=reference"});
  EXPECT_NEAR(loss({}), expected, 1e-5 * expected);
  EXPECT_NEAR(loss({"train.batch=4", "train.accumulate=2"}), expected, 1e-5 * expected);
}

}  // namespace
}  // namespace monge::train
