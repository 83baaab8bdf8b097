// Products against dense loops in double, on the emulated device or (built without MONGE_SIMT) on a real one; and the
// file that remembers tuned choices.
#include "core/cuda/products/products.h"

#include <gtest/gtest.h>
#if defined(MONGE_SIMT)
#include <nlohmann/json.hpp>
#endif

#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "core/cuda/products/tuning_file.h"
#include "core/error.h"
#include "core/tested_runtime.h"
#include "support/compare.h"
#include "support/temp_directory.h"

namespace monge::MONGE_GPU {
namespace {

MemoryPools& memory() {
  static MemoryPools pools{"test", [](std::size_t bytes) { return tested_runtime().runtime->allocate(bytes); },
                           [](void* block, std::size_t) { tested_runtime().runtime->release(block); }};
  return pools;
}

/// Floats on the device, rounded to their type; `shift` elements into an aligned block.
class Array {
 public:
  Array(std::vector<double> values, DType type, std::int64_t shift = 0)
      : type_(type), shift_(shift), n_(values.size()) {
    block_ = memory().allocate((n_ + shift) * size_of(type) + 1, Pool::data);
    write(values);
  }
  void write(const std::vector<double>& values) {
    if (type_ == DType::bf16) {
      send(std::vector<bf16>(convert<bf16>(values)));
    } else {
      send(std::vector<float>(convert<float>(values)));
    }
  }
  std::vector<double> read() const {
    std::vector<double> out;
    if (type_ == DType::bf16) {
      for (const bf16 x : fetch<bf16>()) out.push_back(static_cast<float>(x));
    } else {
      for (const float x : fetch<float>()) out.push_back(x);
    }
    return out;
  }
  void* data() const { return static_cast<std::byte*>(block_.get()) + shift_ * size_of(type_); }

 private:
  template <class T>
  static std::vector<T> convert(const std::vector<double>& values) {
    std::vector<T> out;
    for (const double x : values) out.push_back(static_cast<T>(static_cast<float>(x)));
    return out;
  }
  template <class T>
  void send(const std::vector<T>& values) {
    tested_runtime().runtime->upload(values.data(), data(), values.size() * sizeof(T));
  }
  template <class T>
  std::vector<T> fetch() const {
    std::vector<T> values(n_);
    tested_runtime().runtime->download(data(), values.data(), n_ * sizeof(T));
    return values;
  }

  DType type_;
  std::int64_t shift_;
  std::size_t n_;
  std::shared_ptr<void> block_;
};

double gelu_tanh(double x) { return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x))); }

/// A product with gaps between its rows and matrices, so that whoever mixes up strides reads or writes the gaps.
class Problem {
 public:
  explicit Problem(Product sizes, std::int64_t gap = 3, std::int64_t shift = 0) : p(sizes) {
    const auto rows = [](bool transposed, std::int64_t r, std::int64_t c) { return transposed ? c : r; };
    p.lda = rows(p.transpose_a, p.k, p.m) + gap;
    p.ldb = rows(p.transpose_b, p.n, p.k) + gap;
    p.ldout = p.n + gap;
    p.stride_a = rows(p.transpose_a, p.m, p.k) * p.lda + gap;
    p.stride_b = rows(p.transpose_b, p.k, p.n) * p.ldb + gap;
    p.stride_out = p.m * p.ldout + gap;
    a = Array(test::random_values(p.batch * p.stride_a + 1, 1), p.type, shift);
    b = Array(test::random_values(p.batch * p.stride_b + 1, 2), p.type, shift);
    bias = Array(test::random_values(p.n + 1, 3), p.type, shift);
    before = Array(test::random_values(p.batch * p.stride_out + 1, 4), p.out_type, shift).read();
    out = Array(before, p.out_type, shift);
    pre = Array(before, p.out_type, shift);
    p.a = a.data();
    p.b = b.data();
    p.out = out.data();
    if (p.epilogue != Epilogue::none) p.bias = bias.data();
    if (p.epilogue == Epilogue::gelu_tanh) p.pre_activation = pre.data();
  }

  /// What out and pre_activation should hold, gaps included.
  std::pair<std::vector<double>, std::vector<double>> expected() const {
    const auto va = a.read(), vb = b.read(), vbias = bias.read();
    auto result = before, linear = before;
    for (std::int64_t n = 0; n < p.batch; ++n) {
      for (std::int64_t i = 0; i < p.m; ++i) {
        for (std::int64_t j = 0; j < p.n; ++j) {
          double sum = 0.0;
          for (std::int64_t l = 0; l < p.k; ++l) {
            sum += va[n * p.stride_a + (p.transpose_a ? l * p.lda + i : i * p.lda + l)] *
                   vb[n * p.stride_b + (p.transpose_b ? j * p.ldb + l : l * p.ldb + j)];
          }
          double& to = result[n * p.stride_out + i * p.ldout + j];
          to = p.alpha * sum + (p.beta == 0.0f ? 0.0 : p.beta * to) + (p.bias == nullptr ? 0.0 : vbias[j]);
          if (p.pre_activation != nullptr) linear[n * p.stride_out + i * p.ldout + j] = to;
          if (p.epilogue == Epilogue::gelu_tanh) to = gelu_tanh(to);
        }
      }
    }
    return {result, linear};
  }

  double tolerance() const { return p.out_type == DType::bf16 ? 1e-2 : 1e-5; }
  void expect_right() const {
    const auto [result, linear] = expected();
    EXPECT_LT(test::max_relative_error(out.read(), result), tolerance()) << describe(p);
    EXPECT_LT(test::max_relative_error(pre.read(), linear), tolerance()) << describe(p);
  }

  Product p;
  Array a{{}, DType::f32}, b{{}, DType::f32}, bias{{}, DType::f32}, out{{}, DType::f32}, pre{{}, DType::f32};
  std::vector<double> before;
};

struct Types {
  DType in, out;
};
const std::vector<Types> all_types{{DType::f32, DType::f32}, {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}};

class ProductsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!tested_runtime().runtime) GTEST_SKIP() << tested_runtime().problem;
    products = std::make_unique<Products>(*tested_runtime().runtime, memory());
  }
  /// Runs it unless the library has no algorithm for it; returns whether it was run.
  bool run(const Problem& problem) {
    try {
      products->run(problem.p);
      return true;
    } catch (const RunError& e) {
      EXPECT_NE(std::string(e.what()).find("no algorithm can do the product"), std::string::npos) << e.what();
      return false;
    }
  }
  std::unique_ptr<Products> products;
};

TEST_F(ProductsTest, EveryTransposeTypeAndSize) {
  for (const Types types : all_types) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        for (const auto& [m, n, k] : {std::array{1, 1, 1}, {1, 7, 5}, {3, 1, 64}, {17, 33, 65}, {64, 128, 32}}) {
          for (const std::int64_t batch : {1, 3}) {
            Problem problem({.type = types.in,
                             .out_type = types.out,
                             .transpose_a = ta,
                             .transpose_b = tb,
                             .m = m,
                             .n = n,
                             .k = k,
                             .batch = batch,
                             .alpha = 0.5f});
            products->run(problem.p);
            problem.expect_right();
          }
        }
      }
    }
  }
}

TEST_F(ProductsTest, AddsToTheResult) {
  for (const Types types : all_types) {
    Problem problem({.type = types.in,
                     .out_type = types.out,
                     .transpose_a = true,
                     .m = 9,
                     .n = 20,
                     .k = 31,
                     .batch = 2,
                     .beta = 1.0f});
    products->run(problem.p);
    problem.expect_right();
  }
}

TEST_F(ProductsTest, DoesNotReadTheResultWithoutBeta) {
  Problem problem({.m = 5, .n = 6, .k = 7});
  problem.out.write(std::vector<double>(problem.before.size(), std::nan("")));
  products->run(problem.p);
  for (std::int64_t i = 0; i < problem.p.m; ++i) {
    for (std::int64_t j = 0; j < problem.p.n; ++j) {
      EXPECT_TRUE(std::isfinite(problem.out.read()[i * problem.p.ldout + j]));
    }
  }
}

TEST_F(ProductsTest, ASumOverNothingIsZeroOrKeepsTheResult) {
  for (const float beta : {0.0f, 1.0f}) {
    Problem problem({.m = 4, .n = 5, .k = 0, .batch = 2, .beta = beta});
    products->run(problem.p);
    problem.expect_right();
  }
}

TEST_F(ProductsTest, NothingToDo) {
  for (const auto& [m, n, batch] : {std::array{0, 5, 2}, {5, 0, 2}, {5, 5, 0}}) {
    Problem problem({.m = m, .n = n, .k = 3, .batch = batch});
    products->run(problem.p);
    EXPECT_EQ(problem.out.read(), problem.before);
  }
}

TEST_F(ProductsTest, AnyAddressWillDo) {
  for (const Types types : all_types) {
    for (const std::int64_t shift : {1, 2, 5}) {
      Problem problem({.type = types.in, .out_type = types.out, .m = 16, .n = 24, .k = 40, .batch = 2}, 0, shift);
      products->run(problem.p);
      problem.expect_right();
    }
  }
}

TEST_F(ProductsTest, RepeatsAnOperandOfStrideZero) {
  Problem problem({.transpose_b = true, .m = 6, .n = 7, .k = 8, .batch = 4});
  problem.p.stride_b = 0;
  products->run(problem.p);
  problem.expect_right();
}

TEST_F(ProductsTest, Epilogues) {
  int done = 0, wanted = 0;
  for (const DType type : {DType::f32, DType::bf16}) {
    for (const Epilogue epilogue : {Epilogue::bias, Epilogue::gelu_tanh}) {
      for (const bool bias : {true, false}) {
        for (const bool keeps : {true, false}) {
          if (epilogue == Epilogue::bias && (!bias || keeps)) continue;
          for (const std::int64_t batch : {1, 2}) {
            Problem problem(
                {.type = type, .out_type = type, .m = 33, .n = 40, .k = 16, .batch = batch, .epilogue = epilogue}, 8);
            if (!bias) problem.p.bias = nullptr;
            if (!keeps) problem.p.pre_activation = nullptr;
            ++wanted;
            if (!run(problem)) continue;
            ++done;
            problem.expect_right();
          }
        }
      }
    }
  }
#if defined(MONGE_SIMT)
  EXPECT_EQ(done, wanted);  // a real library may do less
#endif
  EXPECT_GT(done, 0);
}

TEST_F(ProductsTest, WhichEpiloguesFuse) {
  const auto fuses = [&](Epilogue epilogue, DType type, DType out, std::int64_t shift = 0, std::int64_t gap = 8) {
    const Problem problem({.type = type, .out_type = out, .m = 32, .n = 40, .k = 16, .epilogue = epilogue}, gap, shift);
    return products->fuses(problem.p, [] {});
  };
  EXPECT_TRUE(fuses(Epilogue::none, DType::bf16, DType::f32));
  EXPECT_TRUE(fuses(Epilogue::bias, DType::f32, DType::f32));
  EXPECT_TRUE(fuses(Epilogue::bias, DType::bf16, DType::bf16));
  EXPECT_FALSE(fuses(Epilogue::bias, DType::bf16, DType::f32)) << "a bias has the type of the result";
  EXPECT_FALSE(fuses(Epilogue::bias, DType::f32, DType::f32, 1)) << "a bias is aligned";
  EXPECT_FALSE(fuses(Epilogue::gelu_tanh, DType::bf16, DType::bf16)) << "only when that was timed";
}

TEST_F(ProductsTest, AnEpilogueTakesAnyBiasThatIsAlignedTo16Bytes) {
  Problem problem({.m = 16, .n = 32, .k = 16, .epilogue = Epilogue::bias}, 0);
  ASSERT_TRUE(products->fuses(problem.p, [] {}));
  products->run(problem.p);  // from here on the algorithm is chosen
  Problem other({.m = 16, .n = 32, .k = 16, .epilogue = Epilogue::bias}, 0, 4);
  ASSERT_TRUE(products->fuses(other.p, [] {}));
  products->run(other.p);
  other.expect_right();
}

TEST_F(ProductsTest, TimingAnEpilogueRunsTheSeparateOne) {
  products->configure({.tune = true});
  Problem problem({.m = 8, .n = 16, .k = 8, .epilogue = Epilogue::bias}, 8);
  int calls = 0;
  products->fuses(problem.p, [&] { ++calls; });
  EXPECT_GT(calls, 0);
}

TEST_F(ProductsTest, TuningAddsToTheResultOnce) {
  products->configure({.tune = true});
  Problem problem({.m = 64, .n = 64, .k = 64, .beta = 1.0f});
  products->run(problem.p);
  problem.expect_right();
}

TEST_F(ProductsTest, TheSameBitsAgain) {
  for (const Types types : all_types) {
    Problem problem({.type = types.in, .out_type = types.out, .m = 100, .n = 70, .k = 1000});
    products->run(problem.p);
    const auto first = problem.out.read();
    products->configure({});
    products->run(problem.p);
    EXPECT_EQ(problem.out.read(), first);
  }
}

TEST_F(ProductsTest, TunedChoicesAreKeptAndHaveTheSameBits) {
  const test::TempDirectory folder;
  const ProductOptions options{.tune = true, .tuning_file = folder / "tuning.json"};
  Problem problem({.m = 100, .n = 70, .k = 1000});
  products->configure(options);
  products->run(problem.p);
  problem.expect_right();
  const auto first = problem.out.read();
  const std::string choices = test::read_file(options.tuning_file);
  Products other(*tested_runtime().runtime, memory(), options);
  other.run(problem.p);
  EXPECT_EQ(problem.out.read(), first);
  EXPECT_EQ(test::read_file(options.tuning_file), choices);
  EXPECT_EQ(other.note(), "");
}

#if defined(MONGE_SIMT)
TEST_F(ProductsTest, AnotherDeviceMayBeTheCurrentOne) {
  machine().devices.resize(2);
  Problem problem({.m = 9, .n = 8, .k = 7});
  cudaSetDevice(1);
  products->run(problem.p);
  problem.expect_right();
  cudaSetDevice(0);
  machine() = Machine();
}

TEST_F(ProductsTest, TheTuningFileDecides) {
  const test::TempDirectory folder;
  const ProductOptions options{.tune = true, .tuning_file = folder / "tuning.json"};
  Problem problem({.m = 20, .n = 30, .k = 1000});
  products->configure(options);
  products->run(problem.p);
  // The first word of a choice is the number of the algorithm, and each sums in an order of its own.
  const auto choices = nlohmann::json::parse(test::read_file(options.tuning_file));
  std::set<std::vector<double>> results;
  for (const char digit : {'0', '1', '2'}) {
    auto changed = choices;
    for (auto& device : changed) {
      for (auto& choice : device)
        choice = "000000000000000" + std::string(1, digit) + choice.get<std::string>().substr(16);
    }
    test::write_file(options.tuning_file, changed.dump());
    Products other(*tested_runtime().runtime, memory(), options);
    other.run(problem.p);
    problem.expect_right();
    results.insert(problem.out.read());
    EXPECT_EQ(nlohmann::json::parse(test::read_file(options.tuning_file)), changed);
  }
  EXPECT_EQ(results.size(), 3U);
}
#endif

TEST_F(ProductsTest, Tf32RoundsOperandsToTenBits) {
  Problem problem({.m = 256, .n = 256, .k = 128}, 0);
  products->run(problem.p);
  const auto exact = problem.out.read();
  products->configure({.allow_tf32 = true});
  products->run(problem.p);
  const double error = test::max_relative_error(problem.out.read(), exact);
  EXPECT_GT(error, 1e-5);
  EXPECT_LT(error, 2e-3);
}

TEST_F(ProductsTest, BadArgumentsNameTheProduct) {
  const Problem good({.m = 4, .n = 5, .k = 6});
  const auto message = [&](auto change) -> std::string {
    Product p = good.p;
    change(p);
    try {
      products->run(p);
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(message([](Product& p) { p.lda = 2; }),
            "[product] 1 x f32 (4, 6) x f32 (6, 5) -> f32 (ld 2, 8, 8), epilogue none: lda must cover a row of a");
  EXPECT_NE(message([](Product& p) { p.beta = 0.5f; }).find("beta must be 0 or 1"), std::string::npos);
  EXPECT_NE(message([](Product& p) { p.out_type = DType::bf16; }).find("the result must be f32"), std::string::npos);
  EXPECT_NE(message([](Product& p) { p.epilogue = Epilogue::bias; }).find("bias is missing"), std::string::npos);
  EXPECT_NE(message([](Product& p) { p.m = -1; }).find("must not be negative"), std::string::npos);
}

TEST(TuningFileTest, RemembersPerDeviceAcrossProcesses) {
  const test::TempDirectory folder;
  const auto path = folder / "cache/tuning.json";
  TuningFile one(path, "GPU A"), two(path, "GPU B");
  one.remember("shape", "7");
  two.remember("shape", "8");  // does not lose what `one` has written since `two` read the file
  EXPECT_EQ(one.note() + two.note(), "");
  EXPECT_EQ(TuningFile(path, "GPU A").find("shape"), "7");
  EXPECT_EQ(TuningFile(path, "GPU B").find("shape"), "8");
  EXPECT_EQ(TuningFile(path, "GPU A").find("other"), std::nullopt);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path.parent_path()), {}), 1);  // nothing left beside it
}

TEST(TuningFileTest, ADamagedFileIsIgnoredWithANoteAndReplaced) {
  const test::TempDirectory folder;
  const auto path = folder / "tuning.json";
  for (const char* damaged : {"{\"GPU A\": {\"sha", "[1, 2]", "{\"GPU A\": 3}", ""}) {
    test::write_file(path, damaged);
    TuningFile file(path, "GPU A");
    EXPECT_NE(file.note().find(path.string() + " is damaged and was ignored"), std::string::npos) << damaged;
    EXPECT_EQ(file.find("shape"), std::nullopt);
    file.remember("shape", "7");
    EXPECT_EQ(TuningFile(path, "GPU A").find("shape"), "7");
    EXPECT_EQ(TuningFile(path, "GPU A").note(), "");
  }
}

TEST(TuningFileTest, ADiskThatRefusesIsANote) {
  const test::TempDirectory folder;
  test::write_file(folder / "file", "x");
  TuningFile file(folder / "file/tuning.json", "GPU A");
  file.remember("shape", "7");
  EXPECT_NE(file.note().find("cannot be written"), std::string::npos);
  EXPECT_EQ(file.find("shape"), "7");  // in this process the choice holds
}

TEST(TuningFileTest, WithoutAPathNothingIsWritten) {
  TuningFile file;
  file.remember("shape", "7");
  EXPECT_EQ(file.find("shape"), "7");
  EXPECT_EQ(file.note(), "");
}

}  // namespace
}  // namespace monge::MONGE_GPU
