#include "train/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "support/expect_error.h"

namespace monge::train {
namespace {

std::unique_ptr<Tokenizer> make(const std::string& kind, std::string_view text) {
  return tokenizers().make(tokenizers().choose(kind), text);
}

TEST(CharTokenizer, IdsAreThePlacesInTheSortedSetOfCharacters) {
  const std::string text = "To be, or not to be:\nthat is the question.";
  const auto tokenizer = make("char", text);
  const std::set<char> distinct(text.begin(), text.end());
  const std::string sorted(distinct.begin(), distinct.end());

  EXPECT_EQ(tokenizer->vocab(), std::ssize(sorted));
  const std::vector<std::int32_t> ids = tokenizer->encode(text);
  ASSERT_EQ(ids.size(), text.size());
  for (std::size_t i = 0; i < text.size(); ++i) EXPECT_EQ(ids[i], static_cast<std::int32_t>(sorted.find(text[i])));
  EXPECT_EQ(tokenizer->decode(ids), text);
}

TEST(CharTokenizer, OrdersByCodePointAcrossAllLengthsOfUtf8) {
  const std::string text = "\xF0\x9D\x84\x9E\xE2\x82\xAC\xC3\xA9z";  // U+1D11E, U+20AC, U+00E9, z
  const auto tokenizer = make("char", text);
  EXPECT_EQ(tokenizer->vocab(), 4);
  EXPECT_EQ(tokenizer->encode(text), (std::vector<std::int32_t>{3, 2, 1, 0}));
  EXPECT_EQ(tokenizer->decode({3, 2, 1, 0}), text);
  EXPECT_EQ(tokenizer->decode({1}), "\xC3\xA9");
}

TEST(CharTokenizer, NamesTheCharacterAndItsOffsetWhenItIsNotInTheVocabulary) {
  const auto tokenizer = make("char", "ab\xC3\xA9");
  const std::string ascii = error_of([&] { tokenizer->encode("ab\xC3\xA9z"); });
  EXPECT_HAS(ascii, "'z' (U+007A) at byte offset 4");
  EXPECT_HAS(ascii, "3 characters");
  EXPECT_HAS(error_of([&] { tokenizer->encode("a\xE2\x82\xAC"); }), "'\xE2\x82\xAC' (U+20AC) at byte offset 1");
  EXPECT_HAS(error_of([&] { tokenizer->encode("\t"); }), "character U+0009 at byte offset 0");
}

TEST(CharTokenizer, RefusesWhatIsNoUtf8AndSaysWhere) {
  const std::vector<std::string> broken = {
      "\x80",              // a tail byte alone
      "\xC3",              // cut off
      "\xC3z",             // no tail byte
      "\xC0\x80",          // overlong
      "\xE0\x9F\xBF",      // overlong
      "\xED\xA0\x80",      // surrogate
      "\xF4\x90\x80\x80",  // above U+10FFFF
      "\xF0\x8F\xBF\xBF",  // overlong
      "\xFF",
  };
  for (const std::string& bytes : broken) {
    const std::string message = error_of([&] { make("char", "ok" + bytes); });
    EXPECT_HAS(message, fmt::format("byte 0x{:02x} at offset 2", static_cast<unsigned char>(bytes[0])));
    EXPECT_HAS(message, "data.tokenizer to byte");
  }
}

TEST(CharTokenizer, AcceptsTheEdgesOfUtf8) {
  const std::string edges =
      "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF";
  const auto tokenizer = make("char", edges);
  EXPECT_EQ(tokenizer->vocab(), 9);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(edges)), edges);
}

TEST(CharTokenizer, RefusesAnEmptyText) {
  EXPECT_HAS(error_of([] { make("char", ""); }), "empty");
}

TEST(ByteTokenizer, TakesEveryByte) {
  std::string text;
  for (int byte = 255; byte >= 0; --byte) text += static_cast<char>(byte);
  const auto tokenizer = make("byte", "");
  EXPECT_EQ(tokenizer->vocab(), 256);
  const std::vector<std::int32_t> ids = tokenizer->encode(text);
  for (int i = 0; i < 256; ++i) EXPECT_EQ(ids[static_cast<std::size_t>(i)], 255 - i);
  EXPECT_EQ(tokenizer->decode(ids), text);
}

TEST(Tokenizer, RefusesIdsOutsideTheVocabulary) {
  for (const std::string kind : {"char", "byte", "bpe"}) {
    const auto tokenizer = make(kind, "abc");
    const auto end = static_cast<std::int32_t>(tokenizer->vocab());
    for (const std::int32_t id : {-1, end}) {
      const std::string message = error_of([&] { tokenizer->decode({0, id}); });
      EXPECT_HAS(message, fmt::format("token id {} ", id));
      EXPECT_HAS(message, fmt::format("0 .. {}", end - 1));
    }
  }
}

TEST(Tokenizer, IsTheSameAfterSaveAndLoad) {
  const std::string text = "\"quotes\", \\ and \xC3\xA9\n\t\x01";
  for (const std::string kind : {"char", "byte", "bpe"}) {
    const auto tokenizer = make(kind, text);
    const auto loaded = load_tokenizer(tokenizer->save());
    EXPECT_EQ(loaded->kind(), kind);
    EXPECT_EQ(loaded->vocab(), tokenizer->vocab());
    EXPECT_EQ(loaded->encode(text), tokenizer->encode(text));
    EXPECT_EQ(loaded->save(), tokenizer->save());
  }
}

TEST(Tokenizer, LoadRefusesWhatIsNoTokenizer) {
  EXPECT_HAS(error_of([] { load_tokenizer("not json"); }), "JSON object with a \"kind\"");
  EXPECT_HAS(error_of([] { load_tokenizer("[1]"); }), "JSON object with a \"kind\"");
  EXPECT_HAS(error_of([] { load_tokenizer(R"({"kind": 1})"); }), "JSON object with a \"kind\"");
  EXPECT_HAS(error_of([] { load_tokenizer(R"({"kind": "none"})"); }), "'none'; allowed: bpe, byte, char");
  EXPECT_HAS(error_of([] { load_tokenizer(R"({"kind": "char"})"); }), "\"vocabulary\"");
  EXPECT_HAS(error_of([] { load_tokenizer(R"({"kind": "char", "vocabulary": ""})"); }), "empty");
  EXPECT_HAS(error_of([] { load_tokenizer(R"({"kind": "char", "vocabulary": "aba"})"); }), "'a' (U+0061) is twice");
}

TEST(Tokenizer, EveryRegisteredKindCanBeReadBack) {
  for (const std::string& kind : tokenizers().names()) EXPECT_TRUE(saved_tokenizers().has(kind)) << kind;
}

}  // namespace
}  // namespace monge::train
