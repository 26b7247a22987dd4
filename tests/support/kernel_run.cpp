// Running a kernel between fences.
#include "support/kernel_run.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "wholestep/base/integers.h"

namespace wholestep::test {

void FencedBytes::Unmap::operator()(std::byte* memory) const { munmap(memory, bytes); }

/// Behind the fence comes a page that nobody may touch, and one stands before.
FencedBytes::FencedBytes(int64_t bytes) : bytes_(bytes) {
  constexpr int64_t kPage = 4096, kAlignment = 256;
  const int64_t inside = rounded_up(rounded_up(bytes, kAlignment) + 2 * kFence, kPage),
                all = inside + 2 * kPage;
  void* memory = mmap(nullptr, static_cast<size_t>(all), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = {static_cast<std::byte*>(memory), Unmap{static_cast<size_t>(all)}};
  if (mprotect(memory_.get() + kPage, static_cast<size_t>(inside), PROT_READ | PROT_WRITE) != 0)
    throw std::bad_alloc();
  std::fill_n(memory_.get() + kPage, inside, std::byte{kPoison});
  begin_ = kPage + inside - kFence - rounded_up(bytes, kAlignment);
}

bool FencedBytes::fences_intact() const {
  auto poisoned = [](std::byte b) { return b == std::byte{kPoison}; };
  return std::all_of(data() - kFence, data(), poisoned) &&
         std::all_of(data() + bytes_, data() + bytes_ + kFence, poisoned);
}

KernelRun::KernelRun(const OpDef& op, const Kernel& kernel, const std::vector<Tensor>& operands,
                     const Attrs& attrs)
    : inputs(operands) {
  for (const Tensor& input : inputs) input_types.push_back(input.type());
  output_types = infer_types(op, input_types, attrs);
  prepared = kernel.prepare({op.name, input_types, output_types, attrs});
}

std::vector<Tensor> KernelRun::run() {
  std::vector<FencedBytes> in, out;
  for (const Tensor& input : inputs) {
    in.emplace_back(input.type().bytes());
    std::ranges::copy(input.bytes(), in.back().data());
  }
  for (const TensorType& type : output_types) out.emplace_back(type.bytes());
  FencedBytes workspace(prepared->workspace_bytes);
  std::vector<const void*> reads;
  std::vector<void*> writes;
  for (FencedBytes& buffer : in) reads.push_back(buffer.data());
  for (FencedBytes& buffer : out) writes.push_back(buffer.data());
  cpu_backend().run(*prepared, reads, writes, workspace.data());

  damage = workspace.fences_intact() ? "" : "wrote outside the workspace";
  for (size_t i = 0; i < in.size(); ++i)
    if (!in[i].fences_intact() ||
        !std::ranges::equal(inputs[i].bytes(), std::span(in[i].data(), inputs[i].bytes().size())))
      damage = "wrote to operand " + std::to_string(i);
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < out.size(); ++i) {
    if (!out[i].fences_intact()) damage = "wrote outside output " + std::to_string(i);
    outputs.push_back(zeros(output_types[i]));
    std::copy_n(out[i].data(), out[i].size(), outputs.back().bytes().data());
  }
  return outputs;
}

std::vector<const Kernel*> cpu_kernels_of(const OpDef& op) {
  std::vector<const Kernel*> kernels;
  for (const Kernel& kernel : op.kernels)
    if (kernel.backend == "cpu") kernels.push_back(&kernel);
  return kernels;
}

std::string refusal(const OpDef& op, const Kernel& kernel, const std::vector<Tensor>& inputs,
                    const Attrs& attrs) {
  Types types;
  for (const Tensor& input : inputs) types.push_back(input.type());
  Types outputs = infer_types(op, types, attrs);
  return kernel.refuse ? kernel.refuse({op.name, types, outputs, attrs}) : "";
}

Attrs with_squares(Attrs attrs, int64_t parts) {
  attrs.set({"squares", parts});
  return attrs;
}

std::vector<Attrs> with_sums(const Attrs& attrs, const PreparedKernel& prepared) {
  std::vector<Attrs> more;
  for (auto [name, parts] :
       {std::pair("squares", prepared.square_parts), {"operand_squares", prepared.operand_square_parts}}) {
    if (parts == 0 || attrs.has("squares") || attrs.has("operand_squares")) continue;
    more.push_back(attrs);
    more.back().set({name, parts});
  }
  return more;
}

bool same_bytes(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::ranges::equal(a, b, [](const Tensor& x, const Tensor& y) {
    return x.type() == y.type() && std::ranges::equal(x.to_host().bytes(), y.to_host().bytes());
  });
}

}  // namespace wholestep::test
