// The step `Replace`, which normalizers and decoders have: {"pattern": {"String": ".."} or {"Regex": ".."}, "content"}.
#pragma once

#include <string>

#include "train/tokenizer/hf/json_place.h"
#include "train/tokenizer/unicode/pattern.h"

namespace monge::train::hf {

/// The pattern {"String": "..."} or {"Regex": "..."}. Throws InputError.
Pattern make_pattern(const JsonPlace& place);

/// Immutable; thread-safe.
class Replacement {
 public:
  explicit Replacement(const JsonPlace& place);
  std::string operator()(std::string text) const;

 private:
  Pattern pattern_;
  std::string literal_;  // the pattern where it is a text, which is found without a regular expression
  std::string content_;
};

}  // namespace monge::train::hf
