#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/backend.h"
#include "nn/gpt.h"
#include "nn/parameter_store.h"
#include "tools/verify/papers/aaren.h"
#include "tools/verify/row.h"
#include "tools/verify/worst.h"

namespace monge::tools {
namespace {

const Source feng{"Feng 2024",
                  "Feng, Tung, Hajimirsadeghi, Ahmed, Bengio & Mori, Attention as an RNN, arXiv:2405.13956"};
constexpr Device cpu{DeviceKind::cpu, 0}, reference{DeviceKind::reference, 0};

/// Largest difference of an element, relative to the largest element.
double distance(const Matrix& got, const Matrix& expected) {
  return (got - expected).cwiseAbs().maxCoeff() / std::max(expected.cwiseAbs().maxCoeff(), 1e-300);
}

/// All gradients below each other, (2 N + 1, d): those of keys and query are sums to zero for a single token.
Matrix gradient(const AarenResult& result) {
  Matrix out(2 * result.dk.rows() + 1, result.dk.cols());
  out << result.dk, result.dv, result.dq.transpose();
  return out;
}

/// Row i: the softmax of the scores of tokens 0 .. i.
Matrix dense_weights(const AarenHead& head) {
  const Vector z = head.scores();
  Matrix out = Matrix::Zero(head.tokens(), head.tokens());
  for (Eigen::Index i = 0; i < z.size(); ++i) out.row(i).head(i + 1) = softmax(z.head(i + 1));
  return out;
}

/// Gradients by the dense Jacobian of every row.
AarenResult dense_result(const AarenHead& head) {
  const Matrix weights = dense_weights(head);
  Vector ds = Vector::Zero(head.tokens());
  for (Eigen::Index i = 0; i < head.tokens(); ++i) {
    const Vector a = weights.row(i).head(i + 1), u = head.v.topRows(i + 1) * head.dout.row(i).transpose();
    ds.head(i + 1) += head.scale * (a.cwiseProduct(u) - a * a.dot(u));
  }
  return {weights * head.v, ds * head.q.transpose(), weights.transpose() * head.dout, head.k.transpose() * ds};
}

// --- the scan of the paper ---

/// Hillis & Steele: in step k every token takes in the state 2^k tokens before.
std::vector<AarenState> scan(const AarenHead& head, const AarenParts& parts, int& steps) {
  const Vector z = head.scores();
  std::vector<AarenState> states;
  for (Eigen::Index j = 0; j < z.size(); ++j) states.push_back({z[j], 1.0, head.v.row(j)});
  steps = 0;
  for (std::size_t back = 1; back < states.size(); back *= 2, ++steps) {
    std::vector<AarenState> next = states;
    for (std::size_t j = back; j < states.size(); ++j) next[j] = parts.combine(states[j - back], states[j]);
    states = std::move(next);
  }
  return states;
}

Claim associativity_claim(const AarenParts& parts, std::uint64_t seed) {
  RandomSequence random(seed, aaren_stream);
  const auto draw = [&] {
    return AarenState{100.0 * random.uniform() - 50.0, 1.0 + 5.0 * random.uniform(), normal(random, 8)};
  };
  double error = 0.0;
  for (int i = 0; i < 1000; ++i) {
    const AarenState a = draw(), b = draw(), c = draw();
    const AarenState left = parts.combine(parts.combine(a, b), c), right = parts.combine(a, parts.combine(b, c));
    error = std::max({error, std::abs(left.m - right.m), std::abs(left.u / right.u - 1.0), distance(left.w, right.w)});
  }
  return {"(a + b) + c = a + (b + c), |m| <= 50", feng, error, 1e-13};
}

void add_scan_claims(const std::vector<AarenHead>& heads, const AarenParts& parts, std::vector<Claim>& out) {
  double extra = 0.0;
  const auto error = [&](const AarenHead& head) {
    int steps = 0;
    const auto states = scan(head, parts, steps);
    extra = std::max(extra, steps - std::ceil(std::log2(static_cast<double>(head.tokens()))));
    Matrix outputs(head.tokens(), head.v.cols());
    for (std::size_t j = 0; j < states.size(); ++j) {
      outputs.row(static_cast<Eigen::Index>(j)) = states[j].w / states[j].u;
    }
    return distance(outputs, dense_result(head).out);
  };
  out.push_back({"scan of states = causal softmax", feng, worst(heads, error), 1e-13});
  out.push_back({"steps of the scan - ceil(log2 N)", feng, extra, 0.0});
}

// --- what ships ---

void add_kernel_claims(const std::vector<AarenHead>& heads, const AarenParts& parts, std::vector<Claim>& out) {
  const auto streamed = [&](const AarenHead& head) {
    const Matrix expected = dense_result(head).out;
    return std::max(distance(run_kernel(head, reference, parts, 1).out, expected),
                    distance(run_kernel(head, reference, parts, 5).out, expected));
  };
  const auto gradients = [&](const AarenResult& got, const AarenHead& head) {
    return distance(gradient(got), gradient(dense_result(head)));
  };
  out.push_back({"token by token = causal softmax", feng, worst(heads, streamed), 1e-13});
  out.push_back(
      {"cpu, f32: outputs", feng,
       worst(heads,
             [&](const AarenHead& head) { return distance(run_kernel(head, cpu, parts).out, dense_result(head).out); }),
       1e-6});
  out.push_back({"cpu, f32: gradients in one pass",
                 {},
                 worst(heads, [&](const AarenHead& head) { return gradients(run_kernel(head, cpu, parts), head); }),
                 5e-6});
}

/// B and c of the reverse pass, by the factors e^(LSE_j - LSE_{j+1}) <= 1.
AarenResult reverse_pass(const AarenHead& head) {
  const Vector z = head.scores();
  const Matrix out = dense_result(head).out;
  const Eigen::Index N = z.size();
  Vector lse(N), ds(N);
  for (Eigen::Index j = 0; j < N; ++j) {
    const double before = j == 0 ? -std::numeric_limits<double>::infinity() : lse[j - 1], m = std::max(before, z[j]);
    lse[j] = m + std::log(std::exp(before - m) + std::exp(z[j] - m));
  }
  Matrix dv(N, head.v.cols());
  Vector B = Vector::Zero(head.v.cols());
  double c = 0.0;
  for (Eigen::Index j = N - 1; j >= 0; --j) {
    const double decay = j + 1 == N ? 0.0 : std::exp(lse[j] - lse[j + 1]), weight = std::exp(z[j] - lse[j]);
    B = head.dout.row(j).transpose() + decay * B;
    c = head.dout.row(j).dot(out.row(j)) + decay * c;
    dv.row(j) = weight * B;
    ds[j] = head.scale * weight * (head.v.row(j).dot(B) - c);
  }
  return {out, ds * head.q.transpose(), dv, head.k.transpose() * ds};
}

Claim reverse_claim(const std::vector<AarenHead>& heads) {
  const auto error = [](const AarenHead& head) {
    return distance(gradient(reverse_pass(head)), gradient(dense_result(head)));
  };
  return {"one reverse pass = dense Jacobians", {}, worst(heads, error), 1e-11};
}

// Scores of -10^4 and then 10^4 with small differences, all of which f32 holds exactly: the weights are those of the
// differences.
Claim huge_scores_claim(const AarenParts& parts, std::uint64_t seed) {
  RandomSequence random(seed, aaren_stream, 1);
  AarenHead head = draw_aaren_head(random, 200, 8);
  head.scale = 1.0;
  head.q.setZero();
  head.q[0] = 64.0;
  head.q[1] = 1.0;
  for (Eigen::Index j = 0; j < 200; ++j) {
    head.k(j, 0) = j < 100 ? -156.0 : 156.0;
    head.k(j, 1) = std::floor(256.0 * random.uniform()) / 64.0;
  }
  const double error = distance(run_kernel(head, cpu, parts).out, dense_result(head).out);
  return {"cpu, f32: scores of up to 10^4", {}, error, 1e-6};
}

/// What cannot be done: which of two tokens weighs more is settled once, whatever comes later.
double ratio_change(const Matrix& weights) {
  double out = 0.0;
  for (Eigen::Index j = 0; j + 1 < weights.cols(); ++j) {
    const double first = std::log(weights(j + 1, j) / weights(j + 1, j + 1));
    for (Eigen::Index i = j + 2; i < weights.rows(); ++i) {
      out = std::max(out, std::abs(std::log(weights(i, j) / weights(i, j + 1)) - first));
    }
  }
  return out;
}

void add_ratio_claims(const AarenHead& head, const AarenParts& parts, std::uint64_t seed, std::vector<Claim>& out) {
  out.push_back({"log(a_ij / a_ik) changes with i by", {}, ratio_change(aaren_weights(head, parts)), 1e-11});
  RandomSequence random(seed, aaren_stream, 2);
  Matrix weights = Matrix::Zero(head.tokens(), head.tokens());
  for (Eigen::Index i = 0; i < head.tokens(); ++i) {
    const Vector z = head.scale * (head.k * normal(random, head.k.cols()));
    weights.row(i).head(i + 1) = softmax(z.head(i + 1));
  }
  out.push_back({"the same of queries that differ", {}, ratio_change(weights), 1.0, true});
}

// --- models ---

nn::GptOptions model_options(const char* attention, std::int64_t context) {
  nn::GptOptions o;
  o.layers = 2;
  o.heads = 4;
  o.width = 64;
  o.context = context;
  o.position = nn::positions().choose("none");
  o.attention = nn::attentions().choose(attention);
  return o;
}

/// Bytes of a model's cache after `tokens` tokens of one sequence, in f32.
double cache_bytes(const char* attention, std::int64_t tokens) {
  constexpr std::int64_t vocab = 8;
  nn::Gpt model(model_options(attention, tokens), vocab);
  const nn::ParameterStore store(model, cpu, nn::Precision::float32, 1, false);
  const autograd::Tape::Pause pause;
  MemoryPools& memory = backend_of(cpu).memory();
  const std::size_t before = memory.usage().active;
  const auto cache = model.make_cache({.batch = 1, .dtype = DType::f32, .device = cpu});
  const std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens), 3);
  model.next_logits(Tensor::from(ids, {1, tokens}, cpu), *cache);
  return static_cast<double>(memory.usage().active - before);
}

void add_model_claims(std::vector<Claim>& out, std::vector<std::string>& notes) {
  const nn::GptOptions softmax = model_options("softmax", 64), aaren = model_options("aaren", 64);
  const auto layers = static_cast<double>(aaren.layers), width = static_cast<double>(aaren.width);
  const double of_softmax = static_cast<double>(nn::Gpt(softmax, 8).parameter_count());
  const double of_aaren = static_cast<double>(nn::Gpt(aaren, 8).parameter_count());
  out.push_back({"with W_q: a query a layer more - 1", feng,
                 std::abs((of_aaren + layers * width * width - of_softmax) / (layers * width) - 1.0), 0.0});
  const double short_state = cache_bytes("aaren", 16), state = cache_bytes("aaren", 4096);
  const double kept = cache_bytes("softmax", 4096);
  out.push_back({"state after 4096 tokens / after 16", feng, state / short_state, 1.0});
  out.push_back({"cache of softmax, N = 4096 / state", feng, kept / state, 1000.0, true});
  notes.push_back(fmt::format(
      "A model of 2 layers, width 64 and 4 heads: {:.0f} parameters, softmax {:.0f}, which projects its queries. After "
      "4096 tokens the states of its layers take {:.0f} bytes, in blocks of 512, against a cache of {:.0f}.",
      of_aaren, of_softmax, state, kept));
}

}  // namespace

Findings aaren_findings(std::uint64_t seed, const AarenParts& parts) {
  RandomSequence random(seed, aaren_stream, 3);
  std::vector<AarenHead> heads;
  for (const std::int64_t tokens : {1, 2, 3, 7, 64, 200}) {
    for (const std::int64_t width : {4, 33}) heads.push_back(draw_aaren_head(random, tokens, width));
  }
  Findings out{.title = "softmax attention of one query to the tokens so far, random heads of up to 200 tokens"};
  out.claims.push_back(associativity_claim(parts, seed));
  add_scan_claims(heads, parts, out.claims);
  add_kernel_claims(heads, parts, out.claims);
  out.claims.push_back(reverse_claim(heads));
  out.claims.push_back(huge_scores_claim(parts, seed));
  add_ratio_claims(draw_aaren_head(random, 64, 16), parts, seed, out.claims);
  add_model_claims(out.claims, out.notes);
  return out;
}

Examined examine_aaren(std::uint64_t seed) {
  return {{aaren_findings(seed)}, [seed] { return aaren_svg(seed); }};
}

}  // namespace monge::tools
