// Checksum: a 64-bit fingerprint that notices damage to a file. No protection against intent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace monge::train {

/// Any change within eight aligned bytes changes the result for certain, any other with probability 1 - 2^-64 or so.
std::uint64_t checksum(std::span<const char> bytes);

/// Of a whole file, with its length mixed in. Throws InputError when it cannot be read.
std::uint64_t file_checksum(const std::filesystem::path& file);

/// Sixteen hexadecimal digits.
std::string checksum_text(std::uint64_t value);

}  // namespace monge::train
