// One kernel of an op on the cases of its row, as one program over one arena that shows every stray write.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "support/op_case.h"
#include "wholestep/backend/backend.h"

namespace wholestep::test {

/// All cases that the kernel accepts and that are wanted, also in f64 and with sums of squares where the
/// kernel makes them: operands, results and workspaces with poisoned fences between them.
struct CaseProgram {
  struct Item {
    std::vector<Tensor> inputs;
    Types outputs;
    Attrs attrs;
    std::string text;
  };
  std::vector<Item> items;
  Program program;
  std::vector<std::byte> image;  ///< what the arena holds before the run
  std::vector<bool> may_change;

  using Wanted = std::function<bool(const KernelRequest&, const PreparedKernel&)>;
  CaseProgram(const OpDef& op, const Kernel& kernel, const Wanted& wanted = nullptr);

  /// `after`: the arena after a run. Results are within the bounds of the reference, and nothing else has
  /// changed.
  void expect_results(const OpDef& op, const Kernel& kernel, const std::vector<std::byte>& after) const;

 private:
  BufferRef place(int64_t bytes, bool writable);
  /// Whether it is wanted.
  bool add(const OpDef& op, const Kernel& kernel, Item item, const Wanted& wanted);
};

/// Element i of bytes of a type.
double element(const TensorType& type, const std::byte* bytes, size_t i);

}  // namespace wholestep::test
