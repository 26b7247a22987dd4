// Thousands of random training steps: eager, compiled and partly compiled execution give the same bits, and
// naive evaluation in f64 the same numbers.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "support/random_program.h"

namespace wholestep::test {
namespace {

bool same_bits(const Outcome& a, const Outcome& b) {
  return std::ranges::equal(a, b, [](const Tensor& x, const Tensor& y) {
    return x.type() == y.type() && std::ranges::equal(x.bytes(), y.bytes());
  });
}

/// Which ways of running the program do not agree; "" where all do.
std::string disagreement(const RandomProgram& program, const std::function<void(Graph&)>& bug = {}) {
  const Outcome eager = run_eagerly(program);
  if (!same_bits(run_compiled(program, {}, bug), eager)) return "compiled";
  if (!same_bits(run_compiled(program, {.fuse = false}, bug), eager)) return "compiled without fusion";
  if (!same_bits(run_compiled(program, {.reuse_memory = false}, bug), eager))
    return "compiled without memory reuse";
  if (!same_numbers(eager, run_in_f64(program))) return "f64";
  return "";
}

TEST(RandomPrograms, AgreeEagerlyCompiledAndInF64) {
  int calls = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    RandomProgram program = random_program(seed, 3 + static_cast<int>(seed % 38));
    calls += static_cast<int>(program.calls.size());
    std::string what = disagreement(program);
    if (what.empty()) continue;
    RandomProgram small = shrunk(program, [](const RandomProgram& p) { return !disagreement(p).empty(); });
    ADD_FAILURE() << "seed " << seed << ": eager and " << what << " disagree by " << small.optimizer
                  << ", already in\n"
                  << to_string(small);
    break;
  }
  EXPECT_GT(calls, HasFailure() ? 0 : 40000);
}

TEST(RandomPrograms, AgreeEagerlyAndCompiledInHalf) {
  auto disagree = [](const RandomProgram& program) {
    const Outcome eager = run_eagerly(program);
    for (const CompileOptions& options :
         {CompileOptions{}, CompileOptions{.fuse = false}, CompileOptions{.simplify = false}})
      if (!same_bits(run_compiled(program, options), eager)) return true;
    return false;
  };
  for (uint64_t seed = 0; seed < 300; ++seed) {
    RandomProgram program = random_program(seed, 3 + static_cast<int>(seed % 38));
    program.dtype = seed % 2 == 0 ? DType::f16 : DType::bf16;
    if (!disagree(program)) continue;
    ADD_FAILURE() << "seed " << seed << " in " << name(program.dtype) << ", already in\n"
                  << to_string(shrunk(program, disagree));
    break;
  }
}

TEST(RandomPrograms, ThatOnceDisagreedAgree) {
  // The parameter was updated before a reshape that lies over it had been read.
  const RandomProgram view{.parameters = {{1, 3, 2}},
                           .batch = {{3, 1}},
                           .calls = {{"flatten", {0}, {0}}, {"sub", {0, 1}, {}}, {"detach", {2}, {}}}};
  EXPECT_EQ(disagreement(view), "") << to_string(view);
  // Rows of nothing were looked for in an operand.
  const RandomProgram nothing{
      .parameters = {{1, 1}}, .batch = {{3, 0}}, .calls = {{"sub", {0, 1}, {}}, {"sum", {2}, {1, 0}}}};
  EXPECT_EQ(disagreement(nothing), "") << to_string(nothing);
  // Windows of 3 x 3 that padding leaves 2 x 2 of were averages of 4.
  const RandomProgram cut{
      .parameters = {{5, 1, 2, 2}}, .batch = {}, .calls = {{"avg_pool2d", {0}, {3, 2, 1}}}};
  EXPECT_EQ(disagreement(cut), "") << to_string(cut);
}

TEST(RandomPrograms, ThatFailAreShrunkToTheFewCallsThatMatter) {
  // A bug: what is subtracted from a permuted value is added.
  auto bug = [](Graph& graph) {
    for (Node& node : graph.nodes) {
      if (node.op->name != "sub" || node.inputs[0] == node.inputs[1]) continue;
      const int maker = graph.values[static_cast<size_t>(node.inputs[0])].node;
      if (maker >= 0 && graph.node(maker).op->name == "permute") node.op = &find_op("add");
    }
  };
  int found = 0;
  for (uint64_t seed = 0; found < 5; ++seed) {
    ASSERT_LT(seed, 400u);
    RandomProgram program = random_program(seed, 30);
    auto fails = [&](const RandomProgram& p) { return !same_bits(run_compiled(p, {}, bug), run_eagerly(p)); };
    if (!fails(program)) continue;
    ++found;
    RandomProgram small = shrunk(program, fails);
    std::string text = to_string(small);
    EXPECT_TRUE(fails(small));
    EXPECT_LE(small.calls.size(), 3u) << text;
    EXPECT_LE(small.inputs(), 3u) << text;
    EXPECT_EQ(static_cast<size_t>(std::ranges::count(text, '\n')), small.inputs() + small.calls.size())
        << text;
  }
}

}  // namespace
}  // namespace wholestep::test
