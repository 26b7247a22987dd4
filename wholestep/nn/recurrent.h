// Recurrent layers. A trace of one is its steps one after the other: the length of the sequence is static, as
// every shape.
#pragma once
#include "wholestep/nn/layer.h"

namespace wholestep::nn {

struct RNNConfig {
  static constexpr const char
      *kType = "RNN",
      *kDoc = "h[t] = tanh(W_ih x[t] + b_ih + W_hh h[t - 1] + b_hh); y = h of the last layer";
  static constexpr int64_t kGates = 1;
  int64_t input_size = 0;
  int64_t hidden_size = 0;
  int64_t num_layers = 1;
  std::string nonlinearity = "tanh";
  bool bias = true;
  bool batch_first = false;
  double dropout = 0;
  bool bidirectional = false;
  ConfigFields fields();
};
struct LSTMConfig {
  static constexpr const char *kType = "LSTM",
                              *kDoc =
                                  "long short-term memory (Hochreiter & Schmidhuber 1997), gates i, f, g, o: "
                                  "c = f c + i g, h = o tanh(c); y = h of the last layer";
  static constexpr int64_t kGates = 4;
  int64_t input_size = 0;
  int64_t hidden_size = 0;
  int64_t num_layers = 1;
  bool bias = true;
  bool batch_first = false;
  double dropout = 0;
  bool bidirectional = false;
  int64_t proj_size = 0;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};
struct GRUConfig {
  static constexpr const char
      *kType = "GRU",
      *kDoc =
          "gated recurrent unit (Cho et al. 2014), gates r, z, n: h = (1 - z) n + z h; "
          "y = h of the last layer";
  static constexpr int64_t kGates = 3;
  int64_t input_size = 0;
  int64_t hidden_size = 0;
  int64_t num_layers = 1;
  bool bias = true;
  bool batch_first = false;
  double dropout = 0;
  bool bidirectional = false;
  ConfigFields fields();
};

/// What a recurrent layer keeps between steps: [num_layers * directions, N, hidden_size] each, without N for
/// one sequence; c for LSTM only, whose h has proj_size elements where that is not 0.
struct RecurrentState {
  Tensor h = {}, c = {};  ///< undefined: zeros
};
struct RecurrentResult {
  Tensor output;  ///< [T, N, directions * h], or [N, T, ...] where batch_first; [T, ...] of one sequence
  RecurrentState state;  ///< after the last step
};

/// Parameters weight_ih_l0 [gates * hidden_size, input], weight_hh_l0 [gates * hidden_size, hidden_size],
/// bias_ih_l0, bias_hh_l0, with proj_size also weight_hr_l0 [proj_size, hidden_size], those of the other
/// direction with _reverse behind, and of the other layers as l1,
/// ...; uniform in
/// +-1/sqrt(hidden_size). dropout is between layers, while training.
template <class Config>
class Recurrent final : public ConfiguredLayer<Config> {
 public:
  explicit Recurrent(Config config, std::source_location where = std::source_location::current());
  /// x [T, N, input_size], [N, T, input_size] where batch_first, or one sequence [T, input_size] -> the
  /// output.
  Tensor forward(const Tensor& x) override { return run(x, {}).output; }
  using Module::operator();
  RecurrentResult operator()(const Tensor& x, const RecurrentState& start) {
    RecurrentResult result;
    this->call(x, [&] { return (result = run(x, start)).output; });
    return result;
  }

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override;

 private:
  struct Weights {  // of one layer and direction
    Tensor ih, hh, bias_ih, bias_hh, hr;
  };
  int64_t output_size() const;  ///< of h
  RecurrentResult run(const Tensor& x, const RecurrentState& start);
  RecurrentResult run_batch(const Tensor& x, const RecurrentState& start);
  /// One direction over x [T, N, in]; takes `state` [N, ...] from the first step to the last.
  Tensor run_direction(const Tensor& x, const Weights& weights, bool reverse, RecurrentState& state);
  /// fn(name, tensor) for every parameter, in PyTorch's order.
  template <class Fn>
  void for_each_parameter(Fn&& fn);
  std::vector<Weights> weights_;  // layer * directions + direction
};

using RNN = Recurrent<RNNConfig>;
using LSTM = Recurrent<LSTMConfig>;
using GRU = Recurrent<GRUConfig>;

}  // namespace wholestep::nn
