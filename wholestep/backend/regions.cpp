// Places every phase of a schedule: it comes after the region of a phase it depends on, or into the same
// region where their lanes are the same.
#include "wholestep/backend/regions.h"

#include <limits>
#include <map>
#include <numeric>
#include <ranges>
#include <set>
#include <unordered_map>

namespace wholestep {
namespace {

/// What a lane is to a phase: the rows it works by, all of the work in one chunk, or neither.
constexpr int64_t kWhole = 0, kSerial = -1;
/// What the rows of lanes with a strip each differ by from those with whole rows.
constexpr int64_t kStrips = int64_t{1} << 48;

/// A phase, where it stands, and the earlier phases it waits for.
struct Placed {
  int call, phase;
  PhaseExtent extent;
  int64_t turn;
  int region = 0;
  bool given = false;  ///< one chunk, of what is there when the schedule starts
  struct Edge {
    int from;
    bool same_lane;  ///< what it needs was made, or read, by its own lane
    bool serial;     ///< because both are one chunk
  };
  std::vector<Edge> waits_for;
};

class Builder {
 public:
  Builder(std::span<const ScheduledKernel> schedule, Placement placement)
      : schedule_(schedule), placement_(placement) {}

  Regions build() {
    for (size_t c = 0; c < schedule_.size(); ++c) {
      views_.add(schedule_[c]);
      first_phase_.push_back(phases_.size());
      if (schedule_[c].view) continue;
      const auto& kernel = dynamic_cast<const PhasedKernel&>(*schedule_[c].kernel);
      for (size_t p = 0; p < kernel.phase_count(); ++p)
        add({.call = static_cast<int>(c),
             .phase = static_cast<int>(p),
             .extent = kernel.phase(p),
             .turn = schedule_[c].turn,
             .waits_for = {}});
    }
    if (placement_ == Placement::kInOrder) return collect();
    std::vector<int> earliest;
    for (const Placed& placed : phases_) earliest.push_back(placed.region);
    delay();
    put_given_beside_work(collect(), earliest);
    Regions regions = collect();
    if (part_light_from_heavy(regions)) regions = collect();
    for (size_t r = regions.regions.size(); r-- > 1;) let_readers_repeat(regions, r - 1);
    for (size_t r = 0; r < regions.regions.size(); ++r)
      put_ready_first(regions.regions[r], regions.regions[r > 0 ? r - 1 : regions.regions.size() - 1]);
    for (Region& region : regions.regions) put_parts_beside(region);
    return regions;
  }

 private:
  size_t index_of(const LaneSet::Step& step) const {
    return first_phase_[static_cast<size_t>(step.call)] + static_cast<size_t>(step.phase);
  }

  const ScheduledKernel& kernel_of(const LaneSet::Step& step) const {
    return schedule_[static_cast<size_t>(step.call)];
  }

  /// By what lane a phase touches an operand.
  static int64_t lane_of(const PhaseExtent& phase, uint64_t mask, size_t operand) {
    if (phase.rows > 0)
      return has_operand(mask, operand) ? phase.rows + kStrips * (phase.strips - 1) : kWhole;
    return phase.chunks == 1 ? kSerial : kWhole;
  }

  void add(Placed placed) {
    const ScheduledKernel& kernel = schedule_[static_cast<size_t>(placed.call)];
    int index = static_cast<int>(phases_.size());
    auto wait = [&](const Touches& touches, int value, int64_t lane) {
      if (auto found = touches.find(views_.shown(value)); found != touches.end())
        for (const Touch& touch : found->second)
          placed.waits_for.push_back({touch.phase, lane != kWhole && touch.lane == lane, lane == kSerial});
    };
    if (placed.phase > 0) placed.waits_for.push_back({index - 1, false, false});
    // In order, what prepares a kernel's operands goes into the open region; elsewhere its phases stay
    // together.
    const bool apart = placement_ == Placement::kInOrder;
    for (size_t i = 0; i < kernel.inputs.size(); ++i)
      if (!apart || has_operand(placed.extent.reads, i))
        wait(written_, kernel.inputs[i], lane_of(placed.extent, placed.extent.row_inputs, i));
    for (int value : kernel.overwrites) {
      if (apart && placed.extent.parts) break;
      int64_t lane = lane_of(placed.extent, kAllOperands, 0);
      wait(read_, value, lane);
      wait(written_, value, lane);
    }
    placed.given = placed.extent.rows == 0 && placed.extent.chunks == 1 &&
                   std::ranges::all_of(placed.waits_for, [&](const Placed::Edge& edge) {
                     return phases_[static_cast<size_t>(edge.from)].given;
                   });
    if (placement_ == Placement::kInOrder && index > 0) placed.region = phases_.back().region;
    for (auto& [turn, last] : last_of_turn_)
      if (turn < placed.turn) placed.region = std::max(placed.region, last + 1);
    for (const Placed::Edge& edge : placed.waits_for)
      placed.region =
          std::max(placed.region, phases_[static_cast<size_t>(edge.from)].region + (edge.same_lane ? 0 : 1));
    for (size_t i = 0; i < kernel.inputs.size(); ++i)
      read_[views_.shown(kernel.inputs[i])].push_back(
          {index, lane_of(placed.extent, placed.extent.row_inputs, i)});
    for (size_t i = 0; i < kernel.outputs.size(); ++i)
      written_[kernel.outputs[i]].push_back({index, lane_of(placed.extent, placed.extent.row_outputs, i)});
    int& last = last_of_turn_[placed.turn];
    last = std::max(last, placed.region);
    phases_.push_back(std::move(placed));
  }

  /// Moves what nothing waits for yet behind: it then runs beside later work instead of in front of it. Large
  /// work stays, so that its operands and workspace are soon free. A
  /// phase of one chunk goes into the lane of its reader only where it cannot be done before.
  void delay() {
    std::vector<int> latest;
    for (const Placed& placed : phases_)
      latest.push_back(placed.extent.prompt || advances(placed) ? placed.region
                                                                : last_of_turn_.at(placed.turn));
    for (size_t i = phases_.size(); i-- > 0;) {
      for (const Placed::Edge& edge : phases_[i].waits_for) {
        int& bound = latest[static_cast<size_t>(edge.from)];
        int before = latest[i] - (edge.same_lane ? 0 : 1);
        const Placed& from = phases_[static_cast<size_t>(edge.from)];
        if (edge.same_lane && edge.serial && gathers(from)) before = std::max(from.region, latest[i] - 1);
        bound = std::min(bound, before);
      }
    }
    for (size_t i = 0; i < phases_.size(); ++i) phases_[i].region = latest[i];
  }

  /// What is given (a rate, a power of a decay) is made where a region has the longest lane, which nothing
  /// waits for then: its readers come last, behind short regions.
  void put_given_beside_work(const Regions& regions, std::span<const int> earliest) {
    std::vector<size_t> longest;
    for (const Region& region : regions.regions) {
      longest.push_back(0);
      for (const LaneSet& set : region.lane_sets) longest.back() = std::max(longest.back(), set.steps.size());
    }
    for (size_t i = 0; i < phases_.size(); ++i)
      if (phases_[i].given)
        phases_[i].region = static_cast<int>(
            std::max_element(longest.begin() + earliest[i], longest.begin() + phases_[i].region + 1) -
            longest.begin());
  }

  /// What takes state that a step begins with, such as its place in the data, to where the next one finds it.
  bool advances(const Placed& placed) const {
    const ScheduledKernel& kernel = schedule_[static_cast<size_t>(placed.call)];
    return !kernel.overwrites.empty() && std::ranges::none_of(kernel.inputs, [&](int value) {
      return written_.contains(views_.shown(value));
    });
  }

  static bool gathers(const Placed& placed) {
    return std::ranges::any_of(placed.waits_for, [](const Placed::Edge& edge) { return !edge.same_lane; });
  }

  Regions collect() {
    Regions result;
    result.spans.resize(schedule_.size());
    std::vector<int> lane_set(phases_.size(), -1);
    for (size_t i = 0; i < phases_.size(); ++i) {
      const Placed& placed = phases_[i];
      size_t at = static_cast<size_t>(placed.region);
      if (at >= result.regions.size()) result.regions.resize(at + 1);
      Region& region = result.regions[at];
      int set = -1;
      if (placed.extent.rows > 0 && placement_ == Placement::kInOrder) {
        for (size_t s = 0; s < region.lane_sets.size(); ++s)
          if (region.lane_sets[s].rows == placed.extent.rows) set = static_cast<int>(s);
      } else {
        for (const Placed::Edge& edge : placed.waits_for)
          if (edge.same_lane && phases_[static_cast<size_t>(edge.from)].region == placed.region)
            set = join(region, set, lane_set[static_cast<size_t>(edge.from)], lane_set, placed.region);
      }
      if (set < 0) {
        set = static_cast<int>(region.lane_sets.size());
        region.lane_sets.push_back({.rows = placed.extent.rows,
                                    .chunks = placed.extent.chunks,
                                    .strips = placed.extent.strips,
                                    .steps = {}});
      }
      lane_set[i] = set;
      region.lane_sets[static_cast<size_t>(set)].steps.push_back({placed.call, placed.phase});
      Span& span = result.spans[static_cast<size_t>(placed.call)];
      if (placed.phase == 0) span.first = placed.region;
      span.last = placed.region;
    }
    for (size_t c = 0; c < schedule_.size(); ++c)
      if (schedule_[c].view)
        if (auto made = written_.find(views_.shown(schedule_[c].inputs[0])); made != written_.end())
          for (const Touch& touch : made->second) {
            int region = phases_[static_cast<size_t>(touch.phase)].region;
            result.spans[c] = {region, region};
          }
    for (Region& region : result.regions) {
      std::erase_if(region.lane_sets, [](const LaneSet& set) { return set.steps.empty(); });
      for (LaneSet& set : region.lane_sets) {
        if (placement_ == Placement::kFewest) set_apart(set);
        region.lanes += set.chunks;
      }
    }
    return result;
  }

  /// Gives the light lanes of a region of heavy ones a region of their own behind it, if they are many:
  /// beside heavy ones each would keep a worker to itself.
  bool part_light_from_heavy(const Regions& regions) {
    constexpr int64_t kMany = 512;
    auto heavy = [&](const LaneSet& set) {
      return std::ranges::any_of(
          set.steps, [&](const LaneSet::Step& step) { return phases_[index_of(step)].extent.heavy; });
    };
    int parted = 0;
    for (const Region& region : regions.regions) {
      int64_t light = 0;
      for (const LaneSet& set : region.lane_sets) light += heavy(set) ? 0 : set.chunks;
      bool part = light >= kMany && std::ranges::any_of(region.lane_sets, heavy);
      for (const LaneSet& set : region.lane_sets)
        for (const LaneSet::Step& step : set.steps)
          phases_[index_of(step)].region += parted + (part && !heavy(set));
      parted += part;
    }
    return parted > 0;
  }

  /// A region of brief phases alone, such as the end of a norm, is not worth waiting for: the lanes behind it
  /// that need its results make them once more each. Nor are rows that only lanes with strips of them need.
  void let_readers_repeat(Regions& regions, size_t at) const {
    constexpr int64_t kAtOnce = 256;  // lanes that a device takes up together
    const Region& brief = regions.regions[at];
    Region& next = regions.regions[at + 1];
    std::set<int> read;
    for (const LaneSet& set : brief.lane_sets) {
      const bool for_strips = is_for_strips(set, next);
      for (const LaneSet::Step& step : set.steps) {
        const ScheduledKernel& kernel = kernel_of(step);
        if ((!for_strips && !phases_[index_of(step)].extent.brief) || !kernel.overwrites.empty()) return;
        for (int value : kernel.inputs) read.insert(views_.shown(value));
      }
    }
    if (next.lanes > kAtOnce) return;
    // What takes the place of something read there now, such as of a place in the data, waits one region
    // more.
    auto overwrites_read = [&](const LaneSet& set) {
      return std::ranges::any_of(set.steps, [&](const LaneSet::Step& step) {
        return std::ranges::any_of(kernel_of(step).overwrites,
                                   [&](int value) { return read.contains(views_.shown(value)); });
      });
    };
    for (const LaneSet& set : next.lane_sets)
      if (overwrites_read(set) &&
          (at + 2 >= regions.regions.size() ||
           std::ranges::any_of(regions.regions[at + 2].lane_sets,
                               [&](const LaneSet& r) { return !read_by(r, set).empty(); })))
        return;
    for (size_t s = next.lane_sets.size(); s-- > 0;)
      if (LaneSet& set = next.lane_sets[s]; overwrites_read(set)) {
        Region& later = regions.regions[at + 2];
        for (const LaneSet::Step& step : set.steps) {
          Span& span = regions.spans[static_cast<size_t>(step.call)];
          span.first += span.first == static_cast<int>(at) + 1, ++span.last;
        }
        next.lanes -= set.chunks, later.lanes += set.chunks;
        later.lane_sets.push_back(std::move(set));
        next.lane_sets.erase(next.lane_sets.begin() + static_cast<std::ptrdiff_t>(s));
      }

    for (const LaneSet& made : brief.lane_sets) {
      bool is_read = false;
      for (LaneSet& set : next.lane_sets) {
        std::vector<LaneSet::Step> steps = read_by(set, made);
        if (steps.empty()) continue;
        if (!is_read) steps = made.steps;  // what nobody here reads is made once
        is_read = true;
        for (LaneSet::Step& step : steps) step.again = phases_[index_of(step)].extent.rows == 0;
        set.steps.insert(set.steps.begin(), steps.begin(), steps.end());
      }
      if (!is_read) next.lane_sets.push_back(made), next.lanes += made.chunks;
      else
        for (const LaneSet::Step& step : made.steps)
          regions.spans[static_cast<size_t>(step.call)].repeated = true;
    }
    regions.regions.erase(regions.regions.begin() + static_cast<std::ptrdiff_t>(at));
    for (Span& span : regions.spans) {
      span.first -= span.first > static_cast<int>(at);
      span.last -= span.last > static_cast<int>(at);
    }
  }
  /// Whether each row that the lanes make is read behind them by lanes with its strips, and if by others of
  /// its own, too, all of them find a worker.
  bool is_for_strips(const LaneSet& made, const Region& next) const {
    std::set<int> values;
    const int64_t rows = phases_[index_of(made.steps[0])].extent.rows;
    for (const LaneSet::Step& step : made.steps) {
      const ScheduledKernel& kernel = kernel_of(step);
      if (phases_[index_of(step)].extent.rows == 0 || kernel.kernel->workspace_bytes > 0) return false;
      for (int value : kernel.outputs) values.insert(views_.shown(value));
    }
    int readers = 0, with_strips = 0;
    for (const LaneSet& set : next.lane_sets) {
      bool reads = false;
      for (const LaneSet::Step& step : set.steps) {
        const std::vector<int>& inputs = kernel_of(step).inputs;
        for (size_t i = 0; i < inputs.size(); ++i) {
          if (!values.contains(views_.shown(inputs[i]))) continue;
          const PhaseExtent& extent = phases_[index_of(step)].extent;
          if (set.rows != rows || !has_operand(extent.row_inputs, i)) return false;
          reads = true;
        }
      }
      readers += reads, with_strips += reads && set.strips > 1;
    }
    return with_strips > 0 && (readers == 1 || next.lanes <= kLanesAlone);
  }
  /// The steps of a lane set that another one needs, in order.
  std::vector<LaneSet::Step> read_by(const LaneSet& reader, const LaneSet& maker) const {
    std::set<int> wanted;
    auto want = [&](const LaneSet::Step& step) {
      for (int value : kernel_of(step).inputs) wanted.insert(views_.shown(value));
    };
    std::ranges::for_each(reader.steps, want);
    std::vector<LaneSet::Step> steps;
    for (const LaneSet::Step& step : std::views::reverse(maker.steps))
      if (std::ranges::any_of(kernel_of(step).outputs, [&](int value) { return wanted.contains(value); }))
        steps.push_back(step), want(step);
    std::ranges::reverse(steps);
    return steps;
  }

  /// What lanes can do before the region in front of them has ended they do first.
  void put_ready_first(Region& region, const Region& before) const {
    std::set<int> written;
    for (const LaneSet& set : before.lane_sets)
      for (const LaneSet::Step& step : set.steps)
        for (const std::vector<int>* values : {&kernel_of(step).outputs, &kernel_of(step).overwrites})
          for (int value : *values) written.insert(views_.shown(value));
    for (LaneSet& set : region.lane_sets) {
      if (set.rows == 0) continue;
      std::set<int> awaited = written;
      std::vector<LaneSet::Step> ready, rest;
      for (const LaneSet::Step& step : set.steps) {
        const ScheduledKernel& kernel = kernel_of(step);
        const bool waits = step.again || !kernel.overwrites.empty() || kernel.kernel->workspace_bytes > 0 ||
                           std::ranges::any_of(kernel.inputs, [&](int value) {
                             return awaited.contains(views_.shown(value));
                           });
        if (waits) awaited.insert(kernel.outputs.begin(), kernel.outputs.end());
        (waits ? rest : ready).push_back(step);
      }
      ready.insert(ready.end(), rest.begin(), rest.end());
      set.steps = std::move(ready);
    }
  }

  /// Where a lane goes on after it has made all that its part of a sum needs, such as a weight's gradient, a
  /// lane beside it makes that part, if there are workers for both at once.
  void put_parts_beside(Region& region) const {
    for (size_t s = 0, sets = region.lane_sets.size(); s < sets; ++s) {
      LaneSet& set = region.lane_sets[s];
      auto keeps_to_itself = [&](const LaneSet::Step& step) {
        return !step.again && kernel_of(step).overwrites.empty();
      };
      if (set.rows == 0 || set.chunks != set.rows || region.lanes + set.chunks > kLanesAlone ||
          !std::ranges::all_of(set.steps, keeps_to_itself))
        continue;
      const std::vector<int> needed = last_needed(set);
      const int end = *std::ranges::max_element(needed);
      LaneSet beside = {.rows = set.rows, .chunks = set.chunks, .beside = static_cast<int>(s), .steps = {}};
      std::vector<LaneSet::Step> rest;
      std::vector<int> place;  // of every step in rest
      for (size_t i = 0; i < set.steps.size(); ++i) {
        place.push_back(static_cast<int>(rest.size()));
        bool apart = phases_[index_of(set.steps[i])].extent.parts && needed[i] >= 0 && needed[i] < end;
        (apart ? beside.steps : rest).push_back(set.steps[i]);
        if (apart) beside.steps.back().after = place[static_cast<size_t>(needed[i])];
      }
      if (beside.steps.empty()) continue;
      set.steps = std::move(rest);
      region.lanes += beside.chunks;
      region.lane_sets.push_back(std::move(beside));
    }
  }
  /// Of every step of a lane, the last one before it whose result it reads, or -1.
  std::vector<int> last_needed(const LaneSet& set) const {
    std::map<int, int> maker;
    std::vector<int> last;
    for (const LaneSet::Step& step : set.steps) {
      const ScheduledKernel& kernel = kernel_of(step);
      int needed = -1;
      for (int value : kernel.inputs)
        if (auto found = maker.find(views_.shown(value)); found != maker.end())
          needed = std::max(needed, found->second);
      for (int value : kernel.outputs) maker[value] = static_cast<int>(last.size());
      last.push_back(needed);
    }
    return last;
  }

  void set_apart(LaneSet& set) const {
    if (set.steps.size() != 1) return;
    const PhaseExtent& extent = phases_[index_of(set.steps[0])].extent;
    if (extent.chunks_alone > 0)
      set = {.rows = 0,
             .chunks = extent.chunks_alone,
             .alone = true,
             .stretch = extent.stretch_alone,
             .steps = set.steps};
  }

  /// Puts the steps of two lane sets behind each other, in the order of the schedule.
  int join(Region& region, int a, int b, std::vector<int>& lane_set, int at) {
    if (a < 0 || a == b) return b;
    auto &to = region.lane_sets[static_cast<size_t>(a)].steps,
         &from = region.lane_sets[static_cast<size_t>(b)].steps;
    to.insert(to.end(), from.begin(), from.end());
    from.clear();
    std::ranges::sort(to, {}, [](const LaneSet::Step& step) { return std::pair(step.call, step.phase); });
    for (size_t i = 0; i < lane_set.size(); ++i)
      if (lane_set[i] == b && phases_[i].region == at) lane_set[i] = a;
    return a;
  }

  struct Touch {
    int phase;
    int64_t lane;
  };
  using Touches = std::unordered_map<int, std::vector<Touch>>;

  std::span<const ScheduledKernel> schedule_;
  Placement placement_;
  std::vector<Placed> phases_;
  std::vector<size_t> first_phase_;      // of every call, among phases_
  std::map<int64_t, int> last_of_turn_;  // the last region a turn has
  Touches written_, read_;
  Views views_;
};

}  // namespace

std::set<int> awaited_steps(const Region& region, size_t lane_set) {
  std::set<int> steps;
  for (const LaneSet& set : region.lane_sets)
    if (set.beside == static_cast<int>(lane_set))
      for (const LaneSet::Step& step : set.steps) steps.insert(step.after);
  return steps;
}

Regions build_regions(std::span<const ScheduledKernel> schedule, Placement placement) {
  return Builder(schedule, placement).build();
}

std::vector<Span> Backend::spans(std::span<const ScheduledKernel> schedule) const {
  return build_regions(schedule, placement()).spans;
}

}  // namespace wholestep
