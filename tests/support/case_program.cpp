#include "support/case_program.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/kernel_run.h"
#include "support/op_reference.h"

namespace wholestep::test {
namespace {

constexpr int64_t kFence = 256;

}  // namespace

CaseProgram::CaseProgram(const OpDef& op, const Kernel& kernel, const Wanted& wanted) {
  for (const OpCase& listed : op.cases())
    for (const OpCase& request : {listed, as_f64(listed)}) {
      Item item{.inputs = make_operands(request),
                .outputs = {},
                .attrs = request.attrs,
                .text = describe(op, request)};
      if (!refusal(op, kernel, item.inputs, item.attrs).empty()) continue;
      if (!add(op, kernel, item, wanted)) continue;
      item.text += " with squares";
      for (const Attrs& attrs : with_sums(item.attrs, *program.calls.back().kernel.kernel)) {
        item.attrs = attrs;
        add(op, kernel, item, wanted);
      }
    }
}

BufferRef CaseProgram::place(int64_t bytes, bool writable) {
  BufferRef ref{0, static_cast<int64_t>(image.size())};
  int64_t room = (bytes + 63) / 64 * 64;
  image.resize(image.size() + static_cast<size_t>(room + kFence), std::byte{kPoison});
  may_change.resize(image.size());
  if (writable) std::fill_n(may_change.begin() + ref.offset, bytes, true);
  return ref;
}

bool CaseProgram::add(const OpDef& op, const Kernel& kernel, Item item, const Wanted& wanted) {
  Types types;
  for (const Tensor& t : item.inputs) types.push_back(t.type());
  item.outputs = infer_types(op, types, item.attrs);
  const KernelRequest request{op.name, types, item.outputs, item.attrs};
  std::shared_ptr<const PreparedKernel> prepared = kernel.prepare(request);
  if (wanted && !wanted(request, *prepared)) return false;
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
  return true;
}

void CaseProgram::expect_results(const OpDef& op, const Kernel& kernel,
                                 const std::vector<std::byte>& after) const {
  for (size_t i = 0; i < after.size(); ++i)
    ASSERT_TRUE(may_change[i] || after[i] == image[i])
        << "kernel " << kernel.name << " of " << op.name << " wrote at byte " << i << " of the arena";
  for (size_t c = 0; c < items.size(); ++c) {
    const Item& item = items[c];
    auto expected = expected_results(op, item.inputs, item.attrs);
    ASSERT_TRUE(expected) << item.text;
    double squares = 0, parts = 0;
    for (size_t o = 0; o < expected->size(); ++o) {
      const std::byte* got = after.data() + program.calls[c].outputs[o].offset;
      for (size_t i = 0; i < (*expected)[o].values.size(); ++i) {
        double value = element(item.outputs[o], got, i), wanted = (*expected)[o].values[i];
        squares += value * value;
        double bound = error_bound(op, item.inputs, item.outputs, item.attrs, o, (*expected)[o], i);
        if (kernel.name.starts_with("tensor") ||
            (kernel.name == "cuBLASLt" && item.outputs[o].dtype == DType::f32))
          bound += 0x1p-10 * (*expected)[o].magnitudes[i];                           // two TF32 operands
        if (kernel.name == "cuDNN") bound += 0x1p-9 * (*expected)[o].magnitudes[i];  // that are cut off
        ASSERT_LE(std::abs(value - wanted), bound)
            << "kernel " << kernel.name << " of " << item.text << ": output " << o << " element " << i
            << " is " << value << ", not " << wanted;
        ASSERT_FALSE(std::isnan(value) && !std::isnan(wanted)) << item.text << " element " << i;
      }
    }
    const bool of_operand = item.attrs.has("operand_squares");
    if (!item.attrs.has("squares") && !of_operand) continue;
    for (int64_t i = 0; i < item.outputs.back().shape.numel(); ++i)
      parts += element(item.outputs.back(), after.data() + program.calls[c].outputs.back().offset,
                       static_cast<size_t>(i));
    if (of_operand) {
      double largest = 0, sum = 0;
      for (double x : as_doubles(item.inputs[1])) largest = std::max(largest, std::abs(x)), sum += x * x;
      const Shape& b = item.inputs[1].type().shape;
      const double rounds = static_cast<double>(item.outputs[0].shape[0] / 16 + 8);  // each reads all of it
      EXPECT_GE(parts, sum) << "kernel " << kernel.name << " of " << item.text;
      EXPECT_LE(parts, rounds * static_cast<double>((b[0] + 256) * (b[1] + 256)) * largest * largest);
    } else {
      ASSERT_NEAR(parts, squares, 1e-12 * squares) << "kernel " << kernel.name << " of " << item.text;
    }
  }
}

double element(const TensorType& type, const std::byte* bytes, size_t i) {
  return visit_stored(type.dtype, [&](auto zero) {
    return static_cast<double>(reinterpret_cast<const decltype(zero)*>(bytes)[i]);
  });
}

}  // namespace wholestep::test
