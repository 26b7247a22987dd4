// A training loop of one's own. The step is an ordinary function over tensors: called with data it runs op by
// op; called with the inputs of a graph it is recorded, and the compiled plan gives the same bits.
#include <wholestep/wholestep.h>
#include <algorithm>
#include <cstdio>
#include <cstring>

namespace ws = wholestep;
using ws::Tensor;

constexpr int64_t kBatch = 50;
constexpr int kSteps = 60;

struct Run {
  ws::nn::Sequential model;
  ws::optim::Adam adam{{.lr = 2e-3}};

  Run()
      : model(ws::nn::Flatten(), ws::nn::Linear({.in_features = 784, .out_features = 64}), ws::nn::Tanh(),
              ws::nn::Linear({.in_features = 64, .out_features = 10})) {
    model.initialize(7);
    adam.attach(model.parameters());
  }

  /// Forward, loss, gradients, clipping, update: images u8 [N, 1, 28, 28], labels i32 [N] -> mean loss.
  Tensor step(const Tensor& images, const Tensor& labels) {
    Tensor loss = cross_entropy(model(cast(images, ws::DType::f32) / 255.0), labels);
    std::vector<Tensor> grads = ws::grad(loss, model.parameters());
    adam.step(ws::optim::clip_grad_norm(grads, 1.0).grads);
    return loss;
  }
};

struct Data {
  Tensor images, labels;
};

Data batch_of(const ws::Batch& batch) {
  return {ws::tensor(batch.pixels, {batch.rows, 1, 28, 28}), ws::tensor(batch.labels, {batch.rows})};
}

/// Calls `train_on` with kSteps batches and returns the loss of the last.
template <class TrainOn>
float for_each_batch(TrainOn&& train_on) {
  ws::DataSplits digits = ws::make_digits({.train = kBatch * 20, .test = 0});
  ws::DataLoader loader(digits.train, {.batch_size = kBatch, .shuffle = true, .num_workers = 1});
  float loss = 0;
  for (int step = 0, epoch = 0; step < kSteps; ++epoch) {
    loader.start(epoch);
    for (const ws::Batch* batch; step < kSteps && (batch = loader.next()); ++step)
      loss = train_on(batch_of(*batch));
  }
  return loss;
}

float train_eagerly(Run& run) {
  return for_each_batch(
      [&](const Data& batch) { return run.step(batch.images, batch.labels).item<float>(); });
}

float train_compiled(Run& run) {
  auto graph = std::make_shared<ws::Graph>();
  {
    ws::Trace trace(graph);
    Tensor images = graph->add_input(ws::InputKind::kBatch, "images", {ws::DType::u8, {kBatch, 1, 28, 28}});
    Tensor labels = graph->add_input(ws::InputKind::kBatch, "labels", {ws::DType::i32, {kBatch}});
    graph->add_output("loss", run.step(images, labels));
  }
  ws::Plan plan = ws::make_plan(graph);
  std::printf("compiled: %zu ops became %zu kernels; %lld bytes for batch and activations\n",
              graph->nodes.size(), plan.schedule.size(), static_cast<long long>(plan.memory.arena_bytes()));
  ws::CompiledStep step(std::move(plan));
  return for_each_batch([&](const Data& batch) {
    step.write("images", batch.images);
    step.write("labels", batch.labels);
    step.run();
    return step.output("loss").item<float>();
  });
}

bool same_bits(Run& a, Run& b) {
  std::vector<Tensor> x = a.model.parameters(), y = b.model.parameters();
  return std::ranges::equal(
      x, y, [](const Tensor& s, const Tensor& t) { return std::ranges::equal(s.bytes(), t.bytes()); });
}

int main() {
  Run eager, compiled;
  float eager_loss = train_eagerly(eager), compiled_loss = train_compiled(compiled);
  std::printf("loss after %d steps: %.6f eagerly, %.6f compiled\n", kSteps, static_cast<double>(eager_loss),
              static_cast<double>(compiled_loss));
  bool same = same_bits(eager, compiled) && eager_loss == compiled_loss;
  std::printf("parameters: %s\n", same ? "the same bits" : "different");
  return same ? 0 : 1;
}
