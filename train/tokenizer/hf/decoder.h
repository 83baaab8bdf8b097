// The section `decoder` of a tokenizer.json: tokens back to text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/tokenizer/hf/json_place.h"

namespace monge::train::hf {

/// Immutable; thread-safe.
class Decoder {
 public:
  virtual ~Decoder() = default;
  /// Changes the tokens; the text is what they are one after the other. Bytes that are no UTF-8 stay as they are, where
  /// `tokenizers` writes U+FFFD.
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

/// ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace and Sequence. Throws InputError that names any other.
std::unique_ptr<const Decoder> make_decoder(const JsonPlace& place);

}  // namespace monge::train::hf
