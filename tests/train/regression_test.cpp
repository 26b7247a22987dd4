// Training on numbers: the sums behind MAE, RMSE and R2, a known function found again, and the promises of
// the loop for f32 rows.
#include "wholestep/train/regression.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <numeric>

#include "support/expect_error.h"
#include "support/foreign_backend.h"
#include "support/temp_dir.h"
#include "wholestep/base/philox.h"
#include "wholestep/data/specs.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/element_losses.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/sgd.h"
#include "wholestep/train/checkpoint.h"
#include "wholestep/train/trained_model.h"
#include "wholestep/train/trainer.h"

namespace wholestep {
namespace {

using test::TempDir;

constexpr double kNoise = 0.5;
constexpr double kCoefficients[] = {3, -2, 0.25};

/// y = 3 a - 2 b + 0.25 c + 7 + noise; z = a - c without noise. Features of very different place and spread.
std::filesystem::path write_linear(const TempDir& dir, int rows) {
  std::filesystem::path path = dir / "linear.csv";
  std::ofstream file(path);
  file.precision(9);
  file << "a,b,c,y,z\n";
  PhiloxStream random(5, 0);
  auto normal = [&] {  // Box and Muller
    double u = static_cast<double>(random.uniform(1e-6f, 1.0f)),
           v = static_cast<double>(random.uniform(0.0f, 1.0f));
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v);
  };
  for (int i = 0; i < rows; ++i) {
    double a = normal(), b = 2000 + 0.5 * normal(), c = -10 + 8 * normal();
    double y = kCoefficients[0] * a + kCoefficients[1] * b + kCoefficients[2] * c + 7 + kNoise * normal();
    file << a << ',' << b << ',' << c << ',' << y + 4000 << ',' << a - c << '\n';
  }
  return path;
}

struct Fitted {
  nn::Sequential model;
  FitResult result;
  DataSplits data;
  std::vector<float> parameters;
};

Fitted fit(const std::string& spec, nn::Sequential model, optim::Optimizer&& optimizer, TrainerConfig config,
           const std::filesystem::path& resume = {}) {
  model.initialize(1);
  Fitted run{std::move(model), {}, open_data(spec), {}};
  run.result = Trainer(config).fit(run.model, optimizer, nn::MSELoss(), run.data, resume);
  for (const Tensor& p : run.model.parameters()) {
    Tensor host = p.to_host();
    run.parameters.insert(run.parameters.end(), host.data<float>().begin(), host.data<float>().end());
  }
  return run;
}

nn::Sequential perceptron(int64_t targets) {
  return nn::Sequential(nn::Linear({.in_features = 3, .out_features = 8}), nn::Tanh(),
                        nn::Linear({.in_features = 8, .out_features = targets}));
}

TEST(Regression, FollowsFromSumsOverAnyBatches) {
  const std::vector<double> y = {1, 4, 2, 8, 5, 7, 3, 6}, t = {2, 3, 2, 9, 7, 5, 1, 6};  // [4, 2]
  double absolute = 0, squares = 0, r2 = 0;
  for (size_t k = 0; k < 2; ++k) {
    double mean = 0, residual = 0, spread = 0;
    for (size_t i = 0; i < 4; ++i) mean += t[2 * i + k] / 4;
    for (size_t i = 0; i < 4; ++i) {
      double d = y[2 * i + k] - t[2 * i + k], m = t[2 * i + k] - mean;
      absolute += std::abs(d) / 8, squares += d * d / 8, residual += d * d, spread += m * m;
    }
    r2 += (1 - residual / spread) / 2;
  }
  Tensor outputs = tensor(y, {4, 2}), targets = tensor(t, {4, 2});
  Tensor whole = regression_sums(outputs, targets);
  EXPECT_EQ(whole.type(), TensorType(DType::f64, {4, 2}));
  Regression r = *regression_of(whole.data<double>(), 4);
  EXPECT_NEAR(r.mae, absolute, 1e-12);
  EXPECT_NEAR(r.mse, squares, 1e-12);
  EXPECT_NEAR(r.rmse(), std::sqrt(squares), 1e-12);
  EXPECT_NEAR(*r.r2, r2, 1e-12);
  EXPECT_EQ(*regression_of(regression_sums(targets, targets).data<double>(), 4)->r2, 1);
}

TEST(Regression, WhatCannotBeComputedIsAbsent) {
  EXPECT_FALSE(regression_of(std::vector<double>(4), 0).has_value());
  Tensor constant = full({5, 1}, 0.1, DType::f64), y = tensor(std::vector<double>{0, 1, 2, 3, 4}, {5, 1});
  Regression r = *regression_of(regression_sums(y, constant).data<double>(), 5);
  EXPECT_FALSE(r.r2.has_value());
  EXPECT_GT(r.mae, 0);
}

/// Weights of the standardised features and intercept, for the target in its own units, by the normal
/// equations in f64.
std::vector<double> least_squares(const Dataset& data, const Normalization& n) {
  constexpr size_t kSize = 4;
  std::vector<std::vector<double>> a(kSize, std::vector<double>(kSize + 1));
  std::vector<float> row(kSize - 1);
  for (int64_t i = 0; i < data.size(); ++i) {
    data.read(i, {reinterpret_cast<uint8_t*>(row.data()), row.size() * sizeof(float)});
    std::vector<double> x;
    for (size_t j = 0; j + 1 < kSize; ++j)
      x.push_back((static_cast<double>(row[j]) - static_cast<double>(n.mean[j])) /
                  static_cast<double>(n.std[j]));
    x.push_back(1);
    x.push_back(static_cast<double>(data.targets(i)[0]));
    for (size_t j = 0; j < kSize; ++j)
      for (size_t k = 0; k <= kSize; ++k) a[j][k] += x[j] * x[k];
  }
  for (size_t j = 0; j < kSize; ++j)  // Gauss and Jordan
    for (size_t i = 0; i < kSize; ++i) {
      if (i == j) continue;
      double factor = a[i][j] / a[j][j];
      for (size_t k = 0; k <= kSize; ++k) a[i][k] -= factor * a[j][k];
    }
  std::vector<double> solution;
  for (size_t j = 0; j < kSize; ++j) solution.push_back(a[j][kSize] / a[j][j]);
  return solution;
}

TEST(RegressionTraining, FindsALinearFunctionAgain) {
  TempDir dir;
  std::string spec = "csv:" + write_linear(dir, 2000).string() + ":target=y,ignore=z";
  Fitted fitted = fit(spec, nn::Sequential(nn::Linear({.in_features = 3, .out_features = 1})),
                      optim::SGD({.lr = 0.3}), {.max_epochs = 60, .batch_size = 1600});
  Normalization n = normalization_of(*fitted.data.train);
  std::vector<double> expected = least_squares(*fitted.data.train, n);
  double target_mean = static_cast<double>(n.target_mean[0]),
         target_std = static_cast<double>(n.target_std[0]);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(static_cast<double>(fitted.parameters[i]) * target_std + (i == 3 ? target_mean : 0),
                expected[i], 2e-3)
        << i;
  for (size_t i = 0; i < 3; ++i) {
    double std = static_cast<double>(n.std[i]),
           weight = static_cast<double>(fitted.parameters[i]) * target_std / std;
    // The spread of least squares over N samples is noise / (std sqrt(N)); four times that.
    EXPECT_NEAR(weight, kCoefficients[i], 4 * kNoise / std / std::sqrt(1600.0)) << i;
  }
  // var(y) = 9 + 1 + 4 + noise; what is left is the noise.
  const EpochResult& last = fitted.result.history.back();
  double r2 = 1 - kNoise * kNoise / (9 + 1 + 4 + kNoise * kNoise);
  EXPECT_NEAR(*last.val_regression->r2, r2, 0.006);
  EXPECT_NEAR(*last.train_regression->r2, r2, 0.003);
  EXPECT_NEAR(last.val_regression->rmse(), kNoise, 0.05);
  EXPECT_NEAR(last.val_regression->mae, kNoise * std::sqrt(2 / 3.14159265), 0.05);
  EXPECT_NEAR(*last.val_loss, last.val_regression->mse / (target_std * target_std), 1e-6);
  EXPECT_FALSE(last.train_accuracy.has_value());
  EXPECT_FALSE(last.val_accuracy.has_value());

  Evaluation evaluation = evaluate(fitted.model, nn::MSELoss(), *fitted.data.test, n, 64);
  EXPECT_NEAR(*evaluation.regression->r2, *last.val_regression->r2, 1e-6);
  EXPECT_NEAR(evaluation.loss, *last.val_loss, 1e-6);
  EXPECT_FALSE(evaluation.accuracy.has_value());
  EXPECT_TRUE(evaluation.confusion.empty());
  ASSERT_EQ(std::ssize(evaluation.numbers), fitted.data.test->size());
  double squares = 0;
  for (size_t i = 0; i < evaluation.numbers.size(); ++i) {
    EXPECT_EQ(evaluation.targets[i], fitted.data.test->targets(static_cast<int64_t>(i))[0]);
    squares += std::pow(static_cast<double>(evaluation.numbers[i] - evaluation.targets[i]), 2);
  }
  EXPECT_NEAR(squares / 400, evaluation.regression->mse, 1e-6);
}

TEST(RegressionTraining, TheUnitsOfTargetsChangeNothingElse) {
  TempDir dir;
  // The same numbers, and the same times 1024: a power of two, so that bits can be compared.
  std::ofstream small(dir / "small.csv"), large(dir / "large.csv");
  small << "a,y\n", large << "a,y\n";
  for (int i = 0; i < 100; ++i) {
    int y = (i * 37) % 101;
    small << i << ',' << y << '\n', large << i << ',' << 1024 * y << '\n';
  }
  small.close(), large.close();
  auto run = [&](const char* file) {
    return fit("csv:" + (dir / file).string() + ":target=y",
               nn::Sequential(nn::Linear({.in_features = 1, .out_features = 8}), nn::Tanh(),
                              nn::Linear({.in_features = 8, .out_features = 1})),
               optim::SGD({.lr = 0.1}), {.max_epochs = 3, .batch_size = 16});
  };
  Fitted a = run("small.csv"), b = run("large.csv");
  EXPECT_EQ(a.parameters, b.parameters);
  const EpochResult &last_a = a.result.history.back(), &last_b = b.result.history.back();
  EXPECT_EQ(last_a.train_loss, last_b.train_loss);
  EXPECT_NEAR(last_a.train_loss, 1, 0.3) << "the loss of the mean";
  EXPECT_EQ(*last_a.val_regression->r2, *last_b.val_regression->r2);
  EXPECT_EQ(1024 * last_a.val_regression->rmse(), last_b.val_regression->rmse());
}

TEST(RegressionTraining, AConstantTargetIsItsMean) {
  TempDir dir;
  std::ofstream(dir / "constant.csv") << "a,y\n1,7\n2,7\n3,7\n4,7\n5,7\n";
  Fitted run = fit("csv:" + (dir / "constant.csv").string() + ":target=y,test=0",
                   nn::Sequential(nn::Linear({.in_features = 1, .out_features = 1})), optim::SGD({.lr = 0.1}),
                   {.max_epochs = 50, .batch_size = 4});
  Evaluation e = evaluate(run.model, nn::MSELoss(), *run.data.train, normalization_of(*run.data.train));
  for (float y : e.numbers) EXPECT_NEAR(y, 7, 0.1);
}

TEST(RegressionTraining, GivesTheSameBitsResidentStreamedAndResumed) {
  TempDir dir;
  std::string spec = "csv:" + write_linear(dir, 300).string() + ":target=z+a";
  auto linear = [] { return nn::Sequential(nn::Linear({.in_features = 3, .out_features = 2})); };
  auto run = [&](TrainerConfig config, const std::filesystem::path& resume = {}) {
    return fit(spec, linear(), optim::Adam({.lr = 0.05}), config, resume);
  };
  TrainerConfig config{.max_epochs = 4, .batch_size = 32};
  Fitted whole = run(config);
  std::vector<float> expected = whole.parameters;
  config.resident = false;
  EXPECT_EQ(run(config).parameters, expected);
  config.num_workers = 2;
  Fitted streamed = run(config);
  EXPECT_EQ(streamed.parameters, expected);
  EXPECT_EQ(*streamed.result.history[3].val_regression->r2, *whole.result.history[3].val_regression->r2);

  TrainerConfig first{.max_epochs = 2, .batch_size = 32, .run_folder = dir / "run"};
  std::filesystem::create_directories(first.run_folder);
  run(first);
  TrainerConfig second{.max_epochs = 4, .batch_size = 32};
  Fitted resumed = run(second, dir / "run" / "checkpoints" / "last");
  EXPECT_EQ(resumed.parameters, expected);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(resumed.result.history[i].train_regression->mse, whole.result.history[i].train_regression->mse)
        << i;
}

TEST(RegressionTraining, ADeviceOfItsOwnMemoryGivesTheBitsOfTheCpu) {
  TempDir dir;
  std::string spec = "csv:" + write_linear(dir, 150).string() + ":target=y+z";
  static auto& foreign = *new test::ForeignBackend;  // caches of eager ops know devices for good
  for (bool resident : {true, false}) {
    auto run = [&](Backend& backend) {
      return fit(spec, perceptron(2), optim::Adam({.lr = 0.01}),
                 {.max_epochs = 2, .batch_size = 32, .resident = resident, .backend = &backend});
    };
    Fitted there = run(foreign), here = run(cpu_backend());
    for (size_t i = 0; i < 2; ++i) {
      const EpochResult &a = there.result.history[i], &b = here.result.history[i];
      EXPECT_EQ(a.train_loss, b.train_loss);
      EXPECT_EQ(a.train_regression->mae, b.train_regression->mae);
      EXPECT_EQ(*a.val_regression->r2, *b.val_regression->r2);
    }
    EXPECT_EQ(there.result.predicted_bytes, there.result.used_bytes);
  }
}

TEST(RegressionTraining, PiecesOfABatchAddUp) {
  TempDir dir;
  std::string spec = "csv:" + write_linear(dir, 300).string() + ":target=z,ignore=y";
  auto run = [&](int64_t batch, int64_t pieces) {
    return fit(spec, perceptron(1), optim::SGD({.lr = 0.01}),
               {.max_epochs = 2, .batch_size = batch, .accumulate_grad_batches = pieces});
  };
  Fitted whole = run(60, 1), pieces = run(15, 4);
  std::vector<float> a = whole.parameters, b = pieces.parameters;
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5f * (1 + std::abs(a[i])));
  EXPECT_NEAR(whole.result.history[1].train_regression->mse, pieces.result.history[1].train_regression->mse,
              1e-3);
}

TEST(RegressionTraining, ACheckpointKeepsColumnsMeansAndDeviations) {
  TempDir dir;
  std::string spec = "csv:" + write_linear(dir, 200).string() + ":target=y+z";
  nn::Model model{
      .name = "m", .input = {3}, .targets = 2, .module = std::make_unique<nn::Sequential>(perceptron(2))};
  model.module->initialize(0);
  DataSplits data = open_data(spec);
  TrainerConfig config{.max_epochs = 1, .description = describe_model(model), .run_folder = dir / "run"};
  std::filesystem::create_directories(config.run_folder);
  FitResult result = Trainer(config).fit(*model.module, optim::Adam({.lr = 1e-3}), nn::MSELoss(), data);
  TrainedModel trained = load_trained_model(result.checkpoint);
  EXPECT_EQ(trained.features, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(trained.targets, (std::vector<std::string>{"y", "z"}));
  EXPECT_EQ(trained.model.targets, 2);
  Normalization n = normalization_of(*data.train);
  EXPECT_EQ(trained.normalization.mean, n.mean);
  EXPECT_EQ(trained.normalization.std, n.std);
  EXPECT_EQ(trained.normalization.target_mean, n.target_mean);
  EXPECT_EQ(trained.normalization.target_std, n.target_std);
  ASSERT_EQ(n.target_mean.size(), 2u);
  double mean = 0, square = 0;  // of y, about 4000 and some
  for (int64_t i = 0; i < data.train->size(); ++i)
    mean += static_cast<double>(data.train->targets(i)[0]) / 160;
  for (int64_t i = 0; i < data.train->size(); ++i)
    square += std::pow(static_cast<double>(data.train->targets(i)[0]) - mean, 2) / 160;
  EXPECT_NEAR(static_cast<double>(n.target_mean[0]), mean, 1e-3);
  EXPECT_NEAR(static_cast<double>(n.target_std[0]), std::sqrt(square), 1e-5);

  std::vector<float> rows(2 * 3);
  std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(rows.data()), rows.size() * sizeof(float)};
  data.test->read(0, bytes.first(12));
  data.test->read(1, bytes.subspan(12));
  Evaluator evaluator(*trained.model.module, nullptr, trained.sample(), trained.normalization, {2});
  Predictions p = evaluator.run(bytes, {}, 2);
  EXPECT_TRUE(p.classes.empty());
  Tensor x = (tensor(rows, {2, 3}) - tensor(n.mean, {3})) * (1.0 / tensor(n.std, {3}));
  Tensor expected = (*trained.model.module)(x)*tensor(n.target_std, {2}) + tensor(n.target_mean, {2});
  ASSERT_EQ(p.numbers.size(), 4u);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(p.numbers[i], expected.data<float>()[i], 1e-5f * (1 + std::abs(p.numbers[i])));
}

TEST(RegressionTraining, ALossOfClassesIsRefused) {
  TempDir dir;
  DataSplits data = open_data("csv:" + write_linear(dir, 20).string() + ":target=y,ignore=z");
  nn::Sequential model(nn::Linear({.in_features = 3, .out_features = 1}));
  test::expect_error(ErrorCode::kBadConfig,
                     {"the targets are numbers, and the loss is one of classes", "got cross-entropy",
                      "expected mse, l1, smooth-l1 or huber"},
                     [&] { Trainer({}).fit(model, optim::SGD({.lr = 0.1}), nn::CrossEntropyLoss(), data); });
  test::expect_error(ErrorCode::kBadConfig, {"the loss is one of classes"}, [&] {
    evaluate(model, nn::CrossEntropyLoss(), *data.test, normalization_of(*data.train));
  });
  nn::Sequential wide(nn::Linear({.in_features = 3, .out_features = 2}));
  test::expect_error(ErrorCode::kUsage, {"output and target of one shape", "[16, 2]", "[16, 1]"},
                     [&] { Trainer({}).fit(wide, optim::SGD({.lr = 0.1}), nn::MSELoss(), data); });
}

}  // namespace
}  // namespace wholestep
