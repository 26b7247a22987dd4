// A border behind x makes windows of the ops' own kind; counts known from the shapes make the means.
#include "wholestep/nn/pool_windows.h"

#include <limits>

#include "wholestep/ops/arrange.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep::nn {
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

bool has_axes(const Tensor& x) { return x.rank() == 4; }  // else the op says what is wrong

Tensor with_border(const Tensor& x, const Windows& rows, const Windows& columns, double value) {
  return pad(x, {0, columns.border(), 0, rows.border()}, value);
}

}  // namespace

Tensor max_pool(const Tensor& x, const Pool2dOptions& options, bool ceil_mode) {
  if (!ceil_mode || !has_axes(x)) return max_pool2d(x, options);
  Windows rows(x, options, 0, true), columns(x, options, 1, true);
  return max_pool2d(with_border(x, rows, columns, -std::numeric_limits<double>::infinity()), options);
}

Tensor avg_pool(const Tensor& x, const Pool2dOptions& options, bool ceil_mode, bool count_include_pad) {
  bool padded = options.padding[0] + options.padding[1] > 0;
  if ((!ceil_mode && (count_include_pad || !padded)) || !has_axes(x)) return avg_pool2d(x, options);
  Windows rows(x, options, 0, ceil_mode), columns(x, options, 1, ceil_mode);
  Tensor y = avg_pool2d(with_border(x, rows, columns, 0), options);
  std::vector<double> scales;  // of means over all of a window
  for (int64_t i = 0; i < rows.count; ++i)
    for (int64_t j = 0; j < columns.count; ++j)
      scales.push_back(
          static_cast<double>(rows.kernel * columns.kernel) /
          static_cast<double>(rows.elements(i, count_include_pad) * columns.elements(j, count_include_pad)));
  return y * cast(tensor(scales, {rows.count, columns.count}), x.dtype());
}

}  // namespace wholestep::nn
