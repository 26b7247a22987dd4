// Evaluation plans, and the walk over a dataset.
#include "wholestep/train/evaluator.h"

#include <algorithm>
#include <functional>

#include "wholestep/ops/reduce.h"
#include "wholestep/ops/softmax.h"

namespace wholestep {
namespace {

template <class T>
std::span<const T> typed(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}

}  // namespace

std::vector<int64_t> batch_sizes(int64_t samples, int64_t batch_size) {
  std::vector<int64_t> sizes;
  if (samples >= batch_size) sizes.push_back(batch_size);
  if (samples % batch_size) sizes.push_back(samples % batch_size);
  return sizes;
}

EvaluationTrace trace_evaluation(Graph& graph, nn::Module& model, const nn::Loss* loss, const Tensor& x,
                                 const Tensor& labels) {
  bool training = model.training();
  model.eval();
  EvaluationTrace trace{.logits = model(x), .classes = {}, .losses = {}};
  model.train(training);
  trace.classes = loss ? loss->classes(trace.logits) : argmax(trace.logits, 1);
  graph.add_output("classes", trace.classes);
  graph.add_output("probabilities", loss ? loss->probabilities(trace.logits) : softmax(trace.logits));
  if (loss)
    graph.add_output("losses",
                     trace.losses = loss->per_sample(trace.logits, loss->target_of(labels, trace.logits)));
  return trace;
}

Predictions read_predictions(const CompiledStep& step, std::vector<std::byte>& buffer) {
  const Graph& graph = *step.plan().graph;
  bool copied = !step.plan().backend->host_memory();
  size_t used = 0;
  auto take = [&](const GraphOutput& output) -> std::span<const std::byte> {
    if (!copied) return step.output_bytes(output.name);
    size_t bytes = static_cast<size_t>(graph.type(output.value).bytes());
    std::span<std::byte> place = std::span(buffer).subspan(used, bytes);
    step.read(output.name, place);
    used += (bytes + 7) / 8 * 8;
    return place;
  };
  if (copied) {
    size_t needed = 0;
    for (const GraphOutput& output : graph.outputs)
      needed += static_cast<size_t>(graph.type(output.value).bytes() + 7) / 8 * 8;
    if (buffer.size() < needed) buffer.resize(needed);
  }
  Predictions p;  // in the order trace_evaluation() adds them
  p.classes = typed<int64_t>(take(graph.outputs[0]));
  p.probabilities = typed<float>(take(graph.outputs[1]));
  if (graph.outputs.size() == 3) p.losses = typed<float>(take(graph.outputs[2]));
  return p;
}

Evaluator::Evaluator(nn::Module& model, const nn::Loss* loss, const Shape& sample_shape,
                     const Normalization& normalization, const std::vector<int64_t>& sizes,
                     const CompileOptions& options) {
  for (int64_t batch : sizes) {
    auto graph = std::make_shared<Graph>();
    Trace trace(graph);
    auto [pixels, labels] = batch_slots(*graph, sample_shape, batch);
    trace_evaluation(*graph, model, loss, normalize(pixels, normalization), labels);
    steps_[batch] = std::make_unique<CompiledStep>(make_plan(graph, options));
  }
  no_labels_.resize(static_cast<size_t>(*std::ranges::max_element(sizes)));
}

Predictions Evaluator::run(std::span<const uint8_t> pixels, std::span<const int32_t> labels, int64_t rows) {
  auto it = steps_.find(rows);
  if (it == steps_.end())
    throw Error(ErrorCode::kUsage,
                {.what = "no plan was made for this batch size", .got = std::to_string(rows)});
  write_batch(*it->second, pixels,
              labels.empty() ? std::span(no_labels_).first(static_cast<size_t>(rows)) : labels);
  it->second->run();
  return read_predictions(*it->second, buffer_);
}

Evaluation evaluate(nn::Module& model, const nn::Loss& loss, const Dataset& dataset,
                    const Normalization& normalization, int64_t batch_size, const CompileOptions& options) {
  constexpr size_t kWorst = 24;
  std::vector<int64_t> sizes = batch_sizes(dataset.size(), batch_size);
  if (sizes.empty())
    throw Error(ErrorCode::kBadData, {.what = "there is nothing to evaluate: the dataset is empty"});
  Evaluator evaluator(model, &loss, dataset.sample_shape(), normalization, sizes, options);
  size_t classes = static_cast<size_t>(dataset.num_classes());
  Evaluation result{.samples = dataset.size(), .confusion = {}, .worst = {}};
  int64_t correct = 0;
  result.confusion.assign(classes, std::vector<int64_t>(classes));
  std::vector<uint8_t> pixels(
      static_cast<size_t>(std::min(batch_size, dataset.size()) * dataset.sample_bytes()));
  std::vector<int32_t> labels;
  size_t sample_bytes = static_cast<size_t>(dataset.sample_bytes());
  for (int64_t first = 0; first < dataset.size(); first += batch_size) {
    int64_t rows = std::min(batch_size, dataset.size() - first);
    labels.clear();
    for (int64_t i = 0; i < rows; ++i) {
      dataset.read(first + i, std::span(pixels).subspan(static_cast<size_t>(i) * sample_bytes, sample_bytes));
      labels.push_back(dataset.label(first + i));
    }
    Predictions p =
        evaluator.run(std::span(pixels).first(static_cast<size_t>(rows) * sample_bytes), labels, rows);
    size_t width = p.probabilities.size() / static_cast<size_t>(rows);
    for (size_t i = 0; i < static_cast<size_t>(rows); ++i) {
      size_t predicted = static_cast<size_t>(p.classes[i]), label = static_cast<size_t>(labels[i]);
      result.loss += static_cast<double>(p.losses[i]);
      if (predicted < classes) ++result.confusion[label][predicted];
      if (predicted == label) ++correct;
      else
        result.worst.push_back({first + static_cast<int64_t>(i), labels[i], p.classes[i], p.losses[i],
                                p.probabilities[i * width + predicted]});
    }
    std::ranges::stable_sort(result.worst, std::greater(), &Evaluation::Sample::loss);
    if (result.worst.size() > kWorst) result.worst.resize(kWorst);
  }
  result.accuracy = static_cast<double>(correct) / static_cast<double>(dataset.size());
  result.loss /= static_cast<double>(dataset.size());
  return result;
}

}  // namespace wholestep
