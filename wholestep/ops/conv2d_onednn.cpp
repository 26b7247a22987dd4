// Convolutions by oneDNN, for many channels, where its blocked layouts are ahead of the direct kernels,
// reorders and all: bench/convolution_kernels.cpp measures it, docs/performance.md has the figures. Every
// chunk of samples has primitives and memory of its own and runs them on its own thread, so the bits follow
// from the shapes alone; weights are put in oneDNN's layout once a call, samples within their chunk. Note
// that executing a primitive allocates a little inside oneDNN.
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <limits>
#include <oneapi/dnnl/dnnl.hpp>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/backend/cpu/kernels.h"
#include "wholestep/ops/conv2d_cpu.h"

namespace wholestep {
namespace {

using dnnl::memory;
// From how many channels on both sides oneDNN is ahead; forward 1x1 does too little with each reordered
// value.
constexpr int64_t kFewestChannels = 64, kFewestChannelsOf1x1 = 256;

/// oneDNN takes its number of threads from OpenMP; work is split by us.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

/// A primitive whose operands are fixed but for where they lie.
class Step {
 public:
  Step(dnnl::primitive primitive, std::vector<std::pair<int, memory::desc>> operands)
      : primitive_(std::move(primitive)) {
    for (auto& [slot, desc] : operands) {
      memories_.emplace_back(desc, engine(), nullptr);
      arguments_.push_back({slot, memories_.back().get()});
    }
  }
  /// Addresses in the order of the operands. A failure leaves `result` as NaN, which the step's own checks
  /// find.
  void run(const dnnl::stream& stream, std::initializer_list<const void*> addresses, float* result,
           int64_t elements) const {
    size_t i = 0;
    bool ok = true;
    for (const void* address : addresses)
      ok &= dnnl_memory_set_data_handle(arguments_[i++].memory, const_cast<void*>(address)) == dnnl_success;
    ok = ok && dnnl_primitive_execute(primitive_.get(), stream.get(), static_cast<int>(arguments_.size()),
                                      arguments_.data()) == dnnl_success;
    if (!ok) std::fill_n(result, elements, std::numeric_limits<float>::quiet_NaN());
  }

 private:
  dnnl::primitive primitive_;
  std::vector<memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

Step reorder(const memory::desc& from, const memory::desc& to) {
  dnnl::reorder::primitive_desc d(engine(), from, engine(), to);
  return {dnnl::reorder(d), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}};
}

memory::desc plain(const memory::dims& dims) {
  return {dims, memory::data_type::f32, dims.size() == 4 ? memory::format_tag::abcd : memory::format_tag::a};
}
memory::desc any(const memory::dims& dims) { return {dims, memory::data_type::f32, memory::format_tag::any}; }

struct Shapes {
  memory::dims x, weight, y, strides, before, after;
  int64_t samples;

  Shapes(const Conv2dProblem& p, int64_t rows) : samples(rows) {
    const Conv2d& c = p.conv;
    x = {rows, c.in_channels, c.y.in, c.x.in};
    weight = {c.out_channels, c.in_channels, c.y.kernel, c.x.kernel};
    y = {rows, c.out_channels, c.y.out, c.x.out};
    strides = {c.y.stride, c.x.stride};
    before = {c.y.padding, c.x.padding};
    auto behind = [](const ConvAxis& a) { return (a.out - 1) * a.stride + a.kernel - a.in - a.padding; };
    after = {behind(c.y), behind(c.x)};
  }
};

dnnl::convolution_forward::primitive_desc forward(const Shapes& s, const memory::desc& weights) {
  return {{dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, any(s.x), weights,
           any(s.y), s.strides, s.before, s.after},
          engine()};
}
dnnl::convolution_forward::primitive_desc forward(const Shapes& s) { return forward(s, any(s.weight)); }

/// What one chunk of samples runs: operands into oneDNN's layouts, the convolution, its result back.
struct Chunk {
  Step in, second_in, convolve, out;  // second_in: the gradient of the result, for the weight gradient alone
  dnnl::stream stream;
  int64_t a_bytes, b_bytes,
      result_bytes;  // blocked operands and result, one after another in the chunk's scratch
};

int64_t bytes_of(const memory::desc& d) { return aligned(static_cast<int64_t>(d.get_size())); }

Chunk forward_chunk(const Shapes& s, const memory::desc& weights) {
  auto d = forward(s, weights);
  return {.in = reorder(plain(s.x), d.src_desc()),
          .second_in = reorder(plain(s.x), d.src_desc()),
          .convolve = Step(dnnl::convolution_forward(d), {{DNNL_ARG_SRC, d.src_desc()},
                                                          {DNNL_ARG_WEIGHTS, d.weights_desc()},
                                                          {DNNL_ARG_DST, d.dst_desc()}}),
          .out = reorder(d.dst_desc(), plain(s.y)),
          .stream = dnnl::stream(engine()),
          .a_bytes = bytes_of(d.src_desc()),
          .b_bytes = 0,
          .result_bytes = bytes_of(d.dst_desc())};
}

Chunk input_gradient_chunk(const Shapes& s, const memory::desc& weights) {
  dnnl::convolution_backward_data::primitive_desc d(
      {dnnl::algorithm::convolution_direct, any(s.x), weights, any(s.y), s.strides, s.before, s.after},
      engine(), forward(s));
  return {.in = reorder(plain(s.y), d.diff_dst_desc()),
          .second_in = reorder(plain(s.y), d.diff_dst_desc()),
          .convolve = Step(dnnl::convolution_backward_data(d), {{DNNL_ARG_DIFF_DST, d.diff_dst_desc()},
                                                                {DNNL_ARG_WEIGHTS, d.weights_desc()},
                                                                {DNNL_ARG_DIFF_SRC, d.diff_src_desc()}}),
          .out = reorder(d.diff_src_desc(), plain(s.x)),
          .stream = dnnl::stream(engine()),
          .a_bytes = bytes_of(d.diff_dst_desc()),
          .b_bytes = 0,
          .result_bytes = bytes_of(d.diff_src_desc())};
}

/// With `bias`, its gradient is the last operand.
Chunk weight_gradient_chunk(const Shapes& s, bool bias) {
  const memory::desc of_bias = plain({s.y[1]});
  using Gradient = dnnl::convolution_backward_weights;
  const auto algorithm = dnnl::algorithm::convolution_direct;
  Gradient::primitive_desc d(
      bias ? Gradient::desc(algorithm, any(s.x), any(s.weight), of_bias, any(s.y), s.strides, s.before,
                            s.after)
           : Gradient::desc(algorithm, any(s.x), any(s.weight), any(s.y), s.strides, s.before, s.after),
      engine(), forward(s));
  std::vector<std::pair<int, memory::desc>> operands = {{DNNL_ARG_SRC, d.src_desc()},
                                                        {DNNL_ARG_DIFF_DST, d.diff_dst_desc()},
                                                        {DNNL_ARG_DIFF_WEIGHTS, d.diff_weights_desc()}};
  if (bias) operands.push_back({DNNL_ARG_DIFF_BIAS, of_bias});
  return {.in = reorder(plain(s.x), d.src_desc()),
          .second_in = reorder(plain(s.y), d.diff_dst_desc()),
          .convolve = Step(Gradient(d), operands),
          .out = reorder(d.diff_weights_desc(), plain(s.weight)),
          .stream = dnnl::stream(engine()),
          .a_bytes = bytes_of(d.src_desc()),
          .b_bytes = bytes_of(d.diff_dst_desc()),
          .result_bytes = bytes_of(d.diff_weights_desc())};
}

int64_t numel(const memory::dims& dims) {
  int64_t n = 1;
  for (int64_t extent : dims) n *= extent;
  return n;
}

/// bias and relu on finished sums, as the direct kernels add them.
void add_bias(const Conv2dProblem& p, const float* bias, Range samples, float* y) {
  int64_t plane = p.conv.y.out * p.conv.x.out;
  for (int64_t n = samples.begin; n < samples.end; ++n)
    for (int64_t c = 0; c < p.conv.out_channels; ++c) {
      float* row = y + (n * p.conv.out_channels + c) * plane;
      float b = bias ? bias[c] : 0.0f;
      for (int64_t i = 0; i < plane; ++i) {
        float v = bias ? row[i] + b : row[i];
        row[i] = p.relu && v < 0 ? 0 : v;
      }
    }
}

/// One chunk object per chunk of the batch; the last may hold fewer samples.
template <class Make>
std::shared_ptr<std::vector<Chunk>> chunks_of(const Conv2dProblem& p, const Split& split, Make make) {
  auto chunks = std::make_shared<std::vector<Chunk>>();
  for (int64_t c = 0; c < split.chunks(); ++c) chunks->push_back(make(Shapes(p, split[c].size())));
  return chunks;
}

int64_t scratch_of(const std::vector<Chunk>& chunks) {
  int64_t most = 0;
  for (const Chunk& c : chunks) most = std::max(most, c.a_bytes + c.b_bytes + c.result_bytes);
  return most;
}

/// Forward and input gradient: weights into their layout first, then the chunks side by side.
std::unique_ptr<PreparedKernel> sample_call(const Conv2dProblem& p,
                                            std::shared_ptr<std::vector<Chunk>> chunks,
                                            const memory::desc& weights, bool is_forward) {
  Split split(p.batch);
  Shapes whole(p, 1);
  int64_t weight_bytes = bytes_of(weights), scratch = scratch_of(*chunks);
  int64_t in_sample = numel(is_forward ? whole.x : whole.y),
          out_sample = numel(is_forward ? whole.y : whole.x);
  auto weight_in = std::make_shared<Step>(reorder(plain(whole.weight), weights));
  auto weight_stream = std::make_shared<dnnl::stream>(engine());
  auto call = std::make_unique<CpuCall>();
  call->workspace_bytes = weight_bytes + split.chunks() * scratch;
  call->phases.push_back({.chunks = 1, .run = [=](const CpuArgs& args, int64_t) {
                            OneThread one;
                            auto* to = reinterpret_cast<float*>(args.workspace);
                            weight_in->run(*weight_stream, {args.in<float>(1), to}, to, weight_bytes / 4);
                          }});
  call->phases.push_back(
      {.chunks = split.chunks(),
       .rows = p.batch,
       .row_inputs = p.row_inputs(),
       .row_outputs = 1,
       .run = [=](const CpuArgs& args, int64_t index) {
         OneThread one;
         const Chunk& c = (*chunks)[static_cast<size_t>(index)];
         Range samples = split[index];
         std::byte* base = args.workspace + weight_bytes + index * scratch;
         auto *a = reinterpret_cast<float*>(base), *r = reinterpret_cast<float*>(base + c.a_bytes);
         float* out = args.out<float>(0) + samples.begin * out_sample;
         c.in.run(c.stream, {args.in<float>(0) + samples.begin * in_sample, a}, a, c.a_bytes / 4);
         c.convolve.run(c.stream, {a, args.workspace, r}, r, c.result_bytes / 4);
         c.out.run(c.stream, {r, out}, out, samples.size() * out_sample);
         if (is_forward && (p.bias || p.relu))
           add_bias(p, p.bias ? args.in<float>(2) : nullptr, samples, args.out<float>(0));
         if (p.masked)
           for (int64_t i = 0; i < samples.size() * out_sample; ++i)
             if (!(args.in<float>(2)[samples.begin * out_sample + i] > 0)) out[i] = 0;
       }});
  return call;
}

}  // namespace

std::string refuse_conv2d_onednn(const KernelRequest& request) {
  if (request.inputs[0].dtype != DType::f32) return "takes f32 only";
  Conv2dProblem p = conv2d_problem(request);
  const Conv2d& c = p.conv;
  if (c.groups != 1 || c.y.dilation != 1 || c.x.dilation != 1)
    return "groups and dilation are left to the direct kernels";
  const bool forward_1x1 = request.op == "conv2d" && c.y.kernel == 1 && c.x.kernel == 1;
  const int64_t fewest = forward_1x1 ? kFewestChannelsOf1x1 : kFewestChannels;
  if (std::min(c.in_channels, c.out_channels) < fewest || c.in_channels % 16 || c.out_channels % 16)
    return fmt::format("the direct kernel is faster below {} channels, or where they are no multiple of 16",
                       fewest);
  return p.batch == 0 ? "an empty batch" : "";
}

std::unique_ptr<PreparedKernel> prepare_conv2d_onednn(const KernelRequest& request) {
  OneThread one;
  Conv2dProblem p = conv2d_problem(request);
  memory::desc weights = forward(Shapes(p, Split(p.batch).per_chunk)).weights_desc();
  auto chunks = chunks_of(p, Split(p.batch), [&](const Shapes& s) { return forward_chunk(s, weights); });
  return sample_call(p, chunks, weights, true);
}

std::unique_ptr<PreparedKernel> prepare_conv2d_dx_onednn(const KernelRequest& request) {
  OneThread one;
  Conv2dProblem p = conv2d_problem(request);
  Shapes s(p, Split(p.batch).per_chunk);
  dnnl::convolution_backward_data::primitive_desc first(
      {dnnl::algorithm::convolution_direct, any(s.x), any(s.weight), any(s.y), s.strides, s.before, s.after},
      engine(), forward(s));
  memory::desc weights = first.weights_desc();
  auto chunks = chunks_of(p, Split(p.batch),
                          [&](const Shapes& shapes) { return input_gradient_chunk(shapes, weights); });
  return sample_call(p, chunks, weights, false);
}

std::unique_ptr<PreparedKernel> prepare_conv2d_dw_onednn(const KernelRequest& request) {
  OneThread one;
  Conv2dProblem p = conv2d_problem(request);
  Split split(p.batch);
  auto chunks = chunks_of(p, split, [&](const Shapes& s) { return weight_gradient_chunk(s, p.bias); });
  Shapes sample(p, 1);
  const GradientParts parts(request, cpu_kernels());
  int64_t scratch = scratch_of(*chunks), x_sample = numel(sample.x), y_sample = numel(sample.y);
  auto call = std::make_unique<CpuCall>();
  call->workspace_bytes = parts.bytes() + split.chunks() * scratch;
  call->phases.push_back(
      {.chunks = split.chunks(),
       .rows = p.batch,
       .row_inputs = 3,
       .run = [=](const CpuArgs& args, int64_t index) {
         OneThread one_thread;
         const Chunk& c = (*chunks)[static_cast<size_t>(index)];
         Range samples = split[index];
         float* part = parts.part(args, index);
         std::byte* base = args.workspace + parts.bytes() + index * scratch;
         auto *a = reinterpret_cast<float*>(base), *b = reinterpret_cast<float*>(base + c.a_bytes),
              *r = reinterpret_cast<float*>(base + c.a_bytes + c.b_bytes);
         c.in.run(c.stream, {args.in<float>(0) + samples.begin * x_sample, a}, a, c.a_bytes / 4);
         c.second_in.run(c.stream, {args.in<float>(1) + samples.begin * y_sample, b}, b, c.b_bytes / 4);
         if (p.bias) c.convolve.run(c.stream, {a, b, r, part + parts.weights}, r, c.result_bytes / 4);
         else c.convolve.run(c.stream, {a, b, r}, r, c.result_bytes / 4);
         c.out.run(c.stream, {r, part}, part, parts.weights);
       }});
  call->phases.push_back(parts.sum());
  return call;
}

}  // namespace wholestep
