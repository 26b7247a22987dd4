// Tensor's accessors, creation and in-place assignment.
#include "wholestep/graph/tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "wholestep/backend/device.h"
#include "wholestep/backend/memory_cache.h"
#include "wholestep/graph/grad.h"
#include "wholestep/graph/graph.h"

namespace wholestep {
namespace {

thread_local bool grad_is_enabled = true;

const Storage& storage_of(const Tensor::Impl& impl) {
  if (!impl.storage)
    throw Error(ErrorCode::kUsage, {.what = "this tensor is symbolic: it has a type but no data yet",
                                    .got = to_string(impl.type),
                                    .hint = "run the compiled step and read its outputs"});
  return *impl.storage;
}

// Bytes of a storage from `offset` on, wherever it lies.
void copy_out(const Storage& storage, int64_t offset, std::span<std::byte> host) {
  const std::byte* from = storage.data + offset;
  if (storage.device) storage.device->copy_out(host.data(), from, std::ssize(host));
  else if (!host.empty() && host.data() != from) std::memcpy(host.data(), from, host.size());
}
void copy_in(Storage& storage, int64_t offset, std::span<const std::byte> host) {
  std::byte* to = storage.data + offset;
  if (storage.device) storage.device->copy_in(to, host.data(), std::ssize(host));
  else if (!host.empty() && host.data() != to) std::memcpy(to, host.data(), host.size());
  ++storage.version;
}

void check_size(const Tensor& t, size_t bytes) {
  if (static_cast<int64_t>(bytes) != t.type().bytes())
    throw Error(ErrorCode::kUsage,
                {.what = "a whole tensor is read or written at once",
                 .where = t.name(),
                 .got = fmt::format("{} bytes", bytes),
                 .expected = fmt::format("{} for {}", t.type().bytes(), to_string(t.type()))});
}

}  // namespace

NoGrad::NoGrad() : before_(grad_is_enabled) { grad_is_enabled = false; }
NoGrad::~NoGrad() { grad_is_enabled = before_; }
bool grad_enabled() { return grad_is_enabled; }
bool set_grad_enabled(bool enabled) { return std::exchange(grad_is_enabled, enabled); }

const Tensor::Impl& Tensor::checked() const {
  if (!impl_) throw Error(ErrorCode::kUsage, {.what = "an undefined tensor was used"});
  return *impl_;
}

bool Tensor::symbolic() const { return checked().graph != nullptr; }
const TensorType& Tensor::type() const { return checked().type; }
bool Tensor::requires_grad() const { return checked().requires_grad || checked().producer; }
Tensor Tensor::grad() const { return checked().grad; }
void Tensor::zero_grad() { impl_->grad = {}; }
TensorRole Tensor::role() const { return checked().role; }
const std::string& Tensor::name() const { return checked().name; }

std::span<std::byte> Tensor::bytes() const {
  const Storage& storage = storage_of(checked());
  if (storage.device)
    throw Error(ErrorCode::kUsage,
                {.what = "the host cannot touch this tensor: its data lies on a device",
                 .where = name(),
                 .got = fmt::format("{} on '{}'", to_string(type()), storage.device->name()),
                 .hint = "clone() gives a copy on the host; read(), write(), item() and assign() copy"});
  return {storage.data, static_cast<size_t>(type().bytes())};
}

void Tensor::read(std::span<std::byte> host) const {
  const Storage& storage = storage_of(checked());
  check_size(*this, host.size());
  copy_out(storage, 0, host);
}

void Tensor::write(std::span<const std::byte> host) const {
  storage_of(checked());
  check_size(*this, host.size());
  copy_in(*impl_->storage, 0, host);
}

template <class T>
std::span<T> Tensor::data() const {
  if (dtype() != kDTypeOf<T>)
    throw Error(ErrorCode::kUsage, {.what = "tensor data read as another dtype",
                                    .got = std::string(wholestep::name(kDTypeOf<T>)),
                                    .expected = std::string(wholestep::name(dtype()))});
  return {reinterpret_cast<T*>(bytes().data()), static_cast<size_t>(numel())};
}

template <class T>
T Tensor::item() const {
  if (numel() != 1)
    throw Error(ErrorCode::kUsage,
                {.what = "item() of a tensor that is not a single element", .got = to_string(type())});
  return visit_stored(dtype(), [&](auto element) {
    read(std::as_writable_bytes(std::span(&element, 1)));
    return static_cast<T>(element);
  });
}

namespace {

/// Where an element lies, in bytes from the first.
int64_t place_of(const Tensor& t, std::span<const int64_t> index) {
  auto refuse = [&] {
    throw Error(ErrorCode::kUsage,
                {.what = "no element has this index",
                 .where = t.name(),
                 .got = to_string(Attrs{{"index", std::vector(index.begin(), index.end())}}),
                 .expected = "one within " + to_string(t.shape())});
  };
  if (static_cast<int>(index.size()) != t.rank()) refuse();
  int64_t at = 0;
  for (int axis = 0; axis < t.rank(); ++axis) {
    int64_t extent = t.shape()[axis], i = index[static_cast<size_t>(axis)];
    if (i < -extent || i >= extent) refuse();
    at = at * extent + (i < 0 ? i + extent : i);
  }
  return at * size_bytes(t.dtype());
}

}  // namespace

template <class T>
T Tensor::at(std::initializer_list<int64_t> index) const {
  const int64_t place = place_of(*this, {index.begin(), index.size()});
  return visit_stored(dtype(), [&](auto element) {
    copy_out(storage_of(checked()), place, std::as_writable_bytes(std::span(&element, 1)));
    return static_cast<T>(element);
  });
}

void Tensor::set(std::initializer_list<int64_t> index, double value) const {
  const int64_t place = place_of(*this, {index.begin(), index.size()});
  storage_of(checked());
  copy_in(*impl_->storage, place, scalar(value, dtype()).bytes());
}

template <class T>
Tensor tensor(std::span<const T> data, const Shape& shape) {
  if (static_cast<int64_t>(data.size()) != shape.numel())
    throw Error(ErrorCode::kUsage, {.what = "data length does not fit the shape",
                                    .got = fmt::format("{} values", data.size()),
                                    .expected = fmt::format("{} for {}", shape.numel(), to_string(shape))});
  Tensor result = empty({kDTypeOf<T>, shape});
  if (!data.empty()) std::memcpy(result.bytes().data(), data.data(), data.size_bytes());
  return result;
}

#define WHOLESTEP_INSTANTIATE(T)                                        \
  template std::span<T> Tensor::data<T>() const;                        \
  template T Tensor::item<T>() const;                                   \
  template T Tensor::at<T>(std::initializer_list<int64_t> index) const; \
  template Tensor tensor(std::span<const T>, const Shape&);
WHOLESTEP_INSTANTIATE(float)
WHOLESTEP_INSTANTIATE(double)
WHOLESTEP_INSTANTIATE(int32_t)
WHOLESTEP_INSTANTIATE(int64_t)
WHOLESTEP_INSTANTIATE(uint8_t)
WHOLESTEP_INSTANTIATE(bool)
WHOLESTEP_INSTANTIATE(Half)
WHOLESTEP_INSTANTIATE(BFloat16)

Tensor empty(const TensorType& type, Backend& device) {
  auto storage = std::make_shared<Storage>();
  storage->memory = eager_memory(device).allocate(type.bytes(), Scope::path());
  storage->data = storage->memory->data();
  storage->device = device.host_memory() ? nullptr : &device;
  return Tensor(std::make_shared<Tensor::Impl>(Tensor::Impl{.type = type, .storage = std::move(storage)}));
}

Tensor zeros(const TensorType& type) {
  Tensor result = empty(type);
  std::ranges::fill(result.bytes(), std::byte{0});
  return result;
}

Tensor borrow(const TensorType& type, std::span<const std::byte> bytes) {
  WHOLESTEP_CHECK(static_cast<int64_t>(bytes.size()) == type.bytes());
  auto storage = std::make_shared<Storage>();
  storage->data = const_cast<std::byte*>(bytes.data());  // values of a graph are never written over constants
  return Tensor(std::make_shared<Tensor::Impl>(Tensor::Impl{.type = type, .storage = std::move(storage)}));
}

Tensor scalar(double value, DType dtype) {
  Tensor result = zeros({dtype, {}});
  visit_stored(dtype,
               [&](auto zero) { result.data<decltype(zero)>()[0] = static_cast<decltype(zero)>(value); });
  return result;
}

Tensor Tensor::clone() const {
  Tensor copy = empty(type());
  read(copy.bytes());
  return copy;
}

Tensor Tensor::to(DType dtype) const {
  if (this->dtype() == dtype) return *this;
  return apply1(find_op("cast"), {*this}, {{"dtype", std::string(wholestep::name(dtype))}});
}

Tensor Tensor::to(Backend& device) const {
  if (lies_on(storage_of(checked()), device)) return *this;
  if (device.host_memory()) return clone();
  Tensor copy = empty(type(), device);
  copy.impl()->storage->device->copy_in(copy.impl()->storage->data, to_host().bytes().data(), type().bytes());
  return copy;
}

Tensor Tensor::to(const std::string& device) const { return to(*find_device(device).backend); }

std::vector<int64_t> Tensor::strides() const {
  auto strides = shape().strides();
  return {strides.begin(), strides.begin() + rank()};
}

Backend& device_of(const Tensor& t) {
  Backend* device = storage_of(*t.impl()).device;
  return device ? *device : cpu_backend();
}

std::string Tensor::device() const {
  checked();
  return std::string(device_of(*this).name());
}

Tensor Tensor::to_host() const { return storage_of(checked()).device ? clone() : *this; }

Tensor Tensor::detach() const {
  if (symbolic() || (Trace::current() && role() != TensorRole::kValue))
    return apply1(find_op("stop_gradient"), {*this});
  return Tensor(std::make_shared<Impl>(
      Impl{.type = type(), .storage = checked().storage, .role = role(), .name = name()}));
}

Tensor& Tensor::set_requires_grad(bool value) {
  if (value && !is_floating(dtype()))
    throw Error(ErrorCode::kUsage,
                {.what = "only floating-point tensors can require a gradient", .got = to_string(type())});
  impl_->requires_grad = value;
  return *this;
}

Tensor& Tensor::set_role(TensorRole role, std::string name) {
  storage_of(checked());
  impl_->role = role;
  impl_->name = std::move(name);
  return *this;
}

void Tensor::assign(const Tensor& value) const {
  if (value.type() != type())
    throw Error(ErrorCode::kUsage, {.what = "assign() needs a value of the same dtype and shape",
                                    .where = name(),
                                    .got = to_string(value.type()),
                                    .expected = to_string(type())});
  if (Graph* graph = Trace::current()) return graph->record_update(*this, value);
  Storage& to = *impl_->storage;
  const Storage& from = *value.impl()->storage;
  if (to.device && to.device == from.device)
    to.device->copy(to.data, from.data, type().bytes()), ++to.version;
  else write(value.to_host().bytes());
}

void Tensor::backward(const Tensor& gradient) const {
  // Leaves are found on the tape: every tensor that requires a gradient and was made by no taped op.
  std::vector<Tensor> leaves;
  std::unordered_set<const void*> seen;
  std::vector<const TapeNode*> stack;
  auto visit_tensor = [&](const Tensor& t) {
    if (TapeNode* node = t.impl()->producer.get()) {
      if (seen.insert(node).second) stack.push_back(node);
    } else if (t.impl()->requires_grad && seen.insert(t.impl().get()).second) {
      leaves.push_back(t);
    }
  };
  visit_tensor(*this);
  while (!stack.empty()) {
    const TapeNode* node = stack.back();
    stack.pop_back();
    for (const Tensor& input : node->inputs) visit_tensor(input);
  }
  std::vector<Tensor> grads = wholestep::grad(std::span(this, 1), leaves, std::span(&gradient, 1));
  if (leaves.empty())
    throw Error(ErrorCode::kUsage,
                {.what = "backward() reaches no tensor that requires a gradient",
                 .got = to_string(type()),
                 .hint = "call set_requires_grad() before computing; NoGrad and detach() cut the way"});
  NoGrad no_grad;
  for (size_t i = 0; i < leaves.size(); ++i) {
    Tensor& total = leaves[i].impl()->grad;
    total = total.defined() ? apply1(find_op("add"), {total, grads[i]}) : grads[i];
  }
}

}  // namespace wholestep
