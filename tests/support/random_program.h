// Random programs over tensors: made from a seed, run eagerly, compiled or in f64, and, where two of these
// disagree, made smaller until a few calls are left.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "wholestep/compile/compile.h"

namespace wholestep::test {

/// Values are numbered: parameters, then batch inputs, then the results of the calls.
struct RandomProgram {
  struct Call {
    std::string function;  ///< of the table in random_program.cpp
    std::vector<size_t> operands;
    std::vector<int64_t> numbers;
  };
  std::vector<Shape> parameters, batch;
  std::vector<Call> calls;
  std::string optimizer = "momentum";  ///< or "sgd", without momentum, or "adam"
  DType dtype = DType::f32;            ///< of parameters and batch inputs
  size_t inputs() const { return parameters.size() + batch.size(); }
};

/// `calls` calls on values of at most 64 elements, or, for every 32nd seed, of at most 4,500.
RandomProgram random_program(uint64_t seed, int calls);
std::string to_string(const RandomProgram& program);  ///< one line a value, as C++

/// Two steps of training the parameters on the sum over unused values of mean(tanh(v)): both losses, then
/// parameters and the optimizer's state.
using Outcome = std::vector<Tensor>;
Outcome run_eagerly(const RandomProgram& program);
std::shared_ptr<Graph> traced_step(const RandomProgram& program);
/// `change` is applied to the traced graph before it is compiled: a bug to plant.
Outcome run_compiled(const RandomProgram& program, const CompileOptions& options,
                     const std::function<void(Graph&)>& change = {});
/// The traced step, evaluated node by node by the naive f64 evaluations of op_reference.h.
Outcome run_in_f64(const RandomProgram& program);

/// Whether tensors agree one by one, elements within 1e-3 of the largest.
bool same_numbers(const Outcome& single, const Outcome& exact);

/// A smaller program that still fails: calls are left out, and values replaced by inputs, as long as they can
/// be. A program that cannot be built does not fail.
RandomProgram shrunk(RandomProgram program, const std::function<bool(const RandomProgram&)>& fails);

}  // namespace wholestep::test
