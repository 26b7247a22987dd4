// The one type for arithmetic on sizes that come out of files: it remembers an overflow instead of wrapping,
// and every comparison with a limit fails once it has happened.
#pragma once
#include <cstdint>

namespace wholestep {

class CheckedSize {
 public:
  constexpr CheckedSize(uint64_t value) : value_(value) {}  // implicit: a plain size is a checked one
  constexpr bool ok() const { return ok_; }
  constexpr uint64_t value() const { return value_; }  ///< meaningful only while ok()
  constexpr bool fits(uint64_t limit) const { return ok_ && value_ <= limit; }
  constexpr bool equals(uint64_t other) const { return ok_ && value_ == other; }

  friend constexpr CheckedSize operator+(CheckedSize a, CheckedSize b) {
    CheckedSize sum = 0;
    bool wrapped = __builtin_add_overflow(a.value_, b.value_, &sum.value_);
    sum.ok_ = a.ok_ && b.ok_ && !wrapped;
    return sum;
  }
  friend constexpr CheckedSize operator*(CheckedSize a, CheckedSize b) {
    CheckedSize product = 0;
    bool wrapped = __builtin_mul_overflow(a.value_, b.value_, &product.value_);
    product.ok_ = a.ok_ && b.ok_ && !wrapped;
    return product;
  }

 private:
  uint64_t value_;
  bool ok_ = true;
};

}  // namespace wholestep
