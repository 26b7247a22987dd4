// NumPy's array2string: how every element is written depends on all that are shown, how lines break on the
// longest.
#include "wholestep/graph/tensor_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <functional>

namespace wholestep {
namespace {

constexpr int64_t kThreshold = 1000, kEdge = 3;
constexpr size_t kLineWidth = 75;
constexpr int kPrecision = 8;

std::vector<double> numbers_of(const Tensor& tensor) {
  std::vector<double> numbers;
  Tensor host = tensor.to_host();
  visit_stored(tensor.dtype(), [&](auto zero) {
    for (auto element : host.data<decltype(zero)>()) numbers.push_back(static_cast<double>(element));
  });
  return numbers;
}

/// A finite number as text, with as many digits as tell it apart from others of its type, or as many as there
/// is room for.
class Digits {
 public:
  Digits(double value, DType dtype) : value_(value) {
    char text[64];
    const double size = std::abs(value);
    const std::to_chars_result end =
        dtype == DType::f32
            ? std::to_chars(text, text + 64, static_cast<float>(size), std::chars_format::scientific)
        : is_half(dtype) ? shortest_half(text, size, dtype)
                         : std::to_chars(text, text + 64, size, std::chars_format::scientific);
    const std::string_view all(text, static_cast<size_t>(end.ptr - text));
    const size_t e = all.find('e');
    for (char c : all.substr(0, e))
      if (c != '.') digits_ += c;
    std::from_chars(all.data() + e + (all[e + 1] == '+' ? 2 : 1), all.data() + all.size(), exponent_);
  }

  /// "12." or "0.5", at most so many digits behind the point.
  std::string fixed(int most) const {
    const int behind = static_cast<int>(digits_.size()) - 1 - exponent_;
    if (behind > 0) return trimmed(fmt::format("{:.{}f}", value_, std::min(behind, most)));
    return sign() + digits_ + std::string(static_cast<size_t>(-behind), '0') + ".";
  }
  /// "1.e+10" or "2.5e-07" without the exponent.
  std::string mantissa(int most) const {
    if (static_cast<int>(digits_.size()) - 1 > most) {
      const std::string text = fmt::format("{:.{}e}", value_, most);
      return trimmed(text.substr(0, text.find('e')));
    }
    return sign() + digits_.substr(0, 1) + "." + digits_.substr(1);
  }
  int exponent() const { return exponent_; }

 private:
  std::string sign() const { return std::signbit(value_) ? "-" : ""; }
  static std::string trimmed(std::string text) {
    text.resize(text.find_last_not_of('0') + 1);
    return text;
  }
  /// The fewest digits that are rounded to the same number.
  static std::to_chars_result shortest_half(char* text, double size, DType dtype) {
    auto narrow = [&](double x) { return dtype == DType::f16 ? double{Half(x)} : double{BFloat16(x)}; };
    for (int precision = 0;; ++precision) {
      std::to_chars_result end =
          std::to_chars(text, text + 64, size, std::chars_format::scientific, precision);
      double back = 0;
      std::from_chars(text, end.ptr, back);
      if (narrow(back) == size) return end;
    }
  }

  double value_;
  std::string digits_;  // without the point
  int exponent_ = 0;    // of ten, of the first one
};

std::string exponent_text(int power, size_t digits) {
  return fmt::format("e{}{:0>{}}", power < 0 ? '-' : '+', std::abs(power), digits);
}

/// Where the elements of a broadcast result lie in an operand.
class BroadcastStrides {
 public:
  BroadcastStrides(const Shape& operand, const Shape& result) : result_(result) {
    const auto own = operand.strides();
    for (int axis = result.rank() - operand.rank(), i = 0; i < operand.rank(); ++i, ++axis)
      strides_[static_cast<size_t>(axis)] = operand[i] == 1 ? 0 : own[static_cast<size_t>(i)];
  }
  size_t offset(int64_t index) const {
    int64_t at = 0;
    for (int axis = result_.rank() - 1; axis >= 0; index /= result_[axis], --axis)
      at += index % result_[axis] * strides_[static_cast<size_t>(axis)];
    return static_cast<size_t>(at);
  }

 private:
  Shape result_;
  std::array<int64_t, Shape::kMaxRank> strides_{};
};

std::string word_of(double value) { return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf"; }

/// How one element is written, given all that are shown.
std::function<std::string(double)> writer(const std::vector<double>& shown, DType dtype) {
  if (!is_floating(dtype)) {
    auto plain = [dtype](double v) {
      return dtype == DType::boolean ? std::string(v != 0 ? "True" : "False")
                                     : std::to_string(static_cast<int64_t>(v));
    };
    size_t width = 0;
    for (double v : shown) width = std::max(width, plain(v).size());
    return [=](double v) { return fmt::format("{:>{}}", plain(v), width); };
  }
  double most = 0, least = std::numeric_limits<double>::infinity();
  for (double v : shown)
    if (std::isfinite(v) && v != 0) most = std::max(most, std::abs(v)), least = std::min(least, std::abs(v));
  // Limits as NumPy has them: the digits of the type, and 1e-4 rounded to it.
  const double large = dtype == DType::f64   ? 1e8
                       : dtype == DType::f32 ? 1e6
                                             : 1e3,
               small = dtype == DType::f64   ? 1e-4
                       : dtype == DType::f32 ? double{1e-4f}
                                             : double{Half(1e-4)};
  const bool scientific = most > 0 && (most >= large || least < small || most / least > 1000);
  size_t left = 0, right = 0, power_digits = 2;
  for (double v : shown) {
    if (!std::isfinite(v)) continue;
    const Digits digits(v, dtype);
    const std::string text = scientific ? digits.mantissa(kPrecision) : digits.fixed(kPrecision);
    const size_t point = text.find('.');
    left = std::max(left, point);
    right = std::max(right, text.size() - point - 1);
    power_digits = std::max(power_digits, std::to_string(std::abs(digits.exponent())).size());
  }
  const size_t behind = 1 + right + (scientific ? power_digits + 2 : 0);  // the point and what follows
  for (double v : shown)
    if (!std::isfinite(v)) left = std::max(left, word_of(v).size() - std::min(word_of(v).size(), behind));
  return [=](double v) -> std::string {
    if (!std::isfinite(v)) return fmt::format("{:>{}}", word_of(v), left + behind);
    if (scientific) {  // the digits all have, exact ones
      const std::string text = fmt::format("{:.{}e}", v, right);
      const size_t e = text.find('e');
      const std::string mantissa = text.substr(0, e) + (right == 0 ? "." : "");
      return fmt::format("{:>{}}{}", mantissa, left + 1 + right,
                         exponent_text(std::stoi(text.substr(e + 1)), power_digits));
    }
    const std::string text = Digits(v, dtype).fixed(static_cast<int>(right));
    return std::string(left - text.find('.'), ' ') + fmt::format("{:<{}}", text, text.find('.') + behind);
  };
}

/// str() of a NumPy scalar.
std::string scalar_text(double v, DType dtype) {
  if (!is_floating(dtype)) return writer({v}, dtype)(v);
  if (!std::isfinite(v)) return word_of(v);
  constexpr int kAll = 400;
  const Digits digits(v, dtype);
  if (v == 0 || (std::abs(v) < 1e16 && std::abs(v) >= 1e-4)) {
    const std::string text = digits.fixed(kAll);
    return text.back() == '.' ? text + "0" : text;
  }
  std::string text = digits.mantissa(kAll);
  if (text.back() == '.') text.pop_back();
  return text + exponent_text(digits.exponent(), 2);
}

class Printer {
 public:
  explicit Printer(const Tensor& tensor)
      : shape_(tensor.shape()), cut_(shape_.numel() > kThreshold), numbers_(numbers_of(tensor)) {
    std::vector<double> shown;
    each(0, 0, [&](int64_t at) { shown.push_back(numbers_[static_cast<size_t>(at)]); });
    write_ = writer(shown, tensor.dtype());
  }

  std::string run() const { return list(0, 0, kLineWidth, " "); }

 private:
  /// Indices of an axis that are shown; -1 stands for "...".
  std::vector<int64_t> shown_of(int axis) const {
    std::vector<int64_t> indices;
    const int64_t extent = shape_[axis];
    for (int64_t i = 0; i < extent; ++i) {
      if (cut_ && extent > 2 * kEdge && i == kEdge) indices.push_back(-1), i = extent - kEdge;
      indices.push_back(i);
    }
    return indices;
  }
  void each(int axis, int64_t at, const std::function<void(int64_t)>& fn) const {
    if (axis == shape_.rank()) return fn(at);
    for (int64_t i : shown_of(axis))
      if (i >= 0) each(axis + 1, at * shape_[axis] + i, fn);
  }

  /// The part of the array at `at`, whose lines after the first begin with `indent`.
  std::string list(int axis, int64_t at, size_t width, const std::string& indent) const {
    if (axis == shape_.rank()) return write_(numbers_[static_cast<size_t>(at)]);
    std::string text;
    const std::vector<int64_t> indices = shown_of(axis);
    if (axis == shape_.rank() - 1) {
      std::string line = indent;
      for (int64_t i : indices) {
        const std::string word = i < 0 ? "..." : write_(numbers_[static_cast<size_t>(at * shape_[axis] + i)]);
        if (line.size() > indent.size()) line += ' ';
        if (line.size() + word.size() > width - 1 && line.size() > indent.size()) {  // a bracket has room too
          text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
          line = indent;
        }
        line += word;
      }
      text += line;
    } else {
      for (size_t k = 0; k < indices.size(); ++k) {
        if (k > 0) text += std::string(static_cast<size_t>(shape_.rank() - 1 - axis), '\n');
        text += indent + (indices[k] < 0
                              ? "..."
                              : list(axis + 1, at * shape_[axis] + indices[k], width - 1, indent + " "));
      }
    }
    return "[" + text.substr(indent.size()) + "]";
  }

  Shape shape_;
  bool cut_;
  std::vector<double> numbers_;
  std::function<std::string(double)> write_;
};

}  // namespace

std::string to_string(const Tensor& tensor) {
  if (tensor.rank() == 0) return scalar_text(numbers_of(tensor)[0], tensor.dtype());
  return tensor.numel() == 0 ? "[]" : Printer(tensor).run();
}

bool array_equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && numbers_of(a) == numbers_of(b);
}

bool allclose(const Tensor& a, const Tensor& b, double rtol, double atol, bool equal_nan) {
  const Shape shape = broadcast_shapes(a.shape(), b.shape());
  const std::vector<double> x = numbers_of(a), y = numbers_of(b);
  const BroadcastStrides from_a(a.shape(), shape), from_b(b.shape(), shape);
  for (int64_t i = 0; i < shape.numel(); ++i) {
    const double p = x[from_a.offset(i)], q = y[from_b.offset(i)];
    const bool both_nan = std::isnan(p) && std::isnan(q);
    const bool close =
        std::isfinite(p) && std::isfinite(q) ? std::abs(p - q) <= atol + rtol * std::abs(q) : p == q;
    if (!close && !(equal_nan && both_nan)) return false;
  }
  return true;
}

}  // namespace wholestep
