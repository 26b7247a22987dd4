#include "support/compiled.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "support/test_device.h"
#include "wholestep/compile/compile.h"

namespace wholestep::test {

void expect_compiled_gives(const std::function<std::vector<Tensor>(const std::vector<Tensor>&)>& f,
                           const std::vector<Tensor>& inputs, const std::vector<Tensor>& eager,
                           const std::string& what) {
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    std::vector<Tensor> symbols;
    for (size_t i = 0; i < inputs.size(); ++i)
      symbols.push_back(graph->add_input(InputKind::kBatch, fmt::format("x{}", i), inputs[i].type()));
    std::vector<Tensor> traced = f(symbols);
    ASSERT_EQ(traced.size(), eager.size()) << what;
    for (size_t i = 0; i < traced.size(); ++i) graph->add_output(fmt::format("y{}", i), traced[i]);
  }
  CompiledStep step(make_plan(graph, {.backend = &test_device()}));
  for (size_t i = 0; i < inputs.size(); ++i) step.write(fmt::format("x{}", i), inputs[i].to_host());
  step.run();
  for (size_t i = 0; i < eager.size(); ++i) {
    Tensor compiled = step.output(fmt::format("y{}", i));
    ASSERT_EQ(compiled.type(), eager[i].type()) << what << ", compiled result " << i;
    EXPECT_TRUE(std::ranges::equal(compiled.to_host().bytes(), eager[i].to_host().bytes()))
        << what << ", compiled result " << i;
  }
}

}  // namespace wholestep::test
