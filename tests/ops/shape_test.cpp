// Ops that move elements, and rows by index: known results and messages.
#include "wholestep/ops/shape.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/formula.h"
#include "support/op_case.h"
#include "wholestep/graph/grad.h"
#include "wholestep/io/json.h"
#include "wholestep/ops/arrange.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/gather.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::test {
namespace {

using testing::ElementsAre;

Tensor counted(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return tensor(values, shape);
}

TEST(Reshape, InfersOneExtentAndRefusesWhatDoesNotFit) {
  EXPECT_EQ(reshape(counted({2, 6}), {3, -1}).shape(), (Shape{3, 4}));
  EXPECT_EQ(flatten(counted({2, 3, 4})).shape(), (Shape{2, 12}));
  expect_error(ErrorCode::kUsage, {"reshape of x f32[2, 6]", "[2, 6] to [5, 2]"}, [] {
    reshape(counted({2, 6}), {5, 2});
  });
  expect_error(ErrorCode::kUsage, {"one extent only"}, [] { reshape(counted({2, 6}), {-1, -1}); });
}

TEST(Permute, MovesAxes) {
  EXPECT_THAT(as_doubles(transpose(counted({2, 3}))), ElementsAre(0, 3, 1, 4, 2, 5));
  expect_error(ErrorCode::kUsage, {"every axis once"}, [] { permute(counted({2, 3}), {0, 0}); });
}

TEST(Slice, AndPadAreEachOthersInverse) {
  Tensor x = counted({2, 5});
  EXPECT_THAT(as_doubles(slice(x, 1, 1, 3)), ElementsAre(1, 2, 6, 7));
  EXPECT_THAT(as_doubles(pad(slice(x, 1, 1, 3), 1, 1, 2)), ElementsAre(0, 1, 2, 0, 0, 0, 6, 7, 0, 0));
  expect_error(ErrorCode::kUsage, {"slice out of range", "axis 1", "[3, 7)", "[0, 5)"}, [&] {
    apply1(find_op("slice"), {x}, {{"axis", 1}, {"start", 3}, {"stop", 7}});
  });
  expect_error(ErrorCode::kUsage, {"negative padding", "-1 before"}, [&] { pad(x, 0, -1, 0); });
}

TEST(Slice, TakesWhatPyTorchTakes) {
  const nlohmann::json cases =
      read_json_file(std::filesystem::path(WHOLESTEP_SOURCE_DIR) / "tests/reference/slices.json");
  ASSERT_EQ(cases.size(), 726u);
  for (const nlohmann::json& c : cases) {
    const int64_t extent = c["extent"], start = c["start"], stop = c["stop"], step = c["step"];
    Tensor x = tensor(test::formula_values(1, 2 * extent), {2, extent}).to(DType::f64).set_requires_grad();
    Tensor y = step == 1 ? slice(x, -1, start, stop) : slice(x, 1, start, stop, step);
    const std::string text = c.dump();
    ASSERT_EQ(y.shape(), (Shape{2, c["count"].get<int64_t>()})) << text;
    EXPECT_EQ(as_doubles(y), c["y"].get<std::vector<double>>()) << text;
    Tensor weights = tensor(test::formula_values(2, y.numel()), y.shape()).to(DType::f64);
    EXPECT_EQ(as_doubles(grad(sum(y * weights), std::vector{x})[0]), c["dx"].get<std::vector<double>>())
        << text;
  }
}

TEST(Concat, NamesPartsThatDoNotFit) {
  expect_error(ErrorCode::kUsage, {"concat of f32[2, 3], f32[3, 3]"}, [] {
    concat({counted({2, 3}), counted({3, 3})}, 1);
  });
  expect_error(ErrorCode::kUsage, {"concat of no tensors"}, [] { concat({}, 0); });
}

TEST(Gather, T67NamesTheIndexThatIsOutOfRange) {
  Tensor table = counted({3, 2});
  for (int64_t bad : {-1, 3})
    expect_error(ErrorCode::kUsage, {"row index out of range", "index[1]", std::to_string(bad), "0 to 2"},
                 [&] {
                   gather_rows(table, tensor(std::vector<int64_t>{0, bad}, {2}));
                 });
}

TEST(Gather, ReadsNaNForABadIndexInsideAStep) {
  Tensor rows =
      apply1(find_op("gather_rows"), {counted({3, 2}), tensor(std::vector<int32_t>{2, -1000000, 3}, {3})});
  std::vector<double> values = as_doubles(rows);
  EXPECT_EQ(values[1], 5);
  for (size_t i : {2, 3, 4, 5}) EXPECT_TRUE(std::isnan(values[i]));
}

TEST(Take, WrapsAroundTheEnd) {
  Tensor x = counted({5});
  EXPECT_THAT(as_doubles(take(x, scalar(3, DType::i64), 4)), ElementsAre(3, 4, 0, 1));
  EXPECT_THAT(as_doubles(take(x, scalar(-1, DType::i64), 2)), ElementsAre(4, 0));
}

}  // namespace
}  // namespace wholestep::test
