// Tokenizer: text to token ids and back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/options/registry.h"

namespace monge::train {

/// Immutable after construction; thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// The registered name.
  virtual std::string kind() const = 0;
  virtual std::int64_t vocab() const = 0;
  /// Throws InputError naming the byte or character and its place when the text holds something outside the vocabulary.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  /// The bytes of the tokens, appended one after the other; the first may lose the space before it (see text_after).
  /// Ids outside the vocabulary throw InputError.
  virtual std::string decode(const std::vector<std::int32_t>& ids) const = 0;
  /// JSON text that `load_tokenizer` turns back into this tokenizer: an object whose "kind" is kind(). Kept in
  /// checkpoints.
  virtual std::string save() const = 0;
  /// This tokenizer with more tokens behind its own, so that it can take the text; null where it cannot grow or need
  /// not.
  virtual std::unique_ptr<Tokenizer> grown(std::string_view text) const {
    (void)text;
    return nullptr;
  }
};

/// Registry `data.tokenizer`: a factory is given the text to take a vocabulary from.
Registry<Tokenizer, std::string_view>& tokenizers();

/// How each kind is read back: a factory is given the JSON text of `save`. A new tokenizer is added here as well.
Registry<Tokenizer, std::string_view>& saved_tokenizers();

/// What `ids` add to a text whose last token is `before`, none at its start: for texts that grow.
std::string text_after(const Tokenizer& tokenizer, std::optional<std::int32_t> before,
                       const std::vector<std::int32_t>& ids);

/// What decides, beside a text, which ids it becomes: kind, options, and the content of a file that they name.
std::string tokenizer_identity(const Choice& choice);

/// The inverse of Tokenizer::save. Throws InputError.
std::unique_ptr<Tokenizer> load_tokenizer(std::string_view json);

}  // namespace monge::train
