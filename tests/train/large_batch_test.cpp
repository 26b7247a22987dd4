// What a step may do beside the update: gradients of several batches, limits of their elements, averages of
// weights, a rate that follows the validation loss.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "train/net.h"
#include "wholestep/base/philox.h"
#include "wholestep/data/digits.h"
#include "wholestep/graph/grad.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/element_losses.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/clip.h"
#include "wholestep/optim/plateau.h"
#include "wholestep/optim/sgd.h"
#include "wholestep/train/checkpoint.h"
#include "wholestep/train/trained_model.h"
#include "wholestep/train/trainer.h"

namespace wholestep {
namespace {

using test::initialized;
using test::Net;

struct Samples {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  Samples(const nn::Model& model, uint64_t stream, int64_t rows) {
    PhiloxStream random(5, stream);
    for (int64_t i = 0; i < rows * model.input.numel(); ++i)
      pixels.push_back(static_cast<uint8_t>(random.below(256)));
    for (int64_t i = 0; i < rows; ++i)
      labels.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(model.classes))));
  }
};

std::vector<double> parameters_of(nn::Module& model) {
  std::vector<double> all;
  for (const Tensor& p : model.parameters()) {
    Tensor host = p.to_host();
    for (float v : host.data<float>()) all.push_back(static_cast<double>(v));
  }
  return all;
}

/// The largest distance, relative to the largest parameter.
double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0, scale = 0;
  for (size_t i = 0; i < a.size(); ++i)
    most = std::max(most, std::abs(a[i] - b[i])), scale = std::max(scale, std::abs(a[i]));
  return most / scale;
}

std::unique_ptr<optim::Optimizer> sgd(double lr) {
  return std::make_unique<optim::SGD>(optim::SGDConfig{.lr = lr, .momentum = 0.9});
}

TEST(LargeBatch, GradientsOfPiecesMakeTheStepOfTheWholeBatchWhateverTheReduction) {
  for (const char* model : {"mlp", "lenet"})
    for (const char* reduction : {"mean", "sum"}) {
      nn::CrossEntropyLoss loss({.label_smoothing = 0.1, .reduction = reduction});
      std::vector<std::vector<double>> ends;
      std::vector<Metrics> metrics;
      std::vector<double> losses;
      for (int64_t pieces : {1, 2, 4, 7}) {  // 22 is no multiple of the last two
        nn::Model net = initialized(model, 3);
        auto optimizer = sgd(std::string(reduction) == "sum" ? 0.002 : 0.05);
        optimizer->attach(net.module->parameters());
        TrainStep step(*net.module, loss, *optimizer, net.input,
                       {.normalization = test::normalization_of(net.input), .accumulate = pieces});
        step.prepare({22}, {22});
        for (uint64_t i = 0; i < 6; ++i) {
          Samples batch(net, i, 22);
          step.train(batch.pixels, batch.labels);
        }
        losses.push_back(step.last_loss());
        metrics.push_back(step.train_metrics());
        ends.push_back(parameters_of(*net.module));
      }
      for (size_t i = 1; i < ends.size(); ++i) {
        EXPECT_LT(distance(ends[0], ends[i]), 2e-5) << model << " " << reduction << " " << i;
        EXPECT_NEAR(losses[0], losses[i], 1e-4 * losses[0]) << model << " " << reduction;
        EXPECT_EQ(metrics[0].correct, metrics[i].correct);
        EXPECT_EQ(metrics[0].seen, metrics[i].seen);
        EXPECT_NEAR(metrics[0].loss(), metrics[i].loss(), 1e-4 * metrics[0].loss());
      }
      EXPECT_GT(distance(ends[0], parameters_of(*initialized(model, 3).module)), 1e-3);
    }
}

TEST(LargeBatch, WeightsOfClassesCountOverTheWholeBatchNotPieceByPiece) {
  std::vector<double> weight(10);
  for (size_t i = 0; i < 10; ++i) weight[i] = 1 + static_cast<double>(i * i);
  nn::CrossEntropyLoss loss({.weight = weight});
  std::vector<std::vector<double>> ends;
  for (int64_t pieces : {1, 4}) {
    nn::Model net = initialized("mlp", 3);
    auto optimizer = sgd(0.05);
    optimizer->attach(net.module->parameters());
    TrainStep step(*net.module, loss, *optimizer, net.input,
                   {.normalization = test::normalization_of(net.input), .accumulate = pieces});
    step.prepare({16}, {16});
    for (uint64_t i = 0; i < 4; ++i) {
      Samples batch(net, i, 16);
      step.train(batch.pixels, batch.labels);
    }
    ends.push_back(parameters_of(*net.module));
  }
  EXPECT_LT(distance(ends[0], ends[1]), 1e-5);
}

TEST(LargeBatch, PiecesShareTheMemoryOfOne) {
  auto activations = [](int64_t pieces, bool pixels) {
    Net net(initialized("lenet", 3), sgd(0.05), {},
            {.normalization = {}, .accumulate = pieces, .compile = {.pixels = pixels}});
    return static_cast<double>(net.step->make_train_plan(256).memory.activation_bytes);
  };
  EXPECT_LT(activations(8, false), 0.35 * activations(1, false));
  EXPECT_LT(activations(8, true), 0.36 * activations(1, true));
  EXPECT_LT(activations(8, true), activations(8, false));
}

struct Trained {
  FitResult result;
  std::vector<double> parameters;
};

Trained train(TrainerConfig config, std::shared_ptr<optim::Schedule> schedule = {},
              const std::filesystem::path& resume = {}) {
  nn::Model model = initialized("mlp", 1);
  optim::SGD optimizer({.lr = 0.05, .momentum = 0.9});
  if (schedule) optimizer.set_schedule(std::move(schedule));
  Trained run{Trainer(config).fit(*model.module, optimizer, nn::CrossEntropyLoss(),
                                  make_digits({.train = 300, .test = 100}), resume),
              {}};
  run.parameters = parameters_of(*model.module);
  return run;
}

TEST(LargeBatch, ATrainerThatAccumulatesTrainsAsOneWithLargerBatches) {
  Trained large = train({.max_epochs = 2, .batch_size = 64});
  for (bool resident : {true, false}) {
    Trained pieces =
        train({.max_epochs = 2, .batch_size = 16, .accumulate_grad_batches = 4, .resident = resident});
    EXPECT_EQ(pieces.result.steps, large.result.steps);
    EXPECT_LT(distance(large.parameters, pieces.parameters), 1e-4);
    EXPECT_NEAR(*pieces.result.history.back().val_loss, *large.result.history.back().val_loss, 1e-4);
  }
}

TEST(LargeBatch, ElementsOfGradientsAreLimitedInsideTheStep) {
  auto end = [](StepConfig config) {
    config.normalization = {};
    Net net(initialized("mlp", 3), std::make_unique<optim::SGD>(optim::SGDConfig{.lr = 1}), {8}, config);
    Samples batch(net.model, 0, 8);
    std::vector<double> before = parameters_of(*net.model.module);
    net.step->train(batch.pixels, batch.labels);
    std::vector<double> after = parameters_of(*net.model.module);
    for (size_t i = 0; i < after.size(); ++i) after[i] -= before[i];
    return after;
  };
  std::vector<double> free = end({.normalization = {}}),
                      limited = end({.normalization = {}, .clip_value = 1e-3});
  size_t at_limit = 0;
  for (size_t i = 0; i < free.size(); ++i) {
    EXPECT_NEAR(limited[i], std::clamp(free[i], -1e-3, 1e-3), 2e-7) << i;
    at_limit += std::abs(free[i]) > 1e-3;
  }
  EXPECT_GT(at_limit, 10u);
  // Both: elements first, then their norm.
  std::vector<double> both = end({.normalization = {}, .clip_norm = 1e-2, .clip_value = 1e-3});
  double norm = 0;
  for (double v : both) norm += v * v;
  EXPECT_NEAR(std::sqrt(norm), 1e-2, 1e-5);
}

TEST(LargeBatch, AveragesAreEvaluatedAndKeptInCheckpointsFromWhichARunGoesOnBitForBit) {
  test::TempDir folder;
  TrainerConfig config{.max_epochs = 3, .ema_decay = 0.9, .run_folder = folder / "whole"};
  Trained whole = train(config), plain = train({.max_epochs = 3});
  EXPECT_EQ(whole.parameters, plain.parameters);  // training itself does not see them
  EXPECT_NE(*whole.result.history.back().val_loss, *plain.result.history.back().val_loss);

  // The checkpoint holds the averages: its loss is that of the run's own validation.
  nn::Model model = initialized("mlp", 9);
  load_tensors(whole.result.checkpoint / "model.safetensors", [&] {
    std::vector<Tensor> tensors;
    for (auto& [name, t] : model.module->named_parameters()) tensors.push_back(t);
    return tensors;
  }());
  DataSplits data = make_digits({.train = 300, .test = 100});
  Evaluation found =
      evaluate(*model.module, nn::CrossEntropyLoss(), *data.test, normalization_of(*data.train));
  EXPECT_NEAR(found.loss, *whole.result.history.back().val_loss, 1e-6);

  config.run_folder = folder / "parts";
  config.max_epochs = 1;
  Trained first = train(config);
  config.max_epochs = 3;
  Trained rest = train(config, {}, first.result.checkpoint);
  EXPECT_EQ(rest.parameters, whole.parameters);
  EXPECT_EQ(*rest.result.history.back().val_loss, *whole.result.history.back().val_loss);
}

TEST(LargeBatch, TheRateFollowsTheValidationLossAlsoInAResumedRun) {
  auto plateau = [] {  // no loss is ever better by a factor of 10
    return std::make_shared<optim::ReduceOnPlateau>(
        optim::ReduceOnPlateauConfig{.factor = 0.5, .patience = 1, .threshold = 0.9});
  };
  test::TempDir folder;
  Trained whole = train({.max_epochs = 7}, plateau());
  std::vector<double> rates;
  for (const EpochResult& r : whole.result.history) rates.push_back(r.learning_rate / 0.05);
  EXPECT_EQ(rates, (std::vector<double>{1, 1, 1, 0.5, 0.5, 0.25, 0.25}));
  TrainerConfig config{.max_epochs = 2, .run_folder = folder.path()};
  Trained first = train(config, plateau());
  config.max_epochs = 7;
  EXPECT_EQ(train(config, plateau(), first.result.checkpoint).parameters, whole.parameters);
}

TEST(LargeBatch, T55OneLogitUnderBceLearnsTwoClassesWithProbabilitiesFrom0To1) {
  nn::Sequential model(nn::Linear({.in_features = 1, .out_features = 1}));
  model.initialize(0);
  optim::Adam adam({.lr = 0.1});
  adam.attach(model.parameters());
  nn::BCEWithLogitsLoss loss;
  TrainStep step(model, loss, adam, {1}, {.normalization = {{0.5F}, {0.25F}}});
  step.prepare({256}, {256});
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  for (int i = 0; i < 256; ++i) pixels.push_back(static_cast<uint8_t>(i)), labels.push_back(i >= 100);
  for (int i = 0; i < 1500; ++i) step.train(pixels, labels);
  step.reset_train_metrics();
  step.train(pixels, labels);
  EXPECT_EQ(step.train_metrics().correct, 256);
  step.evaluate(pixels, labels);
  EXPECT_EQ(step.eval_metrics().accuracy(), 1);
  Predictions p = step.predictions();
  ASSERT_EQ(p.probabilities.size(), 512u);
  EXPECT_LT(p.probabilities[1], 0.01F);
  EXPECT_GT(p.probabilities[511], 0.99F);
}

TEST(LargeBatch, ALossThatIsNoNumberIsRefused) {
  nn::Model model = initialized("mlp", 1);
  optim::SGD optimizer;
  optimizer.attach(model.module->parameters());
  nn::MSELoss loss({.reduction = "none"});
  test::expect_error(ErrorCode::kBadConfig,
                     {"a loss that is one number", "mse(reduction=\"none\")", "mean or sum"},
                     [&] { TrainStep(*model.module, loss, optimizer, model.input, {}); });
}

}  // namespace
}  // namespace wholestep
