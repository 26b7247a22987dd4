// Gives every value and workspace its place. Values that share memory (a reshape and its operand, an
// element-wise result over an operand nobody else still reads, an update over its parameter) form one block;
// blocks whose spans of time do not meet may share addresses, largest placed first at the lowest offset that
// is free for its whole span.
#include <algorithm>
#include <limits>
#include <numeric>

#include "wholestep/compile/passes.h"

namespace wholestep {
namespace {

constexpr int kImprovementRounds = 60;

struct Block {
  int64_t bytes = 0;
  int first = std::numeric_limits<int>::max(), last = -1;
  int bound = -1;         ///< graph input whose tensor this lies over; then it needs no address here
  bool whole = false;     ///< alive from before the step until after it
  bool repeated = false;  ///< several lanes make it, each when it comes to it: nothing may lie over it
  int64_t offset = -1;
};

class Planner {
 public:
  Planner(Plan& plan, bool reuse)
      : plan_(plan), graph_(*plan.graph), reuse_(reuse), block_of_(graph_.values.size()) {
    std::iota(block_of_.begin(), block_of_.end(), 0);
    blocks_.resize(graph_.values.size());
  }

  void run() {
    describe_values();
    bind_inputs();
    place_updates();
    share_in_place();
    add_workspaces();
    assign_offsets();
    report();
  }

 private:
  int find(int value) {
    while (block_of_[static_cast<size_t>(value)] != value) value = block_of_[static_cast<size_t>(value)];
    return value;
  }
  Block& block(int value) { return blocks_[static_cast<size_t>(find(value))]; }

  void join(int keep, int other) {
    int a = find(keep), b = find(other);
    if (a == b) return;
    Block &x = blocks_[static_cast<size_t>(a)], &y = blocks_[static_cast<size_t>(b)];
    x.bytes = std::max(x.bytes, y.bytes);
    x.first = std::min(x.first, y.first);
    x.last = std::max(x.last, y.last);
    x.whole |= y.whole;
    x.repeated |= y.repeated;
    if (x.bound < 0) x.bound = y.bound;
    block_of_[static_cast<size_t>(b)] = a;
  }

  void describe_values() {
    for (size_t v = 0; v < graph_.values.size(); ++v)
      blocks_[v].bytes = graph_.type(static_cast<int>(v)).bytes();
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      for (int value : graph_.nodes[n].outputs) {
        blocks_[static_cast<size_t>(value)].first = plan_.spans[n].first;
        blocks_[static_cast<size_t>(value)].repeated = plan_.spans[n].repeated;
        extend(value, plan_.spans[n].last);
      }
      for (int value : graph_.nodes[n].inputs) extend(value, plan_.spans[n].last);
    }
    for (const GraphOutput& output : graph_.outputs) extend(output.value, end());
  }
  void extend(int value, int until) {
    Block& b = blocks_[static_cast<size_t>(value)];
    b.last = std::max(b.last, until);
  }
  int end() const {
    int last = -1;
    for (const Span& span : plan_.spans) last = std::max(last, span.last);
    return last + 1;
  }

  void bind_inputs() {
    for (const GraphInput& input : graph_.inputs) {
      Block& b = blocks_[static_cast<size_t>(input.value)];
      if (input.kind == InputKind::kBatch) b.whole = true;
      else b.bound = input.value;
    }
    for (const ScheduledKernel& kernel : plan_.schedule)
      if (kernel.view) join(kernel.inputs[0], kernel.outputs[0]);
  }

  void place_updates() {
    for (const Update& update : graph_.updates) {
      Block& b = block(update.value);
      WHOLESTEP_CHECK(b.bound < 0);
      b.bound = update.target;
    }
  }

  void share_in_place() {
    if (!reuse_) return;
    std::vector<std::vector<int>> readers(
        graph_.values.size());  // per block, nodes that read any of its values
    for (size_t n = 0; n < graph_.nodes.size(); ++n)
      for (int value : graph_.nodes[n].inputs)
        readers[static_cast<size_t>(find(value))].push_back(static_cast<int>(n));
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (!plan_.kernels[n].kernel->in_place) continue;
      for (int output : graph_.nodes[n].outputs)
        for (int input : graph_.nodes[n].inputs)
          if (may_lie_over(static_cast<int>(n), output, input, readers)) {
            int from = find(input), to = find(output);
            auto& all = readers[static_cast<size_t>(from)];
            all.insert(all.end(), readers[static_cast<size_t>(to)].begin(),
                       readers[static_cast<size_t>(to)].end());
            join(input, output);
            break;
          }
    }
  }

  bool may_lie_over(int node, int output, int input, const std::vector<std::vector<int>>& readers) {
    const Block &from = block(input), &to = block(output);
    if (find(input) == find(output) || graph_.type(input) != graph_.type(output) ||
        graph_.type(output).bytes() == 0)
      return false;
    if (from.bound >= 0 || to.bound >= 0 || from.whole || from.last >= end()) return false;
    if (from.repeated || to.repeated) return false;
    for (int other : graph_.node(node).outputs)
      if (other != output && find(other) == find(input)) return false;
    for (int operand : graph_.node(node).inputs)
      if (find(operand) == find(input) && graph_.type(operand) != graph_.type(input)) return false;
    const Span& span = plan_.spans[static_cast<size_t>(node)];
    return std::ranges::all_of(readers[static_cast<size_t>(find(input))], [&](int reader) {
      return reader == node || plan_.spans[static_cast<size_t>(reader)].last < span.first;
    });
  }

  void add_workspaces() {
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      Block b{.bytes = plan_.kernels[n].kernel->workspace_bytes,
              .first = plan_.spans[n].first,
              .last = plan_.spans[n].last};
      workspace_block_.push_back(static_cast<int>(blocks_.size()));
      block_of_.push_back(static_cast<int>(blocks_.size()));
      blocks_.push_back(b);
    }
  }

  void assign_offsets() {
    std::vector<int> order;
    for (int i = 0; i < static_cast<int>(blocks_.size()); ++i) {
      Block& b = blocks_[static_cast<size_t>(i)];
      if (find(i) != i || b.bound >= 0 || b.bytes == 0) continue;
      if (!b.whole && b.last < 0) continue;  // nothing makes or reads it
      if (b.whole) {  // batch slots come first, one after another, also those nothing reads: the host writes
                      // them
        b.offset = batch_end_;
        batch_end_ += aligned(b.bytes);
      } else {
        order.push_back(i);
      }
    }
    // No single order is best for every network; all are cheap, so the smallest result of a few is taken, and
    // then improved by placing the blocks that reach the end of the arena earlier.
    auto bytes = [&](int i) { return blocks_[static_cast<size_t>(i)].bytes; };
    auto duration = [&](int i) {
      return int64_t{blocks_[static_cast<size_t>(i)].last} - blocks_[static_cast<size_t>(i)].first;
    };
    auto start = [&](int i) { return int64_t{blocks_[static_cast<size_t>(i)].first}; };
    using Key = std::pair<int64_t, int64_t>;
    auto sorted = [&](auto key) {
      std::vector<int> by_key = order;
      std::ranges::stable_sort(by_key, {}, key);
      return by_key;
    };
    best_ = order;
    arena_end_ = place(order);
    if (!reuse_) return;
    try_order(sorted([&](int i) { return Key(-bytes(i), start(i)); }));
    try_order(sorted([&](int i) { return Key(-bytes(i), -duration(i)); }));
    try_order(sorted([&](int i) { return Key(-duration(i), -bytes(i)); }));
    try_order(sorted([&](int i) { return Key(-bytes(i) * (duration(i) + 1), 0); }));
    try_order(sorted([&](int i) { return Key(start(i), -bytes(i)); }));
    for (int round = 0, at = 1; round < kImprovementRounds; ++round, at = at * 7 % 61) {
      place(best_);
      auto last = std::ranges::find_if(best_, [&](int i) {
        return blocks_[static_cast<size_t>(i)].offset + aligned(bytes(i)) == arena_end_;
      });
      if (last == best_.end() || last == best_.begin()) break;
      std::vector<int> moved = best_;
      auto from = moved.begin() + (last - best_.begin());
      std::rotate(moved.begin() + at % (from - moved.begin()), from, from + 1);
      try_order(std::move(moved));
    }
    place(best_);
  }

  void try_order(std::vector<int> order) {
    int64_t end = place(order);
    if (end > arena_end_) return;
    arena_end_ = end;
    best_ = std::move(order);
  }

  /// Gives blocks their offsets in this order, each the lowest that is free for its span; returns the end of
  /// the arena.
  int64_t place(const std::vector<int>& order) {
    int64_t end = batch_end_;
    std::vector<int> placed;
    for (int i : order) {
      Block& b = blocks_[static_cast<size_t>(i)];
      b.offset = reuse_ ? lowest_gap(b, placed) : end;
      placed.push_back(i);
      end = std::max(end, b.offset + aligned(b.bytes));
    }
    return end;
  }

  int64_t lowest_gap(const Block& b, const std::vector<int>& placed) const {
    std::vector<std::pair<int64_t, int64_t>> taken;
    for (int i : placed)
      if (const Block& other = blocks_[static_cast<size_t>(i)];
          other.first <= b.last && b.first <= other.last)
        taken.emplace_back(other.offset, other.offset + aligned(other.bytes));
    std::ranges::sort(taken);
    int64_t at = batch_end_;
    for (auto [from, to] : taken) {
      if (from - at >= aligned(b.bytes)) break;
      at = std::max(at, to);
    }
    return at;
  }

  void report() {
    plan_.places.resize(graph_.values.size());
    for (int v = 0; v < static_cast<int>(graph_.values.size()); ++v) {
      const Block& b = block(v);
      ValuePlace& place = plan_.places[static_cast<size_t>(v)];
      if (b.bound >= 0) place = {ValuePlace::In::kBound, 0, b.bound};
      else place = {ValuePlace::In::kArena, std::max<int64_t>(b.offset, 0), -1};
    }
    for (int i : workspace_block_)
      plan_.workspaces.push_back(std::max<int64_t>(blocks_[static_cast<size_t>(i)].offset, 0));
    MemoryReport& m = plan_.memory;
    for (const GraphInput& input : graph_.inputs) {
      int64_t bytes = aligned(graph_.type(input.value).bytes());
      if (input.kind == InputKind::kParameter) m.parameter_bytes += bytes;
      if (input.kind == InputKind::kState) m.state_bytes += bytes;
      if (input.kind == InputKind::kConstant) m.constant_bytes += bytes;
    }
    m.batch_bytes = batch_end_;
    m.feed_bytes = plan_.backend->feed_depth() * batch_end_;
    m.activation_bytes = arena_end_ - batch_end_;
    std::vector<int64_t> alive(static_cast<size_t>(end()) + 2);
    for (int i = 0; i < static_cast<int>(blocks_.size()); ++i) {
      const Block& b = blocks_[static_cast<size_t>(i)];
      if (find(i) != i || b.offset < 0 || b.whole) continue;
      m.unshared_bytes += aligned(b.bytes);
      for (int t = b.first; t <= b.last; ++t) alive[static_cast<size_t>(t)] += aligned(b.bytes);
    }
    m.bound_bytes = *std::ranges::max_element(alive);
  }

  Plan& plan_;
  const Graph& graph_;
  bool reuse_;
  std::vector<int> block_of_;
  std::vector<Block> blocks_;  // per value, then per node's workspace
  std::vector<int> workspace_block_;
  std::vector<int> best_;  // order of placing that gave the smallest arena so far
  int64_t batch_end_ = 0, arena_end_ = 0;
};

}  // namespace

void plan_memory(Plan& plan, bool reuse) { Planner(plan, reuse).run(); }

}  // namespace wholestep
