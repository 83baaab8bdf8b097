// SafeTensors: files of named tensors in the safetensors format (https://github.com/huggingface/safetensors):
// 8 bytes of header length N (little-endian), N bytes of JSON {name: {dtype, shape, data_offsets}, "__metadata__":
// {name: text}}, then the data, without gaps.
//
// Opening a file checks all of it but the values: a truncated, foreign or damaged file throws InputError naming the
// file and the reason.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace monge {

/// A file opened for reading, mapped into memory. Copies share the mapping. Safe to read from several threads.
class SafeTensors {
 public:
  struct Entry {
    std::string dtype;  // as the file spells it: "F32", "BF16", "F16", "I32", "F64", or one that cannot be loaded
    Shape shape;
    std::span<const std::byte> bytes;  // little-endian, not aligned; valid as long as the file is open
  };

  /// Throws InputError when the file cannot be read or is not a whole safetensors file.
  explicit SafeTensors(const std::filesystem::path& file);

  const std::filesystem::path& file() const { return file_; }
  const std::map<std::string, Entry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  bool contains(const std::string& name) const { return entries_.contains(name); }
  /// Throws InputError naming the file when there is no such tensor.
  const Entry& entry(const std::string& name) const;

  /// A new tensor with the stored dtype (f32 for F16), or the device's default float where the device lacks that (f64
  /// is for reference only, which has no other float). Throws InputError for a dtype that Monge does not have.
  Tensor tensor(const std::string& name, Device device, Pool pool = Pool::parameters) const;
  /// Overwrites `to`, converting between float dtypes. Throws InputError when the shapes differ, or one dtype is a
  /// float and the other is not.
  void read(const std::string& name, const Tensor& to) const;

 private:
  DType dtype_of(const std::string& name) const;
  void parse(std::span<const std::byte> content);

  std::filesystem::path file_;
  std::shared_ptr<const std::byte> mapping_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// A tensor to write.
struct NamedTensor {
  std::string name;
  Tensor value;  // on any device
};

/// Writes a file in one step: it is written beside, flushed to the disk and renamed, so `file` is whole or as it was
/// before. Throws RunError with the system's reason (no space, no permission), std::invalid_argument for a name that
/// is used twice.
void write_safetensors(const std::filesystem::path& file, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace monge
