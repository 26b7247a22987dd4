// Naive evaluations of the ops on images: every product of a convolution is visited once and goes to
// whichever of the three tensors is asked for; every window of a pooling is a list of pixels.
#include <algorithm>
#include <cmath>
#include <limits>

#include "support/op_evaluation.h"

namespace wholestep::test {
namespace {

/// Calls fn(index into x, into weight, into y) for every product x * weight that y = conv(x, weight) adds up.
void for_each_product(const Shape& x, const Shape& weight, const Shape& y, const Attrs& attrs,
                      const std::function<void(const Index&, const Index&, const Index&)>& fn) {
  const auto &stride = attrs.integers("stride"), &padding = attrs.integers("padding"),
             &dilation = attrs.integers("dilation");
  int64_t group_out = weight[0] / attrs.integer("groups");
  for_each(y, [&](const Index& out) {
    for_each({weight[1], weight[2], weight[3]}, [&](const Index& tap) {
      int64_t h = out[2] * stride[0] - padding[0] + tap[1] * dilation[0],
              w = out[3] * stride[1] - padding[1] + tap[2] * dilation[1];
      if (h < 0 || h >= x[2] || w < 0 || w >= x[3]) return;
      fn({out[0], out[1] / group_out * weight[1] + tap[0], h, w}, {out[1], tap[0], tap[1], tap[2]}, out);
    });
  });
}

std::vector<Expected> conv2d(const Question& q) {
  Sums y(q.out[0]);
  for_each_product(q.in[0].shape, q.in[1].shape, q.out[0].shape, q.attrs,
                   [&](const Index& x, const Index& w, const Index& to) {
                     y.add(q.out[0].offset(to), q.in[0].at(x) * q.in[1].at(w));
                   });
  for_each(q.out[0].shape, [&](const Index& to) {
    size_t i = q.out[0].offset(to);
    if (q.in.size() == 3) y.add(i, q.in[2].at({to[1]}));
    if (q.attrs.text_or("activation", "") == "relu") y.values[i] = std::max(y.values[i], 0.0);
  });
  return {y};
}
std::vector<Expected> conv2d_dx(const Question& q) {
  Sums dx(q.out[0]);
  for_each_product(q.out[0].shape, q.in[1].shape, q.in[0].shape, q.attrs,
                   [&](const Index& to, const Index& w, const Index& g) {
                     dx.add(q.out[0].offset(to), q.in[0].at(g) * q.in[1].at(w));
                   });
  if (q.attrs.has("activation"))
    for_each(q.out[0].shape, [&](const Index& to) {
      if (!(q.in[2].at(to) > 0)) dx.values[q.out[0].offset(to)] = 0;
    });
  return {dx};
}
std::vector<Expected> conv2d_dw(const Question& q) {
  Sums dw(q.out[0]);
  for_each_product(q.in[0].shape, q.out[0].shape, q.in[1].shape, q.attrs,
                   [&](const Index& x, const Index& to, const Index& g) {
                     dw.add(q.out[0].offset(to), q.in[0].at(x) * q.in[1].at(g));
                   });
  if (!q.attrs.has("bias")) return {dw};
  Sums db(q.out[1]);
  for_each(q.in[1].shape, [&](const Index& g) { db.add(static_cast<size_t>(g[1]), q.in[1].at(g)); });
  return {dw, db};
}

/// Every row of every strip from its part of x: to the sample where it is the strip's own, and to the strip.
std::vector<Expected> conv2d_strips(const Question& q) {
  const auto &stride = q.attrs.integers("stride"), &padding = q.attrs.integers("padding"),
             &dilation = q.attrs.integers("dilation");
  const bool of_strips = q.attrs.has("x_rows"), kept = q.attrs.has("rows");
  const Shape &x = q.in[0].shape, &weight = q.in[1].shape;
  const int64_t strips = q.attrs.integer("strips"),
                x_height = of_strips ? q.attrs.integers("x_rows")[1] : x[2],
                height = (x_height + 2 * padding[0] - dilation[0] * (weight[2] - 1) - 1) / stride[0] + 1,
                own = height / strips, width = q.out[0].shape[3], samples = of_strips ? x[0] / strips : x[0],
                first = kept ? q.attrs.integers("rows")[0] : 0,
                count = kept ? q.attrs.integers("rows")[1] : own;
  Operand pixels = q.in[0];
  if (q.attrs.has("program"))
    pixels.values = program_results({{q.in[0]}, q.attrs, {{q.in[0].shape, {}}}})[0].values;
  std::vector<Sums> results(q.out.begin(), q.out.end());
  for_each({samples, strips, weight[0], count, width}, [&](const Index& at) {
    const int64_t row = at[1] * own + first + at[3];
    double value = 0, magnitude = 0;
    for_each({weight[1], weight[2], weight[3]}, [&](const Index& tap) {
      const int64_t begin = of_strips ? at[1] * (x_height / strips) + q.attrs.integers("x_rows")[0] : 0,
                    h = row * stride[0] - padding[0] + tap[1] * dilation[0] - begin,
                    w = at[4] * stride[1] - padding[1] + tap[2] * dilation[1];
      if (h < 0 || h >= x[2] || w < 0 || w >= x[3]) return;
      const double term = pixels.at({of_strips ? at[0] * strips + at[1] : at[0], tap[0], h, w}) *
                          q.in[1].at({at[2], tap[0], tap[1], tap[2]});
      value += term, magnitude += std::abs(term);
    });
    if (q.in.size() == 3) value += q.in[2].at({at[2]}), magnitude += std::abs(q.in[2].at({at[2]}));
    if (q.attrs.text_or("activation", "") == "relu") value = std::max(value, 0.0);
    auto put = [&](Sums& to, size_t i) { to.values[i] = value, to.magnitudes[i] = magnitude; };
    if (row >= at[1] * own && row < (at[1] + 1) * own)
      put(results[0], q.out[0].offset({at[0], at[2], row, at[4]}));
    if (kept && row >= 0 && row < height)
      put(results.back(), q.out.back().offset({at[0] * strips + at[1], at[2], at[3], at[4]}));
  });
  return {results.begin(), results.end()};
}
/// Channels and columns stay, rows of a sample are so many to a strip.
Index in_strips(const Index& at, int64_t strips, int64_t height) {
  const int64_t own = height / strips;
  return {at[0] * strips + at[2] / own, at[1], at[2] % own, at[3]};
}
std::vector<Expected> conv2d_dx_strips(const Question& q) {
  const int64_t strips = q.attrs.integer("strips");
  const Shape& made = q.out[0].shape;
  const Shape whole = {made[0] / strips, made[1], made[2] * strips, made[3]};
  Sums dx(q.out[0]);
  for_each_product(whole, q.in[1].shape, q.in[0].shape, q.attrs,
                   [&](const Index& to, const Index& w, const Index& g) {
                     dx.add(q.out[0].offset(in_strips(to, strips, whole[2])), q.in[0].at(g) * q.in[1].at(w));
                   });
  if (q.attrs.has("activation"))
    for_each(whole, [&](const Index& to) {
      if (!(q.in[2].at(to) > 0)) dx.values[q.out[0].offset(in_strips(to, strips, whole[2]))] = 0;
    });
  return {dx};
}
std::vector<Expected> conv2d_dw_strips(const Question& q) {
  const int64_t strips = q.attrs.integer("strips");
  const Shape& given = q.in[1].shape;
  const Shape whole = {given[0] / strips, given[1], given[2] * strips, given[3]};
  Sums dw(q.out[0]);
  for_each_product(q.in[0].shape, q.out[0].shape, whole, q.attrs,
                   [&](const Index& x, const Index& to, const Index& g) {
                     dw.add(q.out[0].offset(to), q.in[0].at(x) * q.in[1].at(in_strips(g, strips, whole[2])));
                   });
  if (!q.attrs.has("bias")) return {dw};
  Sums db(q.out[1]);
  for_each(given, [&](const Index& g) { db.add(static_cast<size_t>(g[1]), q.in[1].at(g)); });
  return {dw, db};
}
/// The convolution as operands of conv2d have it, then what its pixels add up to.
std::vector<Expected> conv2d_sums(const Question& q) {
  Question conv{q.in, q.attrs, {}};
  if (q.attrs.has("program"))
    conv.in[0].values = program_results({{q.in[0]}, q.attrs, {{q.in[0].shape, {}}}})[0].values;
  const auto &stride = q.attrs.integers("stride"), &padding = q.attrs.integers("padding"),
             &dilation = q.attrs.integers("dilation");
  const Shape &x = q.in[0].shape, &weight = q.in[1].shape;
  Shape y = {x[0], weight[0]};
  for (size_t axis : {size_t{0}, size_t{1}}) {
    int at = static_cast<int>(axis) + 2;
    y.push_back((x[at] + 2 * padding[axis] - dilation[axis] * (weight[at] - 1) - 1) / stride[axis] + 1);
  }
  conv.out = {{y, {}}};
  Expected pixels = conv2d(conv)[0];
  Sums sums(q.out[0]), patches(q.out[1]), positive(q.out[2]);
  const double scale = q.attrs.has("scale") ? q.attrs.number("scale") : 1;
  for_each(y, [&](const Index& at) {
    double value = pixels.values[conv.out[0].offset(at)];
    const size_t to = q.out[0].offset({at[0], at[1]});
    sums.add(to, scale * std::max(value, 0.0));
    sums.magnitudes[to] += pixels.magnitudes[conv.out[0].offset(at)];
    if (value > 0) positive.add(to, 1);
  });
  for_each_product(x, weight, y, q.attrs, [&](const Index& from, const Index& w, const Index& at) {
    if (pixels.values[conv.out[0].offset(at)] > 0)
      patches.add(q.out[1].offset({at[0], at[1], w[1], w[2], w[3]}), conv.in[0].at(from));
  });
  return {sums, patches, positive};
}
std::vector<Expected> conv2d_sums_dw(const Question& q) {
  const double scale = q.attrs.has("scale") ? q.attrs.number("scale") : 1;
  Sums dw(q.out[0]);
  for_each(q.in[0].shape, [&](const Index& at) {
    dw.add(q.out[0].offset({at[1], at[2], at[3], at[4]}),
           scale * q.in[0].at(at) * q.in[2].at({at[0], at[1]}));
  });
  if (!q.attrs.has("bias")) return {dw};
  Sums db(q.out[1]);
  for_each(q.in[1].shape, [&](const Index& at) {
    db.add(static_cast<size_t>(at[1]), scale * q.in[1].at(at) * q.in[2].at(at));
  });
  return {dw, db};
}

/// Calls fn(pixel) for every pixel of [N, C, in] that result `out` of a sliding or (without a kernel
/// attribute) an adaptive window covers; returns by how much an average divides.
double for_each_pixel(const Shape& in, const Shape& result, const Attrs& attrs, const Index& out,
                      const std::function<void(const Index&)>& fn) {
  int64_t begin[2], end[2];
  double divisor = 1;
  for (size_t axis : {size_t{0}, size_t{1}}) {
    int64_t o = out[2 + axis], extent = in[2 + static_cast<int>(axis)],
            results = result[2 + static_cast<int>(axis)];
    if (attrs.has("kernel")) {
      begin[axis] = o * attrs.integers("stride")[axis] - attrs.integers("padding")[axis];
      end[axis] = begin[axis] + attrs.integers("kernel")[axis];
    } else {
      begin[axis] =
          static_cast<int64_t>(std::floor(static_cast<double>(o * extent) / static_cast<double>(results)));
      end[axis] = static_cast<int64_t>(
          std::ceil(static_cast<double>((o + 1) * extent) / static_cast<double>(results)));
    }
    divisor *= static_cast<double>(end[axis] - begin[axis]);
  }
  for (int64_t h = begin[0]; h < end[0]; ++h)
    for (int64_t w = begin[1]; w < end[1]; ++w)
      if (h >= 0 && h < in[2] && w >= 0 && w < in[3]) fn({out[0], out[1], h, w});
  return divisor;
}

std::vector<Expected> max_pool2d(const Question& q) {
  std::vector<double> values, places;
  for_each(q.out[0].shape, [&](const Index& out) {
    double best = -std::numeric_limits<double>::infinity(), place = -1;
    for_each_pixel(q.in[0].shape, q.out[0].shape, q.attrs, out, [&](const Index& pixel) {
      if (q.in[0].at(pixel) > best)
        best = q.in[0].at(pixel), place = static_cast<double>(pixel[2] * q.in[0].shape[3] + pixel[3]);
    });
    values.push_back(best);
    places.push_back(place);
  });
  return {exact(values), exact(places)};
}
std::vector<Expected> max_pool2d_dx(const Question& q) {
  Sums dx(q.out[0]);
  for_each(q.in[0].shape, [&](const Index& out) {
    int64_t place = static_cast<int64_t>(q.in[1].at(out)), width = q.out[0].shape[3];
    dx.add(q.out[0].offset({out[0], out[1], place / width, place % width}), q.in[0].at(out));
  });
  return {dx};
}
std::vector<Expected> average(const Question& q) {
  Sums y(q.out[0]);
  for_each(q.out[0].shape, [&](const Index& out) {
    size_t i = q.out[0].offset(out);
    double divisor = for_each_pixel(q.in[0].shape, q.out[0].shape, q.attrs, out,
                                    [&](const Index& pixel) { y.add(i, q.in[0].at(pixel)); });
    y.values[i] /= divisor;
    y.magnitudes[i] /= divisor;
  });
  return {y};
}
std::vector<Expected> average_dx(const Question& q) {
  Sums dx(q.out[0]);
  for_each(q.in[0].shape, [&](const Index& out) {
    double divisor = for_each_pixel(q.out[0].shape, q.in[0].shape, q.attrs, out, [](const Index&) {});
    for_each_pixel(q.out[0].shape, q.in[0].shape, q.attrs, out,
                   [&](const Index& pixel) { dx.add(q.out[0].offset(pixel), q.in[0].at(out) / divisor); });
  });
  return {dx};
}

/// Sum over all axes but the channels' of term(index).
std::vector<double> channel_sums(const Shape& x, const std::function<double(const Index&)>& term) {
  std::vector<double> sums(static_cast<size_t>(x[1]));
  for_each(x, [&](const Index& index) { sums[static_cast<size_t>(index[1])] += term(index); });
  return sums;
}

std::vector<Expected> batch_norm(const Question& q) {
  const Operand& x = q.in[0];
  double m = static_cast<double>(x.shape.numel() / x.shape[1]);
  auto mean = channel_sums(x.shape, [&](const Index& i) { return x.at(i) / m; });
  auto size = channel_sums(x.shape, [&](const Index& i) { return std::abs(x.at(i)) / m; });
  auto var = channel_sums(
      x.shape, [&](const Index& i) { return std::pow(x.at(i) - mean[static_cast<size_t>(i[1])], 2) / m; });
  Expected y;
  for_each(x.shape, [&](const Index& i) {
    size_t c = static_cast<size_t>(i[1]);
    double scale = q.in[1].values[c] / std::sqrt(var[c] + q.attrs.number("eps"));
    y.values.push_back((x.at(i) - mean[c]) * scale + q.in[2].values[c]);
    y.magnitudes.push_back((std::abs(x.at(i)) + std::abs(mean[c])) * std::abs(scale) +
                           std::abs(q.in[2].values[c]));
  });
  return {y, {mean, size}, {var, var}};
}

std::vector<Expected> batch_norm_dx(const Question& q) {
  const Operand &x = q.in[0], &g = q.in[4];
  auto channel = [&](size_t operand, const Index& i) {
    return q.in[operand].values[static_cast<size_t>(i[1])];
  };
  auto deviation = [&](const Index& i) { return std::sqrt(channel(3, i) + q.attrs.number("eps")); };
  auto normal = [&](const Index& i) { return (x.at(i) - channel(2, i)) / deviation(i); };
  double m = static_cast<double>(x.shape.numel() / x.shape[1]);
  auto dgamma = channel_sums(x.shape, [&](const Index& i) { return g.at(i) * normal(i); });
  auto dbeta = channel_sums(x.shape, [&](const Index& i) { return g.at(i); });
  auto dgamma_size = channel_sums(x.shape, [&](const Index& i) {
    return std::abs(g.at(i)) * (std::abs(x.at(i)) + std::abs(channel(2, i))) / deviation(i);
  });
  auto dbeta_size = channel_sums(x.shape, [&](const Index& i) { return std::abs(g.at(i)); });
  Expected dx;
  for_each(x.shape, [&](const Index& i) {
    size_t c = static_cast<size_t>(i[1]);
    double scale = channel(1, i) / deviation(i);
    dx.values.push_back(scale * (g.at(i) - dbeta[c] / m - normal(i) * dgamma[c] / m));
    dx.magnitudes.push_back(std::abs(scale) * (std::abs(g.at(i)) + dbeta_size[c] / m +
                                               (std::abs(x.at(i)) + std::abs(channel(2, i))) / deviation(i) *
                                                   dgamma_size[c] / m));
  });
  return {dx, {dgamma, dgamma_size}, {dbeta, dbeta_size}};
}

}  // namespace

const Evaluations& image_evaluations() {
  static const Evaluations table = {{"conv2d", conv2d},
                                    {"conv2d_dx", conv2d_dx},
                                    {"conv2d_dw", conv2d_dw},
                                    {"conv2d_strips", conv2d_strips},
                                    {"conv2d_dx_strips", conv2d_dx_strips},
                                    {"conv2d_dw_strips", conv2d_dw_strips},
                                    {"conv2d_sums", conv2d_sums},
                                    {"conv2d_sums_dw", conv2d_sums_dw},
                                    {"max_pool2d", max_pool2d},
                                    {"max_pool2d_dx", max_pool2d_dx},
                                    {"avg_pool2d", average},
                                    {"avg_pool2d_dx", average_dx},
                                    {"adaptive_avg_pool2d", average},
                                    {"adaptive_avg_pool2d_dx", average_dx},
                                    {"batch_norm", batch_norm},
                                    {"batch_norm_dx", batch_norm_dx}};
  return table;
}

}  // namespace wholestep::test
