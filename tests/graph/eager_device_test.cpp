// Eager execution on a device whose memory the host cannot touch: ops run where their operands lie, and their
// memory comes from a cache of its own.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "support/eager_device.h"
#include "support/expect_error.h"
#include "support/foreign_backend.h"
#include "support/formula.h"
#include "support/op_case.h"
#include "wholestep/backend/memory_cache.h"
#include "wholestep/graph/grad.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/norm.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/ops/creation.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/optim/sgd.h"

namespace wholestep::test {
namespace {

class EagerDevice : public testing::TestWithParam<const OpDef*> {};
INSTANTIATE_TEST_SUITE_P(AllOps, EagerDevice, testing::ValuesIn(all_ops()),
                         [](const auto& row) { return row.param->name; });

TEST_P(EagerDevice, AnOpAndItsGradientRunWhereTheOperandsLie) {
  expect_eager_agrees(*GetParam(), foreign_backend(), 0, 3);
}

TEST(EagerDeviceMemory, ALoopOfOpsAsksTheDeviceForNothing) {
  Tensor x = ones({100}).to(foreign_backend());
  auto step = [&] { return sum(exp(x * 0.5) + x); };
  step();
  const BackendCounters before = foreign_backend().counters();
  const MemoryStatistics cached = eager_memory(foreign_backend()).statistics();
  for (int i = 0; i < 10; ++i) step();
  EXPECT_EQ(foreign_backend().counters().allocations, before.allocations);
  EXPECT_EQ(eager_memory(foreign_backend()).statistics().in_use_bytes, cached.in_use_bytes);
  EXPECT_GE(eager_memory(foreign_backend()).statistics().hits, cached.hits + 40);
}

using Calls = std::vector<std::string>;

/// The copies to and from the device that `work` makes.
Calls copies_of(const std::function<void()>& work) {
  Calls calls;
  foreign_backend().calls = &calls;
  work();
  foreign_backend().calls = nullptr;
  return calls;
}

TEST(EagerDeviceConstants, ReachTheDeviceOnce) {
  Tensor x = ones({4, 3}).to(foreign_backend()).set_requires_grad();
  auto step = [&] {
    Tensor y = mean(where(x * 0.5 + 1 > 2, x - 3, 0.25 / x));
    return grad(y, std::vector{x})[0];
  };
  Tensor first = step();
  EXPECT_EQ(copies_of(step), Calls{});
  EXPECT_EQ(as_doubles(step().to_host()), as_doubles(first.to_host()));
  EXPECT_EQ(copies_of([&] { x * 0.123; }), Calls{"copy in"});
  EXPECT_EQ(copies_of([&] { x * 0.123; }), Calls{});
  // Numbers made on the device, not on the host.
  EXPECT_EQ(copies_of([&] { zeros_like(x), ones_like(x), full_like(x, 7); }), Calls{});
  EXPECT_EQ(as_doubles(full_like(x, 7).to_host()), std::vector<double>(12, 7));
}

TEST(EagerDeviceConstants, OfOneValueAndAnotherDtypeAreTwo) {
  Tensor f32 = ones({2}).to(foreign_backend()), i32 = cast(f32, DType::i32), i64 = cast(f32, DType::i64);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(as_doubles((f32 * 1.0).to_host()), std::vector<double>(2, 1));
    EXPECT_EQ(as_doubles((i32 * 1065353216.0).to_host()), std::vector<double>(2, 1065353216));  // 1.0f's bits
    EXPECT_EQ(as_doubles((i64 * 1.0).to_host()), std::vector<double>(2, 1));
    EXPECT_EQ(as_doubles((f32 * -0.0).to_host()), std::vector<double>(2, 0));
    EXPECT_TRUE(std::signbit((f32 * -0.0).to_host().data<float>()[0]));
    EXPECT_FALSE(std::signbit((f32 * 0.0).to_host().data<float>()[0]));
  }
}

TEST(EagerDeviceConstants, MoreThanAreKeptAreStillRight) {
  Tensor x = ones({2}).to(foreign_backend());
  for (int round = 0; round < 2; ++round)
    for (int i = 0; i < 1500; ++i)
      ASSERT_EQ((x * static_cast<double>(i)).at<float>({1}), static_cast<float>(i));
}

TEST(EagerDeviceMemory, ItsLimitIsARecoverableError) {
  MemoryCache& memory = eager_memory(foreign_backend());
  memory.empty_cache();
  memory.set_limit(memory.statistics().in_use_bytes + 4096);
  Tensor x = ones({64}).to(foreign_backend());
  expect_error(ErrorCode::kPlanRefused, {"limit"}, [&] { ones({4096}).to(foreign_backend()); });
  EXPECT_EQ(sum(x + x).item<double>(), 128);
  memory.set_limit(std::numeric_limits<int64_t>::max());
}

TEST(EagerDeviceTensor, OperandsOnTheHostAreCopiedThereAndTwoDevicesAreRefused) {
  static auto& other = *new ForeignBackend;  // outlives what its cache keeps
  Tensor here = ones({3}), there = here.to(foreign_backend()), elsewhere = here.to(other);
  Tensor sum = here + there;
  EXPECT_EQ(&device_of(sum), &foreign_backend());
  EXPECT_EQ(as_doubles(sum.to_host()), std::vector<double>(3, 2));
  expect_error(ErrorCode::kUsage, {"operands of add lie on two devices", "to() copies"},
               [&] { there + elsewhere; });
}

TEST(EagerDeviceTensor, ElementsAreReadSetAndAssignedThere) {
  Tensor x = zeros({2, 2}).to(foreign_backend());
  const BackendCounters before = foreign_backend().counters();
  x.set({1, -1}, 7);
  EXPECT_EQ(x.at<float>({1, 1}), 7);
  EXPECT_EQ(foreign_backend().counters().copied_out_bytes - before.copied_out_bytes, 4);
  EXPECT_EQ(foreign_backend().counters().copied_in_bytes - before.copied_in_bytes, 4);
  Tensor y = zeros_like(x);
  EXPECT_EQ(&device_of(y), &foreign_backend());
  const BackendCounters between = foreign_backend().counters();
  y.assign(x + x);
  EXPECT_EQ(foreign_backend().counters().copied_out_bytes, between.copied_out_bytes);
  EXPECT_EQ(as_doubles(y.to_host()), (std::vector<double>{0, 0, 0, 14}));
  // In-place writes are noticed by backward, there too.
  Tensor leaf = ones({2}).to(foreign_backend()).set_requires_grad(), z = leaf * leaf;
  leaf.assign(ones({2}).to(foreign_backend()));
  expect_error(ErrorCode::kUsage, {"overwritten in place"}, [&] { wholestep::sum(z).backward(); });
}

TEST(EagerDeviceTraining, AStepCopiesItsBatchAndItsLossAndNoConstant) {
  nn::Sequential model(nn::Linear({.in_features = 6, .out_features = 8}), nn::GELU(),
                       nn::LayerNorm({.normalized_shape = {8}}),
                       nn::Linear({.in_features = 8, .out_features = 3}));
  model.initialize(1);
  model.to(foreign_backend());
  optim::SGD sgd({.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-3});
  sgd.attach(model.parameters());
  Tensor x = tensor(formula_values(1, 24), {4, 6}), labels = tensor(formula_labels(2, 4, 3), {4});
  auto step = [&] {
    Tensor loss = nn::CrossEntropyLoss()(model(x.to(foreign_backend())), labels.to(foreign_backend()));
    sgd.step(grad(loss, model.parameters()));
    loss.item<float>();
  };
  for (int i = 0; i < 2; ++i) step();  // the second knows that there is a momentum
  const Calls batch_then_labels_to_be_checked_and_loss = {"copy in", "copy in", "copy out", "copy out"};
  EXPECT_EQ(copies_of(step), batch_then_labels_to_be_checked_and_loss);
}

TEST(EagerDeviceTraining, FollowsTheHostBitForBit) {
  EXPECT_EQ(train_eagerly_on(foreign_backend(), 4), train_eagerly_on(cpu_backend(), 4));
}

}  // namespace
}  // namespace wholestep::test
