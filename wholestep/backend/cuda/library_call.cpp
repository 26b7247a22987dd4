#include "wholestep/backend/cuda/library_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <numeric>

#include "wholestep/backend/backend.h"
#include "wholestep/base/integers.h"

namespace wholestep {
namespace {

std::atomic<LibraryUse> use{LibraryUse::kWhereAhead};
std::atomic<bool> cudnn{true};

}  // namespace

LibraryUse library_use() { return use; }
void set_library_use(LibraryUse of) { use = of; }
std::optional<std::string> refused_by_library_use() {
  if (use == LibraryUse::kAlways) return "";
  if (use == LibraryUse::kNever) return "libraries are switched off";
  return std::nullopt;
}
bool cudnn_available() { return cudnn; }
void set_cudnn_available(bool available) { cudnn = available; }

int64_t LibraryPlaces::alignment() const {
  return std::gcd(std::gcd(kAlignment, a.offset), std::gcd(b.offset, d.offset));
}

int64_t cuda_product_blocks(int64_t m, int64_t n) { return ceil_div(m, 128) * ceil_div(n, 128); }

std::string text(const LibraryCall& call) {
  return std::visit([](const auto& of) { return of.kLibrary + (" " + of.text()); }, call);
}

LibraryBytes CudaProduct::bytes() const {
  const int64_t element = size_bytes(dtype);
  return {.a = (shared_a ? 1 : batch) * m * k * element,
          .b = batch * k * n * element,
          .bias = n * element,
          .d = batch * std::max(d_stride, m * n) * element};
}

int64_t CudaProduct::scratch_bytes() const {
  constexpr int64_t kLeast = int64_t{64} << 10, kMost = int64_t{32} << 20;  // the library's advice for Hopper
  constexpr int64_t kParts = 8;
  return std::clamp(aligned(kParts * batch * m * n * size_bytes(dtype)), kLeast, kMost) + kScratchAlignment;
}

int64_t CudaProduct::blocks() const { return batch * cuda_product_blocks(m, n); }

std::string CudaProduct::text() const {
  return fmt::format("{}{} {} x [{}, {}, {}] at {}{}{}{}{}{}{}", name(dtype), tf32 ? " as TF32" : "", batch,
                     m, n, k, at.alignment(), transpose_a ? ", a transposed" : "",
                     transpose_b ? ", b transposed" : "", shared_a ? ", one a" : "",
                     d_stride > 0 ? fmt::format(", {} apart", d_stride) : "", biased() ? ", bias" : "",
                     relu ? ", relu" : "");
}

int64_t CudaConvolution::x_bytes() const { return batch * conv.in_channels * conv.y.in * conv.x.in * 4; }
int64_t CudaConvolution::weight_bytes() const {
  return conv.out_channels * (conv.in_channels / conv.groups) * conv.y.kernel * conv.x.kernel * 4;
}
int64_t CudaConvolution::y_bytes() const { return batch * conv.out_channels * conv.y.out * conv.x.out * 4; }

LibraryBytes CudaConvolution::bytes() const {
  LibraryBytes bytes{.a = x_bytes(), .b = weight_bytes(), .d = y_bytes()};
  if (of == Of::kInput) std::swap(bytes.a, bytes.d);
  if (of == Of::kWeight) std::swap(bytes.b, bytes.d);
  return bytes;
}

int64_t CudaConvolution::scratch_bytes() const {
  constexpr int64_t kLeast = int64_t{1} << 20, kMost = int64_t{32} << 20, kParts = 64;
  CudaConvolution padded = *this;
  const int64_t of_group = conv.in_channels / conv.groups;
  padded.conv.out_channels = rounded_up(conv.out_channels, 8);
  padded.conv.in_channels = conv.groups * rounded_up(of_group, 8);
  return aligned(padded.x_bytes()) + aligned(padded.weight_bytes()) + aligned(padded.y_bytes()) +
         std::clamp(aligned(kParts * weight_bytes()), kLeast, kMost) + kScratchAlignment;
}

int64_t CudaConvolution::blocks() const {
  const int64_t taps = conv.y.kernel * conv.x.kernel, in = conv.in_channels / conv.groups,
                out = conv.out_channels / conv.groups;
  const int64_t of_group = of == Of::kResult  ? cuda_product_blocks(out, batch * conv.y.out * conv.x.out)
                           : of == Of::kInput ? cuda_product_blocks(in, batch * conv.y.in * conv.x.in)
                                              : cuda_product_blocks(out, in * taps);
  return conv.groups * of_group;
}

std::string CudaConvolution::text() const {
  auto pair = [&](const char* what, int64_t ConvAxis::*of_axis, int64_t usual) {
    const int64_t y = conv.y.*of_axis, x = conv.x.*of_axis;
    return y == usual && x == usual ? "" : fmt::format(", {} {} {}", what, y, x);
  };
  return fmt::format("{} of x [{}, {}, {}, {}], weight [{}, {}, {}, {}]{}{}{}{}{}",
                     of == Of::kResult  ? "y"
                     : of == Of::kInput ? "dx"
                                        : "dw",
                     batch, conv.in_channels, conv.y.in, conv.x.in, conv.out_channels,
                     conv.in_channels / conv.groups, conv.y.kernel, conv.x.kernel,
                     pair("stride", &ConvAxis::stride, 1), pair("padding", &ConvAxis::padding, 0),
                     pair("dilation", &ConvAxis::dilation, 1),
                     conv.groups > 1 ? fmt::format(", {} groups", conv.groups) : "", tf32 ? ", as TF32" : "");
}

}  // namespace wholestep
