// Naive evaluations by op name. Each loops over the result's elements, reads operands as doubles by
// multi-index, and remembers the magnitude of what it added up.
#include "support/op_reference.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "support/kernel_run.h"
#include "support/op_case.h"
#include "support/op_evaluation.h"
#include "wholestep/base/philox.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/elementwise_program.h"

namespace wholestep::test {
namespace {

/// Each result is one element of operand 0, found by `source`; nothing where it is zero padding.
Expected copied(const Question& q, const std::function<std::optional<Index>(const Index&)>& source) {
  std::vector<double> values;
  for_each(q.out[0].shape, [&](const Index& index) {
    auto from = source(index);
    values.push_back(from ? q.in[0].at(*from) : 0);
  });
  return exact(std::move(values));
}

bool reduced(const Question& q, int axis) {
  const auto& axes = q.attrs.integers("axes");
  return std::ranges::find(axes, axis) != axes.end();
}

/// Folds every element of operand 0 into the result it belongs to.
void reduce(const Question& q, const std::function<void(size_t result, double x, int64_t position)>& fold) {
  Shape kept;
  for (int axis = 0; axis < q.in[0].shape.rank(); ++axis)
    kept.push_back(reduced(q, axis) ? 1 : q.in[0].shape[axis]);
  Operand result{kept, {}};
  for_each(q.in[0].shape, [&](Index index) {
    double x = q.in[0].at(index);
    int64_t position = 0;
    for (int axis = 0; axis < kept.rank(); ++axis)
      if (reduced(q, axis)) position = std::exchange(index[static_cast<size_t>(axis)], 0);
    fold(result.offset(index), x, position);
  });
}

Expected sum(const Question& q) {
  Expected e = exact(std::vector<double>(static_cast<size_t>(q.out[0].shape.numel()), 0));
  reduce(q, [&](size_t i, double x, int64_t) { e.values[i] += x, e.magnitudes[i] += std::abs(x); });
  return e;
}
Expected sum_squares(const Question& q) {
  double total = 0;
  for (size_t i = 0; i < q.in.size(); ++i) {
    bool is_sum =
        q.attrs.has("sums") && std::ranges::find(q.attrs.integers("sums"), static_cast<int64_t>(i)) !=
                                   q.attrs.integers("sums").end();
    for (double x : q.in[i].values) total += is_sum ? x : x * x;
  }
  return {{total}, {std::abs(total)}};
}
Expected max(const Question& q) {
  std::vector<double> values(static_cast<size_t>(q.out[0].shape.numel()),
                             -std::numeric_limits<double>::infinity());
  reduce(q, [&](size_t i, double x, int64_t) { values[i] = std::max(values[i], x); });
  return exact(std::move(values));
}
Expected argmax(const Question& q) {
  Expected top = max(q), e = exact(std::vector<double>(top.values.size(), -1));
  reduce(q, [&](size_t i, double x, int64_t position) {
    if (x == top.values[i] && e.values[i] < 0) e.values[i] = static_cast<double>(position);
  });
  return e;
}

Expected matmul(const Question& q) {
  bool ta = q.attrs.flag("transpose_a"), tb = q.attrs.flag("transpose_b");
  int64_t depth = q.in[0].shape[ta ? 0 : 1];
  Expected e;
  for_each(q.out[0].shape, [&](const Index& index) {
    double value = 0, magnitude = 0;
    for (int64_t k = 0; k < depth; ++k) {
      double product = q.in[0].at(ta ? Index{k, index[0]} : Index{index[0], k}) *
                       q.in[1].at(tb ? Index{index[1], k} : Index{k, index[1]});
      value += product, magnitude += std::abs(product);
    }
    const std::string activation = q.attrs.text_or("activation", "");
    if (activation == "relu_dx") value = q.in[2].at(index) > 0 ? value : 0;
    else if (q.in.size() == 3) value += q.in[2].at({index[1]}), magnitude += std::abs(q.in[2].at({index[1]}));
    if (activation == "relu") value = std::max(value, 0.0);
    e.values.push_back(value);
    e.magnitudes.push_back(magnitude);
  });
  return e;
}

Expected batch_matmul(const Question& q) {
  bool ta = q.attrs.flag("transpose_a"), tb = q.attrs.flag("transpose_b");
  int64_t depth = q.in[0].shape[ta ? 1 : 2];
  Expected e;
  for_each(q.out[0].shape, [&](const Index& index) {
    double value = 0, magnitude = 0;
    for (int64_t k = 0; k < depth; ++k) {
      double product = q.in[0].at(ta ? Index{index[0], k, index[1]} : Index{index[0], index[1], k}) *
                       q.in[1].at(tb ? Index{index[0], index[2], k} : Index{index[0], k, index[2]});
      value += product, magnitude += std::abs(product);
    }
    e.values.push_back(value);
    e.magnitudes.push_back(magnitude);
  });
  return e;
}

/// The matmul of operands 0 and 1.
Question product_of(const Question& q) {
  Shape shape = {q.in[0].shape[q.attrs.flag("transpose_a") ? 1 : 0],
                 q.in[1].shape[q.attrs.flag("transpose_b") ? 0 : 1]};
  return {{q.in[0], q.in[1]}, q.attrs, {{shape, {}}}};
}

/// Of Gram matrices: every pair of terms of an element is added up on its own.
Expected matmul_squares(const Question& q) {
  Expected elements = matmul(product_of(q));
  long double total = 0;
  double magnitude = 0;
  for (size_t i = 0; i < elements.values.size(); ++i) {
    total += static_cast<long double>(elements.values[i]) * elements.values[i];
    magnitude += elements.magnitudes[i] * elements.magnitudes[i];
  }
  return {{static_cast<double>(total)}, {magnitude}};
}

/// The rows of operand 0 along its last axis, with their log-sum-exp.
struct Rows {
  int64_t width, count;
  std::vector<double> log_sum_exp;
  explicit Rows(const Operand& x) : width(x.shape.back()), count(width ? x.shape.numel() / width : 0) {
    for (int64_t r = 0; r < count; ++r) {
      long double total = 0;
      for (int64_t k = 0; k < width; ++k)
        total += std::exp(static_cast<long double>(x.values[static_cast<size_t>(r * width + k)]));
      log_sum_exp.push_back(static_cast<double>(std::log(total)));
    }
  }
};

template <bool logarithm>
Expected softmax(const Question& q) {
  Rows rows(q.in[0]);
  Expected e;
  for (size_t i = 0; i < q.in[0].values.size(); ++i) {
    double x = q.in[0].values[i], lse = rows.log_sum_exp[i / static_cast<size_t>(rows.width)];
    double value = logarithm ? x - lse : std::exp(x - lse);
    e.values.push_back(value);
    e.magnitudes.push_back((logarithm ? 1 : value) * (1 + std::abs(x) + std::abs(lse)));
  }
  return e;
}

Expected cross_entropy(const Question& q) {
  Rows rows(q.in[0]);
  Expected e;
  for (size_t n = 0; n < rows.log_sum_exp.size(); ++n) {
    double x = q.in[0].at({static_cast<int64_t>(n), static_cast<int64_t>(q.in[1].values[n])});
    e.values.push_back(rows.log_sum_exp[n] - x);
    e.magnitudes.push_back(std::abs(rows.log_sum_exp[n]) + std::abs(x));
  }
  return e;
}

Expected cross_entropy_dx(const Question& q) {
  Rows rows(q.in[0]);
  Expected e;
  for (size_t i = 0; i < q.in[0].values.size(); ++i) {
    size_t n = i / static_cast<size_t>(rows.width), k = i % static_cast<size_t>(rows.width);
    double x = q.in[0].values[i], lse = rows.log_sum_exp[n], g = q.in[2].values[n], p = std::exp(x - lse);
    double target = q.in[1].values[n] == static_cast<double>(k) ? 1 : 0;
    e.values.push_back(g * (p - target));
    e.magnitudes.push_back(std::abs(g) * (p * (1 + std::abs(x) + std::abs(lse)) + target));
  }
  return e;
}

std::vector<Expected> cross_entropy_with_dx(const Question& q) {
  Question gradient{q.in, q.attrs, {}};
  gradient.in.push_back({q.in[1].shape, std::vector<double>(q.in[1].values.size(), q.attrs.number("g"))});
  return {cross_entropy(q), cross_entropy_dx(gradient)};
}

Expected scatter_add_rows(const Question& q) {
  Expected e = exact(std::vector<double>(static_cast<size_t>(q.out[0].shape.numel()), 0));
  for_each(q.in[0].shape, [&](const Index& from) {
    Index to = from;
    to[0] = static_cast<int64_t>(q.in[1].at({from[0]}));
    e.values[q.out[0].offset(to)] += q.in[0].at(from);
    e.magnitudes[q.out[0].offset(to)] += std::abs(q.in[0].at(from));
  });
  return e;
}

/// Along the last axis; a stable sort, so equal elements keep their order.
Expected argsort(const Question& q) {
  std::vector<double> values;
  const size_t n = static_cast<size_t>(q.in[0].shape.back());
  for (size_t first = 0; first < q.in[0].values.size(); first += n) {
    std::vector<size_t> order(n);
    for (size_t i = 0; i < n; ++i) order[i] = i;
    std::ranges::stable_sort(order, [&](size_t i, size_t j) {
      double a = q.in[0].values[first + i], b = q.in[0].values[first + j];
      return q.attrs.flag("descending") ? a > b : a < b;
    });
    values.insert(values.end(), order.begin(), order.end());
  }
  return exact(std::move(values));
}

Expected concat(const Question& q) {
  size_t axis = static_cast<size_t>(q.attrs.integer("axis"));
  std::vector<double> values;
  for_each(q.out[0].shape, [&](Index index) {
    size_t part = 0;
    while (index[axis] >= q.in[part].shape[static_cast<int>(axis)])
      index[axis] -= q.in[part++].shape[static_cast<int>(axis)];
    values.push_back(q.in[part].at(index));
  });
  return exact(std::move(values));
}

std::vector<Expected> split(const Question& q) {
  size_t axis = static_cast<size_t>(q.attrs.integer("axis"));
  int64_t begin = 0;
  std::vector<Expected> parts;
  for (const Operand& part : q.out) {
    std::vector<double> values;
    for_each(part.shape, [&](Index index) {
      index[axis] += begin;
      values.push_back(q.in[0].at(index));
    });
    begin += part.shape[static_cast<int>(axis)];
    parts.push_back(exact(std::move(values)));
  }
  return parts;
}

Expected random_uniform(const Question& q) {
  uint64_t key = mix(static_cast<uint64_t>(q.in[0].values[0]), static_cast<uint64_t>(q.in[1].values[0]));
  PhiloxStream stream(key, static_cast<uint64_t>(q.attrs.integer("node")));
  std::vector<double> values(static_cast<size_t>(q.out[0].shape.numel()));
  for (double& value : values) value = static_cast<double>(stream.uniform());
  return exact(std::move(values));
}

Expected cast(const Question& q) {
  std::vector<double> values = q.in[0].values;
  if (q.attrs.text("dtype") == "bool")
    for (double& value : values) value = value != 0;
  return exact(std::move(values));
}

/// dx = a W, of the operand that attribute `input_gradient` names, masked by b where asked.
Expected input_gradient(const Question& q) {
  Attrs attrs = {{"transpose_a", false}, {"transpose_b", false}};
  Question product{
      {q.in[0], q.in[static_cast<size_t>(q.attrs.integer("input_gradient"))]}, attrs, {q.out.back()}};
  if (q.attrs.flag_or("masked", false)) {
    attrs.set({"activation", "relu_dx"});
    product.in.push_back(q.in[1]);
  }
  return matmul(product);
}

std::vector<Expected> matmul_fused(const Question& q) {
  const bool with_gradient = q.attrs.has("input_gradient");
  Question product = product_of(q), region{{}, q.attrs, q.out};
  if (with_gradient) region.out.pop_back();
  Expected elements = matmul(product);
  region.in.push_back({product.out[0].shape, elements.values});
  region.in.insert(region.in.end(), q.in.begin() + 2, q.in.end());
  std::vector<Expected> results = program_results(region);
  for (Expected& e : results)
    for (size_t i = 0; i < e.magnitudes.size(); ++i) e.magnitudes[i] += elements.magnitudes[i];
  if (with_gradient) results.push_back(input_gradient(q));
  return results;
}

template <Expected (*one)(const Question&)>
std::vector<Expected> only(const Question& q) {
  return {one(q)};
}

const Evaluations& evaluations() {
  static const Evaluations table = {
      {"sum", only<sum>},
      {"sum_squares", only<sum_squares>},
      {"max", only<max>},
      {"argmax", only<argmax>},
      {"matmul", only<matmul>},
      {"batch_matmul", only<batch_matmul>},
      {"softmax", only<softmax<false>>},
      {"log_softmax", only<softmax<true>>},
      {"cross_entropy", only<cross_entropy>},
      {"cross_entropy_dx", only<cross_entropy_dx>},
      {"cross_entropy_with_dx", cross_entropy_with_dx},
      {"scatter_add_rows", only<scatter_add_rows>},
      {"argsort", only<argsort>},
      {"concat", only<concat>},
      {"split", split},
      {"random_uniform", only<random_uniform>},
      {"cast", only<cast>},
      {"fused", program_results},
      {"matmul_fused", matmul_fused},
      {"matmul_squares", only<matmul_squares>},
      {"full",
       [](const Question& q) -> std::vector<Expected> {
         return {exact(
             std::vector<double>(static_cast<size_t>(q.out[0].shape.numel()), q.attrs.number("value")))};
       }},
      {"reshape", [](const Question& q) -> std::vector<Expected> { return {exact(q.in[0].values)}; }},
      {"gather_rows",
       [](const Question& q) -> std::vector<Expected> {
         return {copied(q, [&](Index index) {
           index[0] = static_cast<int64_t>(q.in[1].at({index[0]}));
           return index;
         })};
       }},
      {"take",
       [](const Question& q) -> std::vector<Expected> {
         int64_t position = static_cast<int64_t>(q.in[1].values[0]), n = q.in[0].shape[0];
         return {copied(q, [&](const Index& index) { return Index{(position + index[0]) % n}; })};
       }},
      {"permute",
       [](const Question& q) -> std::vector<Expected> {
         return {copied(q, [&](const Index& index) {
           Index from(index.size());
           for (size_t i = 0; i < index.size(); ++i)
             from[static_cast<size_t>(q.attrs.integers("axes")[i])] = index[i];
           return from;
         })};
       }},
      {"expand",
       [](const Question& q) -> std::vector<Expected> {
         return {copied(q, [&](const Index& index) {
           Index from(index.end() - q.in[0].shape.rank(), index.end());
           for (int axis = 0; axis < q.in[0].shape.rank(); ++axis)
             if (q.in[0].shape[axis] == 1) from[static_cast<size_t>(axis)] = 0;
           return from;
         })};
       }},
      {"slice",
       [](const Question& q) -> std::vector<Expected> {
         return {copied(q, [&](Index index) {
           index[static_cast<size_t>(q.attrs.integer("axis"))] += q.attrs.integer("start");
           return index;
         })};
       }},
      {"pad",
       [](const Question& q) -> std::vector<Expected> {
         int axis = static_cast<int>(q.attrs.integer("axis"));
         return {copied(q, [&](Index index) -> std::optional<Index> {
           int64_t& at = index[static_cast<size_t>(axis)];
           at -= q.attrs.integer("before");
           if (at < 0 || at >= q.in[0].shape[axis]) return std::nullopt;
           return index;
         })};
       }},
  };
  return table;
}

/// Element-wise ops in f64, on operands converted to f64; their f32 results may be a few units in the last
/// place away.
std::vector<Expected> elementwise_in_f64(const OpDef& op, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> operands;
  for (const Tensor& t : inputs)
    operands.push_back(t.dtype() == DType::boolean ? t : converted(t, DType::f64));
  Expected e{as_doubles(apply1(op, operands)), {}};
  for (double value : e.values) e.magnitudes.push_back(std::abs(value));
  return {e};
}

/// The reference kernel in f64; magnitudes are its results on the absolute values of the operands.
std::vector<Expected> last_kernel_in_f64(const OpDef& op, const std::vector<Tensor>& inputs,
                                         const Attrs& attrs) {
  std::vector<Tensor> operands, magnitudes;
  for (const Tensor& t : inputs) {
    operands.push_back(t.dtype() == DType::f32 ? converted(t, DType::f64) : t);
    magnitudes.push_back(operands.back().clone());
    if (is_floating(t.dtype()))
      for (double& element : magnitudes.back().data<double>()) element = std::abs(element);
  }
  Attrs wide = as_f64({.inputs = {}, .attrs = attrs}).attrs;
  const Kernel& reference = *cpu_kernels_of(op).back();
  auto results = KernelRun(op, reference, operands, wide).run();
  auto sums = KernelRun(op, reference, magnitudes, wide).run();
  std::vector<Expected> expected;
  for (size_t o = 0; o < results.size(); ++o) {
    Expected e{as_doubles(results[o]), as_doubles(sums[o])};
    for (size_t i = 0; i < e.values.size(); ++i)
      e.magnitudes[i] = std::max(std::abs(e.magnitudes[i]), std::abs(e.values[i]));
    expected.push_back(std::move(e));
  }
  return expected;
}

}  // namespace

std::vector<Expected> program_results(const Question& q) {
  ElementwiseProgram program = parse_elementwise_program(q.attrs.text("program"));
  std::vector<Tensor> registers;
  for (const Operand& operand : q.in) registers.push_back(tensor(operand.values, operand.shape));
  for (double value : program.immediates) registers.push_back(scalar(value, DType::f64));
  for (const auto& instruction : program.instructions) {
    std::vector<Tensor> operands;
    for (int k = 0; k < arity(instruction.code); ++k)
      operands.push_back(registers[static_cast<size_t>(instruction.operands[k])]);
    if (instruction.code == ElementwiseCode::where) operands[0] = converted(operands[0], DType::boolean);
    registers.push_back(converted(apply1(find_op(name(instruction.code)), operands), DType::f64));
    if (is_half(instruction.rounded))
      registers.back() = converted(converted(registers.back(), instruction.rounded), DType::f64);
  }
  std::vector<Expected> results;
  for (size_t o = 0; o < program.outputs.size(); ++o) {
    const Tensor& result = registers[static_cast<size_t>(program.outputs[o])];
    const Operand elements{result.shape(), as_doubles(result)};
    Expected e;
    for_each(q.out[o].shape, [&](const Index& index) {
      Index own(index.end() - result.rank(), index.end());
      for (int axis = 0; axis < result.rank(); ++axis)
        if (result.shape()[axis] == 1) own[static_cast<size_t>(axis)] = 0;
      e.values.push_back(elements.at(own));
      e.magnitudes.push_back(std::abs(e.values.back()) + 1);
    });
    results.push_back(std::move(e));
  }
  return results;
}

std::optional<std::vector<Expected>> expected_results(const OpDef& op, const std::vector<Tensor>& inputs,
                                                      const Attrs& attrs) {
  for (const Evaluations* table : {&evaluations(), &image_evaluations()}) {
    auto found = table->find(op.name);
    if (found == table->end()) continue;
    Question q{{}, attrs, {}};
    Types types;
    for (const Tensor& t : inputs) {
      types.push_back(t.type());
      q.in.push_back({t.shape(), as_doubles(t), t.dtype()});
    }
    for (const TensorType& type : infer_types(op, types, attrs)) q.out.push_back({type.shape, {}});
    return found->second(q);
  }
  if (op.elementwise) return elementwise_in_f64(op, inputs);
  if (cpu_kernels_of(op).size() > 1) return last_kernel_in_f64(op, inputs, attrs);
  return std::nullopt;
}

double error_bound(const OpDef& op, const std::vector<Tensor>& inputs, const Types& outputs,
                   const Attrs& attrs, size_t output, const Expected& expected, size_t element) {
  if (!is_floating(outputs[output].dtype)) return 0;
  Types types;
  for (const Tensor& t : inputs) types.push_back(t.type());
  double terms = flops(op, {op.name, types, outputs, attrs}) /
                 static_cast<double>(std::max<int64_t>(1, outputs[output].shape.numel()));
  double value = std::abs(expected.values[element]);
  if (is_half(outputs[output].dtype))  // half of the last bit, or of the smallest number
    return value * 1.001 * (outputs[output].dtype == DType::f16 ? 0x1p-11 : 0x1p-8) + 0x1p-25;
  bool single = outputs[output].dtype == DType::f32;
  double eps =
      single ? double{std::numeric_limits<float>::epsilon()} : std::numeric_limits<double>::epsilon();
  double ulp = single ? double{std::nextafter(static_cast<float>(value), HUGE_VALF)} -
                            double{static_cast<float>(value)}
                      : std::nextafter(value, HUGE_VAL) - value;
  return 4 * eps * std::sqrt(std::max(1.0, terms)) * expected.magnitudes[element] + ulp;
}

}  // namespace wholestep::test
