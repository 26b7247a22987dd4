// Every row of the op table, on every case it lists: gradients, kernels, threads, memory and messages. A new
// op is tested by being in the table.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "support/gradient_check.h"
#include "support/kernel_run.h"
#include "support/op_case.h"
#include "support/op_reference.h"
#include "support/shape_rule.h"
#include "wholestep/backend/cpu/call.h"
#include "wholestep/backend/cpu/isa.h"
#include "wholestep/backend/cpu/precision.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/base/error.h"
#include "wholestep/base/half.h"
#include "wholestep/graph/grad.h"
#include "wholestep/ops/registry.h"

namespace wholestep::test {
namespace {

/// Ops whose gradient is not the derivative, and why. Everything else that takes and gives floating-point
/// numbers must have a gradient rule.
const std::map<std::string, std::string> kNoDerivative = {
    {"conv2d_dw_strips", "made by a compiler pass, after differentiation"},
    {"conv2d_dx_strips", "made by a compiler pass, after differentiation"},
    {"conv2d_strips", "made by a compiler pass, after differentiation"},
    {"conv2d_sums", "made by a compiler pass, after differentiation"},
    {"conv2d_sums_dw", "made by a compiler pass, after differentiation"},
    {"cross_entropy_with_dx", "made by a compiler pass, after differentiation"},
    {"fused", "made by a compiler pass, after differentiation"},
    {"matmul_fused", "made by a compiler pass, after differentiation"},
    {"matmul_squares", "made by a compiler pass, after differentiation"},
    {"stop_gradient", "its gradient is none by definition"},
};

/// Whether a kernel rounds the operands of its product, 0 and 1, to bf16.
bool rounds(const Kernel& kernel) { return kernel.name.starts_with("bf16"); }
bool runs_on(Isa isa, const Kernel& kernel) { return !rounds(kernel) || isa >= Isa::avx512_bf16; }

std::vector<Tensor> as_bf16(const std::vector<Tensor>& operands,
                            std::initializer_list<int64_t> of_product = {0, 1}) {
  std::vector<Tensor> rounded;
  for (const Tensor& t : operands) rounded.push_back(t.clone());
  for (int64_t i : of_product)
    for (float& value : rounded[static_cast<size_t>(i)].data<float>())
      value = static_cast<float>(BFloat16(value));
  return rounded;
}

class OpTable : public testing::TestWithParam<const OpDef*> {
 protected:
  const OpDef& op() const { return *GetParam(); }
  std::vector<OpCase> cases() const { return op().cases ? op().cases() : std::vector<OpCase>(); }

  /// Calls fn(kernel, operands, attrs, text) for every kernel that accepts a case and runs here.
  template <class Fn>
  void for_each_kernel(Fn&& fn) const {
    for (const OpCase& request : cases()) {
      std::vector<Tensor> operands = make_operands(request);
      for (const Kernel* kernel : cpu_kernels_of(op())) {
        if (!runs_on(detected_isa(), *kernel)) continue;
        set_product_precision(rounds(*kernel) ? Precision::bf16 : Precision::f32);
        if (refusal(op(), *kernel, operands, request.attrs).empty())
          fn(*kernel, operands, request.attrs,
             fmt::format("kernel {} of {}", kernel->name, describe(op(), request)));
      }
    }
  }

  void TearDown() override {
    set_threads(2);
    set_product_precision(Precision::f32);
    set_isa_cap(detected_isa());
  }
};

INSTANTIATE_TEST_SUITE_P(AllOps, OpTable, testing::ValuesIn(all_ops()),
                         [](const auto& row) { return row.param->name; });

bool differentiable(const OpDef& op, const OpCase& request) {
  if (!has_floating_operand(request) || kNoDerivative.contains(op.name)) return false;
  Types types = infer_types(op, request.inputs, request.attrs);
  auto rounds = [](const TensorType& type) {
    return is_half(type.dtype);
  };  // to steps, which differences see
  if (std::ranges::any_of(request.inputs, rounds) || std::ranges::any_of(types, rounds)) return false;
  return std::ranges::any_of(types, [](const TensorType& type) { return is_floating(type.dtype); });
}

TEST_P(OpTable, RowIsComplete) {
  EXPECT_FALSE(op().doc.empty());
  EXPECT_TRUE(op().infer);
  EXPECT_FALSE(cases().empty()) << "the row of " << op().name << " lists no cases, so nothing would test it";
  EXPECT_FALSE(cpu_kernels_of(op()).empty());
  for (const OpCase& request : cases()) {
    EXPECT_TRUE(op().vjp || !differentiable(op(), request))
        << describe(op(), request) << " is differentiable but has no gradient rule";
    for (const OpCase& typed : {request, as_f64(request)}) {
      std::vector<Tensor> operands = make_operands(typed);
      EXPECT_EQ(refusal(op(), *cpu_kernels_of(op()).back(), operands, typed.attrs), "")
          << "the last kernel accepts everything: " << describe(op(), typed);
    }
  }
}

TEST_P(OpTable, ShapesAndGradientsAreSaid) {
  EXPECT_EQ(op().gradient.empty(), op().vjp == nullptr)
      << "the row of " << op().name << " gives its gradient where it has one";
  EXPECT_THAT(op().where.file_name(), testing::HasSubstr("wholestep/ops/"));
  for (const OpCase& request : cases()) {
    EXPECT_EQ(shape_rule_error(op(), request), "") << describe(op(), request) << ": " << op().shapes;
    for (size_t i = 0; op().vjp && i < std::min(op().operands.size(), request.inputs.size()); ++i)
      if (is_floating(request.inputs[i].dtype)) {
        EXPECT_THAT(op().gradient, testing::HasSubstr("d" + op().operands[i]));
      }
  }
}

TEST_P(OpTable, EveryKernelIsExercisedByACase) {
  for (const Kernel* kernel : cpu_kernels_of(op())) {
    if (!runs_on(detected_isa(), *kernel)) continue;
    bool used = false;
    for_each_kernel([&](const Kernel& other, auto&&...) { used |= &other == kernel; });
    EXPECT_TRUE(used) << "no case of " << op().name << " is accepted by kernel " << kernel->name;
  }
}

double step_for(const OpCase& request) { return std::min(2e-4, gap_between_elements(request) / 5); }

TEST_P(OpTable, GradientsMatchCentralDifferences) {
  for (const OpCase& listed : cases()) {
    OpCase request = as_f64(listed);
    if (!differentiable(op(), request) || !op().vjp) continue;
    auto loss = [&](const std::vector<Tensor>& x) { return weighted_sum(apply(op(), x, request.attrs)); };
    EXPECT_TRUE(gradients_agree(loss, make_operands(request), {.step = step_for(request)}))
        << describe(op(), request);
  }
}

TEST_P(OpTable, SecondDerivativesMatchCentralDifferences) {
  for (const OpCase& listed : cases()) {
    OpCase request = as_f64(listed);
    int64_t elements = 0;
    for (const TensorType& type : request.inputs) elements += type.shape.numel();
    if (!differentiable(op(), request) || !op().vjp || elements > 200) continue;
    auto gradient_sum = [&](const std::vector<Tensor>& x) {
      std::vector<Tensor> wanted;
      for (const Tensor& t : x)
        if (t.dtype() == DType::f64) wanted.push_back(t);
      return weighted_sum(grad(weighted_sum(apply(op(), x, request.attrs)), wanted, true), 7);
    };
    EXPECT_TRUE(
        gradients_agree(gradient_sum, make_operands(request),
                        {.step = step_for(request), .tolerance = 1e-5, .elementwise = 64, .directions = 8}))
        << describe(op(), request);
  }
}

testing::AssertionResult near(const OpDef& op, const KernelRun& run, const Attrs& attrs, size_t output,
                              const Tensor& result, const Expected& expected) {
  std::vector<double> got = as_doubles(result);
  if (got.size() != expected.values.size()) return testing::AssertionFailure() << got.size() << " elements";
  for (size_t i = 0; i < got.size(); ++i)
    if (!(std::abs(got[i] - expected.values[i]) <=
          error_bound(op, run.inputs, run.output_types, attrs, output, expected, i)))
      return testing::AssertionFailure()
             << "output " << output << " element " << i << " is " << got[i] << ", not " << expected.values[i];
  if (result.dtype() == DType::boolean)
    for (std::byte b : result.bytes())
      if (b > std::byte{1}) return testing::AssertionFailure() << "a bool that is neither 0 nor 1";
  return testing::AssertionSuccess();
}

TEST_P(OpTable, EveryKernelMatchesTheReference) {
  for_each_kernel([&](const Kernel& kernel, const std::vector<Tensor>& operands, const Attrs& attrs,
                      const std::string& text) {
    auto expected = expected_results(op(), rounds(kernel) ? as_bf16(operands) : operands, attrs);
    // The gradient of a bias is a sum of the operand as it is.
    if (rounds(kernel) && op().name == "conv2d_dw" && attrs.has("bias"))
      (*expected)[1] = (*expected_results(op(), operands, attrs))[1];
    // That of an input is a product of the weight, which the update takes as it is.
    if (rounds(kernel) && attrs.has("input_gradient"))
      expected->back() =
          expected_results(op(), as_bf16(operands, {0, 1, attrs.integer("input_gradient")}), attrs)->back();
    ASSERT_TRUE(expected) << op().name
                          << " has one kernel and tests/support/op_reference.cpp no evaluation of it";
    for (Isa isa : available_isas()) {
      set_isa_cap(isa);
      if (!runs_on(isa, kernel)) {
        EXPECT_THROW(KernelRun(op(), kernel, operands, attrs), Error) << text << " on " << name(isa);
        continue;
      }
      KernelRun run(op(), kernel, operands, attrs);
      std::vector<Tensor> outputs = run.run();
      ASSERT_EQ(run.damage, "") << text;
      ASSERT_EQ(expected->size(), outputs.size());
      for (size_t o = 0; o < outputs.size(); ++o)
        ASSERT_TRUE(near(op(), run, attrs, o, outputs[o], (*expected)[o])) << text << " on " << name(isa);
    }
  });
}

TEST_P(OpTable, BitsDoNotDependOnThreadsOrRepetition) {
  for_each_kernel([&](const Kernel& kernel, const std::vector<Tensor>& operands, const Attrs& attrs,
                      const std::string& text) {
    KernelRun run(op(), kernel, operands, attrs);
    std::vector<Tensor> first;
    for (int threads : {1, 2, 3, 3}) {
      set_threads(threads);
      std::vector<Tensor> outputs = run.run();
      if (first.empty()) first = outputs;
      EXPECT_TRUE(same_bytes(outputs, first)) << text << " on " << threads << " threads";
      EXPECT_EQ(run.damage, "") << text;
    }
    KernelRun again(op(), kernel, operands, attrs);
    EXPECT_TRUE(same_bytes(again.run(), first)) << text << " prepared anew";
  });
}

TEST_P(OpTable, SquaresAddUpToThoseOfTheResults) {
  for_each_kernel([&](const Kernel& kernel, const std::vector<Tensor>& operands, const Attrs& attrs,
                      const std::string& text) {
    KernelRun plain(op(), kernel, operands, attrs);
    if (plain.prepared->square_parts == 0) return;
    std::vector<Tensor> results = plain.run();
    double expected = 0;
    for (const Tensor& t : results)
      for (double x : as_doubles(t)) expected += x * x;
    KernelRun run(op(), kernel, operands, with_squares(attrs, plain.prepared->square_parts));
    std::vector<Tensor> first;
    for (int threads : {1, 2, 3}) {
      set_threads(threads);
      std::vector<Tensor> outputs = run.run();
      EXPECT_EQ(run.damage, "") << text;
      if (first.empty()) first = outputs;
      EXPECT_TRUE(same_bytes(outputs, first)) << text << " on " << threads << " threads";
    }
    Tensor parts = first.back();
    first.pop_back();
    EXPECT_TRUE(same_bytes(first, results)) << text;
    double total = 0;
    for (double part : as_doubles(parts)) total += part;
    EXPECT_NEAR(total, expected, 1e-12 * expected) << text;
  });
}

/// Runs the phases of a kernel one after the other, each chunk of a row phase with every other row of its
/// row operands poisoned: what the chunk may not read it cannot use, and what it may not write must stay.
TEST_P(OpTable, ChunksKeepToTheirRows) {
  for_each_kernel([&](const Kernel& kernel, const std::vector<Tensor>& operands, const Attrs& attrs,
                      const std::string& text) {
    KernelRun run(op(), kernel, operands, attrs);
    const auto& call = dynamic_cast<const CpuCall&>(*run.prepared);
    std::vector<Tensor> whole = run.run(), outputs;
    for (const Tensor& t : whole) {
      outputs.push_back(t.clone());
      std::ranges::fill(outputs.back().bytes(), std::byte{kPoison});
    }
    FencedBytes workspace(call.workspace_bytes);
    for (const CpuPhase& phase : call.phases) {
      Split split(phase.rows);
      ASSERT_TRUE(phase.rows == 0 || split.chunks() == phase.chunks) << text;
      for (int64_t chunk = 0; chunk < phase.chunks; ++chunk) {
        std::vector<Tensor> reads;
        std::vector<const void*> in;
        std::vector<void*> out;
        auto poison_other_rows = [&](Tensor& t) {
          ASSERT_EQ(t.dim(0), phase.rows) << text << ": a row operand has as many rows as the phase";
          size_t row_bytes = t.bytes().size() / static_cast<size_t>(phase.rows);
          std::ranges::fill(t.bytes().first(static_cast<size_t>(split[chunk].begin) * row_bytes),
                            std::byte{kPoison});
          std::ranges::fill(t.bytes().subspan(static_cast<size_t>(split[chunk].end) * row_bytes),
                            std::byte{kPoison});
        };
        for (size_t i = 0; i < operands.size(); ++i) {
          reads.push_back(operands[i].clone());
          if (phase.rows > 0 && phase.row_inputs >> i & 1) poison_other_rows(reads[i]);
        }
        for (Tensor& t : reads) in.push_back(t.bytes().data());
        std::vector<Tensor> before;
        for (Tensor& t : outputs) out.push_back(t.bytes().data()), before.push_back(t.clone());
        phase.run({in.data(), out.data(), workspace.data()}, chunk);
        for (size_t o = 0; o < outputs.size(); ++o) {
          if (phase.rows == 0 || !(phase.row_outputs >> o & 1)) continue;
          size_t row_bytes = outputs[o].bytes().size() / static_cast<size_t>(phase.rows),
                 begin = static_cast<size_t>(split[chunk].begin) * row_bytes,
                 end = static_cast<size_t>(split[chunk].end) * row_bytes;
          EXPECT_TRUE(std::ranges::equal(outputs[o].bytes().first(begin), before[o].bytes().first(begin)) &&
                      std::ranges::equal(outputs[o].bytes().subspan(end), before[o].bytes().subspan(end)))
              << text << ": chunk " << chunk << " writes rows of another";
        }
      }
    }
    EXPECT_TRUE(same_bytes(outputs, whole)) << text << ": a chunk reads rows of another";
  });
}

TEST_P(OpTable, ResultsMayLieOverOperandsWhereTheKernelSaysSo) {
  for_each_kernel([&](const Kernel& kernel, const std::vector<Tensor>& operands, const Attrs& attrs,
                      const std::string& text) {
    KernelRun run(op(), kernel, operands, attrs);
    if (!run.prepared->in_place) return;
    std::vector<Tensor> apart = run.run();
    for (size_t o = 0; o < run.output_types.size(); ++o)
      for (size_t i = 0; i < operands.size(); ++i) {
        if (run.output_types[o] != run.input_types[i]) continue;
        std::vector<Tensor> in, out;
        for (const Tensor& t : operands) in.push_back(t.clone());
        for (const Tensor& t : apart) out.push_back(t.clone());
        out[o] = in[i];
        std::vector<const void*> reads;
        std::vector<void*> writes;
        for (Tensor& t : in) reads.push_back(t.bytes().data());
        for (Tensor& t : out) writes.push_back(t.bytes().data());
        FencedBytes workspace(run.prepared->workspace_bytes);
        cpu_backend().run(*run.prepared, reads, writes, workspace.data());
        EXPECT_TRUE(same_bytes(out, apart)) << text << ": output " << o << " over operand " << i;
      }
  });
}

/// Operands that may not fit: another rank, another extent, another dtype, one at a time.
std::vector<Types> spoiled(const Types& types) {
  std::vector<Types> all;
  for (size_t i = 0; i < types.size(); ++i) {
    auto with = [&](const TensorType& type) {
      all.push_back(types);
      all.back()[i] = type;
    };
    const TensorType& own = types[i];
    for (DType dtype :
         {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8, DType::boolean, DType::f16, DType::bf16})
      with({dtype, own.shape});
    with({own.dtype, {}});
    with({own.dtype, {0}});
    if (own.shape.rank() < Shape::kMaxRank) {
      Shape more = own.shape;
      more.push_back(2);
      with({own.dtype, more});
    }
    for (int axis = 0; axis < own.shape.rank(); ++axis)
      for (int64_t extent : {int64_t{0}, own.shape[axis] + 1}) {
        Shape other = own.shape;
        other.set(axis, extent);
        with({own.dtype, other});
      }
  }
  return all;
}

TEST_P(OpTable, WrongOperandsAreErrorsThatNameThem) {
  for (const OpCase& request : cases())
    for (const Types& types : spoiled(request.inputs)) {
      try {
        for (const TensorType& type : infer_types(op(), types, request.attrs)) type.shape.numel();
      } catch (const Error& error) {
        ASSERT_EQ(static_cast<int>(error.code()), static_cast<int>(ErrorCode::kUsage)) << error.what();
        ASSERT_THAT(error.parts().where, testing::StartsWith(op().name + " of "));
        for (size_t i = 0; i < types.size(); ++i)
          ASSERT_THAT(
              error.parts().where,
              testing::HasSubstr(i < op().operands.size() ? op().operands[i] + " " + to_string(types[i])
                                                          : to_string(types[i])));
      }
    }
}

}  // namespace
}  // namespace wholestep::test
