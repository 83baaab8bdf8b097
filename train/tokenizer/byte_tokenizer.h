// The tokenizer `byte`: one token per byte.
#pragma once

#include "train/tokenizer/tokenizer.h"

namespace monge::train {

/// Vocabulary 256, id = byte; the text is not looked at.
std::unique_ptr<Tokenizer> make_byte_tokenizer(const NoOptions& options, std::string_view text);

}  // namespace monge::train
