// Evaluation plans, and the walk over a dataset.
#include "wholestep/train/evaluator.h"

#include <algorithm>
#include <functional>

#include "wholestep/graph/widen.h"
#include "wholestep/ops/elementwise.h"
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

Tensor run_model(nn::Module& model, const Tensor& samples) {
  std::vector<Tensor> parameters = model.parameters();
  bool half = !parameters.empty() && is_half(parameters[0].dtype());
  return widened(model(half ? cast(samples, parameters[0].dtype()) : samples));
}

EvaluationTrace trace_evaluation(Graph& graph, nn::Module& model, const nn::Loss* loss,
                                 const Normalization& normalization, const Tensor& samples,
                                 const Tensor& targets) {
  bool training = model.training();
  model.eval();
  EvaluationTrace trace{.logits = run_model(model, normalize(samples, normalization)), .losses = {}};
  model.train(training);
  const bool numbers = targets.rank() == 2;
  if (numbers) {
    graph.add_output("numbers", in_units_of_data(trace.logits, normalization));
  } else {
    graph.add_output("classes", loss ? loss->classes(trace.logits) : argmax(trace.logits, 1));
    graph.add_output("probabilities", loss ? loss->probabilities(trace.logits) : softmax(trace.logits));
  }
  if (!loss) return trace;
  Tensor target =
      numbers ? standardize_targets(targets, normalization) : loss->target_of(targets, trace.logits);
  graph.add_output("losses", trace.losses = loss->per_sample(trace.logits, target));
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
  Predictions p;
  for (const GraphOutput& output : graph.outputs) {
    if (output.name == "classes") p.classes = typed<int64_t>(take(output));
    if (output.name == "probabilities") p.probabilities = typed<float>(take(output));
    if (output.name == "numbers") p.numbers = typed<float>(take(output));
    if (output.name == "losses") p.losses = typed<float>(take(output));
  }
  return p;
}

Evaluator::Evaluator(nn::Module& model, const nn::Loss* loss, const SampleType& sample,
                     const Normalization& normalization, const std::vector<int64_t>& sizes,
                     const CompileOptions& options)
    : sample_(sample) {
  if (loss && sample.targets > 0) nn::check_regresses(*loss);
  for (int64_t batch : sizes) {
    auto graph = std::make_shared<Graph>();
    Trace trace(graph);
    auto [samples, targets] = batch_slots(*graph, sample, batch);
    trace_evaluation(*graph, model, loss, normalization, samples, targets);
    steps_[batch] = std::make_unique<CompiledStep>(make_plan(graph, options));
  }
  size_t rows = static_cast<size_t>(*std::ranges::max_element(sizes));
  no_labels_.resize(rows);
  no_targets_.resize(rows * static_cast<size_t>(sample.targets));
}

Predictions Evaluator::run(std::span<const uint8_t> pixels, std::span<const int32_t> labels, int64_t rows) {
  Batch batch = labelled(pixels, labels);
  batch.rows = rows;
  return run(batch);
}

Predictions Evaluator::run(Batch batch) {
  auto it = steps_.find(batch.rows);
  if (it == steps_.end())
    throw Error(ErrorCode::kUsage,
                {.what = "no plan was made for this batch size", .got = std::to_string(batch.rows)});
  if (batch.labels.empty()) batch.labels = std::span(no_labels_).first(static_cast<size_t>(batch.rows));
  if (batch.targets.empty())
    batch.targets = std::span(no_targets_).first(static_cast<size_t>(batch.rows * sample_.targets));
  write_batch(*it->second, sample_, batch);
  it->second->run();
  return read_predictions(*it->second, buffer_);
}

namespace {

constexpr size_t kWorst = 24;

/// Sums of one batch after another, to what an Evaluation says of all.
struct Classes {
  explicit Classes(size_t classes) : confusion(classes, std::vector<int64_t>(classes)) {}
  void add(const Batch& batch, const Predictions& p) {
    size_t rows = static_cast<size_t>(batch.rows), width = p.probabilities.size() / rows;
    for (size_t i = 0; i < rows; ++i) {
      size_t predicted = static_cast<size_t>(p.classes[i]), label = static_cast<size_t>(batch.labels[i]);
      if (predicted < confusion.size()) ++confusion[label][predicted];
      if (predicted == label) ++correct;
      else
        worst.push_back({batch.samples[i], batch.labels[i], p.classes[i], p.losses[i],
                         p.probabilities[i * width + predicted]});
    }
    std::ranges::stable_sort(worst, std::greater(), &Evaluation::Sample::loss);
    if (worst.size() > kWorst) worst.resize(kWorst);
  }
  std::vector<std::vector<int64_t>> confusion;
  std::vector<Evaluation::Sample> worst;
  int64_t correct = 0;
};

}  // namespace

Evaluation evaluate(nn::Module& model, const nn::Loss& loss, const Dataset& dataset,
                    const Normalization& normalization, int64_t batch_size, const CompileOptions& options) {
  std::vector<int64_t> sizes = batch_sizes(dataset.size(), batch_size);
  if (sizes.empty())
    throw Error(ErrorCode::kBadData, {.what = "there is nothing to evaluate: the dataset is empty"});
  Evaluator evaluator(model, &loss, dataset.sample_type(), normalization, sizes, options);
  Evaluation result{.samples = dataset.size(),
                    .numbers = {},
                    .targets = {},
                    .regression = {},
                    .accuracy = {},
                    .confusion = {},
                    .worst = {}};
  Classes classes(static_cast<size_t>(dataset.num_classes()));
  // Borrowed for as long as this lasts.
  DataLoader loader(std::shared_ptr<const Dataset>(std::shared_ptr<const Dataset>(), &dataset),
                    {.batch_size = batch_size});
  while (const Batch* batch = loader.next()) {
    Predictions p = evaluator.run(*batch);
    for (float one : p.losses) result.loss += static_cast<double>(one);
    if (batch->targets.empty()) classes.add(*batch, p);
    result.numbers.insert(result.numbers.end(), p.numbers.begin(), p.numbers.end());
    result.targets.insert(result.targets.end(), batch->targets.begin(), batch->targets.end());
  }
  double samples = static_cast<double>(dataset.size());
  result.loss /= samples;
  if (int64_t targets = dataset.num_targets(); targets > 0) {
    Shape shape = {dataset.size(), targets};
    Tensor sums = regression_sums(tensor(result.numbers, shape), tensor(result.targets, shape));
    result.regression = regression_of(sums.data<double>(), dataset.size());
    return result;
  }
  result.accuracy = static_cast<double>(classes.correct) / samples;
  result.confusion = std::move(classes.confusion);
  result.worst = std::move(classes.worst);
  return result;
}

}  // namespace wholestep
