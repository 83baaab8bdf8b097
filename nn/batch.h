// Batches: what a model reads at once, as named fields.
//
// Two names have a meaning for all: "tokens", what the model reads, and "targets", the tokens that it should predict,
// -1 where a position does not count. A model may ask for other fields beside them (a source to translate, its mask).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"

namespace monge::nn {

/// A field that a model reads: i32 (B, length) or, where there is a width, floats (B, length, width).
struct BatchField {
  std::string name;
  std::int64_t length = 0;
  std::int64_t width = 0;

  bool is_real() const { return width > 0; }
  /// Of `rows` sequences.
  Shape shape(std::int64_t rows) const { return is_real() ? Shape{rows, length, width} : Shape{rows, length}; }
};

/// A T for each of some fields, in their order.
template <class T>
class PerField {
 public:
  PerField() = default;
  PerField(std::initializer_list<std::pair<std::string, T>> values) : values_(values) {}

  void add(std::string name, T value) { values_.emplace_back(std::move(name), std::move(value)); }
  /// Null for a field that is not there.
  const T* find(std::string_view name) const {
    for (const auto& [key, value] : values_) {
      if (key == name) return &value;
    }
    return nullptr;
  }
  /// Throws std::invalid_argument for a field that is not there.
  const T& operator[](std::string_view name) const {
    if (const T* const value = find(name)) return *value;
    throw std::invalid_argument(fmt::format("[batch] there is no field '{}'", name));
  }
  auto begin() { return values_.begin(); }
  auto end() { return values_.end(); }
  auto begin() const { return values_.begin(); }
  auto end() const { return values_.end(); }

 private:
  std::vector<std::pair<std::string, T>> values_;
};

/// Tensors on the model's device, the real ones f32 (reference: f64).
using Batch = PerField<Tensor>;

}  // namespace monge::nn
