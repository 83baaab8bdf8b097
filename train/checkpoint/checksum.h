// Checksum: a 64-bit fingerprint that notices damage to a file. No protection against intent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace monge::train {

/// `xxh3` is XXH3 of 64 bits (xxHash). `multiply_xor` is what checkpoints were written with before: kept to read them.
enum class ChecksumAlgorithm : std::uint8_t { xxh3, multiply_xor };

std::uint64_t checksum(std::span<const char> bytes, ChecksumAlgorithm algorithm = ChecksumAlgorithm::xxh3);

/// Of a file's bytes. Throws InputError when it cannot be read.
std::uint64_t file_checksum(const std::filesystem::path& file, ChecksumAlgorithm algorithm = ChecksumAlgorithm::xxh3);

/// Sixteen hexadecimal digits.
std::string checksum_text(std::uint64_t value);

}  // namespace monge::train
