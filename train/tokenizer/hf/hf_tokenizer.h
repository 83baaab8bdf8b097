// The tokenizer `hf`: a tokenizer.json of Hugging Face's `tokenizers`, of which byte pair encoding is supported; or
// GPT-2's vocab.json and merges.txt. Gives the ids of that library's encode(text, add_special_tokens=False).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "train/tokenizer/hf/added_tokens.h"
#include "train/tokenizer/hf/bpe_model.h"
#include "train/tokenizer/hf/decoder.h"
#include "train/tokenizer/hf/normalizer.h"
#include "train/tokenizer/hf/pre_tokenizer.h"
#include "train/tokenizer/tokenizer.h"

namespace monge::train {

class HfTokenizer : public Tokenizer {
 public:
  /// From the text of a tokenizer.json; `file` names it in messages. Throws InputError with the place of what is wrong
  /// or not supported ("tokenizer.json: pre_tokenizer.pretokenizers[1]: ...").
  HfTokenizer(std::string_view json, const std::string& file);

  std::string kind() const override { return "hf"; }
  /// One more than the largest id; a vocabulary may leave ids out.
  std::int64_t vocab() const override { return static_cast<std::int64_t>(tokens_.size()); }
  /// `text` must be UTF-8. No special tokens are added around it; those that it holds become tokens.
  std::vector<std::int32_t> encode(std::string_view text) const override;
  /// With special tokens. Ids that the vocabulary leaves out are no text, as in `tokenizers`.
  std::string decode(const std::vector<std::int32_t>& ids) const override;
  /// {"kind": "hf", "json": "..."}: the file as a text.
  std::string save() const override;

 private:
  explicit HfTokenizer(const JsonPlace& root);

  std::string json_;                                  // in ASCII, so that it passes through any other JSON as it is
  std::unique_ptr<const hf::Normalizer> normalizer_;  // null: none
  std::unique_ptr<const hf::PreTokenizer> pre_tokenizer_;  // null: none
  std::unique_ptr<const hf::Decoder> decoder_;             // null: tokens with a space between
  std::optional<hf::BpeModel> model_;
  hf::AddedTokens added_;
  std::vector<std::string> tokens_;  // of all ids; empty: none
};

struct HfOptions : Options {
  std::string path;
  void fields(Fields& f) override;
  /// A checksum of what `path` names, 0 where it cannot be read: ids depend on it as on the options.
  std::uint64_t content() const;
};

/// The text is not looked at. `path` is a tokenizer.json, or a folder with one or with vocab.json and merges.txt.
std::unique_ptr<Tokenizer> make_hf_tokenizer(const HfOptions& options, std::string_view text);

/// From {"kind": "hf", "json": "..."}.
std::unique_ptr<Tokenizer> load_hf_tokenizer(const NoOptions& options, std::string_view json);

}  // namespace monge::train
