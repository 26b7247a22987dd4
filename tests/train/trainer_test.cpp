// The training loop against its promises, on small sets of the built-in digits.
#include <gtest/gtest.h>

#include "support/temp_dir.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/data/digits.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/sgd.h"
#include "wholestep/train/checkpoint.h"
#include "wholestep/train/trainer.h"

namespace wholestep {
namespace {

using test::TempDir;

nn::Sequential perceptron() {
  return nn::Sequential(nn::Flatten(), nn::Linear({.in_features = 784, .out_features = 64}), nn::ReLU(),
                        nn::Linear({.in_features = 64, .out_features = 10}));
}

DataSplits digits(int64_t train = 1000, int64_t test = 300) {
  return make_digits({.train = train, .test = test});
}

struct Trained {
  FitResult result;
  std::vector<float> parameters;
};

Trained run(TrainerConfig config, const DataSplits& data, const std::filesystem::path& resume = {}) {
  nn::Sequential model = perceptron();
  model.initialize(config.seed);
  optim::Adam adam({.lr = 1e-3});
  adam.attach(model.parameters());
  nn::CrossEntropyLoss loss;
  Trained out{Trainer(config).fit(model, adam, loss, data, resume), {}};
  for (const Tensor& p : model.parameters())
    out.parameters.insert(out.parameters.end(), p.data<float>().begin(), p.data<float>().end());
  return out;
}

TEST(Trainer, LearnsAndCountsEverySample) {
  Trained r = run({.max_epochs = 4}, digits());
  ASSERT_EQ(r.result.history.size(), 4u);
  EXPECT_EQ(r.result.steps, 4 * 16);  // 1000 samples in batches of 64: the last has 40
  EXPECT_LT(r.result.history.back().train_loss, 0.7 * r.result.history.front().train_loss);
  EXPECT_GT(*r.result.history.back().val_accuracy, 0.6);
}

TEST(Trainer, T77TrainsOnEverySampleOfTheLastPartialBatch) {
  // One epoch over 70 samples sees 70 samples, whatever the batch size.
  for (int64_t batch : {7, 16, 64, 70, 100}) {
    nn::Sequential model = perceptron();
    model.initialize(0);
    optim::SGD sgd({.lr = 0.01});
    sgd.attach(model.parameters());
    struct Seen : Callback {
      void on_batch_end(const BatchEnd&, const TrainStep& step) override { seen = step.train_metrics().seen; }
      int64_t seen = 0;
    };
    auto callback = std::make_shared<Seen>();
    Trainer trainer({.max_epochs = 1, .batch_size = batch});
    trainer.add_callback(callback);
    trainer.fit(model, sgd, nn::CrossEntropyLoss(), digits(70, 10));
    EXPECT_EQ(callback->seen, 70) << batch;
  }
}

TEST(Trainer, GivesTheSameBitsResidentOrStreamedWithAnyWorkersAndThreads) {
  DataSplits data = digits(300, 50);
  std::vector<float> expected = run({.max_epochs = 2}, data).parameters;
  for (int workers : {0, 1, 4})
    EXPECT_EQ(run({.max_epochs = 2, .num_workers = workers, .resident = false}, data).parameters, expected)
        << workers;
  for (int threads : {1, 3}) {
    set_threads(threads);
    EXPECT_EQ(run({.max_epochs = 2}, data).parameters, expected) << threads;
  }
  set_threads(2);
}

TEST(Trainer, T49ResumesBitForBitAlsoInTheMiddleOfAnEpoch) {
  TempDir folder;
  DataSplits data = digits(300, 50);
  std::vector<float> expected = run({.max_epochs = 3}, data).parameters;
  for (bool resident : {true, false}) {
    struct StopAt : Callback {
      void on_batch_end(const BatchEnd& end, const TrainStep&) override {
        if (end.step == 7) Trainer::request_stop();
      }
    };
    TrainerConfig config{.max_epochs = 3, .resident = resident, .run_folder = folder.path()};
    nn::Sequential model = perceptron();
    model.initialize(0);
    optim::Adam adam({.lr = 1e-3});
    adam.attach(model.parameters());
    Trainer trainer(config);
    trainer.add_callback(std::make_shared<StopAt>());
    FitResult stopped = trainer.fit(model, adam, nn::CrossEntropyLoss(), data);
    Trainer::clear_stop_request();
    EXPECT_EQ(stopped.reason, StopReason::kInterrupted);
    EXPECT_EQ(stopped.steps, 7);
    Trained resumed = run(config, data, stopped.checkpoint);
    EXPECT_EQ(resumed.parameters, expected);
    EXPECT_EQ(resumed.result.history.size(), 3u);
  }
}

TEST(Trainer, PredictsItsMemoryToTheByte) {
  FitResult r = run({.max_epochs = 1}, digits(200, 50)).result;
  EXPECT_GT(r.predicted_bytes, 0);
  EXPECT_EQ(r.predicted_bytes, r.used_bytes);
}

TEST(Trainer, RefusesABudgetOneByteTooSmallNamingTheLargestBatch) {
  nn::Sequential model = perceptron();
  model.initialize(0);
  optim::Adam adam({.lr = 1e-3});
  adam.attach(model.parameters());
  nn::CrossEntropyLoss loss;
  Normalization n{{0.5f}, {0.5f}};
  int64_t needed = TrainStep(model, loss, adam, {1, 28, 28}, {.normalization = n}).bytes_for(64, 64);
  TrainerConfig config{.eval_batch_size = 64, .memory_budget_bytes = needed};
  EXPECT_NO_THROW(Trainer(config).check_memory(model, adam, loss, {1, 28, 28}));
  config.memory_budget_bytes = needed - 1;
  try {
    Trainer(config).check_memory(model, adam, loss, {1, 28, 28});
    FAIL() << "the budget was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kPlanRefused);
    EXPECT_NE(std::string(error.what()).find("the largest batch that fits is 63"), std::string::npos)
        << error.what();
  }
}

TEST(Trainer, AsksForMemoryBeforeAScheduleKnowsTheRun) {
  nn::Sequential model = perceptron();
  optim::Adam adam({.lr = 1e-3});
  adam.set_schedule(std::make_shared<optim::Cosine>());
  adam.attach(model.parameters());
  nn::CrossEntropyLoss loss;
  Trainer trainer({.max_epochs = 1, .batch_size = 50});
  EXPECT_NO_THROW(trainer.check_memory(model, adam, loss, {1, 28, 28}));
  FitResult r = trainer.fit(model, adam, loss, digits(200, 50));
  EXPECT_NEAR(r.history[0].learning_rate, 0, 1e-12);  // four steps of four: the cosine has arrived
}

TEST(Trainer, StopsAtANonFiniteStepNamesItsOpAndChangesNothing) {
  nn::Sequential model = perceptron();
  model.initialize(0);
  optim::SGD sgd({.lr = 1e38});
  sgd.attach(model.parameters());
  FitResult r = Trainer({.max_epochs = 2}).fit(model, sgd, nn::CrossEntropyLoss(), digits(300, 50));
  EXPECT_EQ(r.reason, StopReason::kNonFinite);
  EXPECT_NE(r.non_finite.find("layers."), std::string::npos) << r.non_finite;
  for (const Tensor& p : model.parameters())
    for (float x : p.data<float>()) ASSERT_TRUE(std::isfinite(x));
}

TEST(Checkpoint, DetectsEveryFlippedByteAndMissingTensor) {
  TempDir folder;
  FitResult r = run({.max_epochs = 1, .run_folder = folder.path()}, digits(100, 20)).result;
  ASSERT_NO_THROW(verify_checkpoint(r.checkpoint));
  for (const char* name :
       {"model.safetensors", "optimizer.safetensors", "trainer_state.json", "config.json"}) {
    std::string good = test::read_file(r.checkpoint / name);
    for (size_t at : {size_t{0}, good.size() / 2, good.size() - 1}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 4);
      test::write_file(r.checkpoint / name, bad);
      EXPECT_THROW(verify_checkpoint(r.checkpoint), Error) << name << " at " << at;
    }
    test::write_file(r.checkpoint / name, good);
  }
  Tensor stranger = zeros({DType::f32, {3}}).set_role(TensorRole::kParameter, "nobody");
  std::vector<Tensor> wanted = {stranger};
  EXPECT_THROW(load_tensors(r.checkpoint / "model.safetensors", wanted), Error);
}

}  // namespace
}  // namespace wholestep
