// Byte pair encoding against loops that count everything anew.
#include "train/tokenizer/bpe_tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>

#include "core/random.h"
#include "support/expect_error.h"

namespace monge::train {
namespace {

using Pair = BpeTokenizer::Pair;
using Ids = std::vector<std::int32_t>;

std::unique_ptr<Tokenizer> learn(std::string_view text, std::int64_t vocab) {
  BpeOptions options;
  options.vocab = vocab;
  return make_bpe_tokenizer(options, text);
}
std::string shown(std::string_view text) {
  std::string out;
  for (const std::string_view word : bpe_words(text)) out += fmt::format("[{}]", word);
  return out;
}
/// Words of few letters, so that pairs repeat and tie; some digits, signs, runs of space and bytes beyond ASCII.
std::string made_up_text(std::uint64_t seed, int words) {
  RandomSequence random(seed, 1);
  std::string text;
  for (int w = 0; w < words; ++w) {
    const std::uint64_t length = 1 + random.below(7);
    for (std::uint64_t i = 0; i < length; ++i) text += "abcde\xC3\xA9"[random.below(7)];
    const char* const between[] = {" ", " ", " ", "\n", "  ", ", ", " 12 ", ".\n\n "};
    text += between[random.below(8)];
  }
  return text;
}

/// Merges by counting every pair of every word anew for each merge.
std::vector<Pair> naive_merges(const std::string& text, std::size_t count) {
  std::vector<Ids> words;
  for (const std::string_view word : bpe_words(text)) {
    Ids ids;
    for (const char c : word) ids.push_back(static_cast<unsigned char>(c));
    words.push_back(ids);
  }
  std::vector<Pair> merges;
  while (merges.size() < count) {
    std::map<Pair, int> counts;
    for (const Ids& word : words) {
      for (std::size_t i = 0; i + 1 < word.size(); ++i) ++counts[{word[i], word[i + 1]}];
    }
    Pair best;
    int most = 1;
    for (const auto& [pair, n] : counts) {
      if (n > most) best = pair, most = n;  // the first of equal ones has the lowest ids
    }
    if (most == 1) break;
    for (Ids& word : words) {
      Ids next;
      for (std::size_t i = 0; i < word.size(); ++i) {
        if (i + 1 < word.size() && Pair{word[i], word[i + 1]} == best) {
          next.push_back(256 + static_cast<std::int32_t>(merges.size()));
          ++i;
        } else {
          next.push_back(word[i]);
        }
      }
      word = next;
    }
    merges.push_back(best);
  }
  return merges;
}

/// Every merge in its turn over the whole text, word by word.
Ids naive_ids(const std::string& text, const std::vector<Pair>& merges) {
  Ids out;
  for (const std::string_view word : bpe_words(text)) {
    Ids ids;
    for (const char c : word) ids.push_back(static_cast<unsigned char>(c));
    for (std::size_t m = 0; m < merges.size(); ++m) {
      for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
        if (Pair{ids[i], ids[i + 1]} != merges[m]) continue;
        ids[i] = 256 + static_cast<std::int32_t>(m);
        ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    }
    out.insert(out.end(), ids.begin(), ids.end());
  }
  return out;
}

TEST(BpeWords, AreRunsWithTheSpaceBeforeThem) {
  EXPECT_EQ(shown("To be, or 12 times?\n\nNo."), "[To][ be][,][ or][ 12][ times][?][\n\n][No][.]");
  EXPECT_EQ(shown("a  b\n c \xC3\xA9 "), "[a][ ][ b][\n][ c][ \xC3\xA9][ ]");
  EXPECT_EQ(shown("  "), "[  ]");
  EXPECT_EQ(shown(""), "");
}

// Letters with their marks, numbers, white space and the rest of every script; bytes that are no UTF-8 are letters.
TEST(BpeWords, AreThoseOfUnicode) {
  EXPECT_EQ(shown("中文字。日本語、12"), "[中文字][。][日本語][、][12]");
  EXPECT_EQ(shown("e\u0301t\u00e9 \u0663\u0664\u2167 \u00bd\u3000\u00a0x"),
            "[e\u0301t\u00e9][ \u0663\u0664\u2167][ \u00bd][\u3000\u00a0][x]");
  EXPECT_EQ(shown("हिन्दी? \U0001F642\u200d\U0001F642"), "[हिन्दी][?][ \U0001F642\u200d\U0001F642]");
  EXPECT_EQ(shown("a\xFF\xC3 \xE4\xB8."), "[a\xFF\xC3][ \xE4\xB8][.]");
}

// Tokenizers of runs that were begun when all bytes beyond ASCII were letters.
TEST(BpeWords, OfOldTokenizersStayAsTheyWere) {
  const std::string saved =
      R"({"kind":"bpe","merges":[[227,128],[256,130],[173,257]]})";  // the third: across a full stop
  const auto old = load_tokenizer(saved);
  EXPECT_EQ(old->save(), saved);
  EXPECT_EQ(old->encode("\u4e2d\u3002"), (Ids{0xE4, 0xB8, 258}));
  const auto fresh = load_tokenizer(R"({"kind":"bpe","words":"unicode","merges":[[227,128],[256,130],[173,257]]})");
  EXPECT_EQ(fresh->encode("\u4e2d\u3002"), (Ids{0xE4, 0xB8, 0xAD, 257}));
  EXPECT_EQ(load_tokenizer(fresh->save())->encode("\u4e2d\u3002"), fresh->encode("\u4e2d\u3002"));
  EXPECT_HAS(error_of([] { load_tokenizer(R"({"kind":"bpe","words":"new","merges":[]})"); }), "\"unicode\"");
}

TEST(BpeTokenizer, LearnsAndEncodesLikePlainLoops) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const std::string text = made_up_text(seed, 400), other = made_up_text(100 + seed, 50);
    const std::vector<Pair> merges = naive_merges(text, 60);
    const auto tokenizer = learn(text, 256 + 60);
    EXPECT_EQ(tokenizer->save(), BpeTokenizer(merges).save()) << seed;
    EXPECT_EQ(tokenizer->encode(other), naive_ids(other, merges)) << seed;
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(other)), other) << seed;
    EXPECT_LT(tokenizer->encode(other).size(), 0.7 * static_cast<double>(other.size())) << seed;
  }
}

// Runs of one byte overlap with themselves.
TEST(BpeTokenizer, CountsAndMergesRuns) {
  const std::string text = "aaaaa aaa aaaa aa";
  EXPECT_EQ(learn(text, 300)->save(), BpeTokenizer(naive_merges(text, 44)).save());
  EXPECT_EQ(learn(text, 257)->encode("aaa"), (Ids{256, 'a'}));
}

// Scripts without spaces: a line is one word, in which pairs overlap, vanish and come anew.
TEST(BpeTokenizer, LearnsFromLongWordsLikePlainLoops) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    RandomSequence random(seed, 2);
    std::string text;
    for (int i = 0; i < 600; ++i)
      text += random.below(40) == 0 ? "\n" : std::string(1, "aaab\xE4\xB8\x80"[random.below(7)]);
    const std::vector<Pair> merges = naive_merges(text, 120);
    const auto tokenizer = learn(text, 256 + 120);
    EXPECT_EQ(tokenizer->save(), BpeTokenizer(merges).save()) << seed;
    EXPECT_EQ(tokenizer->encode(text), naive_ids(text, merges)) << seed;
  }
}

TEST(BpeTokenizer, ALongWordTakesNoTime) {
  RandomSequence random(1, 3);
  std::string text;
  for (int i = 0; i < 400'000; ++i) text += static_cast<char>('a' + random.below(20));
  const auto start = std::chrono::steady_clock::now();
  const auto tokenizer = learn(text, 2048);
  EXPECT_EQ(tokenizer->vocab(), 2048);
  EXPECT_LT(tokenizer->encode(text).size(), text.size() / 2);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));  // going through the word: minutes
}

TEST(BpeTokenizer, StopsWhereNothingRepeats) {
  EXPECT_EQ(learn("abcdefg", 1024)->vocab(), 256);
  EXPECT_EQ(learn("ab ab", 1024)->vocab(), 257);
  EXPECT_EQ(learn("", 1024)->vocab(), 256);
}

TEST(BpeTokenizer, TakesEveryByte) {
  std::string text;
  for (int byte = 255; byte >= 0; --byte) text += static_cast<char>(byte);
  const auto tokenizer = learn("abab", 300);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
}

TEST(BpeTokenizer, RefusesMergesThatCannotBe) {
  EXPECT_HAS(error_of([] { BpeTokenizer({{97, 257}}); }), "merge 256 is of the tokens 97 and 257; allowed: 0 .. 255");
  EXPECT_HAS(error_of([] { BpeTokenizer({{97, 98}, {97, 98}}); }), "merged twice");
  EXPECT_HAS(error_of([] { load_tokenizer(R"({"kind": "bpe"})"); }), "\"merges\"");
  EXPECT_HAS(error_of([] { load_tokenizer(R"({"kind": "bpe", "merges": [[1]]})"); }), "\"merges\"");
}

}  // namespace
}  // namespace monge::train
