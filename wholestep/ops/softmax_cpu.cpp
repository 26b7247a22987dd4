// Softmax and cross-entropy row by row: exponentials of x minus the row's largest element, their sum in f64.
// A NaN or infinity among the logits makes the sum NaN, and with it the whole row.
#include "wholestep/ops/softmax_cpu.h"

#include <cmath>
#include <limits>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/ops/reduce_loops.h"
#include "wholestep/ops/softmax_loops.h"

namespace wholestep {
namespace {

template <class T>
const SoftmaxLoops<T>& loops() {
  if constexpr (std::is_same_v<T, float>) return WHOLESTEP_OF_ACTIVE_ISA(kSoftmaxLoopsF32);
  else return WHOLESTEP_OF_ACTIVE_ISA(kSoftmaxLoopsF64);
}

constexpr int64_t kBlock = 512;  // exponentials are added up by so many

/// sum of exp(x - top), where there is no place for all of them.
template <class T>
double sum_of_exponentials(const T* x, int64_t n, T top) {
  T block[kBlock];
  double total = 0;
  for (int64_t i = 0; i < n; i += kBlock) {
    int64_t count = std::min(kBlock, n - i);
    loops<T>().exponentials(x + i, count, top, block);
    total += reduce_loops<T>().sum(block, count);
  }
  return total;
}
/// The same sum of exponentials that are there.
template <class T>
double sum_by_blocks(const T* e, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; i += kBlock) total += reduce_loops<T>().sum(e + i, std::min(kBlock, n - i));
  return total;
}

template <class T>
void softmax_row(const T* x, int64_t n, T* y) {
  loops<T>().exponentials(x, n, loops<T>().largest(x, n), y);
  loops<T>().scale(y, n, static_cast<T>(1 / reduce_loops<T>().sum(y, n)));
}

template <class T>
void log_softmax_row(const T* x, int64_t n, T* y) {
  T top = loops<T>().largest(x, n);
  loops<T>().exponentials(x, n, top, y);
  loops<T>().shift(x, n, top, static_cast<T>(std::log(reduce_loops<T>().sum(y, n))), y);
}

template <class T>
T loss_of(double total, T top, T at_label) {
  return static_cast<T>(std::log(total) - (static_cast<double>(at_label) - static_cast<double>(top)));
}

/// g (softmax(x) - one_hot(label)) to dx; what the loss is made of.
template <class T>
std::pair<double, T> gradient_of_row(const T* x, int64_t n, int64_t label, T g, T* dx) {
  const T top = loops<T>().largest(x, n);
  loops<T>().exponentials(x, n, top, dx);
  const double total = sum_by_blocks(dx, n), scale = static_cast<double>(g) / total;
  const T at_label = dx[label];
  loops<T>().scale(dx, n, static_cast<T>(scale));
  dx[label] = static_cast<T>(static_cast<double>(at_label) * scale - static_cast<double>(g));
  return {total, top};
}

template <class Fn>
std::unique_ptr<PreparedKernel> with_type(DType dtype, Fn&& fn) {
  return dtype == DType::f32 ? fn(float{}) : fn(double{});
}
template <class Fn>
std::unique_ptr<PreparedKernel> with_label(DType dtype, Fn&& fn) {
  if (dtype == DType::u8) return fn(uint8_t{});
  if (dtype == DType::i32) return fn(int32_t{});
  return fn(int64_t{});
}

/// Calls row(x, n, y) for every row along the last axis.
template <class Row>
std::unique_ptr<PreparedKernel> last_axis_call(const Shape& shape, Row row) {
  int64_t n = shape.back(), samples = shape.rank() > 1 ? shape[0] : 1,
          rows = n > 0 && samples > 0 ? shape.numel() / n / samples : 0;
  uint64_t operand = shape.rank() > 1 ? 1 : 0;
  return row_call(samples, operand, operand, [=](const CpuArgs& args, Range range) {
    for (int64_t i = range.begin * rows; i < range.end * rows; ++i) row(args, i * n, n);
  });
}

/// Calls row(args, i, x, label) for every row of logits, label -1 where it is none. `row_inputs` and
/// `row_outputs` say which operands are taken by rows, as in CpuPhase.
template <class Row>
std::unique_ptr<PreparedKernel> class_call(const KernelRequest& request, uint64_t row_inputs,
                                           uint64_t row_outputs, Row row) {
  int64_t rows = request.inputs[0].shape[0], classes = request.inputs[0].shape[1];
  return with_type(request.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return with_label(request.inputs[1].dtype, [&](auto label_zero) {
      using L = decltype(label_zero);
      return row_call(rows, row_inputs, row_outputs, [=](const CpuArgs& args, Range range) {
        for (int64_t i = range.begin; i < range.end; ++i) {
          const int64_t label = static_cast<int64_t>(args.in<L>(1)[i]);
          row(args, i, args.in<T>(0) + i * classes, label >= 0 && label < classes ? label : -1);
        }
      });
    });
  });
}
template <class T>
constexpr T kNoLoss = std::numeric_limits<T>::quiet_NaN();

}  // namespace

std::unique_ptr<PreparedKernel> prepare_softmax(const KernelRequest& request) {
  return with_type(request.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return last_axis_call(request.inputs[0].shape, [](const CpuArgs& args, int64_t at, int64_t n) {
      softmax_row(args.in<T>(0) + at, n, args.out<T>(0) + at);
    });
  });
}

std::unique_ptr<PreparedKernel> prepare_log_softmax(const KernelRequest& request) {
  return with_type(request.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return last_axis_call(request.inputs[0].shape, [](const CpuArgs& args, int64_t at, int64_t n) {
      log_softmax_row(args.in<T>(0) + at, n, args.out<T>(0) + at);
    });
  });
}

std::unique_ptr<PreparedKernel> prepare_cross_entropy(const KernelRequest& request) {
  int64_t classes = request.inputs[0].shape[1];
  return class_call(request, 3, 1, [=]<class T>(const CpuArgs& args, int64_t i, const T* x, int64_t label) {
    T loss = kNoLoss<T>;
    if (label >= 0) {
      const T top = loops<T>().largest(x, classes);
      loss = loss_of(sum_of_exponentials(x, classes, top), top, x[label]);
    }
    args.out<T>(0)[i] = loss;
  });
}

std::unique_ptr<PreparedKernel> prepare_cross_entropy_dx(const KernelRequest& request) {
  int64_t classes = request.inputs[0].shape[1];
  return class_call(request, 7, 1, [=]<class T>(const CpuArgs& args, int64_t i, const T* x, int64_t label) {
    T* dx = args.out<T>(0) + i * classes;
    if (label >= 0) gradient_of_row(x, classes, label, args.in<T>(2)[i], dx);
    else std::fill_n(dx, classes, kNoLoss<T>);
  });
}

std::unique_ptr<PreparedKernel> prepare_cross_entropy_with_dx(const KernelRequest& request) {
  int64_t classes = request.inputs[0].shape[1];
  const double g = request.attrs.number("g");
  return class_call(request, 3, 3, [=]<class T>(const CpuArgs& args, int64_t i, const T* x, int64_t label) {
    T *loss = args.out<T>(0) + i, *dx = args.out<T>(1) + i * classes;
    if (label >= 0) {
      auto [total, top] = gradient_of_row(x, classes, label, static_cast<T>(g), dx);
      *loss = loss_of(total, top, x[label]);
    } else {
      *loss = kNoLoss<T>;
      std::fill_n(dx, classes, kNoLoss<T>);
    }
  });
}

}  // namespace wholestep
