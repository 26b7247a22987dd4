// Every row of the op table, compiled: the bits of eager execution, with every pass on or off.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "support/op_case.h"
#include "wholestep/compile/compile.h"

namespace wholestep {
namespace {

class CompiledOp : public testing::TestWithParam<const OpDef*> {};

TEST_P(CompiledOp, GivesTheBitsOfEagerExecutionWithEveryPassOnOrOff) {
  const OpDef& op = *GetParam();
  if (!op.cases) GTEST_SKIP() << op.name << " is made by the fuse pass and has no cases of its own";
  std::vector<OpCase> cases = op.cases();
  std::ranges::copy(test::in_halves(cases), std::back_inserter(cases));
  for (const OpCase& c : cases) {
    std::vector<Tensor> operands = test::make_operands(c);
    std::vector<Tensor> expected = apply(op, operands, c.attrs);
    for (const CompileOptions& options :
         {CompileOptions{}, CompileOptions{.simplify = false}, CompileOptions{.layout = false},
          CompileOptions{.fuse = false}, CompileOptions{.pixel_sums = false}, CompileOptions{.strips = false},
          CompileOptions{.recompute = false}, CompileOptions{.reuse_memory = false}}) {
      auto graph = std::make_shared<Graph>();
      std::vector<Tensor> inputs;
      for (size_t i = 0; i < operands.size(); ++i)
        inputs.push_back(graph->add_input(InputKind::kBatch, "x" + std::to_string(i), operands[i].type()));
      std::vector<int> values;
      for (const Tensor& input : inputs) values.push_back(graph->value_of(input));
      Types types;
      for (const Tensor& t : expected) types.push_back(t.type());
      std::vector<int> made = graph->add_node(op, c.attrs, values, types);
      for (size_t i = 0; i < made.size(); ++i)
        graph->add_output("y" + std::to_string(i), graph->tensor(made[i]));
      CompiledStep step(make_plan(graph, options));
      for (size_t i = 0; i < operands.size(); ++i) step.write("x" + std::to_string(i), operands[i]);
      step.run();
      for (size_t i = 0; i < made.size(); ++i) {
        Tensor got = step.output("y" + std::to_string(i));
        ASSERT_EQ(got.type(), expected[i].type());
        EXPECT_TRUE(got.numel() == 0 ||
                    std::memcmp(got.bytes().data(), expected[i].bytes().data(), got.bytes().size()) == 0)
            << op.name << " " << to_string(c.attrs) << " output " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllOps, CompiledOp, testing::ValuesIn(all_ops()),
                         [](const auto& suite) { return suite.param->name; });

}  // namespace
}  // namespace wholestep
