// Initial values: their distributions, and what they do to activations.
#include "wholestep/nn/init.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "support/expect_error.h"
#include "support/small_models.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep {
namespace {

namespace init = nn::init;
using test::expect_error;

struct Moments {
  double mean = 0, std = 0, low = INFINITY, high = -INFINITY;
  explicit Moments(const Tensor& t) {
    double squares = 0;
    for (float v : t.data<float>()) {
      mean += static_cast<double>(v);
      squares += static_cast<double>(v) * static_cast<double>(v);
      low = std::min(low, static_cast<double>(v));
      high = std::max(high, static_cast<double>(v));
    }
    mean /= static_cast<double>(t.numel());
    std = std::sqrt(squares / static_cast<double>(t.numel()) - mean * mean);
  }
};

Tensor empty(const Shape& shape) { return zeros({DType::f32, shape}); }

TEST(Init, T6EveryWeightOfAFreshModelHasTheSpreadOfItsDefault) {
  for (const nn::ZooEntry& entry : nn::zoo()) {
    if (!test::is_small(entry.name)) continue;
    nn::Model model = nn::find_model(entry.name);
    auto owner = [](const std::string& name) { return name.substr(0, name.rfind('.')); };
    std::set<std::string> batch_norms;  // which have a test of their own
    for (const auto& [name, buffer] : model.module->named_buffers()) batch_norms.insert(owner(name));
    double fan_in = 0;
    int checked = 0;
    for (const auto& [name, p] : model.module->named_parameters()) {
      if (p.rank() > 1) fan_in = static_cast<double>(p.numel() / p.dim(0));
      if (batch_norms.contains(owner(name))) continue;
      Moments m(p);
      double bound = 1 / std::sqrt(fan_in), std = bound / std::sqrt(3);
      // The sample deviation of n uniform draws is off by 0.45 / sqrt(n) of itself, one sigma.
      double allowed = std::max(0.02, 4 * 0.45 / std::sqrt(static_cast<double>(p.numel())));
      EXPECT_NEAR(m.std, std, allowed * std) << entry.name << " " << name;
      EXPECT_LE(m.high, bound) << entry.name << " " << name;
      EXPECT_GE(m.low, -bound) << entry.name << " " << name;
      ++checked;
    }
    EXPECT_GT(checked, 3) << entry.name;
  }
}

TEST(Init, T7KaimingHasTheSpreadOfItsFormulaForSeveralFans) {
  for (int64_t fan_in : {8, 50, 400, 3000}) {
    Shape shape{200000 / fan_in + 1, fan_in};
    Tensor t = empty(shape);
    double std = std::sqrt(2.0 / static_cast<double>(fan_in));
    init::kaiming_normal(t, init::stream(1, "a"));
    EXPECT_NEAR(Moments(t).std, std, 0.01 * std) << fan_in;
    EXPECT_NEAR(Moments(t).mean, 0, 0.01 * std) << fan_in;
    init::kaiming_uniform(t, init::stream(1, "b"));
    EXPECT_NEAR(Moments(t).std, std, 0.01 * std) << fan_in;
    EXPECT_LE(Moments(t).high, std * std::sqrt(3)) << fan_in;
    EXPECT_GE(Moments(t).high, 0.999 * std * std::sqrt(3)) << fan_in;
    init::kaiming_normal(t, init::stream(1, "c"), 0.5);  // the slope of a leaky ReLU after it
    EXPECT_NEAR(Moments(t).std, std / std::sqrt(1.25), 0.01 * std) << fan_in;
  }
}

TEST(Init, T7ActivationsKeepTheirSizeThroughTenLayersWithReLU) {
  for (bool normal : {false, true}) {
    Tensor x = empty({64, 256});
    init::normal(x, 0, 1, init::stream(2, "x"));
    for (int layer = 0; layer < 10; ++layer) {
      nn::Linear linear({.in_features = 256, .out_features = 256, .bias = false});
      Tensor weight = linear.parameters()[0];
      PhiloxStream random = init::stream(3, std::to_string(layer));
      normal ? init::kaiming_normal(weight, random) : init::kaiming_uniform(weight, random);
      x = relu(linear(x));
      double size = mean(square(x)).item<double>();
      EXPECT_GT(size, 0.5) << layer;
      EXPECT_LT(size, 2.0) << layer;
    }
  }
}

TEST(Init, T59XavierVarianceIsTwoOverTheSumOfFans) {
  for (Shape shape : {Shape{300, 700}, Shape{1000, 50}, Shape{64, 32, 9, 9}}) {
    double field = shape.rank() == 4 ? 81 : 1;
    double variance = 2 / (static_cast<double>(shape[0] + shape[1]) * field);
    Tensor t = empty(shape);
    init::xavier_uniform(t, init::stream(5, "a"));
    EXPECT_NEAR(Moments(t).std * Moments(t).std, variance, 0.02 * variance);
    EXPECT_LE(Moments(t).high, std::sqrt(3 * variance));
    init::xavier_normal(t, init::stream(5, "b"));
    EXPECT_NEAR(Moments(t).std * Moments(t).std, variance, 0.02 * variance);
  }
}

TEST(Init, GainAndFanWidenAsPyTorchsDo) {
  // Deviations and bounds over [300, 40, 5, 5] of torch.nn.init with gain=1.7, and a=0.5, mode="fan_out".
  Tensor t = empty({300, 40, 5, 5});
  init::xavier_normal(t, init::stream(6, "a"), 1.7);
  EXPECT_NEAR(Moments(t).std, 0.026077, 0.0001);
  init::xavier_uniform(t, init::stream(6, "b"), 1.7);
  EXPECT_NEAR(Moments(t).std, 0.026077, 0.0001);
  EXPECT_NEAR(Moments(t).high, 0.045166, 0.00001);
  init::kaiming_normal(t, init::stream(6, "c"), 0.5, init::Fan::out);
  EXPECT_NEAR(Moments(t).std, 0.014606, 0.0001);
  init::kaiming_uniform(t, init::stream(6, "d"), 0.5, init::Fan::out);
  EXPECT_NEAR(Moments(t).std, 0.014606, 0.0001);
  EXPECT_NEAR(Moments(t).high, 0.025298, 0.00001);
}

TEST(Init, TruncatedNormalStaysInsideAndHasTheSpreadOfItsFormula) {
  Tensor t = empty({200000});
  init::trunc_normal(t, 0.5, 1, init::stream(1, "t"), -1, 1);
  // Mean and variance of a normal distribution between a and b (Johnson & Kotz 1970), a = -1.5, b = 0.5.
  auto density = [](double x) { return std::exp(-x * x / 2) / std::sqrt(2 * M_PI); };
  auto below = [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2)); };
  double a = -1.5, b = 0.5, mass = below(b) - below(a), shift = (density(a) - density(b)) / mass;
  EXPECT_NEAR(Moments(t).mean, 0.5 + shift, 0.005);
  EXPECT_NEAR(Moments(t).std, std::sqrt(1 + (a * density(a) - b * density(b)) / mass - shift * shift), 0.005);
  EXPECT_GE(Moments(t).low, -1);
  EXPECT_LE(Moments(t).high, 1);
  expect_error(ErrorCode::kUsage, {"hardly ever", "[5, 6]", "1 %"},
               [&] { init::trunc_normal(t, 0, 1, init::stream(1, "t"), 5, 6); });
}

TEST(Init, OrthogonalRowsOrColumnsHaveTheLengthOfTheGain) {
  for (Shape shape : {Shape{5, 12}, Shape{12, 5}, Shape{6, 6}, Shape{4, 3, 3, 2}}) {
    Tensor t = zeros({DType::f64, shape});
    init::orthogonal(t, init::stream(1, "o"), 2);
    int64_t rows = shape[0], columns = t.numel() / rows;
    bool by_rows = rows <= columns;
    auto at = [&](int64_t vector, int64_t i) {
      return t.data<double>()[static_cast<size_t>(by_rows ? vector * columns + i : i * columns + vector)];
    };
    for (int64_t u = 0; u < std::min(rows, columns); ++u)
      for (int64_t v = 0; v <= u; ++v) {
        double product = 0;
        for (int64_t i = 0; i < std::max(rows, columns); ++i) product += at(u, i) * at(v, i);
        EXPECT_NEAR(product, u == v ? 4 : 0, 1e-12) << to_string(shape);
      }
  }
}

TEST(Init, FansCountTheReceptiveField) {
  init::Fans fans = init::fans_of({16, 6, 5, 3});
  EXPECT_EQ(fans.in, 90);
  EXPECT_EQ(fans.out, 240);
  expect_error(ErrorCode::kUsage, {"fan", "[7]", "[out, in, ...]"}, [] { init::fans_of({7}); });
}

TEST(Init, StreamsOfDifferentNamesAndSeedsAreUnrelated) {
  Tensor a = empty({10000}), b = empty({10000});
  init::normal(a, 0, 1, init::stream(1, "layers.0.weight"));
  for (auto [seed, name] : {std::pair{1, "layers.1.weight"}, {2, "layers.0.weight"}}) {
    init::normal(b, 0, 1, init::stream(static_cast<uint64_t>(seed), name));
    EXPECT_NEAR(mean(a * b).item<double>(), 0, 0.04);
  }
  init::normal(b, 0, 1, init::stream(1, "layers.0.weight"));
  EXPECT_NEAR(mean(a * b).item<double>(), 1, 0.05);
}

TEST(Init, FillsTensorsOfF64Too) {
  Tensor t = zeros({DType::f64, {3, 2}});
  init::constant(t, 0.1);
  EXPECT_EQ(t.data<double>()[5], 0.1);
  init::uniform(t, 2, 3, init::stream(0, "u"));
  for (double v : t.data<double>()) EXPECT_TRUE(v >= 2 && v < 3);
}

}  // namespace
}  // namespace wholestep
