#include "support/cuda_plan.h"

#include <nlohmann/json.hpp>

#include "wholestep/backend/cuda/library.h"
#include "wholestep/graph/grad.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/loss.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/ops/random.h"
#include "wholestep/ops/shape.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/sgd.h"
#include "wholestep/train/train_step.h"

namespace wholestep::test {

Plan cuda_train_plan(const std::string& network, int64_t batch, DType dtype) {
  nn::Model model = nn::find_model(network);
  model.module->initialize(0);
  model.module->to(dtype);
  optim::Adam adam;
  adam.attach(model.module->parameters());
  nn::CrossEntropyLoss loss;
  size_t channels = model.input.rank() == 3 ? static_cast<size_t>(model.input[0]) : 1;
  TrainStep step(*model.module, loss, adam, model.input,
                 {.normalization = {std::vector<float>(channels, 0.0f), std::vector<float>(channels, 1.0f)},
                  .compile = {.backend = &cuda_planner()}});
  return step.make_train_plan(batch);
}

Plan cuda_recurrent_plan(int64_t batch) {
  constexpr int64_t kTokens = 16;
  const auto spec = nlohmann::json::parse(R"({"input": [16], "classes": 65, "tokens": true, "layers": [
      {"type": "Embedding", "num_embeddings": 65, "embedding_dim": 12}, {"type": "Dropout"},
      {"type": "LSTM", "input_size": 12, "hidden_size": 20, "num_layers": 2, "batch_first": true},
      {"type": "Dropout", "p": 0.1}, {"type": "Linear", "in_features": 20, "out_features": 65}]})");
  nn::Model model = nn::read_model(spec, "model");
  model.module->initialize(3);
  optim::SGD sgd({.lr = 1});
  sgd.attach(model.module->parameters());
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  const Tensor tokens = graph->add_input(InputKind::kBatch, "x", {DType::i32, {batch, kTokens}}),
               next = graph->add_input(InputKind::kBatch, "labels", {DType::i32, {batch * kTokens}});
  RandomState random(1);
  UseRandom use(random);
  const Tensor logits = (*model.module)(tokens);
  const Tensor loss = nn::CrossEntropyLoss()(reshape(logits, {-1, logits.dim(-1)}), next);
  sgd.step(grad(loss, sgd.parameters()));
  graph->add_output("loss", loss);
  return make_plan(graph, {.backend = &cuda_planner()});
}

}  // namespace wholestep::test
