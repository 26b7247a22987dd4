// Training where the host cannot touch the device's memory: a device that runs the CPU's kernels gives the
// CPU's bits, and the bytes copied are the batch and a few scalars.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/expect_error.h"
#include "support/foreign_backend.h"
#include "support/temp_dir.h"
#include "wholestep/data/digits.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/sgd.h"
#include "wholestep/train/checkpoint.h"
#include "wholestep/train/trained_model.h"
#include "wholestep/train/trainer.h"

namespace wholestep {
namespace {

using test::expect_error;
using test::foreign_backend;

constexpr int64_t kBatch = 16;
const Normalization kNormalization = {{0.1f}, {0.3f}};

std::vector<std::byte> bits_of(std::span<const Tensor> tensors) {
  std::vector<std::byte> bits;
  for (const Tensor& t : tensors) {
    Tensor host = t.to_host();
    bits.insert(bits.end(), host.bytes().begin(), host.bytes().end());
  }
  return bits;
}

struct Samples {
  std::vector<uint8_t> pixels = std::vector<uint8_t>(kBatch * 784);
  std::vector<int32_t> labels;
  Samples() {
    for (int64_t i = 0; i < kBatch; ++i)
      labels.push_back(
          draw_digit(1, DigitsPart::kTrain, i, std::span(pixels).subspan(static_cast<size_t>(i) * 784, 784)));
  }
};

/// A network with Adam and dropout, its step on a backend.
struct Net {
  nn::Model model = nn::find_model("simple-cnn");
  optim::Adam adam{{.lr = 1e-3}};
  nn::CrossEntropyLoss loss;
  TrainStep step;

  explicit Net(Backend& backend, const Dataset* resident = nullptr)
      : step((model.module->initialize(7), adam.attach(model.module->parameters()), *model.module), loss,
             adam, model.input,
             {.normalization = kNormalization, .clip_norm = 1, .seed = 3, .compile = {.backend = &backend}}) {
    if (resident) step.keep_resident(*resident, resident);
    step.prepare({kBatch}, {kBatch});
  }
  std::vector<std::byte> bits() const {
    std::vector<Tensor> all = step.model_tensors();
    for (const Tensor& t : step.state_tensors()) all.push_back(t);
    return bits_of(all);
  }
};

TEST(ForeignDevice, ItsTensorsAreCopiedAndNeverTouched) {
  Tensor t = tensor<float>({1, 2, 3}, {3}), one = scalar(5, DType::i64);
  t.set_role(TensorRole::kState, "numbers");
  auto memory = pack(foreign_backend(), std::vector<Tensor>{t, one});
  expect_error(ErrorCode::kUsage, {"the host cannot touch this tensor", "numbers", "f32[3]", "clone()"},
               [&] { t.bytes(); });
  expect_error(ErrorCode::kUsage, {"the host cannot touch this tensor"}, [&] { t.data<float>(); });
  EXPECT_EQ(one.item<int64_t>(), 5);
  EXPECT_EQ(t.clone().data<float>()[2], 3);
  t.assign(tensor<float>({4, 5, 6}, {3}));
  EXPECT_EQ(t.to_host().data<float>()[0], 4);
  EXPECT_EQ((t + t).to_host().data<float>()[1], 10);
  std::vector<std::byte> two(2);
  expect_error(ErrorCode::kUsage, {"a whole tensor is read or written at once", "2 bytes", "12 for f32[3]"},
               [&] { t.read(two); });
  pack(cpu_backend(), std::vector<Tensor>{t});  // and back
  EXPECT_EQ(t.data<float>()[2], 6);
}

TEST(ForeignDevice, AStepGivesTheBitsOfTheCpuAndCopiesTheBatch) {
  Samples batch;
  Net cpu(cpu_backend()), foreign(foreign_backend());
  EXPECT_EQ(foreign.step.predicted_bytes(), foreign.step.used_bytes());
  for (int i = 0; i < 3; ++i) {
    BackendCounters before = foreign_backend().counters();
    foreign.step.poison_arena();
    int64_t poison = foreign_backend().counters().copied_in_bytes;
    cpu.step.train(batch.pixels, batch.labels);
    foreign.step.train(batch.pixels, batch.labels);
    BackendCounters after = foreign_backend().counters();
    EXPECT_EQ(after.copied_in_bytes - poison, kBatch * (784 + 4));
    EXPECT_EQ(after.copied_out_bytes, before.copied_out_bytes);
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_EQ(foreign.step.last_loss(), cpu.step.last_loss());
    EXPECT_EQ(foreign_backend().counters().copied_out_bytes - after.copied_out_bytes, 4);
  }
  int64_t before = foreign_backend().counters().copied_out_bytes;
  EXPECT_EQ(foreign.step.train_metrics().loss_sum, cpu.step.train_metrics().loss_sum);
  EXPECT_EQ(foreign_backend().counters().copied_out_bytes - before, 4 * 64);  // all metrics in one copy
  EXPECT_EQ(foreign.bits(), cpu.bits());
  foreign.adam.set_learning_rate(0.5);
  cpu.adam.set_learning_rate(0.5);
  foreign.step.reset_train_metrics();
  cpu.step.reset_train_metrics();
  for (Net* net : {&cpu, &foreign}) {
    net->step.train(batch.pixels, batch.labels);
    net->step.evaluate(batch.pixels, batch.labels);
    EXPECT_EQ(net->step.train_metrics().seen, kBatch);
    EXPECT_EQ(net->step.eval_metrics().seen, kBatch);
  }
  EXPECT_EQ(foreign.bits(), cpu.bits());
  Predictions a = cpu.step.predictions(), b = foreign.step.predictions();
  EXPECT_TRUE(std::ranges::equal(a.classes, b.classes));
  EXPECT_TRUE(std::ranges::equal(a.probabilities, b.probabilities));
  EXPECT_TRUE(std::ranges::equal(a.losses, b.losses));
  const void* place = b.classes.data();
  foreign.step.evaluate(batch.pixels, batch.labels);
  EXPECT_EQ(foreign.step.predictions().classes.data(), place);  // one buffer, allocated once
}

TEST(ForeignDevice, ResidentStepsCopyNothingAndLieThereToTheByte) {
  DataSplits data = make_digits({.train = 4 * kBatch, .test = 1});
  std::vector<int64_t> order;
  for (int64_t i = 0; i < data.train->size(); ++i) order.push_back(data.train->size() - 1 - i);
  Net cpu(cpu_backend(), data.train.get()), foreign(foreign_backend(), data.train.get());
  EXPECT_EQ(foreign.step.predicted_bytes(), foreign.step.used_bytes());
  EXPECT_EQ(foreign.step.predicted_bytes(), cpu.step.predicted_bytes());
  foreign.step.set_order(order, kBatch);
  cpu.step.set_order(order, kBatch);
  BackendCounters before = foreign_backend().counters();
  foreign.step.train_resident(kBatch, 7);  // wraps at the end of the samples
  foreign.step.start_resident_evaluation();
  foreign.step.evaluate_resident(kBatch, 2);
  BackendCounters after = foreign_backend().counters();
  EXPECT_EQ(after.submissions - before.submissions, 1 + 3 + 2);  // four steps at once, the rest alone
  EXPECT_EQ(after.copied_in_bytes - before.copied_in_bytes, 8);  // the position of the evaluation
  EXPECT_EQ(after.copied_out_bytes, before.copied_out_bytes);
  for (int i = 0; i < 4; ++i) cpu.step.train_resident(kBatch);
  cpu.step.train_resident(kBatch, 3);
  cpu.step.start_resident_evaluation();
  for (int i = 0; i < 2; ++i) cpu.step.evaluate_resident(kBatch);
  EXPECT_EQ(foreign.bits(), cpu.bits());
  EXPECT_EQ(foreign.step.eval_metrics().loss_sum, cpu.step.eval_metrics().loss_sum);
  EXPECT_EQ(foreign.step.eval_metrics().seen, 2 * kBatch);
}

TEST(ForeignDevice, ABadStepIsNamedAndAFiniteOneIsNotReplayed) {
  Samples batch;
  Net net(foreign_backend());
  net.step.train(batch.pixels, batch.labels);
  auto before = net.bits();
  EXPECT_EQ(net.step.first_non_finite(), "");
  EXPECT_EQ(net.bits(), before);
  batch.labels[3] = 10;  // out of range: its loss is NaN
  net.step.train(batch.pixels, batch.labels);
  EXPECT_EQ(net.step.train_metrics().skipped_steps, 1);
  EXPECT_NE(net.step.first_non_finite().find("cross_entropy"), std::string::npos);
  EXPECT_EQ(net.step.train_metrics().skipped_steps, 1);
}

struct Trained {
  FitResult result;
  std::vector<std::byte> bits;
};

struct StopAt : Callback {
  explicit StopAt(int64_t at) : step(at) {}
  void on_batch_end(const BatchEnd& end, const TrainStep&) override {
    if (end.step >= step) Trainer::request_stop();
  }
  int64_t step;
};

Trained fit(TrainerConfig config, const DataSplits& data, int64_t stop_at = 0,
            const std::filesystem::path& resume = {}) {
  nn::Model model = nn::find_model("mlp");
  model.module->initialize(0);
  optim::Adam adam({.lr = 1e-3});
  adam.attach(model.module->parameters());
  config.description = describe_model(model);
  Trainer trainer(config);
  if (stop_at) trainer.add_callback(std::make_shared<StopAt>(stop_at));
  Trained trained{trainer.fit(*model.module, adam, nn::CrossEntropyLoss(), data, resume), {}};
  Trainer::clear_stop_request();
  trained.bits = bits_of(model.module->parameters());
  return trained;
}

void expect_equal(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.bits, b.bits);
  ASSERT_EQ(a.result.history.size(), b.result.history.size());
  for (size_t i = 0; i < a.result.history.size(); ++i) {
    EXPECT_EQ(a.result.history[i].train_loss, b.result.history[i].train_loss);
    EXPECT_EQ(*a.result.history[i].val_loss, *b.result.history[i].val_loss);
    EXPECT_EQ(*a.result.history[i].val_accuracy, *b.result.history[i].val_accuracy);
    EXPECT_EQ(a.result.history[i].learning_rate, b.result.history[i].learning_rate);
  }
}

TEST(ForeignDevice, FitGivesTheBitsOfTheCpuResidentAndStreamed) {
  DataSplits data = make_digits({.train = 150, .test = 40});
  for (bool resident : {true, false}) {
    TrainerConfig config{.max_epochs = 2, .batch_size = 32, .eval_batch_size = 16, .resident = resident};
    Trained cpu = fit(config, data);
    config.backend = &foreign_backend();
    Trained foreign = fit(config, data);
    expect_equal(foreign, cpu);
    EXPECT_EQ(foreign.result.predicted_bytes, foreign.result.used_bytes);
  }
}

TEST(ForeignDevice, SubmitsSeveralStepsButNoneBeyondACheckpointOrAnEpoch) {
  DataSplits data = make_digits({.train = 150, .test = 40});
  struct Steps : Callback {
    void on_batch_end(const BatchEnd& end, const TrainStep&) override { ends.push_back(end.step); }
    std::vector<int64_t> ends;
  };
  auto ends = [&](int64_t checkpoint_every, bool resident) {
    nn::Model model = nn::find_model("mlp");
    auto steps = std::make_shared<Steps>();
    Trainer trainer({.max_epochs = 2,
                     .batch_size = 16,
                     .checkpoint_every_steps = checkpoint_every,
                     .resident = resident,
                     .backend = &foreign_backend()});
    trainer.add_callback(steps);
    trainer.fit(*model.module, optim::SGD({.lr = 0.1}), nn::CrossEntropyLoss(), data);
    return steps->ends;
  };
  // Ten steps an epoch, the tenth of six samples.
  EXPECT_EQ(ends(0, true), (std::vector<int64_t>{4, 8, 9, 10, 14, 18, 19, 20}));
  EXPECT_EQ(ends(7, true), (std::vector<int64_t>{4, 7, 9, 10, 14, 18, 19, 20}));
  EXPECT_EQ(ends(0, false).size(), 20u);
}

TEST(ForeignDevice, StreamedBatchesComeUpWhileNobodyWaits) {
  DataSplits data = make_digits({.train = 160, .test = 0});
  std::vector<std::string> calls, epoch;
  struct Listen : Callback {
    explicit Listen(std::vector<std::string>& to) : calls(to) {}
    void on_epoch_begin(int64_t) override { foreign_backend().calls = &calls; }
    void on_epoch_end(const EpochResult&) override { foreign_backend().calls = nullptr; }
    std::vector<std::string>& calls;
  };
  nn::Model model = nn::find_model("mlp");
  Trainer trainer({.max_epochs = 1, .batch_size = 16, .resident = false, .backend = &foreign_backend()});
  trainer.add_callback(std::make_shared<Listen>(calls));
  trainer.fit(*model.module, optim::SGD({.lr = 0.1}), nn::CrossEntropyLoss(), data);
  auto first = std::ranges::find(calls, "feed"), last = std::find(calls.rbegin(), calls.rend(), "run").base();
  for (int i = 0; i < 10; ++i) epoch.insert(epoch.end(), {"feed", "run"});
  EXPECT_EQ(std::vector(first, last), epoch);
  ASSERT_NE(last, calls.end());
  EXPECT_EQ(*last, "copy out");  // the counters, at the end of the epoch
}

TEST(ForeignDevice, ResumesFromACheckpointOfEitherDevice) {
  DataSplits data = make_digits({.train = 150, .test = 40});
  TrainerConfig config{.max_epochs = 2, .batch_size = 32};
  Trained whole = fit(config, data);
  for (bool from_foreign : {true, false}) {
    test::TempDir folder;
    config.run_folder = folder.path();
    config.backend = from_foreign ? &foreign_backend() : &cpu_backend();
    Trained stopped = fit(config, data, 7);
    EXPECT_EQ(stopped.result.reason, StopReason::kInterrupted);
    config.backend = from_foreign ? &cpu_backend() : &foreign_backend();
    expect_equal(fit(config, data, 0, stopped.result.checkpoint), whole);
  }
}

TEST(ForeignDevice, EvaluatesATrainedModelAndMovesItBack) {
  test::TempDir folder;
  DataSplits data = make_digits({.train = 150, .test = 40});
  TrainerConfig config{.max_epochs = 1, .backend = &foreign_backend(), .run_folder = folder.path()};
  Trained trained = fit(config, data);
  TrainedModel loaded = load_trained_model(trained.result.checkpoint);
  nn::CrossEntropyLoss loss;
  auto evaluated = [&](Backend& backend) {
    return evaluate(*loaded.model.module, loss, *data.test, loaded.normalization, 16, {.backend = &backend});
  };
  Evaluation foreign = evaluated(foreign_backend());
  expect_error(ErrorCode::kUsage, {"the host cannot touch this tensor"},
               [&] { loaded.model.module->parameters()[0].bytes(); });
  load_parameters(*loaded.model.module, trained.result.checkpoint);  // also where it lies on the device
  Evaluation cpu = evaluated(cpu_backend());
  EXPECT_EQ(foreign.loss, cpu.loss);
  EXPECT_EQ(foreign.accuracy, cpu.accuracy);
  EXPECT_EQ(foreign.confusion, cpu.confusion);
  EXPECT_EQ(cpu.loss, *trained.result.history.back().val_loss);
  EXPECT_EQ(bits_of(loaded.model.module->parameters()), trained.bits);
}

TEST(ForeignDevice, AStepWhoseParametersWereMovedAwayRefusesToRun) {
  Samples batch;
  Net net(foreign_backend());
  auto here = std::make_unique<Evaluator>(*net.model.module, nullptr, net.model.input, kNormalization,
                                          std::vector{kBatch}, CompileOptions{.backend = &foreign_backend()});
  net.step.train(batch.pixels, batch.labels);  // one device, one model: both go on
  here->run(batch.pixels, {}, kBatch);
  Evaluator elsewhere(*net.model.module, nullptr, net.model.input, kNormalization, {kBatch});
  elsewhere.run(batch.pixels, {}, kBatch);
  expect_error(ErrorCode::kUsage, {"a tensor of the step was moved", "layers.0.weight"},
               [&] { net.step.train(batch.pixels, batch.labels); });
  expect_error(ErrorCode::kUsage, {"a tensor of the step was moved"},
               [&] { here->run(batch.pixels, {}, kBatch); });
  here.reset();                          // it held the memory they were in
  net.step.prepare({kBatch}, {kBatch});  // takes them back
  net.step.train(batch.pixels, batch.labels);
  EXPECT_EQ(net.step.predicted_bytes(), net.step.used_bytes());
}

/// Samples whose label `bad` is out of range, read as they are needed.
class OneBadLabel final : public Dataset {
 public:
  OneBadLabel(std::shared_ptr<const Dataset> data, int64_t bad) : data_(std::move(data)), bad_(bad) {}
  int64_t size() const override { return data_->size(); }
  const Shape& sample_shape() const override { return data_->sample_shape(); }
  const std::vector<std::string>& class_names() const override { return data_->class_names(); }
  int32_t label(int64_t index) const override { return index == bad_ ? 10 : data_->label(index); }
  void read(int64_t index, std::span<uint8_t> out) const override { data_->read(index, out); }

 private:
  std::shared_ptr<const Dataset> data_;
  int64_t bad_;
};

TEST(ForeignDevice, ABadStepNoticedLateIsSaidToBeOneOfMany) {
  DataSplits data = make_digits({.train = 160, .test = 40});
  auto stopped = [&](Backend& backend, int64_t bad) {
    DataSplits spoilt = data;
    spoilt.train = std::make_shared<OneBadLabel>(data.train, bad);
    return fit({.max_epochs = 1, .batch_size = 16, .shuffle = false, .backend = &backend}, spoilt).result;
  };
  FitResult at_once = stopped(cpu_backend(), 40), late = stopped(foreign_backend(), 40),
            last = stopped(foreign_backend(), 159);
  for (const FitResult* result : {&at_once, &late, &last}) EXPECT_EQ(result->reason, StopReason::kNonFinite);
  EXPECT_EQ(at_once.steps, 3);
  EXPECT_EQ(at_once.first_suspect, 3);
  EXPECT_NE(at_once.non_finite.find("cross_entropy"), std::string::npos);
  EXPECT_EQ(late.steps, 10);
  EXPECT_EQ(late.first_suspect, 1);
  EXPECT_EQ(late.non_finite, "noticed at step 10, which was finite itself");
  EXPECT_EQ(last.first_suspect, 10);
  EXPECT_NE(last.non_finite.find("cross_entropy"), std::string::npos);
}

}  // namespace
}  // namespace wholestep
