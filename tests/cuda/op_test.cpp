// Every CUDA kernel of every op on every case of its row, on a GPU: against a naive f64 evaluation, in memory
// that shows every stray write, with the same bits as one graph, call by call and again.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "support/cuda_device.h"
#include "support/kernel_run.h"
#include "support/op_case.h"
#include "support/op_reference.h"
#include "wholestep/compile/compile.h"
#include "wholestep/ops/registry.h"

namespace wholestep::test {
namespace {

constexpr int64_t kFence = 256;

/// One kernel on all the cases it accepts, as one program over one arena: operands, results and workspaces
/// with poisoned fences between them.
struct CaseProgram {
  struct Item {
    std::vector<Tensor> inputs;
    Types outputs;
    Attrs attrs;
    std::string text;
  };
  std::vector<Item> items;
  Program program;
  std::vector<std::byte> image;  // what the arena holds before the run
  std::vector<bool> may_change;

  CaseProgram(const OpDef& op, const Kernel& kernel) {
    for (const OpCase& listed : op.cases())
      for (const OpCase& request : {listed, as_f64(listed)}) {
        Item item{.inputs = make_operands(request),
                  .outputs = {},
                  .attrs = request.attrs,
                  .text = describe(op, request)};
        if (!refusal(op, kernel, item.inputs, item.attrs).empty()) continue;
        add(op, kernel, item);
        if (int64_t parts = program.calls.back().kernel.kernel->square_parts; parts > 0) {
          item.attrs = with_squares(item.attrs, parts);
          item.text += " with squares";
          add(op, kernel, item);
        }
      }
  }

 private:
  BufferRef place(int64_t bytes, bool writable) {
    BufferRef ref{0, static_cast<int64_t>(image.size())};
    int64_t room = (bytes + 63) / 64 * 64;
    image.resize(image.size() + static_cast<size_t>(room + kFence), std::byte{kPoison});
    may_change.resize(image.size());
    if (writable) std::fill_n(may_change.begin() + ref.offset, bytes, true);
    return ref;
  }
  void add(const OpDef& op, const Kernel& kernel, Item item) {
    Types types;
    for (const Tensor& t : item.inputs) types.push_back(t.type());
    item.outputs = infer_types(op, types, item.attrs);
    std::shared_ptr<const PreparedKernel> prepared =
        kernel.prepare({op.name, types, item.outputs, item.attrs});
    Call call;
    call.kernel.label = item.text;
    call.kernel.kernel = prepared;
    for (const Tensor& t : item.inputs) {
      call.inputs.push_back(place(t.type().bytes(), false));
      std::ranges::copy(t.bytes(), image.begin() + call.inputs.back().offset);
    }
    // Values are numbered by where they lie, so that the regions know them apart.
    for (const TensorType& type : item.outputs) call.outputs.push_back(place(type.bytes(), true));
    for (BufferRef ref : call.inputs) call.kernel.inputs.push_back(static_cast<int>(ref.offset));
    for (BufferRef ref : call.outputs) call.kernel.outputs.push_back(static_cast<int>(ref.offset));
    call.workspace = place(prepared->workspace_bytes, true);
    program.calls.push_back(std::move(call));
    items.push_back(std::move(item));
  }
};

class CudaOp : public testing::TestWithParam<const OpDef*> {};
INSTANTIATE_TEST_SUITE_P(AllOps, CudaOp, testing::ValuesIn(all_ops()),
                         [](const auto& row) { return row.param->name; });

double element(const TensorType& type, const std::byte* bytes, size_t i) {
  return visit_stored(type.dtype, [&](auto zero) {
    return static_cast<double>(reinterpret_cast<const decltype(zero)*>(bytes)[i]);
  });
}

TEST_P(CudaOp, MatchesTheReferenceAndWritesNothingElse) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  EveryProductByLibrary small_ones_too;
  const OpDef& op = *GetParam();
  Backend& backend = cuda_backend();
  for (const Kernel& kernel : op.kernels) {
    if (kernel.backend != "cuda") continue;
    CaseProgram cases(op, kernel);
    ASSERT_FALSE(cases.items.empty()) << "no case of " << op.name << " is accepted by kernel " << kernel.name;
    std::shared_ptr<Memory> memory = backend.allocate(static_cast<int64_t>(cases.image.size()));
    std::byte* base = memory->data();
    auto executable = backend.load(cases.program, std::span(&base, 1));
    std::vector<std::byte> after(cases.image.size()), again(after.size());
    auto run = [&](std::vector<std::byte>& result, auto&& what) {
      backend.copy_in(base, cases.image.data(), memory->bytes());
      what();
      backend.copy_out(result.data(), base, memory->bytes());
    };
    run(after, [&] { executable->run(1); });
    for (size_t i = 0; i < after.size(); ++i)
      ASSERT_TRUE(cases.may_change[i] || after[i] == cases.image[i])
          << "kernel " << kernel.name << " of " << op.name << " wrote at byte " << i << " of the arena";
    for (size_t c = 0; c < cases.items.size(); ++c) {
      const CaseProgram::Item& item = cases.items[c];
      auto expected = expected_results(op, item.inputs, item.attrs);
      ASSERT_TRUE(expected) << item.text;
      double squares = 0, parts = 0;
      for (size_t o = 0; o < expected->size(); ++o) {
        const std::byte* got = after.data() + cases.program.calls[c].outputs[o].offset;
        for (size_t i = 0; i < (*expected)[o].values.size(); ++i) {
          double value = element(item.outputs[o], got, i), wanted = (*expected)[o].values[i];
          squares += value * value;
          double bound = error_bound(op, item.inputs, item.outputs, item.attrs, o, (*expected)[o], i);
          if (kernel.name.starts_with("tensor") ||
              (kernel.name == "cuBLASLt" && item.outputs[o].dtype == DType::f32))
            bound += 0x1p-10 * (*expected)[o].magnitudes[i];  // two TF32 operands
          ASSERT_LE(std::abs(value - wanted), bound)
              << "kernel " << kernel.name << " of " << item.text << ": output " << o << " element " << i
              << " is " << value << ", not " << wanted;
          ASSERT_FALSE(std::isnan(value) && !std::isnan(wanted)) << item.text << " element " << i;
        }
      }
      if (!item.attrs.has("squares")) continue;
      for (int64_t i = 0; i < item.attrs.integer("squares"); ++i)
        parts += element(item.outputs.back(), after.data() + cases.program.calls[c].outputs.back().offset,
                         static_cast<size_t>(i));
      ASSERT_NEAR(parts, squares, 1e-12 * squares) << "kernel " << kernel.name << " of " << item.text;
    }
    run(again, [&] { executable->run(1); });
    EXPECT_TRUE(after == again) << op.name << " " << kernel.name << " gave other bits the second time";
    for (size_t c = 0; c < cases.items.size(); c += std::max<size_t>(1, cases.items.size() / 3)) {
      run(again, [&] { executable->run_call(c); });
      for (size_t o = 0; o < cases.items[c].outputs.size(); ++o) {
        int64_t at = cases.program.calls[c].outputs[o].offset;
        EXPECT_EQ(std::memcmp(after.data() + at, again.data() + at,
                              static_cast<size_t>(cases.items[c].outputs[o].bytes())),
                  0)
            << cases.items[c].text << " gave other bits when it ran alone";
      }
    }
  }
}

/// The NaN that GPUs make has every bit of its mantissa set: it must not be rounded away on its way into
/// tensor cores.
class CudaProduct : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Ops, CudaProduct, testing::Values("matmul", "conv2d", "conv2d_dx", "conv2d_dw"),
                         [](const auto& row) { return std::string(row.param); });

TEST_P(CudaProduct, GivesANaNWhereAnOperandHasOne) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  EveryProductByLibrary small_ones_too;
  const OpDef& op = find_op(GetParam());
  Backend& backend = cuda_backend();
  for (const Kernel& kernel : op.kernels) {
    if (kernel.backend != "cuda") continue;
    CaseProgram cases(op, kernel);
    for (size_t c = 0; c < cases.items.size(); ++c) {
      Tensor& first = cases.items[c].inputs[0];
      if (first.dtype() != DType::f32) continue;
      std::ranges::fill(first.data<float>(), std::bit_cast<float>(0x7fffffffu));
      std::ranges::copy(first.bytes(), cases.image.begin() + cases.program.calls[c].inputs[0].offset);
    }
    std::shared_ptr<Memory> memory = backend.allocate(static_cast<int64_t>(cases.image.size()));
    std::byte* base = memory->data();
    backend.copy_in(base, cases.image.data(), memory->bytes());
    backend.load(cases.program, std::span(&base, 1))->run(1);
    std::vector<std::byte> after(cases.image.size());
    backend.copy_out(after.data(), base, memory->bytes());
    for (size_t c = 0; c < cases.items.size(); ++c) {
      const CaseProgram::Item& item = cases.items[c];
      if (item.inputs[0].dtype() != DType::f32) continue;
      auto expected = expected_results(op, item.inputs, item.attrs);
      const std::byte* got = after.data() + cases.program.calls[c].outputs[0].offset;
      for (size_t i = 0; i < (*expected)[0].values.size(); ++i)
        ASSERT_EQ(std::isnan(element(item.outputs[0], got, i)), std::isnan((*expected)[0].values[i]))
            << "kernel " << kernel.name << " of " << item.text << " element " << i;
    }
  }
}

}  // namespace
}  // namespace wholestep::test
