// A descriptor of the emulated cuDNN: attributes by name, each of the type and number that its kind of descriptor has.
#pragma once

#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "simt/cudnn_operations.h"

namespace monge::simt {

class BackendDescriptor {
 public:
  using Kind = cudnnBackendDescriptorType_t;
  using Name = cudnnBackendAttributeName_t;
  using Shared = std::shared_ptr<const BackendDescriptor>;

  /// Throws CudnnRefusal, as all do, for kinds that the emulated library does not have.
  explicit BackendDescriptor(Kind kind);

  Kind kind() const { return kind_; }
  bool finalized() const { return finalized_; }
  /// Refused while an attribute is missing.
  void check_complete() const;
  /// No attribute changes any more.
  void finalize() { finalized_ = true; }

  void set(Name name, cudnnBackendAttributeType_t type, std::int64_t count, const void* elements);
  /// Descriptors, which must be finalized.
  void set(Name name, std::vector<Shared> descriptors);

  bool has(Name name) const { return attributes_.contains(name); }
  /// Elements of an attribute; none that was not set.
  template <class T>
  std::vector<T> all(Name name) const;
  const std::vector<Shared>& descriptors(Name name) const { return attributes_.at(name).descriptors; }
  /// The only element.
  template <class T>
  T one(Name name, T otherwise = {}) const {
    if (has(name)) std::memcpy(&otherwise, attributes_.at(name).bytes.data(), sizeof(T));
    return otherwise;
  }
  const BackendDescriptor& descriptor(Name name) const { return *descriptors(name).front(); }

  /// What finalize made of a graph, and what is passed on to heuristics, engines and plans.
  std::shared_ptr<const CudnnProgram> program;

 private:
  struct Attribute {
    std::vector<std::byte> bytes;
    std::vector<Shared> descriptors;
  };
  void check(Name name, cudnnBackendAttributeType_t type, std::int64_t count) const;

  Kind kind_;
  bool finalized_ = false;
  std::map<Name, Attribute> attributes_;
};

template <class T>
std::vector<T> BackendDescriptor::all(Name name) const {
  if (!has(name)) return {};
  const auto& bytes = attributes_.at(name).bytes;
  std::vector<T> elements(bytes.size() / sizeof(T));
  std::memcpy(elements.data(), bytes.data(), elements.size() * sizeof(T));
  return elements;
}

}  // namespace monge::simt
