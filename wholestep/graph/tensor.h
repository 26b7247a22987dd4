// Tensor: one handle for a value. Concrete, it holds data; symbolic, it names a value of a graph being
// traced. A function over Tensors runs at once on the first, on the device where they lie, and is recorded on
// the second. All tensors are dense and row-major.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "wholestep/backend/backend.h"
#include "wholestep/base/error.h"

namespace wholestep {

class Graph;
struct TapeNode;

/// What a concrete tensor is to a trace that uses it.
enum class TensorRole {
  kValue,      ///< its value at trace time: a constant of the graph
  kParameter,  ///< trained: an input of the graph, kept in the parameter arena
  kState,  ///< counters, moments, running statistics, rates: an input of the graph, kept in the state arena
};

/// Bytes a concrete tensor looks at; reshaped tensors share it. Moving it (into an arena) moves every tensor
/// that shares it.
struct Storage {
  std::shared_ptr<Memory> memory = nullptr;
  std::byte* data = nullptr;  ///< an address of `device`
  Backend* device = nullptr;  ///< whose memory it is; null where the host may read and write it
  int64_t version = 0;  ///< counts in-place writes, so that backward notices a value that is no longer there
};

/// Whether kernels of `backend` can use it where it lies.
inline bool lies_on(const Storage& storage, const Backend& backend) {
  return backend.host_memory() ? storage.device == nullptr : storage.device == &backend;
}

class Tensor {
 public:
  struct Impl;
  Tensor() = default;  ///< undefined
  explicit Tensor(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

  bool defined() const { return impl_ != nullptr; }
  bool symbolic() const;
  const TensorType& type() const;
  const Shape& shape() const { return type().shape; }
  DType dtype() const { return type().dtype; }
  int rank() const { return shape().rank(); }
  int64_t dim(int64_t axis) const { return shape()[normalize_axis(axis, rank())]; }
  int64_t numel() const { return shape().numel(); }
  std::vector<int64_t> strides() const;  ///< in elements, row-major: [12, 4, 1] of [2, 3, 4]
  /// Where the data of a concrete tensor lies: "cpu", or the name of the device.
  std::string device() const;

  // Data of a concrete tensor; kUsage on a symbolic one, where T is not its dtype, and where the data lies on
  // a device whose memory the host cannot touch.
  template <class T>
  std::span<T> data() const;
  std::span<std::byte> bytes() const;

  // The same wherever the data lies; from and to a device it is copied.
  template <class T>
  T item() const;  ///< the one element, converted; kUsage unless numel is 1
  /// One element, converted; negative indices count from the end. kUsage where the index does not fit.
  template <class T>
  T at(std::initializer_list<int64_t> index) const;
  void set(std::initializer_list<int64_t> index, double value) const;  ///< the same, in place
  Tensor clone() const;    ///< a copy with storage of its own on the host, outside any tape
  Tensor to_host() const;  ///< this tensor where the host can read it, else clone()
  void read(std::span<std::byte> host) const;         ///< the whole value; kUsage where the sizes differ
  void write(std::span<const std::byte> host) const;  ///< the whole value; kUsage where the sizes differ

  Tensor to(DType dtype) const;  ///< cast(): a taped op, or this tensor where it has that dtype
  /// A copy on a device, outside any tape, or this tensor where it lies there.
  Tensor to(Backend& device) const;
  Tensor to(const std::string& device) const;  ///< "cpu", "cuda", "cuda:N"; kBadConfig naming what there is

  // Autograd.
  bool requires_grad() const;
  Tensor& set_requires_grad(bool value = true);  ///< kUsage unless the dtype is floating
  Tensor grad() const;                           ///< accumulated by backward(); undefined before
  void zero_grad();                              ///< forgets grad(), so that backward() starts anew
  /// Adds d(this)/d(leaf), times `gradient` where it is given, to the grad() of every leaf this was computed
  /// from. kUsage unless `gradient` is of this type, or left out of one element.
  void backward(const Tensor& gradient = {}) const;
  Tensor detach() const;  ///< the same data, outside the tape

  // Training.
  TensorRole role() const;
  const std::string& name() const;
  Tensor& set_role(TensorRole role,
                   std::string name);  ///< concrete only; the name appears in graphs and files
  /// Replaces the value in place: eagerly by copying, while tracing by recording the update as part of the
  /// step. Later reads see the new value. kUsage unless dtype and shape agree.
  void assign(const Tensor& value) const;

  const std::shared_ptr<Impl>& impl() const { return impl_; }

 private:
  const Impl& checked() const;
  std::shared_ptr<Impl> impl_;
};

struct Tensor::Impl {
  TensorType type;
  // concrete
  std::shared_ptr<Storage> storage = nullptr;
  TensorRole role = TensorRole::kValue;
  std::string name = {};
  bool requires_grad = false;
  Tensor grad = {};
  std::shared_ptr<TapeNode> producer = nullptr;  // the taped op that made it
  int producer_output = 0;
  // symbolic
  std::shared_ptr<Graph> graph = nullptr;
  int value = -1;
};

/// Where the data of a concrete tensor lies.
Backend& device_of(const Tensor& t);
/// A concrete tensor of zeros.
Tensor zeros(const TensorType& type);
/// A concrete tensor whose elements are whatever its memory held.
Tensor empty(const TensorType& type, Backend& device = cpu_backend());
/// A concrete tensor of the given data, row-major. kUsage where the length is not the product of the shape.
template <class T>
Tensor tensor(std::span<const T> data, const Shape& shape);
template <class T>
Tensor tensor(const std::vector<T>& data, const Shape& shape) {
  return tensor(std::span<const T>(data), shape);
}
/// A concrete tensor over bytes of somebody else, which must outlive it: samples in memory, used where they
/// lie.
Tensor borrow(const TensorType& type, std::span<const std::byte> bytes);
/// A concrete scalar of rank 0.
Tensor scalar(double value, DType dtype = DType::f32);

/// While alive, eager ops on this thread are not taped.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};
bool grad_enabled();  ///< false inside a NoGrad of this thread

}  // namespace wholestep
