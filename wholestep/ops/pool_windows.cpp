// A border behind x makes windows of the ops' own kind; counts known from the shapes make the means.
#include "wholestep/ops/pool_windows.h"

#include "wholestep/ops/arrange.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep {
namespace {

/// The windows of one axis.
struct Windows {
  int64_t extent, kernel, stride, padding, count;

  Windows(const Tensor& x, const Pool2dOptions& o, size_t i, bool ceil_mode)
      : extent(x.dim(static_cast<int64_t>(i) + 2)),
        kernel(o.kernel[i]),
        stride(o.stride[i] ? o.stride[i] : o.kernel[i]),
        padding(o.padding[i]) {
    int64_t room = extent + 2 * padding - kernel;
    count = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    if (ceil_mode && (count - 1) * stride >= extent + padding) --count;
  }
  /// Elements that the last window lacks.
  int64_t border() const {
    return std::max<int64_t>(0, (count - 1) * stride + kernel - extent - 2 * padding);
  }
  /// Elements of window i that are counted.
  int64_t elements(int64_t i, bool with_padding) const {
    int64_t begin = i * stride - padding, end = std::min(begin + kernel, extent + padding);
    return with_padding ? end - begin : std::min(end, extent) - std::max<int64_t>(begin, 0);
  }
};

}  // namespace

Tensor with_ceil_border(const Tensor& x, const Pool2dOptions& options, double value) {
  if (x.rank() != 4 || options.kernel[0] < 1 || options.kernel[1] < 1) return x;
  Windows rows(x, options, 0, true), columns(x, options, 1, true);
  return pad(x, {0, columns.border(), 0, rows.border()}, value);
}

Tensor mean_scales(const Tensor& x, const Pool2dOptions& options, bool ceil_mode, bool count_include_pad) {
  Windows rows(x, options, 0, ceil_mode), columns(x, options, 1, ceil_mode);
  std::vector<double> scales;
  for (int64_t i = 0; i < rows.count; ++i)
    for (int64_t j = 0; j < columns.count; ++j)
      scales.push_back(
          static_cast<double>(rows.kernel * columns.kernel) /
          static_cast<double>(rows.elements(i, count_include_pad) * columns.elements(j, count_include_pad)));
  return cast(tensor(scales, {rows.count, columns.count}), x.dtype());
}

}  // namespace wholestep
