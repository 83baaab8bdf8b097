// The section `pre_tokenizer` of a tokenizer.json: cuts a text into the pieces that byte pairs do not reach across.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "train/tokenizer/hf/json_place.h"

namespace monge::train::hf {

/// Immutable; thread-safe.
class PreTokenizer {
 public:
  /// A piece, and whether it begins where the whole text does. It lives until the call returns.
  using Piece = std::function<void(std::string_view piece, bool first)>;

  virtual ~PreTokenizer() = default;
  /// Calls `piece` for the pieces of `text`, which must be UTF-8, in order; none of them is empty.
  virtual void split(std::string_view text, bool first, const Piece& piece) const = 0;
  /// Whether the model takes the bytes of a piece, by the characters that stand for them (ByteLevel).
  virtual bool bytes() const { return false; }
};

/// Split, Digits, ByteLevel, Metaspace and Sequence. Throws InputError that names any other.
std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const JsonPlace& place);

}  // namespace monge::train::hf
