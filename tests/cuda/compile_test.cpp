// The CUDA kernels of every op, on every case its row lists, compile for the architectures we support. This
// needs NVRTC and no GPU.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "support/cuda_device.h"
#include "support/cuda_plan.h"
#include "support/kernel_run.h"
#include "support/op_case.h"
#include "wholestep/backend/cuda/call.h"
#include "wholestep/backend/cuda/library.h"
#include "wholestep/compile/region_work.h"
#include "wholestep/ops/pointwise.h"
#include "wholestep/ops/registry.h"

namespace wholestep::test {
namespace {

void add_node(Graph& graph, const OpDef& op, const OpCase& request) {
  std::vector<int> values;
  for (const TensorType& type : request.inputs)
    values.push_back(
        graph.value_of(graph.add_input(InputKind::kBatch, fmt::format("x{}", graph.inputs.size()), type)));
  const Types types = infer_types(op, request.inputs, request.attrs);
  for (int value : graph.add_node(op, request.attrs, values, types))
    graph.add_output(fmt::format("y{}", value), graph.tensor(value));
  const KernelRequest plain{op.name, request.inputs, types, request.attrs};
  for (const Attrs& attrs :
       with_sums(request.attrs, *choose_kernel(op, plain, "cuda").kernel->prepare(plain)))
    add_node(graph, op, {.inputs = request.inputs, .attrs = attrs});
}

CudaSource source_of(const std::shared_ptr<Graph>& graph) {
  Plan plan =
      make_plan(graph, {.backend = &cuda_planner(), .simplify = false, .layout = false, .fuse = false});
  return write_regions(make_program(plan), plan_regions(plan));
}

class CudaSourceOf : public testing::TestWithParam<const OpDef*> {};
INSTANTIATE_TEST_SUITE_P(AllOps, CudaSourceOf, testing::ValuesIn(all_ops()),
                         [](const auto& row) { return row.param->name; });

TEST_P(CudaSourceOf, CompilesForEveryArchitecture) {
  std::string why;
  const CudaLibrary* library = cuda_library(&why);
  if (!library) GTEST_SKIP() << "no CUDA library: " << why;
  const OpDef& op = *GetParam();
  std::vector<OpCase> cases = op.cases(), halves = in_halves(cases);
  for (size_t i = cases.size(); i-- > 0;) cases.push_back(as_f64(cases[i]));
  // Ops that run widened have casts around them, which one case shows as well as all do.
  if (!halves.empty()) cases.insert(cases.end(), halves.begin(), halves.begin() + 2);
  // What the older architecture takes the newer takes too: of that, what is written otherwise is left to ask.
  std::set<std::string> texts;
  for (auto [number, architecture] : {std::pair(80, "sm_80"), {90, "sm_90a"}}) {
    set_cuda_architecture(number);
    auto compile_new = [&] {
      auto all = std::make_shared<Graph>();  // as one program: one compilation says it all
      for (const OpCase& request : cases) {
        auto alone = std::make_shared<Graph>();
        add_node(*alone, op, request);
        if (texts.insert(source_of(alone).text).second) add_node(*all, op, request);
      }
      if (all->nodes.empty()) return;
      EXPECT_GT(library->compile(source_of(all), architecture).size(), 0u) << architecture;
    };
    compile_new();
    EverythingByLibraries around_them;
    compile_new();
    WithoutCudnn columns_instead;
    compile_new();
  }
}

/// Whole steps reach tiles that no single case does.
TEST(CudaSource, TrainingStepsOfTheZooCompile) {
  std::string why;
  const CudaLibrary* library = cuda_library(&why);
  if (!library) GTEST_SKIP() << "no CUDA library: " << why;
  for (auto [name, batch] : {std::pair("lenet", 64), {"w1", 32}, {"w3", 32}, {"w4", 32}, {"w4s", 32}}) {
    Plan plan = cuda_train_plan(name, batch);
    CudaSource source = write_regions(make_program(plan), plan_regions(plan));
    EXPECT_GT(library->compile(source, "sm_90a").size(), 0u) << name;
    // Every kernel more is a microsecond more.
    if (std::string_view(name) == "w1") {
      EXPECT_LE(source.kernels.size(), 3u);
      std::vector<CudaStep> steps;
      CudaSource timed = write_timed_regions(make_program(plan), plan_regions(plan), steps);
      EXPECT_GT(library->compile(timed, "sm_90a").size(), 0u);
      EXPECT_EQ(std::ranges::count(steps, "sum_squares", &CudaStep::label), 1)
          << "all updates make it, and one is timed";
    }
    if (std::string_view(name) == "lenet") {
      EXPECT_LE(source.kernels.size(), 5u);
    }
  }
}

TEST(CudaSource, TrainingStepsInHalfCompile) {
  std::string why;
  const CudaLibrary* library = cuda_library(&why);
  if (!library) GTEST_SKIP() << "no CUDA library: " << why;
  for (auto [name, dtype] : {std::pair("lenet", DType::bf16), {"simple-cnn", DType::f16}}) {
    Plan plan = cuda_train_plan(name, 64, dtype);
    CudaSource source = write_regions(make_program(plan), build_regions(plan.schedule, Placement::kFewest));
    EXPECT_GT(library->compile(source, "sm_90a").size(), 0u) << name;
    EXPECT_LE(source.kernels.size(), 24u) << name;
  }
}

/// A vector is divided by rows or by elements, a matrix of one row by elements alone: the same function,
/// which may stand in the text once.
TEST(CudaSource, FunctionsThatCallsShareAreDefinedOnce) {
  std::string why;
  const CudaLibrary* library = cuda_library(&why);
  if (!library) GTEST_SKIP() << "no CUDA library: " << why;
  auto graph = std::make_shared<Graph>();
  for (Shape shape : {Shape{16}, Shape{1, 16}}) {
    Tensor x = graph->tensor(graph->value_of(
        graph->add_input(InputKind::kBatch, "x" + std::to_string(shape.rank()), {DType::f32, shape})));
    graph->add_output("y" + std::to_string(shape.rank()), exp(x));
  }
  Plan plan = make_plan(graph, {.backend = &cuda_planner()});
  CudaSource source = write_regions(make_program(plan), plan_regions(plan));
  EXPECT_GT(library->compile(source, "sm_90a").size(), 0u);
}

}  // namespace
}  // namespace wholestep::test
