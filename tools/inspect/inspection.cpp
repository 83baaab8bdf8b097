#include "tools/inspect/inspection.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "autograd/ops.h"
#include "autograd/tape.h"
#include "nn/attention/aaren.h"
#include "nn/attention/attention.h"
#include "optim/matrix/symmetric.h"
#include "tools/verify/problems.h"
#include "train/batches.h"
#include "train/data/pair_layout.h"
#include "train/sampler.h"

namespace monge::tools {
namespace {

/// The forward call of a layer, and the gradient of its output.
struct Seen : nn::AttentionObserver, nn::LinearObserver {
  std::optional<nn::AttentionCall> call;
  Matrix dout;  // (T, H D)
  const nn::Linear* out = nullptr;

  void observe(const nn::AttentionCall& seen) override {
    if (!call) call = seen;
  }
  void observe(const Tensor&, const Tensor& dy) override {
    dout = to_matrix(dy) * to_matrix(out->weight().var().value());
  }
};

/// What the keys and values of a layer without queries of its tokens are made of.
struct SeenInput : nn::LinearObserver {
  Matrix x;  // (T, C)
  void observe(const Tensor& seen, const Tensor&) override { x = to_matrix(seen); }
};

/// The call of causal softmax attention, every token with the same query, that an aaren layer is.
nn::AttentionCall call_of(const nn::Aaren& layer, const nn::Linear& kv, const Matrix& x) {
  const std::int64_t heads = layer.heads(), head_dim = layer.head_dim(), tokens = x.rows();
  Matrix keys_and_values = x * to_matrix(kv.weight().var().value()).transpose();
  if (kv.bias() != nullptr) keys_and_values.rowwise() += to_matrix(kv.bias()->var().value()).row(0);
  Matrix queries(tokens, heads * head_dim);
  for (const auto& [name, parameter] : layer.parameters()) {
    if (name == "query")
      queries.rowwise() = to_matrix(parameter->var().value()).reshaped<Eigen::RowMajor>().transpose();
  }
  const auto tensor = [&](const Matrix& m) {
    return Tensor::from({m.data(), static_cast<std::size_t>(m.size())}, {1, tokens, m.cols()}, DType::f64,
                        Device{DeviceKind::reference, 0});
  };
  const autograd::AttentionSpec spec{
      .heads = heads, .kv_heads = layer.kv_heads(), .scale = 1.0 / std::sqrt(static_cast<double>(head_dim))};
  const Tensor input = tensor(x);
  return {
      .x = input, .source = input, .args = autograd::attention_call(tensor(queries), tensor(keys_and_values), spec)};
}

/// Tokens as they are read, one text each.
std::vector<std::string> texts(const train::Tokenizer& tokenizer, const std::vector<std::int32_t>& ids) {
  std::vector<std::string> out;
  for (const std::int32_t id : ids) out.push_back(tokenizer.decode({id}));
  return out;
}

struct Text {
  nn::Batch batch;
  std::vector<std::int32_t> tokens, source;
};

/// The text as one sequence, each token predicting the next, and for a pair its end.
Text read(const train::SavedModel& saved, const InspectedText& asked) {
  if (!saved.model->predicts_tokens()) {
    throw InputError("the model of this run reads vectors, and inspect shows texts; allowed: a model of tokens");
  }
  const std::vector<nn::BatchField> fields = saved.model->batch_fields();
  const bool reads_source = train::longest_source(fields) > 0;
  const std::int64_t most = std::min(asked.most, saved.model->context());
  Text out;
  std::vector<std::int32_t> targets;
  if (asked.prompt.empty() && !asked.source) {
    const auto dataset = train::data_of(saved);
    const train::HostBatch window =
        train::make_batch(fields, 1, [&](std::int64_t, const train::Row& to) { dataset->validation_window(0, to); });
    out.tokens = window["tokens"];
    targets = window["targets"];
    if (reads_source) {
      out.source = window["source"];
      out.source.resize(train::first_source(window));
      out.tokens.resize(train::first_target(window));
    }
    if (std::ssize(out.tokens) > most) out.tokens.resize(static_cast<std::size_t>(most));
    targets.resize(out.tokens.size());
  } else {
    const auto made = [&](const std::string& text) {
      return train::make_prompt(*saved.model, *saved.tokenizer, saved.device, text, asked.source);
    };
    train::Prompt prompt = made(asked.prompt);
    if (asked.source) {
      out.source = saved.tokenizer->encode(*asked.source);
      const std::int64_t room = most - std::ssize(prompt.tokens);
      if (asked.prompt.empty() && room > 0) {  // the target that the model would give
        auto target = train::generate(*saved.model, *saved.store, prompt, room, {.temperature = 0.0});
        if (!target.empty() && target.back() == prompt.stop) target.pop_back();
        prompt.tokens.insert(prompt.tokens.end(), target.begin(), target.end());
      }
    }
    out.tokens = prompt.tokens;
    if (std::ssize(out.tokens) > most) {
      throw InputError(
          fmt::format("the text has {} tokens; allowed: {} (--tokens, model.context)", out.tokens.size(), most));
    }
    targets.assign(out.tokens.begin() + 1, out.tokens.end());
    targets.push_back(prompt.stop.value_or(-1));
    if (!reads_source) std::fill_n(targets.begin(), out.source.size(), -1);  // of a pair the target alone counts
    if (targets.size() == 1 && targets.front() < 0) {
      throw InputError("a text of one token predicts nothing; give a longer --prompt");
    }
  }
  const auto row = [&](const std::vector<std::int32_t>& ids) {
    return Tensor::from(ids, {1, std::ssize(ids)}, saved.device);
  };
  out.batch.add("tokens", row(out.tokens));
  out.batch.add("targets", row(targets));
  if (reads_source) {
    out.batch.add("source", row(out.source));
    out.batch.add("source_segment", row(std::vector<std::int32_t>(out.source.size(), 0)));
  } else {
    out.source.clear();
  }
  return out;
}

/// Singular values, falling.
std::vector<double> singular_values(const Matrix& w) {
  const Matrix gram = w.rows() < w.cols() ? Matrix(w * w.transpose()) : Matrix(w.transpose() * w);
  const auto eigen = optim::eigensystem({gram.data(), static_cast<std::size_t>(gram.size())}, gram.rows());
  std::vector<double> out;
  for (const double value : eigen.values) out.push_back(std::sqrt(std::max(0.0, value)));
  std::ranges::reverse(out);
  return out;
}

std::vector<Curve> table_curves(const Tensor& table, std::int64_t shown) {
  std::vector<Curve> out;
  if (!table) return out;
  const Matrix m = to_matrix(table);
  for (Eigen::Index h = 0; h < m.rows(); ++h) {
    const auto row = m.row(h).head(std::min<Eigen::Index>(shown, m.cols()));
    out.push_back({fmt::format("head {}", h), {row.begin(), row.end()}});
  }
  return out;
}

/// What one row of one head gives.
void add_row(const RowMap& map, std::vector<double> z, const std::vector<double>& u, Eigen::Index i,
             InspectedHead& head) {
  const auto n = static_cast<std::int64_t>(z.size());
  const std::vector<double> scores = z;
  HostRow<double> row(z.data(), n);
  visit_row_map(map, [&](const auto& kind) {
    using Map = std::decay_t<decltype(kind)>;
    const double stat = kind.weights(row);
    double sum = 0.0, entropy = 0.0;
    for (const double a : z) sum += a;
    for (const double a : z) {
      if (a > 0.0 && sum > 0.0) entropy -= a / sum * std::log(a / sum);
    }
    head.entropy.push_back(entropy);
    std::vector<double> dz(z.size());
    if constexpr (Map::metric == Metric::none) {
      double weights_dot_u = 0.0;
      for (std::size_t j = 0; j < z.size(); ++j) weights_dot_u += z[j] * u[j];
      for (std::size_t j = 0; j < z.size(); ++j) {
        dz[j] = kind.template backward<HostRow<double>>(scores[j], u[j], stat, weights_dot_u);
      }
    } else {
      const double slack = kind.template slack<HostRow<double>>(stat);
      if (std::isfinite(slack)) head.potential.push_back(stat);
      std::vector<double> s = z;
      for (double& x : s) x = kind.template curvature<HostRow<double>>(x, static_cast<double>(n));
      double total = 0.0, squares = 0.0, cubes = 0.0, weighted = 0.0;
      for (std::size_t j = 0; j < s.size(); ++j) {
        total += s[j];
        squares += s[j] * s[j];
        cubes += s[j] * s[j] * s[j];
        weighted += s[j] * u[j];
      }
      const double c = total + slack;
      const double mean = c > 0.0 ? weighted / c : 0.0;
      for (std::size_t j = 0; j < s.size(); ++j) dz[j] = s[j] * (u[j] - mean);
      // H = diag(s) - s s^T / c.
      const double trace = c > 0.0 ? total - squares / c : 0.0;
      const double square = c > 0.0 ? squares - 2.0 * cubes / c + squares * squares / (c * c) : 0.0;
      head.effective_rank.push_back(square > 0.0 ? trace * trace / square : 0.0);
    }
    for (std::size_t j = 0; j < z.size(); ++j) {
      const auto key = static_cast<Eigen::Index>(j);
      head.weights(i, key) = z[j];
      head.advantages(i, key) = -dz[j];
      head.key_advantage[j] -= dz[j];
    }
  });
}

InspectedHead inspect_head(const nn::AttentionCall& call, const LayerScores& scores, const Matrix& dout,
                           std::int64_t h) {
  const kernel::Attention& a = call.args;
  InspectedHead head{.weights = Matrix::Zero(a.queries, a.keys), .advantages = Matrix::Zero(a.queries, a.keys)};
  head.key_advantage.assign(static_cast<std::size_t>(a.keys), 0.0);
  for (std::int64_t i = 0; i < a.queries; ++i) {
    const Vector z = scores.scores(0, h, i), own = dout.row(i).segment(h * a.head_dim, a.head_dim);
    std::vector<double> u(static_cast<std::size_t>(z.size()));
    for (std::size_t j = 0; j < u.size(); ++j) u[j] = own.dot(scores.value(0, h, static_cast<std::int64_t>(j)));
    add_row(a.map, {z.begin(), z.end()}, u, i, head);
  }
  return head;
}

/// The weights of the linear layers below a layer, part by part.
std::vector<Curve> spectra_of(nn::Module& layer) {
  std::vector<Curve> out;
  layer.visit([&](const std::string& name, nn::Module& module) {
    const auto* linear = dynamic_cast<const nn::Linear*>(&module);
    if (linear == nullptr) return;
    const Matrix w = to_matrix(linear->weight().var().value());
    if (linear->weight().parts().empty()) out.push_back({"W_" + name, singular_values(w)});
    Eigen::Index first = 0;
    for (const nn::Part& part : linear->weight().parts()) {
      out.push_back({"W_" + part.name, singular_values(w.middleRows(first, part.rows))});
      first += part.rows;
    }
  });
  return out;
}

}  // namespace

Inspection inspect(train::SavedModel& saved, const InspectedText& asked) {
  const Text text = read(saved, asked);
  Inspection out{.run = saved.checkpoint.string(), .step = saved.state.step};
  out.tokens = texts(*saved.tokenizer, text.tokens);
  out.source = texts(*saved.tokenizer, text.source);

  // The same weights with room for gradients.
  nn::ParameterStore store(*saved.model, saved.device, train::precision_of(saved.config), saved.seed());
  store.values().backend().copy({.from = saved.store->values(), .to = store.values()});
  store.refresh_copies();

  struct Layer {
    std::string name;
    nn::Attention* module;
    nn::RowMapAttention* mapped;  // either of these two
    nn::Aaren* recurrent;
    Seen seen;
    SeenInput input;  // of a recurrent one
  };
  std::vector<std::unique_ptr<Layer>> layers;
  std::map<std::string, nn::Linear*> linears;
  saved.model->visit([&](const std::string& name, nn::Module& module) {
    if (auto* attention = dynamic_cast<nn::Attention*>(&module)) {
      auto layer = std::make_unique<Layer>(Layer{
          name, attention, dynamic_cast<nn::RowMapAttention*>(attention), dynamic_cast<nn::Aaren*>(attention), {}, {}});
      if (layer->mapped == nullptr && layer->recurrent == nullptr) {
        out.notes.push_back(fmt::format("{} is an attention of the program's own and was left out.", name));
      } else {
        layers.push_back(std::move(layer));
      }
    } else if (auto* linear = dynamic_cast<nn::Linear*>(&module)) {
      linears[name] = linear;
    }
  });
  if (layers.empty()) {
    throw InputError(
        fmt::format("'{}' has no attention layer of a built-in kind (model.kind {}): there is nothing to look into",
                    saved.checkpoint.string(), saved.config.model.kind));
  }
  for (const auto& layer : layers) {
    nn::Linear* const last = linears.at(layer->name + ".out");
    layer->seen.out = last;
    if (layer->mapped != nullptr) layer->mapped->add_observer(layer->seen);
    if (layer->recurrent != nullptr) linears.at(layer->name + ".kv")->set_observer(&layer->input);
    last->set_observer(&layer->seen);
  }
  saved.model->eval();
  saved.model->set_recompute(false);
  {
    autograd::Tape tape;
    autograd::Var loss;
    {
      const autograd::Tape::Recording recording(tape);
      loss = saved.model->loss(text.batch);
    }
    out.loss = loss.value().item();
    tape.backward(loss);
  }
  for (const auto& layer : layers) {
    if (layer->mapped != nullptr) layer->mapped->remove_observer(layer->seen);
    linears.at(layer->name + ".out")->set_observer(nullptr);
    if (layer->recurrent != nullptr) {
      nn::Linear* const kv = linears.at(layer->name + ".kv");
      kv->set_observer(nullptr);
      layer->seen.call = call_of(*layer->recurrent, *kv, layer->input.x);
    }
    const nn::AttentionCall& call = *layer->seen.call;
    const kernel::Attention& a = call.args;
    InspectedLayer shown{.name = layer->name,
                         .kind = layer->recurrent != nullptr ? "aaren" : std::string(name_of(a.map))};
    shown.reads_source = !call.source.same_memory(call.x);
    shown.in_encoder = !shown.reads_source && !a.causal;
    const LayerScores scores(call);
    for (std::int64_t h = 0; h < a.heads; ++h) shown.heads.push_back(inspect_head(call, scores, layer->seen.dout, h));
    shown.spectra = spectra_of(*layer->module);
    shown.distance = table_curves(a.prior.distance, std::max(a.queries, a.keys));
    shown.keys = table_curves(a.prior.key, a.keys);
    out.layers.push_back(std::move(shown));
  }
  return out;
}

namespace {

/// A few digits: more are noise in a picture and weigh in a page.
double rounded(double x) { return std::isfinite(x) ? std::stod(fmt::format("{:.4g}", x)) : 0.0; }

Json to_json(const std::vector<double>& values) {
  Json out = Json::array();
  for (const double x : values) out.push_back(rounded(x));
  return out;
}

Json to_json(const Matrix& m) {
  Json out = Json::array();
  for (Eigen::Index i = 0; i < m.rows(); ++i) {
    const auto row = m.row(i);
    out.push_back(to_json(std::vector<double>(row.begin(), row.end())));
  }
  return out;
}

Json to_json(const std::vector<Curve>& curves) {
  Json out = Json::array();
  for (const Curve& curve : curves) out.push_back({{"name", curve.name}, {"values", to_json(curve.values)}});
  return out;
}

}  // namespace

Json to_json(const Inspection& inspection) {
  Json out{{"run", inspection.run},       {"step", inspection.step},     {"loss", inspection.loss},
           {"tokens", inspection.tokens}, {"source", inspection.source}, {"notes", inspection.notes},
           {"layers", Json::array()}};
  for (const InspectedLayer& layer : inspection.layers) {
    Json one{{"name", layer.name},
             {"kind", layer.kind},
             {"reads", layer.reads_source ? "source"
                       : layer.in_encoder ? "all"
                                          : "earlier"},
             {"heads", Json::array()},
             {"spectra", to_json(layer.spectra)},
             {"distance_prior", to_json(layer.distance)},
             {"key_prior", to_json(layer.keys)}};
    for (const InspectedHead& head : layer.heads) {
      one["heads"].push_back({{"weights", to_json(head.weights)},
                              {"advantages", to_json(head.advantages)},
                              {"entropy", to_json(head.entropy)},
                              {"effective_rank", to_json(head.effective_rank)},
                              {"potential", to_json(head.potential)},
                              {"key_advantage", to_json(head.key_advantage)}});
    }
    out["layers"].push_back(std::move(one));
  }
  return out;
}

}  // namespace monge::tools
