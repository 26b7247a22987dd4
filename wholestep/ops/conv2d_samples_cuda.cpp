// Counts what every way to cut a sample costs: words read from shared memory, banks that meet, tensor core
// instructions.
#include "wholestep/ops/conv2d_samples_cuda.h"

#include <algorithm>
#include <array>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/ops/conv2d_cuda.h"

namespace wholestep {
namespace {

constexpr int64_t kWarps = kCudaThreads / 32;

/// Cycles of a block for `tasks` of a warp each, `slices` of so many instructions and reads of shared memory,
/// and `rest` instructions at the end, `writes` to shared memory among them. Each of the multiprocessor's
/// four parts issues one instruction at a time, all together read once, and a warp alone waits for what it
/// reads and multiplies.
double block_cycles(int64_t tasks, int64_t slices, double instructions, double reads, double rest,
                    double writes) {
  int64_t warps = std::min(tasks, kWarps);
  double depth = static_cast<double>(slices);
  return static_cast<double>(ceil_div(tasks, kWarps)) *
         std::max({static_cast<double>(ceil_div(warps, 4)) * (depth * instructions + rest),
                   static_cast<double>(warps) * (depth * reads + writes),
                   depth * (1.5 * instructions + 120) + 1.5 * rest + 60});
}

/// The sample in shared memory; as SampleTile in conv2d_samples.cuh.
struct Layout {
  const Conv2d& c;
  int64_t run, row, plane;
  int64_t runs() const { return ceil_div(c.x.out, run); }
  int64_t all_runs() const { return c.y.out * runs(); }
  int64_t kernel_rows() const { return c.in_channels * c.y.kernel; }
  int64_t reach() const { return conv2d_span(c.x, run); }
  int64_t run_offset(int64_t r) const { return r / runs() * c.y.stride * row + r % runs() * run; }
  int64_t row_offset(int64_t r) const {
    return r % c.in_channels * plane + r / c.in_channels * c.y.dilation * row;
  }
  int64_t least_row() const { return rounded_up(conv2d_span(c.x, runs() * run), c.x.stride); }
  int64_t bytes() const { return 4 * rounded_up(c.in_channels * plane, 4); }
};

/// How many times a read of a warp takes, where thread (g, t) reads at address(g, t): the most words in a
/// bank.
template <class Address>
int64_t passes(Address address) {
  std::array<int64_t, 32> words;
  for (int64_t lane = 0; lane < 32; ++lane) words[static_cast<size_t>(lane)] = address(lane / 4, lane % 4);
  std::ranges::sort(words);
  auto last = std::unique(words.begin(), words.end());
  std::array<int64_t, 32> banks = {};
  for (auto word = words.begin(); word != last; ++word) ++banks[static_cast<size_t>(*word % 32)];
  return *std::ranges::max_element(banks);
}

/// Rows and planes as long as lets a warp's reads meet in few banks: passes(layout), over a sample of reads.
template <class Passes>
double lay_out(Layout& layout, Passes count) {
  double least = 0;
  Layout best = layout;
  int64_t height = conv2d_span(layout.c.y, layout.c.y.out);
  for (layout.row = layout.least_row(); layout.row < layout.least_row() + 8; ++layout.row)
    for (layout.plane = height * layout.row; layout.plane < height * layout.row + 32; ++layout.plane)
      if (double now = count(layout); least == 0 || now < least) {
        least = now;
        best.row = layout.row, best.plane = layout.plane;
      }
  layout.row = best.row, layout.plane = best.plane;
  return least;
}

constexpr JoinCycles kJoin{.part = 4, .round = 32, .once = 120},
    kJoinFragments{.part = 32, .round = 240, .once = 120};

void keep_least(std::optional<SampleTile>& best, double& least, const SampleTile& tile, double cycles) {
  if (tile.shared_bytes > cuda_shared_bytes() || (best && cycles >= least)) return;
  best = tile, least = cycles;
}

/// A plane of the result of a product: a class of its pixels lies so far apart. With `masks`, of its shape.
struct Plane {
  int64_t height, width, y_step, x_step;
  bool masks;
};

/// For classes of pixels that meet `height` x `width` taps.
std::optional<SampleTile> product_tile(const Conv2d& c, int64_t height, int64_t width, const Plane& plane) {
  const int64_t classes = plane.y_step * plane.x_step;
  std::optional<SampleTile> best;
  double least = 0;
  int64_t channels = ceil_div(c.out_channels, 8);
  for (int64_t run : {1, 2, 4, 5, 7, 8}) {
    Layout layout{c, run, 0, 0};
    int64_t reach = (run - 1) * c.x.stride + (width - 1) * c.x.dilation + 1;
    if ((run > c.x.out && run > 1) || reach > 20) continue;
    int64_t rows = c.in_channels * height, units = ceil_div(layout.all_runs(), 16),
            slices = ceil_div(rows, 8);
    double conflicts = lay_out(layout, [&](const Layout& l) {
      double sum = 0, count = 0;
      for (int64_t unit : {int64_t{0}, units / 2})
        for (int64_t slice : {int64_t{0}, slices / 2})
          for (int64_t k : {0, 1})
            if (int64_t r = slice * 8 + k * 4; r < rows) {
              sum += static_cast<double>(passes([&](int64_t g, int64_t t) {
                return l.run_offset(std::min(unit * 16 + g, l.all_runs() - 1)) +
                       l.row_offset(std::min(r + t, rows - 1));
              }));
              count += 1;
            }
      return sum / count;
    });
    const auto apart = static_cast<double>(passes([&](int64_t g, int64_t t) {
      const int64_t h = g / layout.runs() * plane.y_step,
                    w = (g % layout.runs() * run + t % run) * plane.x_step;
      return (2 * t * plane.height + h) * plane.width + w;
    }));
    for (int64_t groups = 1; groups <= std::min<int64_t>(channels, 8); ++groups)
      for (int64_t split = 1; split <= std::min<int64_t>(slices, 16); ++split) {
        if (run * groups > 16) continue;
        const int64_t results = units * ceil_div(channels, groups) * classes, tasks = results * split,
                      fragments = results * run * groups * 32;
        const double writes = split > 1 ? 1 : plane.masks ? 2 * apart : apart;
        double reads = static_cast<double>(4 * reach), weights = static_cast<double>(2 * width * groups),
               multiplies = static_cast<double>(width * run * groups);
        double cycles =
            block_cycles(tasks, ceil_div(slices, split), reads + 5 * weights + 2 * multiplies + 40,
                         reads * conflicts + 2 * weights, static_cast<double>(16 * run * groups + 60),
                         static_cast<double>(4 * run * groups) * writes);
        keep_least(best, least,
                   {.run = run,
                    .row = layout.row,
                    .plane = layout.plane,
                    .channel_groups = groups,
                    .split = split,
                    .kernel_rows = 0,
                    .shared_bytes = layout.bytes() + (split > 1 ? 16 * split * fragments : 0)},
                   cycles + kJoinFragments(fragments, split));
      }
  }
  return best;
}

}  // namespace

std::optional<SampleTile> forward_sample_tile(const Conv2d& c) {
  return product_tile(c, c.y.kernel, c.x.kernel, {c.y.out, c.x.out, 1, 1, false});
}

std::optional<SampleTile> gradient_sample_tile(const Conv2d& c) {
  return product_tile(conv2d_input_gradient(c), ceil_div(c.y.kernel, c.y.stride),
                      ceil_div(c.x.kernel, c.x.stride), {c.y.in, c.x.in, c.y.stride, c.x.stride, true});
}

std::optional<SampleTile> weight_sample_tile(const Conv2d& c, bool bias) {
  std::optional<SampleTile> best;
  double least = 0;
  int64_t channels = ceil_div(c.out_channels, 8),
          outputs = c.out_channels * (c.in_channels * c.y.kernel * c.x.kernel + bias);
  for (int64_t run = 1; run <= std::min<int64_t>(c.x.out, 16); ++run) {
    Layout layout{c, run, 0, 0};
    if (c.x.out % run != 0 || layout.reach() > 40) continue;
    int64_t quads = ceil_div(layout.all_runs(), 4), row_groups = ceil_div(layout.kernel_rows(), 8);
    double conflicts = lay_out(layout, [&](const Layout& l) {
      double sum = 0, count = 0;
      for (int64_t quad : {int64_t{0}, quads / 2})
        for (int64_t block : {int64_t{0}, row_groups / 2}) {
          sum += static_cast<double>(passes([&](int64_t g, int64_t t) {
            return l.run_offset(std::min(quad * 4 + t, l.all_runs() - 1)) +
                   l.row_offset(std::min(block * 8 + g, l.kernel_rows() - 1));
          }));
          count += 1;
        }
      return sum / count;
    });
    for (int64_t rows = 1; rows <= std::min<int64_t>(row_groups, 4); ++rows)
      for (int64_t groups = 1; groups <= std::min<int64_t>(channels, 4); ++groups) {
        int64_t tiles = ceil_div(rows * c.x.kernel, 2), sums = tiles * groups,
                blocks = ceil_div(row_groups, rows) * ceil_div(channels, groups);
        if (sums > 16 || rows * layout.reach() + groups * run > 48) continue;
        for (int64_t split = 1; split <= std::min(quads, kWarps / std::max<int64_t>(blocks, 1)); ++split) {
          double reads = static_cast<double>(rows * layout.reach()),
                 gradients = static_cast<double>(groups * run),
                 multiplies = static_cast<double>(sums * ceil_div(run, 2));
          double cycles =
              block_cycles(blocks * split, ceil_div(quads, split),
                           reads + 4 * gradients + 2 * multiplies + 30, reads * conflicts + 2 * gradients,
                           static_cast<double>(28 * sums + 20), static_cast<double>(4 * sums));
          keep_least(best, least,
                     {.run = run,
                      .row = layout.row,
                      .plane = layout.plane,
                      .channel_groups = groups,
                      .split = split,
                      .kernel_rows = rows,
                      .shared_bytes = std::max(layout.bytes(), 4 * split * outputs)},
                     cycles + kJoin(outputs, split));
        }
      }
  }
  return best;
}

}  // namespace wholestep
