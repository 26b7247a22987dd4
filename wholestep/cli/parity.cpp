// wholestep parity: every op's cases, and the first steps of small networks, on a device against the CPU. Ops
// are compared with the CPU's kernels in f64, which are given the device's f32 operands; networks with the
// CPU's f32.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "wholestep/backend/cpu/precision.h"
#include "wholestep/backend/cuda/call.h"
#include "wholestep/base/philox.h"
#include "wholestep/cli/app.h"
#include "wholestep/cli/job.h"
#include "wholestep/cli/terminal.h"
#include "wholestep/compile/compile.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/optim/sgd.h"

namespace wholestep::cli {
namespace {

using nlohmann::json;

struct ParityOptions {
  std::string device = "auto", precision = "f32";
  int64_t threads = 0;
  bool no_tf32 = false, json = false;
};

/// One line of the table.
struct Agreement {
  std::string name;
  int64_t cases = 0;
  double worst = 0;           ///< |got - expected| over the largest expected, of all cases
  double worst_of_bound = 0;  ///< the same over what is allowed
  bool ok() const { return worst_of_bound <= 1; }

  void add(double error, double allowed) {
    ++cases;
    worst = std::max(worst, error);
    worst_of_bound = std::max(worst_of_bound, error / allowed);
  }
};

// f32 sums of some thousand terms; tensor cores round their operands to 10 bits of mantissa, and a result may
// be smaller than its terms.
constexpr double kExact = 1e-4, kTf32 = 1e-2, kStep = 1e-3;
// bf16 to 7 bits.
constexpr double kBf16 = 4e-2;

Tensor operand(const TensorType& type, const OpCase& request, PhiloxStream& random) {
  Tensor t = zeros(type);
  visit_stored(type.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (T& element : t.data<T>()) {
      if constexpr (is_floating(kDTypeOf<T>)) {
        double value = static_cast<double>(
            random.uniform(static_cast<float>(request.low), static_cast<float>(request.high)));
        if (request.multiple > 0) value = std::round(value / request.multiple) * request.multiple;
        element = static_cast<T>(value);
      } else if constexpr (std::is_same_v<T, bool>) element = random.below(2) == 1;
      else element = static_cast<T>(random.below(static_cast<uint64_t>(request.bound)));
    }
  });
  return t;
}

Tensor as_f64(const Tensor& t) {
  if (t.dtype() != DType::f32) return t;
  Tensor result = zeros({DType::f64, t.shape()});
  std::ranges::copy(t.data<float>(), result.data<double>().begin());
  return result;
}

OpCase as_f64(OpCase request) {
  bool floating = false;
  for (TensorType& type : request.inputs)
    if (type.dtype == DType::f32) type.dtype = DType::f64, floating = true;
  if (!floating) return request;
  Attrs attrs;
  for (Attr attr : request.attrs.all()) {
    if (auto* text = std::get_if<std::string>(&attr.value))
      for (size_t at; (at = text->find("f32")) != std::string::npos;) text->replace(at, 3, "f64");
    attrs.set(attr);
  }
  request.attrs = attrs;
  return request;
}

/// All cases of an op as one step on a backend.
class Cases {
 public:
  Cases(const OpDef& op, const std::vector<OpCase>& requests, Backend& backend) {
    auto graph = std::make_shared<Graph>();
    for (const OpCase& request : requests) {
      std::vector<int> values;
      for (const TensorType& type : request.inputs)
        values.push_back(graph->value_of(graph->add_input(
            InputKind::kBatch, fmt::format("x{}.{}", outputs_.size(), values.size()), type)));
      Types types = infer_types(op, request.inputs, request.attrs);
      for (int value : graph->add_node(op, request.attrs, values, types))
        graph->add_output(fmt::format("y{}", value), graph->tensor(value)), names_.push_back(value);
      outputs_.push_back(types.size());
    }
    // The cases as they are: nothing is merged, folded or fused.
    step_ = std::make_unique<CompiledStep>(
        make_plan(graph, {.backend = &backend, .simplify = false, .layout = false, .fuse = false}));
    for (const SelectedKernel& kernel : step_->plan().kernels)
      if (kernel.name.starts_with("tensor")) allowed_ = std::max(allowed_, kTf32);
      else if (kernel.name.starts_with("bf16")) allowed_ = kBf16;
  }
  void write(size_t number, size_t input, const Tensor& value) {
    step_->write(fmt::format("x{}.{}", number, input), value);
  }
  void run() { step_->run(); }
  size_t outputs_of(size_t number) const { return outputs_[number]; }
  Tensor output(size_t index) const { return step_->output(fmt::format("y{}", names_[index])); }
  double allowed() const { return allowed_; }  ///< relative error, by how the kernels that run round

 private:
  std::vector<size_t> outputs_;
  std::vector<int> names_;
  double allowed_ = kExact;
  std::unique_ptr<CompiledStep> step_;
};

std::vector<double> values_of(const Tensor& t) {
  std::vector<double> values;
  visit_stored(t.dtype(), [&](auto zero) {
    for (auto element : t.data<decltype(zero)>()) values.push_back(static_cast<double>(element));
  });
  return values;
}

/// Of the largest finite expected value; 0 where both are the same infinity or not a number.
double relative_error(const Tensor& got, const Tensor& expected) {
  std::vector<double> is = values_of(got), should = values_of(expected);
  double largest = 1e-3, worst = 0;
  for (double value : should)
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < should.size(); ++i) {
    if (is[i] == should[i] || (std::isnan(is[i]) && std::isnan(should[i]))) continue;
    double error = std::abs(is[i] - should[i]) / largest;
    worst = std::max(worst, std::isfinite(error) ? error : std::numeric_limits<double>::infinity());
  }
  return worst;
}

Agreement compare_op(const OpDef& op, Backend& device) {
  std::vector<OpCase> requests = op.cases(), in_f64;
  for (const OpCase& request : requests) in_f64.push_back(as_f64(request));
  Cases tested(op, requests, device), reference(op, in_f64, cpu_backend());
  PhiloxStream random(1, 0);
  for (size_t number = 0; number < requests.size(); ++number)
    for (size_t input = 0; input < requests[number].inputs.size(); ++input) {
      const TensorType& type = requests[number].inputs[input];
      Tensor value = operand(type, requests[number], random);
      tested.write(number, input, value);
      reference.write(number, input, in_f64[number].inputs[input] == type ? value : as_f64(value));
    }
  tested.run();
  reference.run();
  Agreement agreement{.name = op.name};
  size_t output = 0;
  for (size_t number = 0; number < requests.size(); ++number) {
    double error = 0;
    for (size_t i = 0; i < tested.outputs_of(number); ++i, ++output)
      error = std::max(error, relative_error(tested.output(output), reference.output(output)));
    agreement.add(error, tested.allowed());
  }
  return agreement;
}

/// Losses of the first steps on one random batch.
std::vector<double> first_losses(const std::string& name, Backend& backend) {
  constexpr int64_t kRows = 8, kSteps = 5;
  nn::Model model = nn::find_model(name);
  model.module->initialize(0);
  optim::SGD optimizer({.lr = 0.01});
  optimizer.attach(model.module->parameters());
  nn::CrossEntropyLoss loss;
  size_t channels = static_cast<size_t>(channels_of(SampleType(model.input)));
  TrainStep step(*model.module, loss, optimizer, model.input,
                 {.normalization = {std::vector<float>(channels, 0.5f), std::vector<float>(channels, 0.3f)},
                  .compile = {.backend = &backend}});
  step.prepare({kRows}, {kRows});
  PhiloxStream random(2, 0);
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < kRows * model.input.numel(); ++i)
    pixels.push_back(static_cast<uint8_t>(random.below(256)));
  for (int64_t i = 0; i < kRows; ++i)
    labels.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(model.classes))));
  std::vector<double> losses;
  for (int64_t i = 0; i < kSteps; ++i) {
    step.train(pixels, labels);
    losses.push_back(step.last_loss());
  }
  return losses;
}

Agreement compare_network(const std::string& name, Backend& device) {
  const Precision asked = product_precision();
  std::vector<double> got = first_losses(name, device);
  set_product_precision(Precision::f32);
  std::vector<double> expected = first_losses(name, cpu_backend());
  set_product_precision(asked);
  Agreement agreement{.name = "steps of " + name};
  for (size_t i = 0; i < got.size(); ++i) {
    double error = std::abs(got[i] - expected[i]) / std::max(1e-3, expected[i]);
    agreement.add(std::isfinite(error) ? error : std::numeric_limits<double>::infinity(),
                  asked == Precision::bf16 ? kBf16
                  : tf32_allowed()         ? kTf32
                                           : kStep);
  }
  return agreement;
}

void print(const Agreement& a, const Device& device, bool as_json) {
  if (as_json)
    fmt::print("{}\n", json({{"name", a.name},
                             {"device", device.name},
                             {"cases", a.cases},
                             {"worst_relative_error", std::isfinite(a.worst) ? json(a.worst) : json()},
                             {"ok", a.ok()}})
                           .dump());
  else fmt::print("{:<24}{:>8}  {:>22.2g}  {}\n", a.name, a.cases, a.worst, a.ok() ? "ok" : "DIFFERS");
  std::fflush(stdout);
}

void parity(const ParityOptions& options) {
  Device device = use_device(options.device, options.threads);
  use_precision(options.precision, !options.no_tf32, device);
  print_note(fmt::format("{} against the CPU", to_string(device)));
  if (!options.json) fmt::print("{:<24}{:>8}  {:>22}\n", "", "cases", "worst relative error");
  std::vector<std::string> bad;
  auto add = [&](const Agreement& agreement) {
    print(agreement, device, options.json);
    if (!agreement.ok()) bad.push_back(agreement.name);
  };
  for (const OpDef* op : all_ops()) add(compare_op(*op, *device.backend));
  for (const char* name : {"mlp", "lenet", "simple-cnn", "w1", "w3", "w4s"})
    add(compare_network(name, *device.backend));
  if (!bad.empty())
    throw Error(ErrorCode::kFailure, {.what = fmt::format("{} of them differ from the CPU", bad.size()),
                                      .where = to_string(device),
                                      .got = fmt::format("{}", fmt::join(bad, ", "))});
}

}  // namespace

void add_parity(CLI::App& app) {
  CLI::App* verb =
      add_verb(app, "parity", "Whether a device computes what the CPU does, op by op",
               "  wholestep parity --device cuda\n"
               "  wholestep parity --device cuda --no-tf32 --json\n"
               "Every op on every case of its row against the CPU in f64, then the first steps of\n"
               "small networks; the error is relative to the largest value of a result. Exit code\n"
               "1 where something differs.\n");
  auto o = std::make_shared<ParityOptions>();
  verb->add_option("--device", o->device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  verb->add_flag("--no-tf32", o->no_tf32, "exact f32 products on a GPU");
  verb->add_option("--precision", o->precision, "of products on a CPU: f32 or bf16")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "bf16"}));
  verb->add_option("--threads", o->threads, "compute threads [one a core]");
  verb->add_flag("--json", o->json, "a JSON object a line");
  verb->callback([o] { parity(*o); });
}

}  // namespace wholestep::cli
