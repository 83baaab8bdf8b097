// TokenStore: the tokens of a text and the tokenizer that made them, in a file that is mapped, not read.
//
// The file, in the byte order of the machine: a Header, the tokenizer as JSON, zeros up to a multiple of 8 bytes, the
// tokens as 16-bit numbers (32-bit when the vocabulary is larger than 65536), the checksum of all before it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "train/tokenizer/tokenizer.h"

namespace monge::train {

/// Immutable; thread-safe.
class TokenStore {
 public:
  /// The tokens of a text. `key` says which text and which tokenizer they belong to.
  TokenStore(const Tokenizer& tokenizer, std::span<const std::int32_t> tokens, std::uint64_t key);

  /// Maps a file that `save` wrote; nothing where there is none, or one that is broken, foreign or of another key.
  static std::optional<TokenStore> open(const std::string& path, std::uint64_t key);
  /// Writes beside `path`, then renames, so that other processes see all of it or nothing; makes the folder. Returns
  /// what went wrong, empty when nothing did.
  std::string save(const std::string& path) const;

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  std::int64_t size() const { return size_; }
  /// Tokens [begin, begin + out.size()), which must lie within the store.
  void read(std::int64_t begin, std::span<std::int32_t> out) const;

 private:
  TokenStore() = default;
  bool parse(std::uint64_t key);

  std::shared_ptr<const void> owner_;  // of `image_`: a mapping or a vector
  std::string_view image_;             // the whole file
  std::unique_ptr<Tokenizer> tokenizer_;
  const std::byte* tokens_ = nullptr;
  std::uint32_t token_bytes_ = 2;
  std::int64_t size_ = 0;
};

}  // namespace monge::train
