// The tokenizer `bpe`: byte pair encoding (Sennrich, Haddow & Birch 2016, arXiv:1508.07909) of bytes, as in GPT-2.
//
// Ids 0 .. 255 are the bytes; each further id is two tokens put together. A text is cut into words first, and nothing
// reaches across them: a run of letters and marks, of numbers or of other characters, with the space before it, or a
// run of white space. Unicode says what is what; bytes that are no UTF-8 count as letters, so any file can be taken.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "train/tokenizer/merges.h"
#include "train/tokenizer/tokenizer.h"

namespace monge::train {

/// How a text is cut into words: by the categories of Unicode, or as the first versions did, to which all bytes beyond
/// ASCII were letters: what was saved by these goes on as it was.
enum class BpeWords { unicode, ascii };

/// The words of a text, in order; together they are the text.
std::vector<std::string_view> bpe_words(std::string_view text, BpeWords words = BpeWords::unicode);

class BpeTokenizer : public Tokenizer {
 public:
  using Pair = std::pair<std::int32_t, std::int32_t>;

  /// merges[k] makes the token 256 + k of two tokens before it. Throws InputError when one of them comes later, or when
  /// a pair is there twice.
  explicit BpeTokenizer(std::vector<Pair> merges, BpeWords words = BpeWords::unicode);

  std::string kind() const override { return "bpe"; }
  std::int64_t vocab() const override { return static_cast<std::int64_t>(bytes_.size()); }
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(const std::vector<std::int32_t>& ids) const override;
  std::string save() const override;

 private:
  std::vector<Pair> merges_;
  BpeWords words_;
  MergeTable table_;
  std::vector<std::string> bytes_;  // of each token
};

struct BpeOptions : Options {
  std::int64_t vocab = 1024;
  void fields(Fields& f) override;
};

/// Puts the most frequent pair of the text together, of equal ones that of the lowest ids, until the vocabulary is as
/// large as asked or no pair is there twice.
std::unique_ptr<Tokenizer> make_bpe_tokenizer(const BpeOptions& options, std::string_view text);

/// From {"kind": "bpe", "words": "unicode", "merges": [[104, 101], ...]}; without "words" they are those of ASCII.
std::unique_ptr<Tokenizer> load_bpe_tokenizer(const NoOptions& options, std::string_view json);

}  // namespace monge::train
