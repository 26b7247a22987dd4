// Schedules against PyTorch's curves.
#include "wholestep/optim/schedule.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "wholestep/io/json.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::expect_error;

std::unique_ptr<optim::Schedule> from_json(const json& spec) {
  ConfigReader reader(spec, "schedule");
  auto schedule = optim::read_schedule(reader);
  reader.finish();
  return schedule;
}

TEST(Schedule, CurvesEqualPyTorch) {
  json expected =
      read_json_file(std::string(WHOLESTEP_SOURCE_DIR) + "/tests/reference/optimizers.json")["schedules"];
  ASSERT_EQ(expected.size(), 4u);
  for (const json& c : expected) {
    auto schedule = from_json(c["schedule"]);
    std::vector<double> rates = schedule->curve(c["lr"].get<double>(), 60);
    for (size_t i = 0; i < 60; ++i)
      EXPECT_NEAR(rates[i], c["rates"][i].get<double>(), 1e-12) << c["schedule"] << " step " << i;
  }
}

TEST(Schedule, ConstantIsTheBaseRate) {
  EXPECT_EQ(optim::Constant().curve(0.3, 3), (std::vector<double>{0.3, 0.3, 0.3}));
  std::vector<double> rising = optim::Constant({.warmup = {.steps = 4, .start_factor = 0}}).curve(0.4, 6);
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(rising[i], std::min(0.1 * static_cast<double>(i), 0.4), 1e-15);
}

TEST(Schedule, CosineStaysAtItsEnd) {
  std::vector<double> rates = optim::Cosine({.total_steps = 10, .eta_min = 0.01}).curve(0.1, 15);
  EXPECT_EQ(rates[0], 0.1);
  for (size_t i = 10; i < 15; ++i) EXPECT_NEAR(rates[i], 0.01, 1e-15);
}

TEST(Schedule, CosineOverTheRunNeedsToKnowTheRun) {
  optim::Cosine cosine;
  expect_error(ErrorCode::kUsage, {"the cosine schedule", "how long the run is", "set_run_steps"},
               [&] { cosine.curve(0.1, 1); });
  cosine.set_run_steps(10);
  EXPECT_EQ(cosine.curve(0.1, 11), optim::Cosine({.total_steps = 10}).curve(0.1, 11));
}

TEST(Schedule, BadOptionsAreErrors) {
  expect_error(ErrorCode::kBadConfig, {"'step_size' is missing"}, [] { from_json({{"type", "step"}}); });
  expect_error(ErrorCode::kBadConfig, {"'total_steps'", "warmup_steps"}, [] {
    from_json({{"type", "cosine"}, {"total_steps", 5}, {"warmup_steps", 5}});
  });
  expect_error(ErrorCode::kBadConfig, {"'cosin'", "cosine"}, [] { from_json({{"type", "cosin"}}); });
  expect_error(ErrorCode::kBadConfig, {"'eta_mn'", "eta_min"}, [] {
    from_json({{"type", "cosine"}, {"eta_mn", 0.1}});
  });
}

}  // namespace
}  // namespace wholestep
