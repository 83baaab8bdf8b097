// Tokenizers of Hugging Face against what their own library made of texts (tools/interop/make_tokenizer_fixtures.py),
// and files that are broken.
#include "train/tokenizer/hf/hf_tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/random.h"
#include "support/expect_error.h"
#include "support/temp_directory.h"

namespace monge::train {
namespace {

using nlohmann::json;
using Ids = std::vector<std::int32_t>;

const std::string fixtures = MONGE_SOURCE_DIR "/tests/fixtures/tokenizers/";

std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Bytes that are no UTF-8 as the library shows them: U+FFFD for the longest start of a character that goes wrong.
std::string with_replacements(const std::string& bytes) {
  std::string out;
  const auto byte = [&](std::size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u; };
  for (std::size_t at = 0; at < bytes.size();) {
    const unsigned first = byte(at);
    const std::size_t length = first < 0x80   ? 1
                               : first < 0xC2 ? 0
                               : first < 0xE0 ? 2
                               : first < 0xF0 ? 3
                               : first < 0xF5 ? 4
                                              : 0;
    std::size_t valid = length == 0 ? 0 : 1;
    const unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    const unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    while (valid > 0 && valid < length && byte(at + valid) >= (valid == 1 ? low : 0x80) &&
           byte(at + valid) <= (valid == 1 ? high : 0xBF)) {
      ++valid;
    }
    if (valid == length && length > 0) {
      out += bytes.substr(at, length);
    } else {
      out += "\xEF\xBF\xBD";
    }
    at += std::max<std::size_t>(valid, 1);
  }
  return out;
}

TEST(HfTokenizer, GivesTheIdsAndTextsOfTheLibrary) {
  const json cases = json::parse(content_of(fixtures + "cases.json"));
  ASSERT_GE(cases.size(), 11u);
  for (const auto& [style, texts] : cases.items()) {
    HfOptions options;
    options.path = fixtures + (style == "gpt2_files" ? style : style + ".json");
    const auto tokenizer = make_hf_tokenizer(options, "");
    const auto loaded = load_tokenizer(tokenizer->save());
    EXPECT_EQ(loaded->save(), tokenizer->save()) << style;
    EXPECT_EQ(loaded->vocab(), tokenizer->vocab()) << style;
    for (const json& one : texts) {
      const auto text = one["text"].get<std::string>();
      const Ids ids = tokenizer->encode(text);
      EXPECT_EQ(ids, one["ids"].get<Ids>()) << style << ": " << one["text"].dump();
      EXPECT_EQ(loaded->encode(text), ids) << style;
      EXPECT_EQ(with_replacements(tokenizer->decode(ids)), one["decoded"].get<std::string>()) << style;
    }
  }
}

json file_of(const std::string& style) { return json::parse(content_of(fixtures + style + ".json")); }
std::string error_in(const json& file) {
  return error_of([&] { HfTokenizer(file.dump(), "t.json").encode("some text"); });
}

/// A tokenizer of the letters a and b.
json small(const json& pre_tokenizer = nullptr, const json& normalizer = nullptr) {
  return {{"normalizer", normalizer},
          {"pre_tokenizer", pre_tokenizer},
          {"model", {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}}}, {"merges", {"a b"}}}}};
}
json split_by(const std::string& pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

TEST(HfTokenizer, NamesWhatIsNotSupportedAndWhereItStands) {
  EXPECT_HAS(error_in(small({{"type", "Whitespace"}})), "t.json: pre_tokenizer: the pre-tokenizer 'Whitespace'");
  json nested = small({{"type", "Sequence"}, {"pretokenizers", {split_by("a"), {{"type", "BertPreTokenizer"}}}}});
  EXPECT_HAS(error_in(nested), "t.json: pre_tokenizer.pretokenizers[1]: the pre-tokenizer 'BertPreTokenizer'");
  EXPECT_HAS(error_in(small(nullptr, {{"type", "Precompiled"}})), "normalizer: the normalizer 'Precompiled'");
  EXPECT_HAS(error_in(small(nullptr, {{"type", "Strip"}, {"strip_left", true}})),
             "normalizer: needs a value 'strip_right'");
  json file = small();
  file["decoder"] = {{"type", "WordPiece"}};
  EXPECT_HAS(error_in(file), "decoder: the decoder 'WordPiece' is not supported; allowed: ByteLevel");
  file = small();
  file["post_processor"] = {{"type", "Other"}};
  EXPECT_HAS(error_in(file), "post_processor: the post-processor 'Other'");
  file = small();
  file["truncation"] = {{"max_length", 5}};
  EXPECT_HAS(error_in(file), "truncation: is not supported; write null");
  file = small();
  file["model"]["type"] = "Unigram";
  EXPECT_HAS(error_in(file), "model.type: the model 'Unigram' is not supported; allowed: BPE");
  file["model"]["type"] = "BPE";
  file["model"]["end_of_word_suffix"] = "</w>";
  EXPECT_HAS(error_in(file), "model.end_of_word_suffix: is not supported");
  file = small();
  file["surprise"] = 1;
  EXPECT_HAS(error_in(file), "t.json: 'surprise' is not supported");
}

TEST(HfTokenizer, NamesWhatIsWrongAndWhereItStands) {
  json file = small();
  file["model"]["merges"] = {"a b", "a b"};
  EXPECT_HAS(error_in(file), "model.merges[1]: 'a' and 'b' are merged by an earlier line");
  file["model"]["merges"] = {"b a"};
  EXPECT_HAS(error_in(file), "model.merges[0]: 'b' and 'a' make 'ba', which is not in model.vocab");
  file["model"]["merges"] = {"a c"};
  EXPECT_HAS(error_in(file), "model.merges[0]: 'c' is not in model.vocab");
  file["model"]["merges"] = {"ab"};
  EXPECT_HAS(error_in(file), "model.merges[0]: 'ab' must be two tokens with one space between");
  file["model"]["merges"] = {{1, 2}};
  EXPECT_HAS(error_in(file), "model.merges[0]: must be two tokens");
  file = small();
  file["model"]["vocab"]["b"] = 0;
  EXPECT_HAS(error_in(file), "have the same id 0");
  file["model"]["vocab"]["b"] = -1;
  EXPECT_HAS(error_in(file), "model.vocab.b: must be an integer");
  file["model"]["vocab"]["b"] = 4'000'000'000;
  EXPECT_HAS(error_in(file), "model.vocab.b: must be an integer; allowed: 0 .. 16777215");
  file["model"]["vocab"] = json::object();
  file["model"]["merges"] = json::array();
  EXPECT_HAS(error_in(file), "model.vocab: is empty");
  file = small();
  file["model"]["unk_token"] = "<unk>";
  EXPECT_HAS(error_in(file), "model.unk_token: '<unk>' is not in model.vocab");
  file = small();
  file["added_tokens"] = {{{"id", 7}, {"content", "<x>"}}};
  EXPECT_HAS(error_in(file), "added_tokens[0].id: the token '<x>' has the id 7, but 3 by the number of tokens");
  EXPECT_HAS(error_of([] { HfTokenizer("[]", "t.json"); }), "t.json: must be an object, not array");
}

TEST(HfTokenizer, RefusesPatternsThatItReadsOtherwiseOrNotAtAll) {
  EXPECT_HAS(error_in(small(split_by("(a"))), "pre_tokenizer.pattern.Regex: the pattern '(a' is no regular expression");
  for (const char* other : {R"(\w+)", R"([a-z&&[^b]])", R"([[:alpha:]])", R"(\p{N}{1,3}+)", R"(\bx)", R"(a\Kb)"}) {
    EXPECT_HAS(error_in(small(split_by(other))), "which is not supported") << other;
  }
  EXPECT_EQ(HfTokenizer(small(split_by(R"(\p{L}+|\x{61}+|a{1,3}?)")).dump(), "t.json").encode("ab"), (Ids{2}));
}

// Nested repetitions take exponential time, others use up a stack: an error, and soon.
TEST(HfTokenizer, GivesUpOnPatternsThatBacktrackForever) {
  const auto start = std::chrono::steady_clock::now();
  for (const char* pattern : {"(a|aa)+$", "(a*)*b", "((a+)+)+c", "(?:(a)|(b)|a)*z"}) {
    const HfTokenizer tokenizer(small(split_by(pattern)).dump(), "t.json");
    try {
      tokenizer.encode(std::string(100'000, 'a') + "!");
    } catch (const InputError& error) {
      EXPECT_HAS(std::string(error.what()),
                 fmt::format("t.json: pre_tokenizer.pattern.Regex: the pattern '{}' cannot", pattern));
    }
  }
  EXPECT_HAS(
      error_of([] { HfTokenizer(small(split_by("(a|aa)+$")).dump(), "t.json").encode(std::string(1000, 'a') + "!"); }),
      "limit");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(HfTokenizer, RefusesJsonThatIsCutOffOrNestedDeep) {
  const std::string text = small().dump(1);
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_HAS(error_of([&] { HfTokenizer(text.substr(0, size), "t.json"); }), "t.json: line ");
  }
  EXPECT_HAS(error_of([] { HfTokenizer(std::string(1'000'000, '['), "t.json"); }),
             "line 1, column 101: lists and objects");
  EXPECT_HAS(error_of([] {
               HfTokenizer(R"({"a": ")"
                           "\xFF"
                           R"("})",
                           "t.json");
             }),
             "no valid JSON");
  EXPECT_HAS(error_of([] { HfTokenizer(R"({"model": {"vocab": {"a": 1e999}}})", "t.json"); }), "t.json: ");
}

// Whatever is put in the place of whatever: a tokenizer or an error, and text goes through it.
TEST(HfTokenizer, TakesAnyFileOrSaysWhatIsWrong) {
  const std::vector<json> others = {nullptr,
                                    true,
                                    -1,
                                    3,
                                    1e300,
                                    "",
                                    "a",
                                    "\u2581",
                                    json::array(),
                                    json::object(),
                                    {{"a", 1}},
                                    {"a", "b"},
                                    {{"type", "Sequence"}}};
  int taken = 0, refused = 0;
  for (const std::string style : {"qwen2", "llama2", "metaspace", "plain", "smollm"}) {
    json file = file_of(style);
    std::vector<json::json_pointer> places;
    const json flat = file.flatten();
    RandomSequence random(5, 1);
    for (const auto& [path, value] : flat.items()) {
      if (random.below(40) != 0 && (path.starts_with("/model/vocab") || path.starts_with("/model/merges"))) continue;
      for (json::json_pointer place(path); !place.empty(); place.pop_back()) places.push_back(place);
    }
    for (const auto& place : places) {
      json changed = file;
      changed[place] = others[random.below(others.size())];
      try {
        const HfTokenizer tokenizer(changed.dump(), "t.json");
        const Ids ids = tokenizer.encode("The pile <mask> of\n  12 caf\u00e9s \u4e2d\U0001F642");
        tokenizer.decode(ids);
        ++taken;
      } catch (const InputError& error) {
        EXPECT_HAS(std::string(error.what()), "t.json");
        ++refused;
      }
    }
  }
  EXPECT_GT(taken, 20);
  EXPECT_GT(refused, 200);
}

TEST(HfTokenizer, ReadsAFolder) {
  const test::TempDirectory folder;
  HfOptions options;
  options.path = folder.path().string();
  EXPECT_HAS(error_of([&] { make_hf_tokenizer(options, ""); }), "vocab.json' is no file that can be read");
  std::ofstream(folder.path() / "vocab.json") << R"({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3})";
  std::ofstream(folder.path() / "merges.txt") << "#version: 0.2\r\na b\r\n";
  EXPECT_EQ(make_hf_tokenizer(options, "")->encode("ab<|endoftext|>a"), (Ids{2, 3, 0}));
  std::ofstream(folder.path() / "merges.txt") << "a b\nab\n";
  EXPECT_HAS(error_of([&] { make_hf_tokenizer(options, ""); }), "merges.txt: line 2: 'ab' must be two tokens");
  const std::uint64_t before = options.content();
  std::ofstream(folder.path() / "tokenizer.json") << small().dump();
  EXPECT_EQ(make_hf_tokenizer(options, "")->encode("abb"), (Ids{2, 1}));
  EXPECT_NE(options.content(), before);
}

// A text that grows token by token is the text of all tokens, though the first one loses the space before it.
TEST(HfTokenizer, TextsGrowTokenByToken) {
  const std::string text = "The pile  goes to \u4e2d each <mask> hole.\nWord";
  for (const std::string style : {"llama2", "metaspace", "gpt2", "smollm"}) {
    const HfTokenizer tokenizer(file_of(style).dump(), "t.json");
    const Ids ids = tokenizer.encode(text);
    std::string grown;
    std::optional<std::int32_t> before;
    for (const std::int32_t id : ids) {
      grown += text_after(tokenizer, before, {id});
      before = id;
    }
    EXPECT_EQ(grown, tokenizer.decode(ids)) << style;
  }
}

TEST(HfTokenizer, IdsThatTheVocabularyLeavesOutAreNoText) {
  json file = small();
  file["model"]["vocab"]["ab"] = 9;
  const HfTokenizer tokenizer(file.dump(), "t.json");
  EXPECT_EQ(tokenizer.vocab(), 10);
  EXPECT_EQ(tokenizer.decode({0, 5, 9}), "a ab");
}

TEST(HfTokenizer, RefusesIdsAndBytesThatItDoesNotKnow) {
  const HfTokenizer tokenizer(small().dump(), "t.json");
  EXPECT_HAS(error_of([&] { tokenizer.decode({3}); }), "token id 3 is not in the vocabulary; allowed: 0 .. 2");
  EXPECT_HAS(error_of([&] { tokenizer.decode({-1}); }), "token id -1");
  EXPECT_HAS(error_of([&] { tokenizer.encode("a\xFF"); }), "byte 0xff at offset 1");
}

// A whole text is one piece where there is no pre-tokenizer.
TEST(HfTokenizer, ALongPieceTakesNoTime) {
  json file = small();
  file["model"]["vocab"] = {{"a", 0}, {"aa", 1}, {"aaaa", 2}};
  file["model"]["merges"] = {"a a", "aa aa"};
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(HfTokenizer(file.dump(), "t.json").encode(std::string(1'000'000, 'a')), Ids(250'000, 2));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

}  // namespace
}  // namespace monge::train
