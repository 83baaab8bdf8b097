#include "train/data/text_dataset.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "core/options/yaml.h"
#include "support/expect_error.h"

namespace monge::train {
namespace {

namespace fs = std::filesystem;

/// The byte tokenizer under a name of its own, which counts how often a text is encoded.
struct CountingTokenizer : Tokenizer {
  static inline int encoded = 0;
  std::unique_ptr<Tokenizer> bytes = tokenizers().make(tokenizers().choose("byte"), "");

  std::string kind() const override { return "counting"; }
  std::int64_t vocab() const override { return 256; }
  std::vector<std::int32_t> encode(std::string_view text) const override {
    ++encoded;
    return bytes->encode(text);
  }
  std::string decode(const std::vector<std::int32_t>& ids) const override { return bytes->decode(ids); }
  std::string save() const override { return R"({"kind":"counting"})"; }
};

/// A tokenizer with more ids than 16 bits hold: id = 1000 * byte.
struct WideTokenizer : CountingTokenizer {
  std::string kind() const override { return "wide"; }
  std::int64_t vocab() const override { return 256000; }
  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> ids = bytes->encode(text);
    for (std::int32_t& id : ids) id *= 1000;
    return ids;
  }
  std::string save() const override { return R"({"kind":"wide"})"; }
};

template <class T>
void register_tokenizer(const std::string& name) {
  const auto make = [](const NoOptions&, std::string_view) { return std::make_unique<T>(); };
  tokenizers().add<NoOptions>(name, "for this test", make);
  saved_tokenizers().add<NoOptions>(name, "for this test", make);
}

struct Sequence {
  std::vector<std::int32_t> inputs, targets;
  bool operator==(const Sequence&) const = default;
};

class TextDatasetTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    register_tokenizer<CountingTokenizer>("counting");
    register_tokenizer<WideTokenizer>("wide");
  }

  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "monge_text_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    CountingTokenizer::encoded = 0;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string file(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return (folder_ / name).string();
  }
  TextOptions options(std::vector<std::string> path, const std::string& tokenizer = "byte") const {
    TextOptions result;
    result.path = std::move(path);
    result.tokenizer = tokenizers().choose(tokenizer);
    result.cache = (folder_ / "cache").string();
    return result;
  }
  /// The one file of the cache folder.
  fs::path cache_file() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder_ / "cache")) found.push_back(entry.path());
    EXPECT_EQ(found.size(), 1u);
    return found.at(0);
  }
  static std::unique_ptr<Dataset> make(const TextOptions& options, std::int64_t context, std::uint64_t seed = 1) {
    return datasets().make({"text", std::make_shared<TextOptions>(options)}, {.context = context, .seed = seed});
  }
  static std::string error_with(const TextOptions& options, std::int64_t context) {
    return error_of([&] { make(options, context); });
  }
  static Sequence empty(std::int64_t context) {
    const auto n = static_cast<std::size_t>(context);
    return {std::vector<std::int32_t>(n, -7), std::vector<std::int32_t>(n, -7)};
  }
  static Sequence train(const Dataset& data, std::int64_t context, std::uint64_t index) {
    Sequence s = empty(context);
    data.train_sequence(index, s.inputs, s.targets);
    return s;
  }
  static Sequence validation(const Dataset& data, std::int64_t context, std::int64_t index) {
    Sequence s = empty(context);
    data.validation_window(index, s.inputs, s.targets);
    return s;
  }

  fs::path folder_;
};

/// n bytes of which no three in a row repeat within 60000.
std::string unmistakable(std::size_t n) {
  std::string text;
  for (std::size_t i = 0; i < n; ++i) {
    text += static_cast<char>(i % 3 == 0 ? i / 3 % 200 : i % 3 == 1 ? 200 + i / 600 % 50 : 255);
  }
  return text;
}

Sequence expected(const std::string& text, std::size_t begin, std::size_t context) {
  Sequence s;
  for (std::size_t i = 0; i < context; ++i) {
    s.inputs.push_back(static_cast<unsigned char>(text[begin + i]));
    s.targets.push_back(static_cast<unsigned char>(text[begin + i + 1]));
  }
  return s;
}

TEST_F(TextDatasetTest, ValidationIsTheEndInConsecutiveWindows) {
  const std::string text = unmistakable(1005);  // int(0.9 * 1005) = 904 for training, 101 for validation
  const auto data = make(options({file("a.txt", text)}), 10);
  ASSERT_EQ(data->validation_windows(), 10);  // 101 tokens: exactly ten windows and the target of the last token
  for (std::int64_t i = 0; i < 10; ++i) {
    EXPECT_EQ(validation(*data, 10, i), expected(text, 904 + static_cast<std::size_t>(i) * 10, 10)) << i;
  }
  EXPECT_EQ(make(options({file("a.txt", text.substr(0, 1004))}), 10)->validation_windows(), 10);  // 903 and 101
  EXPECT_EQ(make(options({file("a.txt", text.substr(0, 1000))}), 10)->validation_windows(), 9);   // 900 and 100
  EXPECT_THROW(validation(*data, 10, 10), std::invalid_argument);
  EXPECT_THROW(validation(*data, 10, -1), std::invalid_argument);
  EXPECT_THROW(validation(*data, 9, 0), std::invalid_argument);
}

TEST_F(TextDatasetTest, ItsContentIsThatOfTheFilesTogether) {
  const std::string text = unmistakable(300);
  const auto content = [](const TextOptions& o) { return make(o, 8)->content({}); };
  const std::uint64_t whole = content(options({file("a.txt", text)}));
  EXPECT_EQ(content(options({file("moved.txt", text)})), whole);
  EXPECT_EQ(content(options({file("1.txt", text.substr(0, 99)), file("2.txt", text.substr(99))})), whole);
  for (const std::size_t at : {std::size_t{0}, std::size_t{150}, std::size_t{299}}) {
    std::string other = text;
    other[at] ^= 1;
    EXPECT_NE(content(options({file("a.txt", other)})), whole) << at;
  }
}

TEST_F(TextDatasetTest, IsReadWithTheTokenizerOfAModel) {
  const auto make_with = [&](const TextOptions& o, const Tokenizer* tokenizer) {
    return datasets().make({"text", std::make_shared<TextOptions>(o)}, {.context = 4, .tokenizer = tokenizer});
  };
  const TextOptions trained = options({file("a.txt", std::string(50, 'x') + "abcdefgh")}, "char");
  const auto first = make_with(trained, nullptr);
  EXPECT_EQ(make_with(trained, &first->tokenizer())->tokenizer().save(), first->tokenizer().save());
  cache_file();                              // the same tokens, kept once
  for (int round = 0; round < 2; ++round) {  // the second from the cache
    const auto fewer =
        make_with(options({file("b.txt", std::string(50, 'h') + "aaaaaaa")}, "char"), &first->tokenizer());
    EXPECT_EQ(fewer->vocab(), 9);
    EXPECT_EQ(validation(*fewer, 4, 0).targets, (std::vector<std::int32_t>{0, 0, 0, 0}));
  }
  EXPECT_HAS(error_of([&] { make_with(options({file("b.txt", std::string(50, 'z'))}, "char"), &first->tokenizer()); }),
             "b.txt: ");
}

TEST_F(TextDatasetTest, TrainingWindowsCoverTheTrainingPartAndNothingElse) {
  const std::string text = unmistakable(30);
  TextOptions half = options({file("a.txt", text)});
  half.validation_fraction = 0.5;  // 15 tokens: places 0 .. 10 for windows of 4 with their last target
  const auto data = make(half, 4);
  std::set<std::size_t> places;
  for (std::uint64_t index = 0; index < 300; ++index) {
    const Sequence s = train(*data, 4, index);
    std::size_t begin = 0;
    while (begin + 5 <= text.size() && s != expected(text, begin, 4)) ++begin;
    ASSERT_LE(begin + 5, text.size());
    places.insert(begin);
  }
  EXPECT_EQ(places.size(), 11u);
  EXPECT_EQ(*places.rbegin(), 10u);
}

TEST_F(TextDatasetTest, ASequenceDependsOnSeedAndIndexAlone) {
  const auto opts = options({file("a.txt", unmistakable(3000))});
  const auto one = make(opts, 8, 5);
  const auto same = make(opts, 8, 5);
  const auto other = make(opts, 8, 6);
  const Sequence first = train(*one, 8, 173);
  EXPECT_EQ(first, train(*same, 8, 173));
  EXPECT_EQ(first, train(*one, 8, 173));
  EXPECT_NE(first, train(*one, 8, 183));
  EXPECT_NE(first, train(*one, 8, 174));
  EXPECT_NE(first, train(*other, 8, 173));
  EXPECT_EQ(validation(*one, 8, 2), validation(*other, 8, 2));
}

TEST_F(TextDatasetTest, FilesAreReadOneAfterTheOther) {
  const std::string text = unmistakable(300);
  const auto data = make(options({file("a.txt", text.substr(0, 295)), file("b.txt", text.substr(295))}), 7);
  EXPECT_EQ(validation(*data, 7, 3), expected(text, 291, 7));
}

TEST_F(TextDatasetTest, CharTokensComeFromTheWholeText) {
  const auto data = make(options({file("a.txt", std::string(50, 'b') + "a" + std::string(50, 'b') + "c")}, "char"), 3);
  EXPECT_EQ(data->vocab(), 3);
  EXPECT_EQ(data->tokenizer().decode({0, 1, 2}), "abc");
  EXPECT_FALSE(data->entropy_rate().has_value());
  EXPECT_FALSE(data->validation_optimum(1).has_value());
  EXPECT_HAS(data->description(), "102 tokens (char, vocabulary 3), 91 for training, 11 for validation (3 windows");
}

TEST_F(TextDatasetTest, IdsAbove16BitsAreKept) {
  const std::string text = unmistakable(200);
  const auto opts = options({file("a.txt", text)}, "wide");
  for (int time = 0; time < 2; ++time) {  // fresh, then from the cache
    const auto data = make(opts, 5);
    Sequence want = expected(text, 180, 5);
    for (auto* ids : {&want.inputs, &want.targets}) {
      for (std::int32_t& id : *ids) id *= 1000;
    }
    EXPECT_EQ(validation(*data, 5, 0), want);
  }
}

TEST_F(TextDatasetTest, TheSecondTimeTheCacheIsUsed) {
  const std::string text = unmistakable(300);
  const auto opts = options({file("a.txt", text)}, "counting");
  make(opts, 7);
  EXPECT_EQ(CountingTokenizer::encoded, 1);
  const auto data = make(opts, 9);
  EXPECT_EQ(CountingTokenizer::encoded, 1);
  EXPECT_EQ(validation(*data, 9, 1), expected(text, 279, 9));
  EXPECT_EQ(data->tokenizer().kind(), "counting");
  EXPECT_EQ(cache_file().extension(), ".tokens");  // and nothing temporary beside it
}

TEST_F(TextDatasetTest, AChangedTextIsTokenizedAgainEvenWithTheOldTimeAndSize) {
  std::string text = unmistakable(300);
  const std::string path = file("a.txt", text);
  const auto opts = options({path}, "counting");
  const auto time = fs::last_write_time(path);
  make(opts, 7);
  text[290] = static_cast<char>(text[290] ^ 1);
  file("a.txt", text);
  fs::last_write_time(path, time);
  EXPECT_EQ(validation(*make(opts, 7), 7, 2), expected(text, 284, 7));
  EXPECT_EQ(CountingTokenizer::encoded, 2);
}

TEST_F(TextDatasetTest, AnotherTokenizerDoesNotTakeTheTokens) {
  const std::string path = file("a.txt", unmistakable(300));
  make(options({path}, "byte"), 7);
  EXPECT_EQ(make(options({path}, "counting"), 7)->tokenizer().kind(), "counting");
  EXPECT_EQ(CountingTokenizer::encoded, 1);
}

TEST_F(TextDatasetTest, ABrokenOrForeignCacheIsRebuilt) {
  const std::string text = unmistakable(300);
  const auto opts = options({file("a.txt", text)}, "counting");
  make(opts, 7);
  const fs::path path = cache_file();
  std::ifstream stream(path, std::ios::binary);
  const std::string good(std::istreambuf_iterator<char>(stream), {});

  std::vector<std::string> bad = {"", "MONGETOK", "something else entirely", good.substr(0, good.size() - 1),
                                  good + "x"};
  // One flipped bit in every eighth byte: magic, version, width, key, counts, checksum, tokenizer, tokens.
  for (std::size_t at = 0; at < good.size(); at += 8) {
    bad.push_back(good);
    bad.back()[at] = static_cast<char>(bad.back()[at] ^ 4);
  }
  int encoded = 1;
  for (const std::string& content : bad) {
    std::ofstream(path, std::ios::binary) << content;
    EXPECT_EQ(validation(*make(opts, 7), 7, 2), expected(text, 284, 7));
    EXPECT_EQ(CountingTokenizer::encoded, ++encoded);
    make(opts, 7);  // healed
    EXPECT_EQ(CountingTokenizer::encoded, encoded);
  }
  fs::remove(path);
  fs::create_directory(path);
  testing::internal::CaptureStderr();
  EXPECT_EQ(validation(*make(opts, 7), 7, 2), expected(text, 284, 7));
  EXPECT_HAS(testing::internal::GetCapturedStderr(), "kept in memory only");
}

TEST_F(TextDatasetTest, WithoutAWritableCacheTheTokensStayInMemoryWithOneWarning) {
  const std::string text = unmistakable(300);
  auto opts = options({file("a.txt", text)});
  opts.cache = file("no_folder", "a file") + "/cache";
  testing::internal::CaptureStderr();
  const auto data = make(opts, 7);
  const std::string warning = testing::internal::GetCapturedStderr();
  EXPECT_HAS(warning, "warning: the tokenized text is kept in memory only");
  EXPECT_HAS(warning, opts.cache);
  EXPECT_HAS(warning, "data.cache");
  EXPECT_EQ(std::ranges::count(warning, '\n'), 1);
  EXPECT_EQ(validation(*data, 7, 2), expected(text, 284, 7));
}

TEST_F(TextDatasetTest, TheCacheFolderComesFromTheEnvironment) {
  auto opts = options({file("a.txt", unmistakable(300))});
  opts.cache.clear();
  setenv("HOME", (folder_ / "home").c_str(), 1);
  unsetenv("XDG_CACHE_HOME");
  make(opts, 7);
  EXPECT_FALSE(fs::is_empty(folder_ / "home" / ".cache" / "monge"));
  setenv("XDG_CACHE_HOME", (folder_ / "xdg").c_str(), 1);
  make(opts, 7);
  EXPECT_FALSE(fs::is_empty(folder_ / "xdg" / "monge"));
}

TEST_F(TextDatasetTest, SaysWhatIsWrongWithAFile) {
  const std::string good = file("good.txt", unmistakable(300));
  const std::string missing = (folder_ / "missing.txt").string();
  EXPECT_HAS(error_with(options({good, missing}), 7), "there is no file '" + missing + "'");
  EXPECT_HAS(error_with(options({folder_.string()}), 7), "'" + folder_.string() + "' is a folder");
  EXPECT_HAS(error_with(options({good, file("empty.txt", "")}), 7), "empty.txt' is empty");
  EXPECT_HAS(error_with(options({}), 7), "data.path: name a text file");
  const std::string latin1 = file("latin1.txt", "caf\xE9 " + std::string(300, 'x'));
  const std::string message = error_with(options({latin1}, "char"), 7);
  EXPECT_HAS(message, latin1);
  EXPECT_HAS(message, "byte 0xe9 at offset 3");
  EXPECT_FALSE(fs::exists(folder_ / "cache"));  // nothing half-written
}

TEST_F(TextDatasetTest, SaysHowManyTokensATooShortTextHasAndWhatToChange) {
  // Of 100 tokens 90 are for training, 10 for validation: enough for a context of 9.
  const auto opts = options({file("a.txt", unmistakable(100))});
  EXPECT_EQ(make(opts, 9)->validation_windows(), 1);
  std::string message = error_with(opts, 10);
  EXPECT_HAS(message, "100 tokens: 90 for training and 10 for validation");
  EXPECT_HAS(message, "model.context + 1 = 11");
  EXPECT_HAS(message, "data.path");
  EXPECT_HAS(message, "data.validation_fraction (now 0.1)");

  auto most = opts;
  most.validation_fraction = 0.75;  // 25 and 75
  EXPECT_EQ(make(most, 24)->validation_windows(), 3);
  EXPECT_HAS(error_with(most, 25), "25 for training and 75 for validation");
}

TEST_F(TextDatasetTest, OptionsComeFromYaml) {
  TextOptions read;
  read_yaml_text("{path: a.txt, tokenizer: byte, validation_fraction: 0.2}", "recipe", {}, read);
  EXPECT_EQ(read.path, std::vector<std::string>{"a.txt"});
  EXPECT_EQ(read.tokenizer.kind, "byte");
  EXPECT_EQ(read.validation_fraction, 0.2);
  read_yaml_text("{path: [a.txt, b.txt]}", "recipe", {}, read);
  EXPECT_EQ(read.path.size(), 2u);
  EXPECT_HAS(error_of([&] { read_yaml_text("{path: a.txt, validation_fraction: 0}", "recipe", {}, read); }),
             "validation_fraction");
  EXPECT_HAS(error_of([] {
               TextOptions fresh;
               read_yaml_text("{tokenizer: byte}", "recipe", {}, fresh);
             }),
             "path");
}

}  // namespace
}  // namespace monge::train
