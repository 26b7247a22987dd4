// Places are found first fit, in the order of the first use: each value above the scratch of the phases
// during which it lives, and apart from the values that live meanwhile.
#include "wholestep/backend/cuda/lane_memory.h"

#include <algorithm>
#include <map>
#include <set>

namespace wholestep {
namespace {

constexpr int64_t kPlaceAlignment = 128;
/// A larger operand is better read where it lies than waited for, unless it is the lane's own and there is
/// time before the start.
constexpr int64_t kMostFetched = 48 * 1024;

class LanePlanner {
 public:
  LanePlanner(const Program& program, const Region& region, size_t lane_set,
              const std::optional<std::vector<Written>>& written_before, int64_t budget, size_t most_early)
      : program_(program),
        region_(region),
        set_(region.lane_sets[lane_set]),
        written_before_(written_before),
        budget_(budget),
        most_early_(most_early) {
    if (set_.beside >= 0) written_beside_ = written_by(program, region);
  }

  size_t may_begin() const { return may_begin_; }
  LaneMemory plan() {
    for (const LaneSet::Step& step : set_.steps) {
      const Call& call = call_of(step);
      memory_.steps.push_back({std::vector(call.inputs.size(), LaneMemory::kElsewhere),
                               std::vector(call.outputs.size(), LaneMemory::kElsewhere),
                               std::vector<int64_t>(call.outputs.size())});
      memory_.shared_bytes = std::max(memory_.shared_bytes, phase_of(step).shared_bytes);
    }
    const bool divided =
        set_.rows > 0 ? set_.chunks == set_.rows * set_.strips : set_.chunks == 1 || set_.stretch > 0;
    if (!divided && std::ranges::none_of(set_.steps, &LaneSet::Step::again)) return std::move(memory_);
    describe();
    while (may_begin_ < std::min(most_early_, set_.steps.size()) && may_run_early(may_begin_)) ++may_begin_;
    for (int value : order_)
      if (Use& use = uses_.at(value); use.made && (divided || use.again)) keep(use);
    for (int value : order_)
      if (Use& use = uses_.at(value); !use.made && divided) fetch(use);
    std::ranges::sort(fetched_, {}, [](const Use* use) { return std::pair(!use->early, use->fetched_for); });
    for (const Use* use : fetched_) {
      memory_.fetches.push_back({use->ref, use->place, use->bytes, use->by_lane, use->early, use->sharers});
      memory_.steps[static_cast<size_t>(use->fetched_for)].fetches = static_cast<int>(memory_.fetches.size());
    }
    for (const auto& [value, use] : uses_) {
      if (use.place == LaneMemory::kElsewhere) continue;
      for (const Touch& touch : use.touches) {
        if (!use.made && touch.step < use.fetched_for) continue;  // it is not there yet
        LaneMemory::Step& step = memory_.steps[static_cast<size_t>(touch.step)];
        (touch.output ? step.outputs : step.inputs)[touch.operand] = use.place;
        if (touch.output) step.stored[touch.operand] = use.wanted ? use.bytes : 0;
      }
    }
    while (memory_.early_steps < may_begin_ && runs_early(memory_.early_steps)) ++memory_.early_steps;
    return std::move(memory_);
  }

 private:
  struct Touch {
    int step;
    size_t operand;
    bool output;
  };
  /// A value of the lane set.
  struct Use {
    std::vector<Touch> touches;
    BufferRef ref;
    int64_t bytes = 0, place = LaneMemory::kElsewhere;
    int64_t sharers = 1;  ///< lanes that touch one part
    bool by_lane = true;  ///< every touch is of the lane's own part
    bool whole = true;    ///< no touch is
    bool made = false;    ///< by the lane
    bool again = false;   ///< and, the same, by other lanes
    bool wanted = false;  ///< by others
    bool early = false;   ///< it can be fetched before the region before has ended
    int fetched_for = 0;
  };

  const Call& call_of(const LaneSet::Step& step) const {
    return program_.calls[static_cast<size_t>(step.call)];
  }
  const CudaPhase& phase_of(const LaneSet::Step& step) const {
    return dynamic_cast<const CudaCall&>(*call_of(step).kernel.kernel)
        .phases[static_cast<size_t>(step.phase)];
  }

  void describe() {
    for (const Call& call : program_.calls) views_.add(call.kernel);
    for (size_t s = 0; s < set_.steps.size(); ++s) {
      const Call& call = call_of(set_.steps[s]);
      const auto& kernel = dynamic_cast<const CudaCall&>(*call.kernel.kernel);
      const CudaPhase& phase = phase_of(set_.steps[s]);
      auto touch = [&](size_t operand, bool output) {
        int value = views_.shown((output ? call.kernel.outputs : call.kernel.inputs)[operand]);
        auto [at, fresh] = uses_.try_emplace(value);
        if (fresh) order_.push_back(value);
        Use& use = at->second;
        const TensorType& type = (output ? kernel.outputs : kernel.inputs)[operand];
        bool own = !set_.steps[s].again &&
                   divided_by_lane(type, set_, output ? phase.row_outputs : phase.row_inputs, operand);
        use.by_lane &= (own || set_.chunks == 1) && !phase.in_memory;
        use.whole &= !own && !phase.in_memory;
        use.made |= output;
        use.again |= output && set_.steps[s].again;
        use.bytes = own ? lane_bytes(type, set_, phase) : type.bytes();
        if (own) use.sharers = sharers_of(type, set_, phase);
        use.ref = (output ? call.outputs : call.inputs)[operand];
        use.touches.push_back({static_cast<int>(s), operand, output});
      };
      for (size_t i = 0; i < call.inputs.size(); ++i)
        if (has_operand(phase.reads, i)) touch(i, false);
      for (size_t i = 0; i < call.outputs.size(); ++i)
        if (has_operand(phase.writes, i)) touch(i, true);
    }
    // Its own steps read what the lane has; those of other lanes make for themselves what they need and these
    // make, too, unless they wait for it.
    std::set<std::pair<int, int>> own;
    for (const LaneSet& set : region_.lane_sets)
      if (&set == &set_ || set.beside < 0)
        for (const LaneSet::Step& step : set.steps) own.insert({step.call, step.phase});
    auto want = [&](int value) {
      if (auto use = uses_.find(views_.shown(value)); use != uses_.end()) use->second.wanted = true;
    };
    for (size_t c = 0; c < program_.calls.size(); ++c) {
      const Call& call = program_.calls[c];
      if (call.kernel.view) continue;
      const auto& phases = dynamic_cast<const CudaCall&>(*call.kernel.kernel).phases;
      for (size_t p = 0; p < phases.size(); ++p) {
        if (own.contains({static_cast<int>(c), static_cast<int>(p)})) continue;
        for (size_t i = 0; i < call.inputs.size(); ++i)
          if (has_operand(phases[p].reads, i)) want(call.kernel.inputs[i]);
        // What is made in several phases is whole in memory only.
        for (size_t i = 0; i < call.outputs.size(); ++i)
          if (auto use = uses_.find(views_.shown(call.kernel.outputs[i]));
              use != uses_.end() && use->second.made && has_operand(phases[p].writes, i))
            use->second.by_lane = use->second.whole = false;
      }
    }
    for (int value : program_.outputs) want(value);
  }

  /// A value the lane makes and reads.
  void keep(Use& use) {
    const int first = use.touches.front().step, begin = static_cast<int>(may_begin_);
    // What is made before the region may write is stored when it may.
    const bool waits = first < begin;
    use.wanted |= use.ref.arena != 0;
    if (!(use.again ? use.whole : use.by_lane) || !use.touches.front().output ||
        (use.touches.size() < 2 && !(waits && use.wanted)))
      return;
    const int last = std::max(use.touches.back().step, use.wanted && waits ? begin : first);
    if (first == last && !waits) return;
    place(use, first, use.wanted ? std::max(last, first + 1) : last);
  }

  bool is_of(const Use& use, const Written& written) const {
    int64_t begin = use.ref.offset, end = begin + (use.by_lane ? set_.chunks / use.sharers : 1) * use.bytes;
    return written.at.arena == use.ref.arena && written.at.offset < end &&
           begin < written.at.offset + written.bytes;
  }
  bool is_among(const Use& use, const std::vector<Written>& written) const {
    return std::ranges::any_of(written, [&](const Written& of) { return is_of(use, of); });
  }

  /// Whether a step behind others that do, or the first, needs nothing of the region before.
  bool may_run_early(size_t step) const {
    const LaneSet::Step& of = set_.steps[step];
    const Call& call = call_of(of);
    if (set_.rows == 0 || !written_before_ || of.again || of.after >= 0 ||
        call.kernel.kernel->workspace_bytes > 0)
      return false;
    for (size_t i = 0; i < call.inputs.size(); ++i) {
      if (!has_operand(phase_of(of).reads, i)) continue;
      const Use& use = uses_.at(views_.shown(call.kernel.inputs[i]));
      if (!use.made && is_among(use, *written_before_)) return false;
    }
    return true;
  }
  /// And has what it needs, and leaves what it makes, in shared memory or memory that nobody writes.
  bool runs_early(size_t step) const {
    const Call& call = call_of(set_.steps[step]);
    const CudaPhase& phase = phase_of(set_.steps[step]);
    const LaneMemory::Step& places = memory_.steps[step];
    for (size_t i = 0; i < call.inputs.size(); ++i) {
      if (!has_operand(phase.reads, i)) continue;
      const Use& use = uses_.at(views_.shown(call.kernel.inputs[i]));
      const bool here = places.inputs[i] != LaneMemory::kElsewhere;
      if (here ? !use.made && !use.early : use.made) return false;
    }
    for (size_t i = 0; i < call.outputs.size(); ++i)
      if (has_operand(phase.writes, i) && places.outputs[i] == LaneMemory::kElsewhere) return false;
    return true;
  }

  /// A value from before, if there is time until it is needed.
  void fetch(Use& use) {
    if (is_among(use, written_beside_)) return;
    use.early = written_before_ && !is_among(use, *written_before_);
    if ((!use.by_lane && !use.whole) || ((!use.early || !use.by_lane) && use.bytes > kMostFetched)) return;
    if (use.by_lane && use.bytes % 16 != 0 && set_.chunks > 1) {
      if (use.bytes % 4 != 0) return;
      use.early = false;  // in short pieces through the L1 cache
    } else {
      use.bytes =
          rounded_up(use.bytes, 16);  // what begins at a multiple of kAlignment has room up to the next
    }
    // What the first step needs alone is waited for either way.
    const int at_once = use.by_lane ? static_cast<int>(may_begin_) : 0;
    auto first =
        std::ranges::find_if(use.touches, [&](const Touch& t) { return use.early || t.step > at_once; });
    if (first == use.touches.end()) return;
    use.fetched_for = first->step;
    if (place(use, 0, use.touches.back().step)) fetched_.push_back(&use);
  }

  bool place(Use& use, int first, int last) {
    int64_t at = 0;
    for (int s = first; s <= last && s < static_cast<int>(set_.steps.size()); ++s)
      at = std::max(at, phase_of(set_.steps[static_cast<size_t>(s)]).shared_bytes);
    at = rounded_up(at, kPlaceAlignment);
    std::ranges::sort(taken_, {}, &Taken::begin);
    for (const Taken& other : taken_)
      if (other.first <= last && first <= other.last && other.begin < at + use.bytes)
        at = std::max(at, other.end);
    int64_t end = at + rounded_up(use.bytes, kPlaceAlignment);
    if (end > budget_) return false;
    taken_.push_back({at, end, first, last});
    memory_.shared_bytes = std::max(memory_.shared_bytes, end);
    use.place = at;
    return true;
  }

  struct Taken {
    int64_t begin, end;
    int first, last;
  };

  const Program& program_;
  const Region& region_;
  const LaneSet& set_;
  const std::optional<std::vector<Written>>& written_before_;
  std::vector<Written> written_beside_;
  int64_t budget_;
  LaneMemory memory_;
  Views views_;
  std::map<int, Use> uses_;
  std::vector<int> order_;  // of first use
  std::vector<Use*> fetched_;
  std::vector<Taken> taken_;
  size_t most_early_, may_begin_ = 0;  // steps that may run while the region before does
};

}  // namespace

bool divided_by_lane(const TensorType& type, const LaneSet& set, uint64_t row_operands, size_t operand) {
  if (set.rows > 0) return has_operand(row_operands, operand);
  return set.stretch > 0 && type.shape.numel() == set.stretch * set.chunks;
}

int64_t sharers_of(const TensorType& type, const LaneSet& set, const CudaPhase& phase) {
  const bool strips = phase.strips > 1 && type.shape[0] == set.chunks;
  return strips ? 1 : set.strips;
}

int64_t lane_bytes(const TensorType& type, const LaneSet& set, const CudaPhase& phase) {
  if (set.rows > 0) return type.bytes() / (set.chunks / sharers_of(type, set, phase));
  return set.stretch > 0 ? type.bytes() / set.chunks : type.bytes();
}

std::vector<Written> written_by(const Program& program, const Region& region) {
  std::vector<Written> written;
  for (const LaneSet& set : region.lane_sets)
    for (const LaneSet::Step& step : set.steps) {
      const Call& call = program.calls[static_cast<size_t>(step.call)];
      const auto& kernel = dynamic_cast<const CudaCall&>(*call.kernel.kernel);
      for (size_t i = 0; i < call.outputs.size(); ++i)
        written.push_back({call.outputs[i], kernel.outputs[i].bytes()});
    }
  return written;
}

LaneMemory plan_lane_memory(const Program& program, const Region& region, size_t lane_set,
                            const std::optional<std::vector<Written>>& written_before, int64_t budget_bytes) {
  const std::set<int> awaited = awaited_steps(region, lane_set);
  size_t most_early =
      awaited.empty() ? region.lane_sets[lane_set].steps.size() : static_cast<size_t>(*awaited.begin());
  for (;;) {  // until those that may run early find the room to
    LanePlanner planner(program, region, lane_set, written_before, budget_bytes, most_early);
    LaneMemory memory = planner.plan();
    if (memory.early_steps == planner.may_begin()) return memory;
    most_early = memory.early_steps;
  }
}

}  // namespace wholestep
