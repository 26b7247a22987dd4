// random_uniform draws Philox 4x32-10 blocks keyed by (seed, step), with the node in the counter's upper
// half.
#include "wholestep/ops/random.h"

#include <fmt/format.h>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/base/philox.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/random_cuda.h"
#include "wholestep/ops/registry.h"

namespace wholestep {
namespace {

thread_local RandomState* current_state = nullptr;

Types infer_uniform(std::span<const TensorType> in, const Attrs& attrs) {
  for (const TensorType& type : in)
    if (type != TensorType{DType::i64, {}})
      throw Error(
          ErrorCode::kUsage,
          {.what = "a random op is keyed by integer scalars", .got = to_string(type), .expected = "i64[]"});
  return {{DType::f32, Shape(attrs.integers("shape"))}};
}

std::unique_ptr<PreparedKernel> prepare_uniform(const KernelRequest& q) {
  const Shape& shape = q.outputs[0].shape;
  int64_t rows = shape.rank() > 0 ? shape[0] : 1, width = rows > 0 ? shape.numel() / rows : 0;
  uint64_t node = static_cast<uint64_t>(q.attrs.integer("node"));
  return row_call(rows, 0, 1, [=](const CpuArgs& args, Range range) {
    uint64_t key =
        mix(static_cast<uint64_t>(*args.in<int64_t>(0)), static_cast<uint64_t>(*args.in<int64_t>(1)));
    PhiloxBlock block{};
    for (int64_t i = range.begin * width, end = range.end * width; i < end; ++i) {
      if (i % 4 == 0 || i == range.begin * width)
        block = philox(key, philox_counter(node, static_cast<uint64_t>(i / 4)));
      args.out<float>(0)[i] = uniform01(block[static_cast<size_t>(i % 4)]);
    }
  });
}

std::vector<OpCase> uniform_cases() {
  auto of = [](std::vector<int64_t> shape, int node) {
    return Attrs{{"shape", std::move(shape)}, {"node", node}};
  };
  TensorType counter{DType::i64, {}};
  return {{.inputs = {counter, counter}, .attrs = of({7, 13}, 0)},
          {.inputs = {counter, counter}, .attrs = of({1031}, 5)}};
}

const OpDef k_uniform{.name = "random_uniform",
                      .doc = "uniform in [0, 1) from Philox(seed, step, node, element) (Salmon et al. 2011)",
                      .operands = {"seed", "step"},
                      .shapes = "seed [], step [] -> [shape...]",
                      .infer = infer_uniform,
                      .cases = uniform_cases,
                      .kernels = {{.backend = "cpu", .name = "philox", .prepare = prepare_uniform},
                                  {.backend = "cuda", .name = "philox", .prepare = prepare_uniform_cuda}}};

}  // namespace

std::vector<const OpDef*> random_ops() { return {&k_uniform}; }

RandomState::RandomState(uint64_t seed_value) : seed(zeros({DType::i64, {}})), step(zeros({DType::i64, {}})) {
  seed.data<int64_t>()[0] = static_cast<int64_t>(seed_value);
  seed.set_role(TensorRole::kState, "random.seed");
  step.set_role(TensorRole::kState, "random.step");
}

void RandomState::advance() {
  step.assign(step + 1.0);
  next_node = 0;
}

RandomState& RandomState::current() {
  thread_local RandomState fallback;
  return current_state ? *current_state : fallback;
}

UseRandom::UseRandom(RandomState& state) : before_(current_state) { current_state = &state; }
UseRandom::~UseRandom() { current_state = before_; }

Tensor random_uniform(const Shape& shape) {
  RandomState& state = RandomState::current();
  Attrs attrs = {{"shape", std::vector<int64_t>(shape.begin(), shape.end())}, {"node", state.next_node++}};
  return apply1(k_uniform, {state.seed, state.step}, attrs);
}

Tensor dropout(const Tensor& x, double p) {
  if (!(p >= 0 && p <= 1))
    throw Error(
        ErrorCode::kUsage,
        {.what = "dropout probability out of range", .got = fmt::format("{}", p), .expected = "0 to 1"});
  if (p == 0) return x;
  if (p == 1) return x * 0.0;
  return where(random_uniform(x.shape()) >= p, x * (1 / (1 - p)), 0.0);
}

}  // namespace wholestep
