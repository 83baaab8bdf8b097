// The section `normalizer` of a tokenizer.json: what is done to a text before it is cut into pieces.
#pragma once

#include <memory>
#include <string>

#include "train/tokenizer/hf/json_place.h"

namespace monge::train::hf {

/// Immutable; thread-safe.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// `text` must be UTF-8.
  virtual std::string apply(std::string text) const = 0;
};

/// NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace and Sequence. Throws InputError that names any other.
std::unique_ptr<const Normalizer> make_normalizer(const JsonPlace& place);

}  // namespace monge::train::hf
