// ParameterStore: the memory of all parameters of a model, flat.
//
// Values, gradients and (in bfloat16) working copies are one buffer each, so that zeroing, clipping and updating are
// single calls. Parameters stand sorted by role, in order of registration within a role; each starts at a multiple
// of 16 elements, and the padding between them stays zero.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "nn/module.h"

namespace monge::nn {

/// Storage of activations and of the weights that products read. Masters, gradients and statistics are f32 in both.
enum class Precision : std::uint8_t { float32, bfloat16 };

class ParameterStore {
 public:
  struct Entry {
    std::string name;
    Role role;
    std::int64_t begin;  // first element in the flat buffers
    Shape shape;
    std::vector<Part> parts;  // the matrices in it, where they are several
    const Parameter* parameter = nullptr;
    std::int64_t end() const { return begin + shape.numel(); }
  };

  /// Allocates, initialises from `seed` and binds every parameter of `root`: an initial value depends on the seed and
  /// the parameter's name, so that models which differ elsewhere start alike. With `trainable` false there are no
  /// gradients. On the reference device everything is f64.
  ParameterStore(Module& root, Device device, Precision precision, std::uint64_t seed, bool trainable = true);
  ParameterStore(const ParameterStore&) = delete;
  ParameterStore& operator=(const ParameterStore&) = delete;

  const std::vector<Entry>& entries() const { return entries_; }
  /// The entry of a name or parameter; throws std::invalid_argument.
  const Entry& entry(const std::string& name) const;
  const Entry& entry(const Parameter& parameter) const;
  std::int64_t flat_size() const { return values_.numel(); }

  const Tensor& values() const { return values_; }  // (flat_size) master values
  const Tensor& grads() const { return grads_; }    // (flat_size), undefined when not trainable
  const Tensor& copies() const { return copies_; }  // (flat_size) bf16, undefined in float32
  Tensor value(const Entry& e) const { return values_.flat_view(e.begin, e.shape); }
  Tensor grad(const Entry& e) const { return grads_.flat_view(e.begin, e.shape); }

  /// Forgets all gradients: the first contributions of the next backward overwrite.
  void clear_grads();
  /// Zeroes the gradients of parameters that received none since clear_grads.
  void complete_grads();
  /// Writes the bf16 copies anew from the masters (after loading a checkpoint).
  void refresh_copies();

 private:
  void initialise(std::uint64_t seed);

  std::vector<Entry> entries_;
  std::vector<Parameter*> parameters_;  // beside entries_
  Tensor values_, grads_, copies_;
};

}  // namespace monge::nn
