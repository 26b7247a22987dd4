#include "support/compiled.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/foreign_backend.h"
#include "support/op_case.h"
#include "support/test_device.h"
#include "wholestep/compile/compile.h"

namespace wholestep::test {
namespace {

/// Same bits, or on a GPU within some units in the last place of the largest element.
bool same(const Tensor& compiled, const Tensor& eager) {
  if (std::ranges::equal(compiled.bytes(), eager.bytes())) return true;
  if (!is_floating(eager.dtype()) || &test_device() == &cpu_backend() || &test_device() == &foreign_backend())
    return false;
  const double unit = eager.dtype() == DType::f64   ? 0x1p-52
                      : eager.dtype() == DType::f32 ? 0x1p-23
                      : eager.dtype() == DType::f16 ? 0x1p-10
                                                    : 0x1p-7;
  const std::vector<double> is = as_doubles(compiled), should = as_doubles(eager);
  double largest = 0;
  for (double v : should) largest = std::max(largest, std::isfinite(v) ? std::abs(v) : 0);
  return std::ranges::equal(is, should, [&](double a, double b) {
    return a == b || std::abs(a - b) <= 16 * unit * largest || (std::isnan(a) && std::isnan(b));
  });
}

}  // namespace

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
    EXPECT_TRUE(same(compiled.to_host(), eager[i].to_host())) << what << ", compiled result " << i;
  }
}

}  // namespace wholestep::test
