// The section `model` of a tokenizer.json, of type BPE: pieces to ids.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "train/tokenizer/hf/json_place.h"
#include "train/tokenizer/merges.h"

namespace monge::train::hf {

/// Immutable; thread-safe.
class BpeModel {
 public:
  /// `bytes`: pieces come as bytes, for which the vocabulary has characters (ByteLevel). Throws InputError with the
  /// place of what is wrong or not supported.
  BpeModel(const JsonPlace& place, bool bytes);

  /// Appends the ids of a piece. What the vocabulary has no token for becomes bytes (byte_fallback) or unk_token, or,
  /// as in `tokenizers`, nothing.
  void encode(std::string_view piece, WordMemory& memory, std::vector<std::int32_t>& ids) const;

  /// -1 where there is none.
  std::int32_t id(std::string_view token) const;
  /// Of all tokens; empty for an id that has none.
  const std::vector<std::string>& tokens() const { return tokens_; }
  /// How many there are, without the ids that have none.
  std::size_t size() const { return ids_.size(); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  void read_vocabulary(const JsonPlace& vocab);
  void read_merges(const JsonPlace& merges);
  /// Notes which characters stand side by side in a token that is made by a merge.
  void note_neighbours(std::string_view token);
  bool may_merge(char32_t left, char32_t right) const;
  void encode_word(std::string_view word, std::vector<std::int32_t>& tokens) const;
  std::int32_t id_of_character(char32_t character) const;

  bool bytes_, byte_fallback_ = false, fuse_unknown_ = false, ignore_merges_ = false;
  std::int32_t unknown_ = -1;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> ids_;
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> whole_;  // tokens as pieces: by their bytes
  std::array<std::int32_t, 256> byte_ids_{};  // bytes_: of a byte; else of the token <0x..>
  std::vector<std::int32_t> character_ids_;   // of the code points; -1: none
  std::vector<bool> neighbours_;              // by a hash of two characters
  MergeTable merges_;
};

}  // namespace monge::train::hf
