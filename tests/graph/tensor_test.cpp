// Tensors eagerly: access, conversion, printing and files, against NumPy and PyTorch by
// tests/reference/tensors.py.
#include "wholestep/graph/tensor.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "support/command.h"
#include "support/expect_error.h"
#include "support/foreign_backend.h"
#include "support/formula.h"
#include "support/op_case.h"
#include "support/temp_dir.h"
#include "wholestep/graph/grad.h"
#include "wholestep/graph/tensor_files.h"
#include "wholestep/graph/tensor_text.h"
#include "wholestep/io/json.h"
#include "wholestep/ops/arrange.h"
#include "wholestep/ops/creation.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::test {
namespace {

using testing::ElementsAre;
using Json = nlohmann::json;

const Json& reference() {
  static const Json json =
      read_json_file(std::string(WHOLESTEP_SOURCE_DIR) + "/tests/reference/tensors.json");
  return json;
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.type() == b.type() && std::ranges::equal(a.bytes(), b.bytes());
}

TEST(Tensor, GivesItsElementsByIndex) {
  Tensor x = arange(24.0);
  x = reshape(x, {2, 3, 4});
  EXPECT_EQ(x.strides(), (std::vector<int64_t>{12, 4, 1}));
  EXPECT_EQ(scalar(1).strides(), std::vector<int64_t>{});
  EXPECT_EQ(x.device(), "cpu");
  EXPECT_EQ(x.at<float>({1, 2, 3}), 23);
  EXPECT_EQ(x.at<int64_t>({-1, 0, -4}), 12);
  x.set({0, -1, 2}, 0.5);
  EXPECT_EQ(x.at<double>({0, 2, 2}), 0.5);
  for (auto index : {std::initializer_list<int64_t>{2, 0, 0}, {0, -4, 0}, {0, 0}})
    expect_error(ErrorCode::kUsage, {"no element has this index", "[2, 3, 4]"}, [&] { x.at<float>(index); });
}

TEST(Tensor, AnElementSetInPlaceIsNoticedByBackward) {
  Tensor x = arange(3.0).set_requires_grad(), factor = ones({3});
  Tensor y = sum(x * factor);
  factor.set({1}, 5);
  expect_error(ErrorCode::kUsage, {"overwritten in place"}, [&] { y.backward(); });
}

TEST(Tensor, ConvertsThereAndBackBitForBit) {
  Tensor x = tensor(formula_values(1, 1000), {10, 100});
  EXPECT_TRUE(same_bytes(x.to(DType::f64).to(DType::f32), x));
  Tensor bytes = tensor(formula_labels(4, 1000, 251), {1000});
  for (DType dtype : {DType::i32, DType::f32, DType::f64, DType::f16})
    EXPECT_TRUE(same_bytes(bytes.to(DType::u8).to(dtype).to(DType::i64).to(DType::u8), bytes.to(DType::u8)));
  for (DType half : {DType::f16, DType::bf16}) {  // what is a half once stays what it is
    Tensor once = x.to(half);
    for (DType wide : {DType::f32, DType::f64}) EXPECT_TRUE(same_bytes(once.to(wide).to(half), once));
  }
  EXPECT_EQ(x.to(DType::f32).impl(), x.impl());
  EXPECT_THAT(as_doubles(tensor(std::vector<float>{0, -0.0f, 0.5f, NAN}, {4}).to(DType::boolean)),
              ElementsAre(0, 0, 1, 1));
}

TEST(Tensor, PassesGradientsThroughConversions) {
  Tensor x = tensor(std::vector<float>{1, 2}, {2}).set_requires_grad();
  Tensor half = x.to(DType::bf16) * 3.0;
  EXPECT_EQ(half.dtype(), DType::bf16);
  sum(half.to(DType::f64)).backward();
  EXPECT_EQ(x.grad().dtype(), DType::f32);
  EXPECT_THAT(as_doubles(x.grad()), ElementsAre(3, 3));
}

TEST(Tensor, GoesToADeviceAndBackBitForBit) {
  for (DType dtype :
       {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8, DType::boolean, DType::f16, DType::bf16}) {
    Tensor x = converted(tensor(formula_labels(3, 60, 2), {3, 4, 5}), dtype);
    Tensor there = x.to(foreign_backend());
    EXPECT_EQ(there.device(), foreign_backend().name());
    expect_error(ErrorCode::kUsage, {"lies on a device"}, [&] { there.bytes(); });
    EXPECT_EQ(there.to(foreign_backend()).impl(), there.impl());
    EXPECT_EQ(there.at<double>({1, 2, 3}), x.at<double>({1, 2, 3}));
    EXPECT_TRUE(same_bytes(there.to("cpu"), x));
  }
  expect_error(ErrorCode::kBadConfig, {"'tpu'"}, [] { zeros({2}).to("tpu"); });
}

TEST(Tensor, IsComparedAsAWhole) {
  Tensor x = tensor(std::vector<double>{1, 2, 3}, {3});
  EXPECT_TRUE(array_equal(x, x.to(DType::f32)));
  EXPECT_FALSE(array_equal(x, reshape(x, {3, 1})));
  EXPECT_TRUE(allclose(x, x + 1e-6));
  EXPECT_FALSE(allclose(x, x + 1e-4));
  EXPECT_TRUE(allclose(x, x + 1e-4, 0, 2e-4));
  EXPECT_TRUE(allclose(ones({2, 3}), scalar(1)));
  Tensor odd = tensor(std::vector<double>{NAN, INFINITY, -INFINITY}, {3});
  EXPECT_FALSE(array_equal(odd, odd));
  EXPECT_FALSE(allclose(odd, odd));
  EXPECT_TRUE(allclose(odd, odd, 1e-5, 1e-8, true));
  EXPECT_FALSE(allclose(odd, -odd, 1e-5, 1e-8, true));
  expect_error(ErrorCode::kUsage, {"[3]", "[2]"}, [&] { allclose(x, zeros({2})); });
}

TEST(Tensor, PrintsAsNumPyDoes) {
  for (const Json& c : reference()["printed"]) {
    Shape shape(c["shape"].get<std::vector<int64_t>>());
    std::vector<double> values;
    if (c["values"] == "formula") values = formula_values<double>(1, shape.numel());
    else if (c["values"] == "range")
      for (int64_t i = 0; i < shape.numel(); ++i) values.push_back(static_cast<double>(i));
    else
      for (const Json& v : c["values"])
        values.push_back(!v.is_string() ? v.is_boolean() ? v.get<bool>() : v.get<double>()
                         : v == "nan" ? NAN
                         : v == "inf"   ? INFINITY
                                        : -INFINITY);
    Tensor t = converted(tensor(values, shape), dtype_from_name(c["dtype"].get<std::string>()).value());
    EXPECT_EQ(to_string(t), c["text"].get<std::string>()) << to_string(t.type());
  }
}

TEST(Half, RoundsAsPyTorchAndNumPyDo) {
  const Json& halves = reference()["halves"];
  auto bits = halves["bits"].get<std::vector<uint32_t>>();
  auto f16 = halves["f16"].get<std::vector<uint16_t>>(), bf16 = halves["bf16"].get<std::vector<uint16_t>>();
  ASSERT_GT(bits.size(), 1900u);
  std::vector<float> values;
  for (uint32_t b : bits) values.push_back(std::bit_cast<float>(b));
  Tensor x = tensor(values, {static_cast<int64_t>(values.size())}), half = x.to(DType::f16),
         brain = x.to(DType::bf16);
  for (size_t i = 0; i < bits.size(); ++i) {
    ASSERT_EQ(Half(values[i]).bits, f16[i]) << values[i];
    ASSERT_EQ(BFloat16(values[i]).bits, bf16[i]) << values[i];
    ASSERT_EQ(half.data<Half>()[i].bits, f16[i]) << values[i];
    ASSERT_EQ(brain.data<BFloat16>()[i].bits, bf16[i]) << values[i];
  }
}

TEST(Half, WidensEveryNumberExactly) {
  int64_t sums[2] = {};
  for (uint32_t b = 0; b < 65536; ++b) {
    Half half;
    BFloat16 brain;
    half.bits = brain.bits = static_cast<uint16_t>(b);
    const float values[2] = {half, brain};
    for (int k = 0; k < 2; ++k) {
      if (std::isnan(values[k])) continue;
      sums[k] += std::bit_cast<int32_t>(values[k]);
      ASSERT_EQ(k == 0 ? Half(values[k]).bits : BFloat16(values[k]).bits, b);
    }
  }
  EXPECT_EQ(sums[0], reference()["halves"]["sum_of_wide_bits"]["f16"].get<int64_t>());
  EXPECT_EQ(sums[1], reference()["halves"]["sum_of_wide_bits"]["bf16"].get<int64_t>());
}

TEST(Half, ElementwiseOpsComputeInF32AndRoundOnce) {
  Tensor a = tensor(formula_values(1, 500), {500}), b = tensor(formula_values(2, 500), {500});
  for (DType half : {DType::f16, DType::bf16}) {
    Tensor x = a.to(half), y = b.to(half);
    EXPECT_TRUE(same_bytes(x * y, (x.to(DType::f32) * y.to(DType::f32)).to(half)));
    EXPECT_TRUE(same_bytes(tanh(x), tanh(x.to(DType::f32)).to(half)));
    EXPECT_TRUE(same_bytes(x > y, x.to(DType::f32) > y.to(DType::f32)));
    EXPECT_TRUE(same_bytes(sum(x), sum(x.to(DType::f32)).to(half)));
    EXPECT_TRUE(same_bytes(flip(reshape(x, {5, 100}), {1}), flip(reshape(a, {5, 100}), {1}).to(half)));
  }
}

TEST(TensorFiles, NpyGoesThereAndBackBitForBit) {
  TempDir folder;
  for (DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8, DType::boolean, DType::f16})
    for (const Shape& shape : {Shape{}, Shape{7}, Shape{0, 3}, Shape{2, 3, 4}}) {
      Tensor x = converted(tensor(formula_labels(1, shape.numel(), 2), shape), dtype);
      save_npy(folder / "x.npy", x);
      EXPECT_TRUE(same_bytes(load_npy(folder / "x.npy"), x)) << to_string(x.type());
    }
  expect_error(ErrorCode::kUsage, {"bf16", "x.npy"},
               [&] { save_npy(folder / "x.npy", zeros({2}, DType::bf16)); });
  expect_error(ErrorCode::kNoInput, {"none.npy"}, [&] { load_npy(folder / "none.npy"); });
}

TEST(TensorFiles, NpyIsWhatNumPyReadsAndWrites) {
  if (run_command("python3 -c 'import numpy'").status != 0) GTEST_SKIP() << "no NumPy for python3 here";
  TempDir folder;
  save_npy(folder / "ours.npy", reshape(arange(6.0), {2, 3}));
  CommandResult result = run_command(
      "cd '" + folder.path().string() +
      "' && python3 -c 'import numpy as np\nx = np.load(\"ours.npy\")\nprint(x.dtype, x.tolist())\n"
      "np.save(\"theirs.npy\", np.asfortranarray(x * 2))\nnp.save(\"big.npy\", x.astype(\">f4\"))'");
  ASSERT_EQ(result.status, 0) << result.output;
  EXPECT_EQ(result.output, "float32 [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]\n");
  EXPECT_TRUE(same_bytes(load_npy(folder / "theirs.npy"), reshape(arange(6.0), {2, 3}) * 2.0));
  expect_error(ErrorCode::kBadData, {"'>f4'", "big.npy"}, [&] { load_npy(folder / "big.npy"); });
}

TEST(TensorFiles, NpyDamagedAnywhereIsAnErrorOrTheSameElements) {
  TempDir folder;
  Tensor x = reshape(arange(6.0), {2, 3});
  save_npy(folder / "x.npy", x);
  const std::string good = read_file(folder / "x.npy");
  for (size_t length = 0; length < good.size(); ++length) {
    write_file(folder / "cut.npy", good.substr(0, length));
    expect_error(ErrorCode::kBadData, {"cut.npy"}, [&] { load_npy(folder / "cut.npy"); });
  }
  for (size_t at = 0; at < 128; ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x15);
    write_file(folder / "bad.npy", bad);
    try {
      load_npy(folder / "bad.npy");
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(ErrorCode::kBadData)) << error.what();
    }
  }
}

TEST(TensorFiles, SafetensorsKeepsNamesTypesAndBits) {
  TempDir folder;
  std::map<std::string, Tensor> tensors = {{"a", arange(5)},
                                           {"layers.0.weight", tensor(formula_values(1, 12), {3, 4})},
                                           {"half", tensor(formula_values(2, 7), {7}).to(DType::f16)},
                                           {"brain", tensor(formula_values(3, 7), {7}).to(DType::bf16)}};
  save_safetensors(folder / "t.safetensors", tensors);
  std::map<std::string, Tensor> loaded = load_safetensors(folder / "t.safetensors");
  ASSERT_EQ(loaded.size(), tensors.size());
  for (const auto& [name, t] : tensors) EXPECT_TRUE(same_bytes(loaded.at(name), t)) << name;
}

}  // namespace
}  // namespace wholestep::test
