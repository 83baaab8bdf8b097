// The tokenizers of Monge as a `tokenizer.json` of Hugging Face's `tokenizers`.
#pragma once

#include <string>

#include "train/tokenizer/tokenizer.h"

namespace monge::tools {

/// The text of the file, with the ids of this tokenizer for every text in UTF-8 that it can take; what it refuses, a
/// character that `char` does not have, the other program leaves out. Throws InputError for a kind or a vocabulary that
/// cannot be said there.
std::string tokenizer_json(const train::Tokenizer& tokenizer);

}  // namespace monge::tools
