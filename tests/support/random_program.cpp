// The calls a program is made of keep values bounded, so that forty of them in a row can be compared in f32.
#include "support/random_program.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <optional>

#include "support/op_case.h"
#include "support/op_reference.h"
#include "wholestep/base/philox.h"
#include "wholestep/graph/grad.h"
#include "wholestep/ops/arrange.h"
#include "wholestep/ops/batch_norm.h"
#include "wholestep/ops/conv2d.h"
#include "wholestep/ops/indexing.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/norm.h"
#include "wholestep/ops/pointwise.h"
#include "wholestep/ops/pool2d.h"
#include "wholestep/ops/reductions.h"
#include "wholestep/ops/softmax.h"
#include "wholestep/ops/sort.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/sgd.h"

namespace wholestep::test {
namespace {

using Tensors = std::vector<Tensor>;
using Numbers = std::vector<int64_t>;

/// How large values are; every 32nd program has long ones, past the ends of vectors and blocks.
struct Sizes {
  std::array<int64_t, 6> extents = {1, 2, 3, 3, 3, 5};
  int64_t elements = 64;
};
Sizes sizes_of(uint64_t seed) { return seed % 32 == 31 ? Sizes{{1, 2, 3, 17, 33, 131}, 4500} : Sizes{}; }

struct Function {
  std::string name;
  size_t arity;
  Tensor (*apply)(const Tensors& x, const Numbers& n);
  /// Numbers for operands of these shapes; nothing where it does not take them.
  std::optional<Numbers> (*choose)(const std::vector<Shape>& shapes, PhiloxStream& random) =
      [](const std::vector<Shape>&, PhiloxStream&) { return std::optional(Numbers{}); };
};

using Choice = std::optional<Numbers>;
int64_t below(PhiloxStream& random, int64_t bound) {
  return static_cast<int64_t>(random.below(static_cast<uint64_t>(bound)));
}
int64_t last(const Shape& s) { return s[s.rank() - 1]; }
Choice any_axis(const std::vector<Shape>& s, PhiloxStream& random) {
  return s[0].rank() == 0 ? Choice() : Numbers{below(random, s[0].rank())};
}
Choice an_axis(const std::vector<Shape>& s, PhiloxStream& random) {
  return s[0].numel() == 0 ? Choice() : any_axis(s, random);
}
Choice axis_and_flag(const std::vector<Shape>& s, PhiloxStream& random) {
  Choice axis = an_axis(s, random);
  if (axis) axis->push_back(below(random, 2));
  return axis;
}
Choice axis_and_two(const std::vector<Shape>& s, PhiloxStream& random) {
  Choice axis = any_axis(s, random);
  if (axis) axis->insert(axis->end(), {below(random, 3), below(random, 3)});
  return axis;
}
Choice axis_and_range(const std::vector<Shape>& s, PhiloxStream& random) {
  Choice axis = an_axis(s, random);
  if (!axis) return axis;
  int64_t extent = s[0][static_cast<int>((*axis)[0])], start = below(random, extent);
  axis->insert(axis->end(), {start, start + 1 + below(random, extent - start)});
  return axis;
}
Choice an_order(const std::vector<Shape>& s, PhiloxStream& random) {
  Numbers axes(static_cast<size_t>(s[0].rank()));
  std::iota(axes.begin(), axes.end(), 0);
  for (size_t i = axes.size(); i > 1; --i) std::swap(axes[i - 1], axes[random.below(i)]);
  return axes;
}
Choice joinable(const std::vector<Shape>& s, PhiloxStream& random) {
  return s[0] == s[1] ? any_axis(s, random) : std::nullopt;
}
Choice where_holds(bool fit) { return fit ? Choice(Numbers{}) : std::nullopt; }
Choice multiplicable(const std::vector<Shape>& s, PhiloxStream&) {
  return where_holds(s[0].rank() == 2 && s[1].rank() == 2 && s[0][1] == s[1][0]);
}
Choice matrices(const std::vector<Shape>& s, PhiloxStream&) { return where_holds(s[0].rank() >= 2); }
Choice rows_and_weights(const std::vector<Shape>& s, PhiloxStream&) {
  return where_holds(s[0].rank() >= 1 && s[1].rank() == 2 && last(s[0]) == s[1][1]);
}
Choice rows_and_scale(const std::vector<Shape>& s, PhiloxStream&) {
  return where_holds(s[0].rank() >= 1 && s[1].rank() == 1 && last(s[0]) == s[1][0]);
}
Choice channels_and_scale(const std::vector<Shape>& s, PhiloxStream&) {
  return where_holds(s[0].rank() >= 2 && s[1].rank() == 1 && s[0][1] == s[1][0]);
}
Choice axis_and_rows(const std::vector<Shape>& s, PhiloxStream& random) {
  Choice axis = an_axis(s, random);
  if (!axis) return axis;
  const int64_t extent = s[0][static_cast<int>((*axis)[0])];
  for (int64_t count = below(random, 5); count >= 0; --count) axis->push_back(below(random, extent));
  return axis;
}
Choice labels(const std::vector<Shape>& s, PhiloxStream& random) {
  if (s[0].rank() != 2 || s[0].numel() == 0) return std::nullopt;
  Numbers each;
  for (int64_t n = 0; n < s[0][0]; ++n) each.push_back(below(random, s[0][1]));
  return each;
}
Choice axis_and_count(const std::vector<Shape>& s, PhiloxStream& random) {
  Choice axis = an_axis(s, random);
  if (axis) axis->push_back(1 + below(random, s[0][static_cast<int>((*axis)[0])]));
  return axis;
}
/// Kernel, stride and padding of a pooling.
Choice windows(const std::vector<Shape>& s, PhiloxStream& random) {
  if (s[0].rank() < 2) return std::nullopt;
  const int64_t kernel = 1 + below(random, 3);
  return Numbers{kernel, 1 + below(random, 2), below(random, kernel / 2 + 1)};
}
/// Stride, padding and dilation of a convolution.
Choice strides(const std::vector<Shape>& s, PhiloxStream& random) {
  if (s[0].rank() < 2 || s[1].rank() < 2) return std::nullopt;
  return Numbers{1 + below(random, 2), below(random, 3), 1 + below(random, 2)};
}

/// [N, C, H, W], from [H, W] and [N, H, W] with axes of one.
Tensor image(const Tensor& x) {
  Shape shape = x.shape();
  if (shape.rank() == 4) return x;
  return reshape(x, {shape.rank() == 3 ? shape[0] : 1, 1, shape[shape.rank() - 2], last(shape)});
}
Tensor indices(const Numbers& n, size_t first = 0) {
  const std::vector<int64_t> values(n.begin() + static_cast<int64_t>(first), n.end());
  return tensor(values, {static_cast<int64_t>(values.size())});
}
Pool2dOptions pooling(const Numbers& n) {
  return {.kernel = {n[0], n[0]}, .stride = {n[1], n[1]}, .padding = {n[2], n[2]}};
}
/// Every channel on its own where the weights have one input channel.
Tensor convolved(const Tensor& x, const Tensor& w, const Numbers& n) {
  const Tensor input = image(x), weight = image(w);
  const int64_t groups = weight.dim(1) == 1 ? std::max<int64_t>(input.dim(1), 1) : 1;
  const Conv2dOptions options{
      .stride = {n[0], n[0]}, .padding = {n[1], n[1]}, .dilation = {n[2], n[2]}, .groups = groups};
  return conv2d(input, weight, sum(weight, {1, 2, 3}), options) * 0.3;
}
/// Products of values below 1 stay so, however long the sums are.
double scale_of(int64_t terms) { return 2.5 / static_cast<double>(std::max<int64_t>(terms, 5)); }

const std::vector<Function>& functions() {
  static const std::vector<Function> table = {
      {"tanh", 1, [](const Tensors& x, const Numbers&) { return tanh(x[0]); }},
      {"sigmoid", 1, [](const Tensors& x, const Numbers&) { return sigmoid(x[0]); }},
      {"sin", 1, [](const Tensors& x, const Numbers&) { return sin(x[0]); }},
      {"bell", 1, [](const Tensors& x, const Numbers&) { return exp(-square(x[0])); }},
      {"affine", 1, [](const Tensors& x, const Numbers&) { return x[0] * 0.75 + 0.25; }},
      {"relu", 1, [](const Tensors& x, const Numbers&) { return relu(x[0] - 0.37); }},
      {"gelu", 1, [](const Tensors& x, const Numbers&) { return gelu(x[0]); }},
      {"softplus", 1, [](const Tensors& x, const Numbers&) { return softplus(x[0]); }},
      {"root", 1, [](const Tensors& x, const Numbers&) { return sqrt(1.0 + square(x[0])); }},
      {"detach", 1, [](const Tensors& x, const Numbers&) { return x[0].detach(); }},
      {"add", 2, [](const Tensors& x, const Numbers&) { return x[0] + x[1]; }},
      {"sub", 2, [](const Tensors& x, const Numbers&) { return x[0] - x[1]; }},
      {"mul", 2, [](const Tensors& x, const Numbers&) { return x[0] * sin(x[1]); }},
      {"div", 2, [](const Tensors& x, const Numbers&) { return x[0] / (1.0 + square(x[1])); }},
      {"maximum", 2, [](const Tensors& x, const Numbers&) { return maximum(x[0], x[1] * 0.7 + 0.13); }},
      {"where", 2, [](const Tensors& x, const Numbers&) { return where(x[0] > 0.31, x[0], x[1]); }},
      {"mean", 1, [](const Tensors& x, const Numbers& n) { return mean(x[0], {n[0]}, n[1] == 1); },
       axis_and_flag},
      {"sum", 1, [](const Tensors& x, const Numbers& n) { return sum(x[0] * 0.4, {n[0]}, n[1] == 1); },
       axis_and_flag},
      {"max", 1, [](const Tensors& x, const Numbers& n) { return max(x[0], {n[0]}, n[1] == 1); },
       axis_and_flag},
      {"logsumexp", 1, [](const Tensors& x, const Numbers& n) { return logsumexp(x[0], {n[0]}, n[1] == 1); },
       axis_and_flag},
      {"softmax", 1, [](const Tensors& x, const Numbers& n) { return softmax(x[0], n[0]); }, an_axis},
      {"log_softmax", 1, [](const Tensors& x, const Numbers& n) { return log_softmax(x[0], n[0]); }, an_axis},
      {"cross_entropy", 1, [](const Tensors& x, const Numbers& n) { return cross_entropy(x[0], indices(n)); },
       labels},
      {"cumsum", 1,
       [](const Tensors& x, const Numbers& n) {
         return cumsum(x[0], n[0]) * scale_of(x[0].dim(static_cast<int>(n[0])));
       },
       an_axis},
      {"unsqueeze", 1, [](const Tensors& x, const Numbers& n) { return unsqueeze(x[0], n[0]); }, any_axis},
      {"flatten", 1, [](const Tensors& x, const Numbers& n) { return flatten(x[0], n[0]); }, any_axis},
      {"permute", 1, [](const Tensors& x, const Numbers& n) { return permute(x[0], n); }, an_order},
      {"slice", 1, [](const Tensors& x, const Numbers& n) { return slice(x[0], n[0], n[1], n[2]); },
       axis_and_range},
      {"pad", 1, [](const Tensors& x, const Numbers& n) { return pad(x[0], n[0], n[1], n[2]); },
       axis_and_two},
      {"roll", 1, [](const Tensors& x, const Numbers& n) { return roll(x[0], n[1], n[0]); }, axis_and_two},
      {"flip", 1, [](const Tensors& x, const Numbers& n) { return flip(x[0], {n[0]}); }, any_axis},
      {"rows", 1, [](const Tensors& x, const Numbers& n) { return index_select(x[0], n[0], indices(n, 1)); },
       axis_and_rows},
      {"sort", 1, [](const Tensors& x, const Numbers& n) { return sort(x[0], n[0], n[1] == 1).values; },
       axis_and_flag},
      {"topk", 1, [](const Tensors& x, const Numbers& n) { return topk(x[0], n[1], n[0]).values; },
       axis_and_count},
      {"stack", 2,
       [](const Tensors& x, const Numbers& n) {
         return stack({x[0], x[1]}, n[0]);
       },
       joinable},
      {"concat", 2,
       [](const Tensors& x, const Numbers& n) {
         return concat({x[0], x[1]}, n[0]);
       },
       joinable},
      {"matmul", 2,
       [](const Tensors& x, const Numbers&) { return matmul(x[0], x[1]) * scale_of(x[0].dim(1)); },
       multiplicable},
      {"linear", 2,
       [](const Tensors& x, const Numbers&) {
         return linear(x[0], x[1], sum(x[1], {1})) * scale_of(x[1].dim(1));
       },
       rows_and_weights},
      {"gram", 1,
       [](const Tensors& x, const Numbers&) {
         return matmul(x[0], transpose(x[0], -2, -1)) * (0.6 * scale_of(x[0].dim(-1)));
       },
       matrices},
      {"layer_norm", 2,
       [](const Tensors& x, const Numbers&) { return layer_norm(x[0], x[1].shape(), x[1], sin(x[1]), 0.1); },
       rows_and_scale},
      {"rms_norm", 2,
       [](const Tensors& x, const Numbers&) { return rms_norm(x[0], x[1].shape(), x[1], 0.1); },
       rows_and_scale},
      {"batch_norm", 2,
       [](const Tensors& x, const Numbers&) { return batch_norm(x[0], x[1], sin(x[1]), 0.1).y; },
       channels_and_scale},
      {"batch_norm_with", 2,
       [](const Tensors& x, const Numbers&) {
         return batch_norm_with(x[0], x[1], sin(x[1]), x[1], square(x[1]), 0.1);
       },
       channels_and_scale},
      {"conv2d", 2, [](const Tensors& x, const Numbers& n) { return convolved(x[0], x[1], n); }, strides},
      {"max_pool2d", 1,
       [](const Tensors& x, const Numbers& n) { return max_pool2d(image(x[0]), pooling(n)); }, windows},
      {"avg_pool2d", 1,
       [](const Tensors& x, const Numbers& n) { return avg_pool2d(image(x[0]), pooling(n)); }, windows},
      {"adaptive_avg_pool2d", 1,
       [](const Tensors& x, const Numbers& n) {
         return adaptive_avg_pool2d(image(x[0]), {n[0], n[1]});
       },
       windows},
  };
  return table;
}

const Function& function_of(const std::string& name) {
  return *std::ranges::find(functions(), name, &Function::name);
}

/// Every value of the program.
Tensors values_of(const RandomProgram& program, Tensors values) {
  for (const RandomProgram::Call& call : program.calls) {
    Tensors operands;
    for (size_t i : call.operands) operands.push_back(values[i]);
    values.push_back(function_of(call.function).apply(operands, call.numbers));
  }
  return values;
}

Tensor loss_of(const RandomProgram& program, const Tensors& inputs) {
  Tensors values = values_of(program, inputs);
  std::vector<bool> used(values.size());
  for (const RandomProgram::Call& call : program.calls)
    for (size_t i : call.operands) used[i] = true;
  Tensor loss;
  for (size_t i = 0; i < values.size(); ++i) {
    if (used[i]) continue;
    Tensor part = values[i].numel() == 0 ? sum(values[i]) : mean(tanh(values[i]));
    loss = loss.defined() ? loss + part : part;
  }
  return loss;
}

std::unique_ptr<optim::Optimizer> optimizer_of(const RandomProgram& program) {
  // An eps that noise in a gradient of zero is small beside.
  if (program.optimizer == "adam")
    return std::make_unique<optim::Adam>(optim::AdamConfig{.lr = 0.02, .eps = 0.01, .weight_decay = 0.1});
  if (program.optimizer == "sgd") return std::make_unique<optim::SGD>(optim::SGDConfig{.lr = 0.1});
  return std::make_unique<optim::SGD>(optim::SGDConfig{.lr = 0.1, .momentum = 0.9});
}

/// What the program runs on, the same every time.
struct Setting {
  Tensors parameters, batch;
  std::unique_ptr<optim::Optimizer> optimizer;

  explicit Setting(const RandomProgram& program) : optimizer(optimizer_of(program)) {
    PhiloxStream random(17, 3);
    auto drawn = [&](const Shape& shape) {
      std::vector<float> values(static_cast<size_t>(shape.numel()));
      for (float& value : values) value = random.uniform(-1.5, 1.5);
      return converted(tensor(values, shape), program.dtype);
    };
    for (const Shape& shape : program.parameters) {
      parameters.push_back(drawn(shape));
      parameters.back().set_role(TensorRole::kParameter, fmt::format("p{}", parameters.size() - 1));
      parameters.back().set_requires_grad();
    }
    for (const Shape& shape : program.batch) batch.push_back(drawn(shape));
    optimizer->attach(parameters);
  }

  Tensor step(const RandomProgram& program, const Tensors& batch_values) {
    Tensors inputs = parameters;
    inputs.insert(inputs.end(), batch_values.begin(), batch_values.end());
    Tensor loss = loss_of(program, inputs);
    optimizer->step(grad(loss, parameters));
    return loss;
  }

  std::shared_ptr<Graph> traced(const RandomProgram& program) {
    auto graph = std::make_shared<Graph>();
    Trace trace(graph);
    Tensors inputs;
    for (size_t i = 0; i < batch.size(); ++i)
      inputs.push_back(graph->add_input(InputKind::kBatch, fmt::format("x{}", i), batch[i].type()));
    graph->add_output("loss", step(program, inputs));
    return graph;
  }

  Tensors trained() const {
    Tensors tensors = parameters, state = optimizer->state();
    tensors.insert(tensors.end(), state.begin(), state.end());
    for (Tensor& t : tensors) t = t.clone();
    return tensors;
  }
};

Tensor widened(const Tensor& t) { return t.dtype() == DType::f32 ? converted(t, DType::f64) : t.clone(); }

}  // namespace

RandomProgram random_program(uint64_t seed, int calls) {
  PhiloxStream random(seed, 23);
  const Sizes sizes = sizes_of(seed);
  RandomProgram program;
  program.optimizer = std::array{"momentum", "adam", "sgd"}[random.below(3)];
  std::vector<Shape> shapes;
  auto add_inputs = [&](std::vector<Shape>& list, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      Shape shape;
      for (int64_t rank = below(random, 5); rank > 0; --rank) {
        int64_t extent = random.below(64) == 0 ? 0 : sizes.extents[random.below(sizes.extents.size())];
        shape.push_back(shape.numel() * extent <= sizes.elements ? extent : 1);
      }
      list.push_back(shape);
      shapes.push_back(shape);
    }
  };
  add_inputs(program.parameters, 1 + below(random, 3));
  add_inputs(program.batch, 1 + below(random, 2));
  while (static_cast<int>(program.calls.size()) < calls) {
    const Function& function = functions()[random.below(functions().size())];
    RandomProgram::Call call{function.name, {}, {}};
    std::vector<Shape> operands;
    Choice numbers;
    for (int attempt = 0; attempt < 12 && !numbers; ++attempt) {
      call.operands.clear(), operands.clear();
      for (size_t k = 0; k < function.arity; ++k) {  // recent values more often, so that chains grow long
        size_t back = std::min(random.below(shapes.size()), random.below(shapes.size()));
        call.operands.push_back(shapes.size() - 1 - back);
        operands.push_back(shapes[call.operands.back()]);
      }
      numbers = function.choose(operands, random);
    }
    if (!numbers) continue;
    call.numbers = *numbers;
    Tensors zero;
    for (const Shape& shape : operands) zero.push_back(zeros({DType::f32, shape}));
    try {
      Shape result = function.apply(zero, call.numbers).shape();
      if (result.numel() > sizes.elements || result.rank() > 4) continue;
      shapes.push_back(result);
      program.calls.push_back(call);
    } catch (const Error&) {  // operands that do not broadcast
    }
  }
  return program;
}

std::string to_string(const RandomProgram& program) {
  auto named = [&](size_t value) {
    if (value < program.parameters.size()) return fmt::format("p{}", value);
    if (value < program.inputs()) return fmt::format("x{}", value - program.parameters.size());
    return fmt::format("v{}", value - program.inputs());
  };
  std::string text;
  for (size_t i = 0; i < program.inputs(); ++i)
    text +=
        fmt::format("Tensor {} = {}({});\n", named(i), i < program.parameters.size() ? "parameter" : "batch",
                    to_string(i < program.parameters.size() ? program.parameters[i]
                                                            : program.batch[i - program.parameters.size()]));
  for (size_t i = 0; i < program.calls.size(); ++i) {
    const RandomProgram::Call& call = program.calls[i];
    std::vector<std::string> arguments;
    for (size_t operand : call.operands) arguments.push_back(named(operand));
    for (int64_t number : call.numbers) arguments.push_back(std::to_string(number));
    text += fmt::format("Tensor {} = {}({});\n", named(program.inputs() + i), call.function,
                        fmt::join(arguments, ", "));
  }
  return text;
}

Outcome run_eagerly(const RandomProgram& program) {
  Setting setting(program);
  Outcome outcome;
  for (int step = 0; step < 2; ++step) outcome.push_back(setting.step(program, setting.batch).clone());
  for (const Tensor& t : setting.trained()) outcome.push_back(t);
  return outcome;
}

std::shared_ptr<Graph> traced_step(const RandomProgram& program) { return Setting(program).traced(program); }

Outcome run_compiled(const RandomProgram& program, const CompileOptions& options,
                     const std::function<void(Graph&)>& change) {
  Setting setting(program);
  std::shared_ptr<Graph> graph = setting.traced(program);
  if (change) change(*graph);
  CompiledStep step(make_plan(graph, options));
  for (size_t i = 0; i < setting.batch.size(); ++i) step.write(fmt::format("x{}", i), setting.batch[i]);
  Outcome outcome;
  for (int i = 0; i < 2; ++i) {
    step.run();
    outcome.push_back(step.output("loss"));
  }
  for (const Tensor& t : setting.trained()) outcome.push_back(t);
  return outcome;
}

Outcome run_in_f64(const RandomProgram& program) {
  Setting setting(program);
  std::shared_ptr<Graph> graph = setting.traced(program);
  Tensors values(graph->values.size());
  auto at = [&](int value) -> Tensor& { return values[static_cast<size_t>(value)]; };
  size_t next_batch = 0;
  for (const GraphInput& input : graph->inputs)
    at(input.value) = widened(input.kind == InputKind::kBatch ? setting.batch[next_batch++] : input.binding);
  Outcome outcome;
  for (int step = 0; step < 2; ++step) {
    for (const Node& node : graph->nodes) {
      Attrs attrs = as_f64({.inputs = {}, .attrs = node.attrs}).attrs;
      Tensors operands;
      Types types;
      for (int value : node.inputs) operands.push_back(at(value)), types.push_back(at(value).type());
      Types result_types = infer_types(*node.op, types, attrs);
      auto results = expected_results(*node.op, operands, attrs);
      for (size_t i = 0; i < node.outputs.size(); ++i)
        at(node.outputs[i]) =
            converted(tensor(results.value()[i].values, result_types[i].shape), result_types[i].dtype);
    }
    outcome.push_back(at(graph->outputs[0].value));
    Tensors updated;
    for (const Update& update : graph->updates) updated.push_back(at(update.value));
    for (size_t i = 0; i < updated.size(); ++i) at(graph->updates[i].target) = updated[i];
  }
  Tensors tensors = setting.parameters, state = setting.optimizer->state();
  tensors.insert(tensors.end(), state.begin(), state.end());
  for (const Tensor& t : tensors) {
    Tensor last = widened(t);  // where the step does not use it
    for (const GraphInput& input : graph->inputs)
      if (input.binding.defined() && input.binding.impl() == t.impl()) last = at(input.value);
    outcome.push_back(last);
  }
  return outcome;
}

bool same_numbers(const Outcome& single, const Outcome& exact) {
  return std::ranges::equal(single, exact, [](const Tensor& x, const Tensor& y) {
    std::vector<double> is = as_doubles(x), should = as_doubles(y);
    double largest = 1e-2;
    for (double value : should) largest = std::max(largest, std::abs(value));
    return std::ranges::equal(is, should,
                              [&](double a, double b) { return std::abs(a - b) <= 1e-3 * largest; });
  });
}

RandomProgram shrunk(RandomProgram program, const std::function<bool(const RandomProgram&)>& fails) {
  /// Without call `index`, whose value is `replacement` for those that read it.
  auto without = [](const RandomProgram& whole, size_t index, size_t replacement) {
    RandomProgram less = whole;
    const size_t value = whole.inputs() + index;
    less.calls.erase(less.calls.begin() + static_cast<int64_t>(index));
    for (RandomProgram::Call& call : less.calls)
      for (size_t& operand : call.operands) {
        if (operand == value) operand = replacement;
        else if (operand > value) --operand;
      }
    return less;
  };
  auto with_input = [](const RandomProgram& whole, const Shape& shape) {  // the last batch input
    RandomProgram more = whole;
    more.batch.push_back(shape);
    for (RandomProgram::Call& call : more.calls)
      for (size_t& operand : call.operands) operand += operand >= whole.inputs();
    return more;
  };
  auto without_input = [](const RandomProgram& whole, size_t value) {
    RandomProgram less = whole;
    const size_t parameters = whole.parameters.size();
    if (value < parameters) less.parameters.erase(less.parameters.begin() + static_cast<int64_t>(value));
    else less.batch.erase(less.batch.begin() + static_cast<int64_t>(value - parameters));
    for (RandomProgram::Call& call : less.calls)
      for (size_t& operand : call.operands) operand -= operand > value;
    return less;
  };
  auto still_fails = [&](const RandomProgram& candidate) {
    try {
      return fails(candidate);
    } catch (const Error&) {
      return false;
    }
  };
  auto is_used = [](const RandomProgram& whole, size_t value) {
    return std::ranges::any_of(whole.calls, [&](const RandomProgram::Call& call) {
      return std::ranges::find(call.operands, value) != call.operands.end();
    });
  };
  for (bool changed = true; changed;) {
    changed = false;
    auto take = [&](const RandomProgram& candidate) {
      if (!still_fails(candidate)) return false;
      program = candidate;
      return changed = true;
    };
    for (size_t i = program.calls.size(); i-- > 0;) {
      const size_t value = program.inputs() + i;
      if (!is_used(program, value)) {
        take(without(program, i, 0));
        continue;
      }
      bool gone = false;
      for (size_t operand : program.calls[i].operands) gone = gone || take(without(program, i, operand));
      if (gone) continue;
      Setting setting(program);
      Tensors inputs = setting.parameters;
      inputs.insert(inputs.end(), setting.batch.begin(), setting.batch.end());
      RandomProgram more = with_input(program, values_of(program, inputs)[value].shape());
      take(without(more, i, more.inputs() - 1));
    }
    for (size_t value = program.inputs(); value-- > 0;)
      if (!is_used(program, value) && (value >= program.parameters.size() || program.parameters.size() > 1))
        take(without_input(program, value));
  }
  return program;
}

}  // namespace wholestep::test
