#include "wholestep/ops/pixel_program.h"

#include <fmt/format.h>

#include "wholestep/graph/graph.h"
#include "wholestep/graph/widen.h"
#include "wholestep/ops/elementwise_cuda.h"

namespace wholestep {
namespace {

ElementwiseProgram program_of(const Attrs& attrs) { return parse_elementwise_program(attrs.text("program")); }

}  // namespace

Types behind_program(std::span<const TensorType> inputs, const Attrs& attrs) {
  Types operands(inputs.begin(), inputs.end());
  if (!attrs.has("program")) return operands;
  const DType compute = widened(inputs[1].dtype);
  const ElementwiseProgram program = program_of(attrs);
  if (program.inputs != 1 || program.outputs.size() != 1 || program.compute != compute)
    throw Error(ErrorCode::kUsage,
                {.what = "the program over the input of a convolution has other operands or results than it",
                 .got = fmt::format("{} over {}", attrs.text("program"), to_string(inputs[0])),
                 .expected = fmt::format("one operand and one result, computed in {}", name(compute))});
  operands[0].dtype = inputs[1].dtype;
  return operands;
}

std::string refuse_program(const KernelRequest& request) {
  return request.attrs.has("program") ? "reads x as it is" : "";
}

std::optional<PixelScale> pixel_scale(const KernelRequest& request) {
  if (!request.attrs.has("program") || request.inputs[0].dtype != DType::u8) return std::nullopt;
  const ElementwiseProgram program = program_of(request.attrs);
  if (program.compute != DType::f32 || program.immediates.size() != 2) return std::nullopt;
  const ElementwiseProgram scale{.inputs = 1,
                                 .immediates = program.immediates,
                                 .instructions = {{.code = ElementwiseCode::mul, .operands = {0, 1, -1}},
                                                  {.code = ElementwiseCode::add, .operands = {3, 2, -1}}},
                                 .outputs = {4}};
  if (to_string(program) != to_string(scale)) return std::nullopt;
  return PixelScale{static_cast<float>(program.immediates[0]), static_cast<float>(program.immediates[1])};
}

const Node* pixel_program(const Graph& graph, int x) {
  const int node = graph.values[static_cast<size_t>(x)].node;
  if (node < 0) return nullptr;
  const Node& program = graph.node(node);
  const bool one = program.op->name == "fused" && program.inputs.size() == 1 && program.outputs.size() == 1 &&
                   graph.type(program.inputs[0]).shape == graph.type(x).shape &&
                   program.attrs.text("program").starts_with(name(graph.type(x).dtype));
  return one ? &program : nullptr;
}

ProgrammedInput::ProgrammedInput(const KernelRequest& request) {
  if (!request.attrs.has("program")) return;
  const TensorType scaled{request.inputs[1].dtype, request.inputs[0].shape};
  run_ = elementwise_run_cpu(program_of(request.attrs), request.inputs.first(1), std::span(&scaled, 1));
  bytes_ = scaled.bytes();
  sample_ = scaled.shape[0] > 0 ? scaled.shape.numel() / scaled.shape[0] : 0;
}

std::string cuda_pixel_program(CudaCall& call, const KernelRequest& request) {
  const TensorType scaled{request.inputs[1].dtype, request.inputs[0].shape};
  if (!request.attrs.has("program"))
    return fmt::format("[]({0} value) {{ return value; }}", cuda_name(scaled.dtype));
  call.headers.push_back("elementwise.cuh");
  return ElementwiseText(program_of(request.attrs), request.inputs.first(1), std::span(&scaled, 1))
      .function();
}

}  // namespace wholestep
