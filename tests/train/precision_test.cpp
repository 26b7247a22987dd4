// Training in bf16: the kernels that run, what they cost in accuracy, and who is refused.
#include "wholestep/backend/cpu/precision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "train/net.h"
#include "wholestep/backend/cpu/isa.h"
#include "wholestep/base/error.h"
#include "wholestep/base/philox.h"
#include "wholestep/optim/sgd.h"

namespace wholestep::test {
namespace {

struct RestorePrecision {
  ~RestorePrecision() {
    set_isa_cap(detected_isa());
    set_product_precision(Precision::f32);
  }
};

std::set<std::string> kernels_of(std::string_view op, const Plan& plan) {
  std::set<std::string> names;
  for (const SelectedKernel& kernel : plan.kernels)
    if (plan.graph->nodes[static_cast<size_t>(kernel.node)].op->name == op) names.insert(kernel.name);
  return names;
}

std::unique_ptr<Net> net_of(const std::string& name, Precision precision, double clip_norm = 0) {
  set_product_precision(precision);
  return std::make_unique<Net>(
      initialized(name, 3), std::make_unique<optim::SGD>(optim::SGDConfig{.lr = 0.02}),
      std::vector<int64_t>{32}, StepConfig{.normalization = {}, .clip_norm = clip_norm});
}

std::vector<double> losses(const std::string& name, Precision precision) {
  auto net = net_of(name, precision);
  PhiloxStream random(5, 0);
  std::vector<uint8_t> pixels(static_cast<size_t>(32 * net->model.input.numel()));
  std::vector<int32_t> labels(32);
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random.below(256));
  for (int32_t& label : labels)
    label = static_cast<int32_t>(random.below(static_cast<uint64_t>(net->model.classes)));
  std::vector<double> values;
  for (int i = 0; i < 20; ++i) {
    net->step->train(pixels, labels);
    values.push_back(net->step->last_loss());
  }
  return values;
}

class InBf16 : public testing::Test {
 protected:
  void SetUp() override {
    if (detected_isa() < Isa::avx512_bf16) GTEST_SKIP() << "this CPU does not multiply bf16";
  }
  RestorePrecision restore_;
};

TEST_F(InBf16, ProductsRunInItAndNothingElse) {
  auto net = net_of("w4", Precision::bf16);
  const Plan& plan = net->step->train_plan(32);
  const std::set<std::string> bf16 = {"bf16"}, tiles = {"bf16 tiles"}, gram = {"gram"},
                              both = {"bf16", "direct"};
  EXPECT_EQ(kernels_of("matmul", plan), bf16);
  EXPECT_EQ(kernels_of("matmul_fused", plan), tiles);
  auto clipped = net_of("w4", Precision::bf16, 1);
  EXPECT_EQ(kernels_of("matmul_fused", clipped->step->train_plan(32)), tiles);
  EXPECT_EQ(kernels_of("matmul_squares", clipped->step->train_plan(32)), gram);
  EXPECT_EQ(kernels_of("conv2d", plan), both);  // that of three channels is faster in f32
  EXPECT_EQ(kernels_of("conv2d_dx", plan), bf16);
  EXPECT_EQ(kernels_of("conv2d_dw", plan), bf16);
  for (const Value& value : plan.graph->values) EXPECT_NE(value.type.dtype, DType::bf16);
  auto in_f32 = net_of("w4", Precision::f32);
  for (const SelectedKernel& kernel : in_f32->step->train_plan(32).kernels)
    EXPECT_THAT(kernel.name, testing::Not(testing::HasSubstr("bf16")));
}

// T53: as near to f32 as operands of 8 bits are, and no nearer.
TEST_F(InBf16, LossesFollowF32AndAreNotIt) {
  for (const char* name : {"mlp", "lenet", "w4s"}) {
    const std::vector<double> expected = losses(name, Precision::f32), got = losses(name, Precision::bf16);
    EXPECT_LT(expected.back(), expected.front()) << name;
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i)
      worst = std::max(worst, std::abs(got[i] - expected[i]) / expected[0]);
    EXPECT_LT(worst, 0.02) << name;
    EXPECT_GT(worst, 1e-6) << name;
  }
}

TEST_F(InBf16, APlanForAnInstructionSetWithoutItIsRefused) {
  set_product_precision(Precision::bf16);
  set_isa_cap(Isa::avx512);
  EXPECT_THROW(net_of("mlp", Precision::bf16), Error);
}

TEST(Precision, IsF32UntilAskedForAndRefusedWhereTheInstructionSetHasNoOther) {
  RestorePrecision restore;
  EXPECT_EQ(product_precision(), Precision::f32);
  EXPECT_EQ(name(Precision::f32), "f32");
  EXPECT_EQ(name(Precision::bf16), "bf16");
  set_isa_cap(Isa::portable);
  try {
    set_product_precision(Precision::bf16);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadConfig);
    EXPECT_STREQ(
        error.what(),
        "products in bf16 need a CPU that multiplies bf16: got portable, expected amx_bf16 or avx512_bf16. "
        "Hint: precision f32 runs everywhere");
  }
  EXPECT_EQ(product_precision(), Precision::f32);
}

}  // namespace
}  // namespace wholestep::test
