// The CUDA kernel of element-wise ops and fused regions, and their programs as text for kernels of other ops.
#pragma once
#include "wholestep/ops/element_access.h"
#include "wholestep/ops/elementwise_program.h"

namespace wholestep {

/// For op "fused" (its program in the attributes) and for every single element-wise op.
std::unique_ptr<PreparedKernel> prepare_elementwise_cuda(const KernelRequest& request);

/// A double as device code, to the bit.
std::string cuda_number(double value);

/// A program as parts of a device function: operand k is p<k>, result k is q<k>.
struct ElementwiseText {
  static constexpr int64_t kVector = 4;
  ElementwiseText(ElementwiseProgram text_of, std::span<const TensorType> program_operands,
                  std::span<const TensorType> program_results);

  ElementwiseProgram program;
  std::vector<ElementAccess> accesses;
  std::vector<TensorType> results;
  int64_t vector = kVector;  ///< neighbours a thread takes at a time
  std::string first = {};    ///< where they lie for register 0, in the compute type; empty: in operand 0
  /// Where they lie for operand k, in its type, if not at p<k>; what is beyond the last one, and empty, is
  /// there. Operand 0 is then no parameter.
  std::vector<std::string> staged = {};

  bool vectorises() const;  ///< whether four neighbours lie together in every operand
  /// ", const float* p0, float* q0, char*"; `more` results stand behind its own.
  std::string parameters(const std::string& more = {}) const;
  std::string constants() const;  ///< the type `index`, and what is the same for all elements
  /// The elements of `count` rounds of a thread. `index` gives element i of round u, or leaves the round;
  /// `between` stands where the loads of all rounds are under way.
  std::string rounds(int64_t count, const std::string& index, const std::string& between = {}) const;
  /// "[](uint8_t value) { ... }" of a program of one operand and one result.
  std::string function() const;

 private:
  std::string type() const;
  bool is_staged(size_t k) const;
  bool given(size_t k) const;
  bool loaded(size_t k) const;
  bool as_vector(size_t k) const;
  std::string loaded_type(size_t k) const;
  std::string immediates() const;
  std::string reads() const;
  std::string instructions() const;
  std::string stores() const;
};

}  // namespace wholestep
