// SafeTensors: round trips, the layout on disk, and every way a file can be broken.
#include "core/safetensors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "support/compare.h"

namespace monge::test {
namespace {

namespace fs = std::filesystem;

testing::AssertionResult mentions(const std::string& message, const std::string& part) {
  if (message.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "'" << message << "' does not mention '" << part << "'";
}

class SafeTensorsTest : public testing::Test {
 protected:
  SafeTensorsTest() : folder_(fs::path(testing::TempDir()) / ("safetensors_" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
  }
  ~SafeTensorsTest() override { fs::remove_all(folder_); }

  fs::path file() const { return folder_ / "t.safetensors"; }

  std::string content() const {
    std::ifstream in(file(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void put(const std::string& bytes) const { std::ofstream(file(), std::ios::binary) << bytes; }
  /// A file with this header and `data_bytes` bytes of data.
  void put(const std::string& header, std::size_t data_bytes) const {
    const std::uint64_t length = header.size();
    put(std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(data_bytes, '\1'));
  }
  /// The message of the InputError that opening the file throws; empty when it opens.
  std::string problem() const {
    try {
      SafeTensors{file()};
    } catch (const InputError& e) {
      EXPECT_TRUE(mentions(e.what(), file().string()));
      return e.what();
    }
    return {};
  }

  fs::path folder_;
};

TEST_F(SafeTensorsTest, ReturnsWhatWasWritten) {
  const Tensor a = random_tensor({3, 5}, 1);
  const Tensor ids = random_ids({7}, 100, 2);
  const Tensor empty = Tensor::zeros({0, 4}, DType::f64, reference);
  const Tensor scalar = random_tensor({}, 3);
  write_safetensors(file(), std::vector<NamedTensor>{{"ids", ids}, {"a", a}, {"empty", empty}, {"s", scalar}},
                    {{"step", "12"}, {"text", "a \"quoted\"\nline"}});

  const SafeTensors read(file());
  EXPECT_EQ(read.metadata().at("step"), "12");
  EXPECT_EQ(read.metadata().at("text"), "a \"quoted\"\nline");
  ASSERT_EQ(read.entries().size(), 4u);
  for (const auto& [name, tensor] : {NamedTensor{"ids", ids}, {"a", a}, {"empty", empty}, {"s", scalar}}) {
    const Tensor got = read.tensor(name, reference);
    EXPECT_EQ(got.shape(), tensor.shape()) << name;
    EXPECT_EQ(got.dtype(), tensor.dtype()) << name;
    EXPECT_EQ(got.values(), tensor.values()) << name;
  }
}

TEST_F(SafeTensorsTest, LaysTheFileOutAsTheFormatSays) {
  const std::vector<double> values{1.0, 2.0};
  const std::vector<std::int32_t> ids{7};
  write_safetensors(file(), std::vector<NamedTensor>{{"i", Tensor::from(ids, {1}, reference)},
                                                     {"x", Tensor::from(values, {2}, DType::f64, reference)}});
  const std::string bytes = content();
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0u);
  const std::string header = bytes.substr(8, length);
  // The wider element comes first.
  EXPECT_EQ(header.substr(0, header.find_last_not_of(' ') + 1),
            R"({"x":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},)"
            R"("i":{"dtype":"I32","shape":[1],"data_offsets":[16,20]}})");
  ASSERT_EQ(bytes.size(), 8 + length + 20);
  double x1 = 0.0;
  std::memcpy(&x1, bytes.data() + 8 + length + 8, 8);
  EXPECT_EQ(x1, 2.0);
  EXPECT_EQ(bytes[8 + length + 16], 7);
}

TEST_F(SafeTensorsTest, ReadsAFileOfThePythonPackage) {
  // safetensors.numpy.save_file({"w": [[1.5, -2.0, 0.25]] float32, "n": 3 int64 scalar}, metadata={"by": "python"})
  const std::string header = R"({"__metadata__":{"by":"python"},"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
                             R"("w":{"dtype":"F32","shape":[1,3],"data_offsets":[8,20]}})";
  std::string data(20, '\0');
  data[0] = 3;
  const std::array<float, 3> w{1.5f, -2.0f, 0.25f};
  std::memcpy(data.data() + 8, w.data(), 12);
  const std::uint64_t length = header.size();
  put(std::string(reinterpret_cast<const char*>(&length), 8) + header + data);

  const SafeTensors read(file());
  EXPECT_EQ(read.metadata().at("by"), "python");
  // The reference device has no f32.
  EXPECT_EQ(read.tensor("w", reference).dtype(), DType::f64);
  EXPECT_EQ(read.tensor("w", reference).values(), (std::vector<double>{1.5, -2.0, 0.25}));
  EXPECT_EQ(read.entry("n").dtype, "I64");
  EXPECT_THROW(read.tensor("n", reference), InputError);
}

TEST_F(SafeTensorsTest, ConvertsIntoATensorOfTheSameShape) {
  const std::string header = R"({"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}})";
  const std::uint64_t length = header.size();
  put(std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string("\x80\x3f\x20\xc0", 4));
  const SafeTensors read(file());
  const Tensor to = Tensor::zeros({2}, DType::f64, reference);
  read.read("w", to);
  EXPECT_EQ(to.values(), (std::vector<double>{1.0, -2.5}));

  EXPECT_THROW(read.read("w", Tensor::zeros({1, 2}, DType::f64, reference)), InputError);
  EXPECT_THROW(read.read("w", Tensor::empty({2}, DType::i32, reference)), InputError);
  EXPECT_THROW(read.read("v", to), InputError);
}

// One, the largest, the smallest, minus a third, infinity and not a number, as numpy.float16 has them.
TEST_F(SafeTensorsTest, ReadsHalfPrecision) {
  const std::string header = R"({"w":{"dtype":"F16","shape":[6],"data_offsets":[0,12]}})";
  const std::uint64_t length = header.size();
  const std::string data("\x00\x3c\xff\x7b\x01\x00\x55\xb5\x00\xfc\x01\x7e", 12);
  put(std::string(reinterpret_cast<const char*>(&length), 8) + header + data);
  const SafeTensors read(file());
  for (const Device device : {reference, Device{DeviceKind::cpu}}) {
    const std::vector<double> got = read.tensor("w", device).values();
    EXPECT_EQ(std::vector<double>(got.begin(), got.begin() + 5),
              (std::vector<double>{1.0, 65504.0, 0x1p-24, -0.333251953125, -HUGE_VAL}));
    EXPECT_TRUE(std::isnan(got[5]));
  }
  const Tensor rounded = Tensor::empty({6}, DType::bf16, Device{DeviceKind::cpu});
  read.read("w", rounded);
  EXPECT_EQ(rounded.values()[0], 1.0);
}

TEST_F(SafeTensorsTest, ATruncatedFileIsAnErrorAtEveryLength) {
  write_safetensors(file(), std::vector<NamedTensor>{{"a", random_tensor({3}, 1)}, {"b", random_tensor({2, 2}, 2)}});
  const std::string whole = content();
  for (std::size_t n = 0; n < whole.size(); ++n) {
    put(whole.substr(0, n));
    ASSERT_NE(problem(), "") << "cut to " << n << " of " << whole.size() << " bytes";
  }
  put(whole + "x");
  EXPECT_TRUE(mentions(problem(), "1 bytes follow the last tensor"));
}

TEST_F(SafeTensorsTest, AFlippedBitInTheHeaderNeverReadsOutsideTheFile) {
  write_safetensors(file(), std::vector<NamedTensor>{{"a", random_tensor({3}, 1)}, {"b", random_tensor({2, 2}, 2)}},
                    {{"step", "3"}});
  const std::string whole = content();
  std::uint64_t length = 0;
  std::memcpy(&length, whole.data(), 8);
  const std::size_t size_of_data = whole.size() - 8 - length;
  int refused = 0;
  for (std::size_t bit = 0; bit < (8 + length) * 8; ++bit) {
    std::string broken = whole;
    broken[bit / 8] = static_cast<char>(broken[bit / 8] ^ (1 << bit % 8));
    put(broken);
    if (!problem().empty()) {
      ++refused;
      continue;
    }
    // Some flips leave a valid file: another name, dtype of the same width, shape of the same size, or metadata.
    const SafeTensors read(file());
    std::size_t total = 0;
    for (const auto& [name, entry] : read.entries()) total += entry.bytes.size();
    ASSERT_EQ(total, size_of_data) << "bit " << bit;
  }
  EXPECT_GT(refused, 500);
}

TEST_F(SafeTensorsTest, AWrongHeaderIsNamed) {
  const auto tensor = [](const std::string& fields) { return R"({"w":{)" + fields + "}}"; };
  const struct {
    std::string header;
    std::size_t data_bytes;
    std::string reason;
  } cases[] = {
      {"PK zip archive", 8, "its header"},
      {"[1, 2]", 0, "not a JSON object"},
      {R"({"w":3})", 0, "its header"},
      {tensor(R"("dtype":"F32","shape":[2])"), 8, "data_offsets"},
      {tensor(R"("dtype":"F31","shape":[2],"data_offsets":[0,8])"), 8, "dtype 'F31' does not exist"},
      {tensor(R"("dtype":"F32","shape":"2","data_offsets":[0,8])"), 8, "its header"},
      {tensor(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), 8, "8 bytes for F32 (3)"},
      {tensor(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), 8, "a dimension of"},
      {tensor(R"("dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8])"), 8, "8 bytes for"},
      {tensor(R"("dtype":"F32","shape":[1,1,1,1,1,2],"data_offsets":[0,8])"), 8, "6 dimensions"},
      {tensor(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), 8, "bytes [8, 0) of 8"},
      {tensor(R"("dtype":"F32","shape":[2],"data_offsets":[4,12])"), 8, "bytes [4, 12) of 8"},
      {tensor(R"("dtype":"F32","shape":[2],"data_offsets":[4,12])"), 12, "gap"},
      {R"({"v":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
       12, "overlap"},
      {R"({"__metadata__":{"step":3}})", 0, "its header"},
  };
  for (const auto& c : cases) {
    put(c.header, c.data_bytes);
    EXPECT_TRUE(mentions(problem(), c.reason)) << c.header;
  }
}

TEST_F(SafeTensorsTest, AMissingFileOrAFolderIsAnError) {
  EXPECT_TRUE(mentions(problem(), "No such file"));
  fs::create_directory(file());
  EXPECT_TRUE(mentions(problem(), "not a file"));
  fs::remove(file());
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);  // that nobody writes to
  EXPECT_TRUE(mentions(problem(), "not a file"));
}

TEST_F(SafeTensorsTest, AFailedWriteLeavesTheOldFileAndNothingElse) {
  write_safetensors(file(), std::vector<NamedTensor>{{"a", random_tensor({3}, 1)}});
  const std::string before = content();
  // A limit on the size of files stands for a full disk.
  struct rlimit limit {};
  ::getrlimit(RLIMIT_FSIZE, &limit);
  const struct rlimit small { 4096, limit.rlim_max };
  const auto previous = std::signal(SIGXFSZ, SIG_IGN);
  ::setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  try {
    write_safetensors(file(), std::vector<NamedTensor>{{"a", random_tensor({1000}, 1)}});
  } catch (const RunError& e) {
    message = e.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, previous);
  EXPECT_TRUE(mentions(message, "File too large"));
  EXPECT_TRUE(mentions(message, file().string()));
  EXPECT_EQ(content(), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(SafeTensorsTest, WritingIntoNoFolderOrTheSameNameTwiceIsAnError) {
  const Tensor a = random_tensor({3}, 1);
  EXPECT_THROW(write_safetensors(folder_ / "no" / "t", std::vector<NamedTensor>{{"a", a}}), RunError);
  EXPECT_THROW(write_safetensors(file(), std::vector<NamedTensor>{{"a", a}, {"a", a}}), std::invalid_argument);
}

}  // namespace
}  // namespace monge::test
