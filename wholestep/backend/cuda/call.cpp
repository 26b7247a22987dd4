#include "wholestep/backend/cuda/call.h"

namespace wholestep {

std::unique_ptr<CudaCall> cuda_call(const KernelRequest& request, std::string header) {
  auto call = std::make_unique<CudaCall>();
  call->headers = {std::move(header)};
  for (const TensorType& type : request.inputs) call->inputs.push_back(type.dtype);
  for (const TensorType& type : request.outputs) call->outputs.push_back(type.dtype);
  return call;
}

CudaPhase cuda_row_phase(int64_t rows, uint64_t row_inputs, uint64_t row_outputs, std::string run,
                         int64_t shared_bytes) {
  return {.chunks = cuda_rows(rows).chunks(),
          .rows = rows,
          .row_inputs = row_inputs,
          .row_outputs = row_outputs,
          .run = std::move(run),
          .shared_bytes = shared_bytes};
}

std::string_view cuda_name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float";
    case DType::f64: return "double";
    case DType::i32: return "int32_t";
    case DType::i64: return "int64_t";
    case DType::u8: return "uint8_t";
    case DType::boolean: break;
  }
  return "bool";
}

}  // namespace wholestep
