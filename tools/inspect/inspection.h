// Inspection: what the attention of a trained model does with a text.
#pragma once

#include <Eigen/Core>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "train/checkpoint/saved_model.h"

namespace monge::tools {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// One head, T queries and S keys. A row's numbers are those of core/row_map/row_map.h.
struct InspectedHead {
  Matrix weights;                      // (T, S), 0 where a key is not seen
  Matrix advantages;                   // (T, S): -dL/dz_ij, by how much the loss falls if key j gains score in row i
  std::vector<double> entropy;         // of a row's weights over their sum, nats
  std::vector<double> effective_rank;  // of the metric H of a row: (tr H)^2 / tr H^2; empty where it has none
  std::vector<double> potential;       // what the map keeps of a row: softmax the log-sum-exp, others their threshold;
                                       // empty for separable maps
  std::vector<double> key_advantage;   // of key j: the sum of its column of advantages
};

/// A named line: singular values, or a prior against distance or key.
struct Curve {
  std::string name;
  std::vector<double> values;
};

struct InspectedLayer {
  std::string name, kind;
  bool reads_source = false;  // keys are the tokens of the source
  bool in_encoder = false;    // queries are, too
  std::vector<InspectedHead> heads;
  std::vector<Curve> spectra;         // of W_q, W_k, W_v, W_o, falling
  std::vector<Curve> distance, keys;  // log-prior of each head against distance and against key
};

struct Inspection {
  std::string run;
  std::int64_t step = 0;
  double loss = 0.0;  // mean, nats per token of the text
  std::vector<std::string> tokens, source;
  std::vector<InspectedLayer> layers;
  std::vector<std::string> notes;  // what was left out
};

struct InspectedText {
  std::string prompt;                 // empty: the first validation window
  std::optional<std::string> source;  // for a model that reads one
  std::int64_t most = 64;             // tokens
};

/// Runs the text forward and backward. Throws InputError for a text that the model cannot read, and for a model without
/// attention.
Inspection inspect(train::SavedModel& saved, const InspectedText& text);

Json to_json(const Inspection& inspection);
/// One page for a browser, with nothing outside it.
std::string page_html(const Inspection& inspection);

}  // namespace monge::tools
