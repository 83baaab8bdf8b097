// The circuits of attention, and the metrics in which a step of one of their matrices has a length. The loss sees W_q
// and W_k of a head through W_q^T W_k alone, and W_v and W_o through W_o W_v.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/attention/attention.h"
#include "optim/matrix/matrix_rule.h"

namespace monge::optim {

/// A matrix of a circuit. The rows of W_q, W_k and W_v are those of its heads; the columns of W_o are.
enum class Leg : std::uint8_t { query, key, value, output };

/// An attention layer and where its matrices are in the flat buffers.
struct Circuit {
  struct Place {
    std::int64_t begin = 0, rows = 0, cols = 0;
    Tensor view(const Tensor& flat) const { return flat.flat_view(begin, {rows, cols}); }
  };

  std::string name;  // "blocks.0.attention"
  nn::RowMapAttention* layer = nullptr;
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::array<Place, 4> places;  // of its legs

  const Place& place(Leg leg) const { return places[static_cast<std::size_t>(leg)]; }
  /// H for W_q and W_o, G for W_k and W_v.
  std::int64_t heads_of(Leg leg) const { return leg == Leg::query || leg == Leg::output ? heads : kv_heads; }
};

/// Of all attention layers with a W_q.
std::vector<Circuit> circuits_of(nn::Module& model, const nn::ParameterStore& store);

/// L and R of u = L polar(L M R) R: symmetric matrices, inverse roots of a metric. Either is (blocks, n, n), blocks on
/// the diagonal of a matrix for all rows or all columns of the leg, one or one for each of its heads; or none: I.
struct LegFactors {
  Tensor left, right;

  /// Those of the heads [first, first + heads) of a leg whose heads are rows.
  LegFactors of_heads(std::int64_t first, std::int64_t heads) const;
};

/// L x R.
Tensor between(const LegFactors& factors, const Tensor& x);

/// Heads [first, first + heads) of a leg of a circuit, which make up a matrix.
struct CircuitPart {
  std::size_t circuit;
  Leg leg;
  std::int64_t first, heads;

  bool by_rows() const { return leg != Leg::output; }
};

/// Which part of which circuit a matrix is, of these legs; none: of no circuit.
std::optional<CircuitPart> circuit_part(const std::vector<Circuit>& circuits, const std::vector<Leg>& legs,
                                        const Matrix& matrix);

class CircuitMetric {
 public:
  virtual ~CircuitMetric() = default;
  /// Before the forward passes of step `number`, for observing the layers.
  virtual void begin(std::int64_t number) { (void)number; }
  /// As for Rule.
  virtual bool repeats(std::int64_t number) const {
    (void)number;
    return true;
  }
  /// Once a step, after its passes and before factors().
  virtual void measure(const Step& step) = 0;
  /// For this leg of the circuit with this index.
  virtual LegFactors factors(std::size_t circuit, Leg leg) const = 0;
  /// The roots of the metric, of which those are the inverses.
  virtual LegFactors roots(std::size_t circuit, Leg leg) const = 0;
  /// Its state by the names a checkpoint gives it, and what users should know.
  virtual std::vector<NamedTensor> state() const { return {}; }
  virtual std::vector<std::string> notes() const { return {}; }
};

struct PartnerOptions {
  double damping = 1.0;
  bool isotropic = false;
  std::vector<Leg> legs;  // whose factors are asked for
};

/// The metric of the partner: how far a change of one matrix of a head moves its product with the other,
/// |dW_q^T W_k|^2 = tr dW_q^T (W_k W_k^T) dW_q. With P the Gram matrix (D, D) of the partner,
///
///   C = (P + damping I)^1/2       isotropic: C = (tr P / D + damping)^1/2 I       and C^-1 is the factor
///
///   of W_q from the left       P = W_k W_k^T of its key head
///   of W_k from the left       P = sum of W_q W_q^T over the query heads that share it
///   of W_v from the left       P = sum of W_o^T W_o over the query heads that share it, columns of W_o
///   of W_o from the right      P = W_v W_v^T of the key head of each query head
///
/// With the sum, |W_q^T dW_k|_op <= |C dW_k|_op for each of the query heads, since W_q W_q^T <= C^2. It is also the sum
/// of the attention Fisher (nn/attention/fisher.h): for white inputs and uniform attention, the left factors of the
/// Fisher are these P, times scale^2.
std::unique_ptr<CircuitMetric> make_partner_metric(const std::vector<Circuit>& circuits,
                                                   const nn::ParameterStore& store, const PartnerOptions& options);

}  // namespace monge::optim
