// RNN, LSTM and GRU. What the inputs give to the gates is one product for all steps; the steps add what the
// state gives.
#include "wholestep/nn/recurrent.h"

#include <fmt/format.h>

#include <cmath>

#include "wholestep/ops/arrange.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/random.h"
#include "wholestep/ops/shape.h"
#include "wholestep/ops/split.h"

namespace wholestep::nn {
namespace {

template <class Config>
ConfigFields fields_of(Config& c) {
  return {{"input_size", &c.input_size, "extent of the last axis of x", {.min = 1}},
          {"hidden_size", &c.hidden_size, "extent of the state h", {.min = 1}},
          {"num_layers", &c.num_layers, "layers, each reading the one before", {.min = 1}},
          {"bias", &c.bias, "add learned vectors b_ih and b_hh"},
          {"batch_first", &c.batch_first, "x is [N, T, input_size]"},
          {"dropout",
           &c.dropout,
           "probability of dropping what goes to the next layer while training",
           {.min = 0, .max = 1}},
          {"bidirectional", &c.bidirectional, "a second direction, from the last element to the first"}};
}

std::vector<int64_t> equal_parts(int64_t parts, int64_t size) {
  return std::vector<int64_t>(static_cast<size_t>(parts), size);
}

// The next state from what input and state give to the gates, [N, gates * hidden_size] each.
void advance(const RNNConfig& c, const Tensor& from_x, const Tensor& from_h, RecurrentState& s) {
  Tensor sum = from_x + from_h;
  s.h = c.nonlinearity == "tanh" ? tanh(sum) : relu(sum);
}
void advance(const LSTMConfig& c, const Tensor& from_x, const Tensor& from_h, RecurrentState& s) {
  std::vector<Tensor> gates = split(from_x + from_h, equal_parts(4, c.hidden_size), 1);
  s.c = sigmoid(gates[1]) * s.c + sigmoid(gates[0]) * tanh(gates[2]);
  s.h = sigmoid(gates[3]) * tanh(s.c);
}
void advance(const GRUConfig& c, const Tensor& from_x, const Tensor& from_h, RecurrentState& s) {
  std::vector<Tensor> x = split(from_x, equal_parts(3, c.hidden_size), 1),
                      h = split(from_h, equal_parts(3, c.hidden_size), 1);
  Tensor r = sigmoid(x[0] + h[0]), z = sigmoid(x[1] + h[1]), n = tanh(x[2] + r * h[2]);
  s.h = n + z * (s.h - n);
}

/// The parts of a state along its first axis, that axis gone; zeros where it is undefined.
std::vector<Tensor> parts_of(const Tensor& state, int64_t parts, const Shape& part, DType dtype) {
  if (!state.defined()) return std::vector<Tensor>(static_cast<size_t>(parts), full(part, 0, dtype));
  std::vector<Tensor> list = split(state, equal_parts(parts, 1), 0);
  for (Tensor& t : list) t = reshape(t, part);
  return list;
}

/// Tensors of one shape as one with a new first axis.
Tensor stacked(std::vector<Tensor> parts) {
  for (Tensor& t : parts) {
    Shape shape{1};
    for (int64_t extent : t.shape()) shape.push_back(extent);
    t = reshape(t, shape);
  }
  return concat(parts, 0);
}

}  // namespace

ConfigFields RNNConfig::fields() {
  ConfigFields fields = fields_of(*this);
  fields.insert(fields.begin() + 3,
                {"nonlinearity", &nonlinearity, "what makes the state", {}, {"tanh", "relu"}});
  return fields;
}
ConfigFields LSTMConfig::fields() {
  ConfigFields fields = fields_of(*this);
  fields.push_back({"proj_size", &proj_size, "extent h is projected to, W_hr h; 0: none", {.min = 0}});
  return fields;
}
std::vector<std::string> LSTMConfig::problems() const {
  if (proj_size < hidden_size) return {};
  return {fmt::format("'proj_size' got {}, expected less than 'hidden_size' ({})", proj_size, hidden_size)};
}
ConfigFields GRUConfig::fields() { return fields_of(*this); }

template <class Config>
int64_t Recurrent<Config>::output_size() const {
  const Config& c = this->config();
  if constexpr (std::is_same_v<Config, LSTMConfig>)
    if (c.proj_size > 0) return c.proj_size;
  return c.hidden_size;
}

template <class Config>
Recurrent<Config>::Recurrent(Config c, std::source_location where) : ConfiguredLayer<Config>(c, where) {
  int64_t gates = Config::kGates * c.hidden_size, directions = c.bidirectional ? 2 : 1;
  for (int64_t i = 0; i < c.num_layers * directions; ++i) {
    int64_t in = i < directions ? c.input_size : directions * output_size();
    Weights w;
    w.ih = this->new_parameter({gates, in}), w.hh = this->new_parameter({gates, output_size()});
    if (c.bias) w.bias_ih = this->new_parameter({gates}), w.bias_hh = this->new_parameter({gates});
    if (output_size() != c.hidden_size) w.hr = this->new_parameter({output_size(), c.hidden_size});
    weights_.push_back(std::move(w));
  }
}

template <class Config>
template <class Fn>
void Recurrent<Config>::for_each_parameter(Fn&& fn) {
  size_t directions = this->config().bidirectional ? 2 : 1;
  for (size_t i = 0; i < weights_.size(); ++i) {
    std::string suffix = fmt::format("_l{}{}", i / directions, i % directions ? "_reverse" : "");
    Weights& w = weights_[i];
    for (auto [name, tensor] : {std::pair{"weight_ih", &w.ih},
                                {"weight_hh", &w.hh},
                                {"bias_ih", &w.bias_ih},
                                {"bias_hh", &w.bias_hh},
                                {"weight_hr", &w.hr}})
      fn(name + suffix, *tensor);
  }
}

template <class Config>
void Recurrent<Config>::members(MemberVisitor& member) {
  for_each_parameter([&](const std::string& name, Tensor& t) { member.parameter(name, t); });
}

template <class Config>
void Recurrent<Config>::reset_parameters(const init::Draws& draws) {
  double bound = 1 / std::sqrt(static_cast<double>(this->config().hidden_size));
  for_each_parameter([&](const std::string& name, Tensor& t) {
    if (t.defined()) init::uniform(t, -bound, bound, draws(name));
  });
}

template <class Config>
Tensor Recurrent<Config>::run_direction(const Tensor& x, const Weights& w, bool reverse,
                                        RecurrentState& state) {
  int64_t steps = x.dim(0), n = x.dim(1);
  std::vector<Tensor> from_x = split(linear(x, w.ih, w.bias_ih), equal_parts(steps, 1), 0),
                      outputs(static_cast<size_t>(steps));
  for (size_t i = 0; i < outputs.size(); ++i) {
    size_t t = reverse ? outputs.size() - 1 - i : i;
    advance(this->config(), reshape(from_x[t], Shape{n, w.ih.dim(0)}), linear(state.h, w.hh, w.bias_hh),
            state);
    if (w.hr.defined()) state.h = linear(state.h, w.hr, {});
    outputs[t] = state.h;
  }
  return stacked(std::move(outputs));
}

/// One sequence is a batch of one.
template <class Config>
RecurrentResult Recurrent<Config>::run(const Tensor& x, const RecurrentState& start) {
  if (x.rank() != 2) return run_batch(x, start);
  int64_t batch_axis = this->config().batch_first ? 0 : 1;
  auto widened = [](const Tensor& t, int64_t axis) { return t.defined() ? unsqueeze(t, axis) : t; };
  auto narrowed = [](const Tensor& t, int64_t axis) { return t.defined() ? squeeze(t, axis) : t; };
  RecurrentResult r = run_batch(widened(x, batch_axis), {widened(start.h, 1), widened(start.c, 1)});
  return {narrowed(r.output, batch_axis), {narrowed(r.state.h, 1), narrowed(r.state.c, 1)}};
}

template <class Config>
RecurrentResult Recurrent<Config>::run_batch(const Tensor& x, const RecurrentState& start) {
  const Config& c = this->config();
  constexpr bool kHasCell = std::is_same_v<Config, LSTMConfig>;
  if (x.rank() != 3 || x.dim(2) != c.input_size || x.dim(c.batch_first ? 1 : 0) == 0)
    this->refuse(
        x, "the input does not fit the layer",
        fmt::format("[{}, {}] with at least one step", c.batch_first ? "N, T" : "T, N", c.input_size),
        "input_size is the extent of the input's last axis");
  auto turned = [&](const Tensor& t) { return c.batch_first ? permute(t, {1, 0, 2}) : t; };
  Tensor y = turned(x);
  int64_t cells = static_cast<int64_t>(weights_.size()), directions = c.bidirectional ? 2 : 1;
  const Shape of_h = {y.dim(1), output_size()}, of_c = {y.dim(1), c.hidden_size};
  for (auto [t, one] : {std::pair{&start.h, of_h}, {&start.c, of_c}})
    if (t->defined() && t->shape() != Shape{cells, one[0], one[1]})
      this->refuse(x, "a state has another shape than the layer's, got " + to_string(t->shape()),
                   to_string(Shape{cells, one[0], one[1]}));
  std::vector<Tensor> h = parts_of(start.h, cells, of_h, x.dtype()), cell;
  if (kHasCell) cell = parts_of(start.c, cells, of_c, x.dtype());

  for (int64_t first = 0; first < cells; first += directions) {
    if (first > 0 && this->training()) y = dropout(y, c.dropout);
    std::vector<Tensor> ways;
    for (size_t i = static_cast<size_t>(first); i < static_cast<size_t>(first + directions); ++i) {
      RecurrentState state = {h[i], kHasCell ? cell[i] : Tensor()};
      ways.push_back(run_direction(y, weights_[i], !ways.empty(), state));
      h[i] = state.h;
      if (kHasCell) cell[i] = state.c;
    }
    y = directions == 2 ? concat(ways, 2) : ways[0];
  }
  return {turned(y), {stacked(h), kHasCell ? stacked(cell) : Tensor()}};
}

template class Recurrent<RNNConfig>;
template class Recurrent<LSTMConfig>;
template class Recurrent<GRUConfig>;

}  // namespace wholestep::nn
