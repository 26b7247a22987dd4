// Convolutions that scale the pixels they read: which do, what it saves, and that it changes no bit.
#include <gtest/gtest.h>

#include "support/count_nodes.h"
#include "support/op_case.h"
#include "train/net.h"
#include "wholestep/backend/cuda/library.h"
#include "wholestep/ops/registry.h"
#include "wholestep/optim/sgd.h"

namespace wholestep::test {
namespace {

Plan plan_of(const std::string& model, CompileOptions options) {
  return Net(nn::find_model(model), std::make_unique<optim::SGD>(), {},
             {.normalization = {}, .compile = options})
      .step->make_train_plan(32);
}
int64_t programs(const Plan& plan) {
  return std::ranges::count_if(plan.graph->nodes, [](const Node& node) {
    return node.op->name.starts_with("conv2d") && node.attrs.has("program");
  });
}

TEST(Pixels, AFirstConvolutionAndItsGradientReadThem) {
  for (const char* model : {"w1", "w2", "w4", "w4s", "lenet"}) {
    const Plan with = plan_of(model, {}), without = plan_of(model, {.pixels = false});
    EXPECT_EQ(programs(with), 2) << model;
    EXPECT_EQ(programs(without), 0) << model;
    EXPECT_EQ(count(without, "fused") - count(with, "fused"), 1) << model;
  }
}

TEST(Pixels, ScaledPicturesAreNotKept) {
  const int64_t scaled = int64_t{32} * 3 * 64 * 64 * 4;
  const Plan with = plan_of("w4s", {}), without = plan_of("w4s", {.pixels = false});
  EXPECT_GE(without.memory.activation_bytes - with.memory.activation_bytes, scaled / 2);
}

TEST(Pixels, PerceptronsAndGpusReadThemOtherwise) {
  EXPECT_EQ(programs(plan_of("w3", {})), 0);
  EXPECT_EQ(programs(plan_of("w2", {.backend = &cuda_planner()})), 0);
}

/// Every kernel of a convolution that says it takes a program gives the bits of one that reads what it makes.
TEST(Pixels, AreScaledAsAProgramOfItsOwnScalesThem) {
  const char* program = "f32 1 | 0.0078431 -0.5 | mul 0 1; add 3 2 | 4";
  int compared = 0;
  for (const char* name : {"conv2d", "conv2d_dw"}) {
    const OpDef& op = find_op(name);
    for (const OpCase& of : op.cases()) {
      OpCase pixels = of;
      pixels.inputs[0].dtype = DType::u8;
      std::vector<Tensor> operands = make_operands(pixels);
      Attrs attrs = of.attrs;
      attrs.set({"program", program});
      Types inputs, outputs;
      for (const Tensor& t : operands) inputs.push_back(t.type());
      outputs = op.infer(inputs, attrs);
      if (choose_kernel(op, {op.name, inputs, outputs, attrs}, "cpu").kernel->name != "direct") continue;
      const std::vector<Tensor> made = apply(op, operands, attrs);
      std::vector<Tensor> scaled = operands;
      const Shape& shape = operands[0].shape();
      scaled[0] = apply1(find_op("fused"), {operands[0]},
                         {{"program", program},
                          {"shape", std::vector<int64_t>(shape.begin(), shape.end())},
                          {"outputs", "f32"}});
      const Types types = op.infer(std::vector<TensorType>{scaled[0].type(), inputs[1]}, of.attrs);
      Types of_scaled = inputs;
      of_scaled[0] = scaled[0].type();
      if (choose_kernel(op, {op.name, of_scaled, types, of.attrs}, "cpu").kernel->name != "direct") continue;
      const std::vector<Tensor> expected = apply(op, scaled, of.attrs);
      ASSERT_EQ(made.size(), expected.size());
      for (size_t i = 0; i < made.size(); ++i)
        EXPECT_EQ(as_doubles(made[i]), as_doubles(expected[i])) << describe(op, of) << " result " << i;
      ++compared;
    }
  }
  EXPECT_GT(compared, 40);
}

}  // namespace
}  // namespace wholestep::test
