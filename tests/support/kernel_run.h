// Runs one kernel of one op on memory that shows every mistake: outputs and workspace full of NaN bytes, with
// fences on both sides.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "wholestep/graph/op.h"

namespace wholestep::test {

constexpr unsigned char kPoison = 0xFF;  // a NaN in f32 and f64, -1 in integers

/// Bytes aligned to 64 between two fences, all poisoned.
class FencedBytes {
 public:
  explicit FencedBytes(int64_t bytes);
  std::byte* data() { return start(); }
  const std::byte* data() const { return const_cast<FencedBytes*>(this)->start(); }
  int64_t size() const { return bytes_; }
  bool fences_intact() const;

 private:
  static constexpr int64_t kFence = 256;
  struct Unmap {
    size_t bytes;
    void operator()(std::byte* memory) const;
  };
  std::byte* start() { return memory_.get() + begin_; }
  int64_t bytes_, begin_;
  std::unique_ptr<std::byte, Unmap> memory_;
};

/// A kernel with operands of its own.
struct KernelRun {
  /// Prepares `kernel` for operands of these values.
  KernelRun(const OpDef& op, const Kernel& kernel, const std::vector<Tensor>& inputs, const Attrs& attrs);
  /// Runs it on fresh, poisoned outputs and workspace.
  std::vector<Tensor> run();

  std::unique_ptr<PreparedKernel> prepared;
  Types input_types, output_types;
  std::vector<Tensor> inputs;
  std::string damage;  ///< which fence a run wrote over, "" if none
};

std::vector<const Kernel*> cpu_kernels_of(const OpDef& op);
/// "" where the kernel accepts operands of these types.
std::string refusal(const OpDef& op, const Kernel& kernel, const std::vector<Tensor>& inputs,
                    const Attrs& attrs);

/// `attrs` of a request that asks for so many sums of squares.
Attrs with_squares(Attrs attrs, int64_t parts);
/// The attributes with each of the sums of squares that the kernel can give.
std::vector<Attrs> with_sums(const Attrs& attrs, const PreparedKernel& prepared);

bool same_bytes(const std::vector<Tensor>& a, const std::vector<Tensor>& b);

}  // namespace wholestep::test
