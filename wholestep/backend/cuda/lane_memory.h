// What a lane has in its block's shared memory beside a phase's scratch: values its phases make for each
// other, and operands fetched from memory while earlier phases run.
#pragma once
#include <optional>
#include <vector>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/backend/regions.h"

namespace wholestep {

struct LaneMemory {
  static constexpr int64_t kElsewhere = -1;  ///< the operand stays in the arenas

  struct Step {
    std::vector<int64_t> inputs, outputs;  ///< where each operand is in shared memory, or kElsewhere
    std::vector<int64_t> stored;           ///< bytes of outputs here that others read: copied to the arenas
    int fetches = 0;                       ///< how many of the fetches must have arrived
  };
  /// `bytes` from an arena, behind those of the lanes before where `by_lane`; `early`: the region before does
  /// not write them, so they are there while it still runs.
  struct Fetch {
    BufferRef from;
    int64_t to, bytes;
    bool by_lane, early;
    int64_t sharers = 1;  ///< lanes that have one part
  };
  std::vector<Step> steps;  ///< of the lane set, in order
  /// So many of them read nothing that the region before writes, and leave what they make here: they run
  /// while it still does. What others read of it is copied to the arenas when that region is over.
  size_t early_steps = 0;
  std::vector<Fetch> fetches;  ///< early ones first, then in the order in which they are needed
  int64_t shared_bytes = 0;    ///< with the scratch of the phases, which lies at 0
};

/// Whether a lane touches but its own part of an operand: its row, or its stretch of elements.
bool divided_by_lane(const TensorType& type, const LaneSet& set, uint64_t row_operands, size_t operand);
/// Of an operand that is divided: the lanes that have the same part, the strips of a row that is whole.
int64_t sharers_of(const TensorType& type, const LaneSet& set, const CudaPhase& phase);
/// The bytes of one lane of an operand that is divided, or all of it where one lane does everything.
int64_t lane_bytes(const TensorType& type, const LaneSet& set, const CudaPhase& phase);

/// What a region writes: bytes of the arenas.
struct Written {
  BufferRef at;
  int64_t bytes;
};
std::vector<Written> written_by(const Program& program, const Region& region);

/// Of a region's lane set. `written_before`: by regions that may still run when a lane begins; none given:
/// anything may be.
LaneMemory plan_lane_memory(const Program& program, const Region& region, size_t lane_set,
                            const std::optional<std::vector<Written>>& written_before, int64_t budget_bytes);

}  // namespace wholestep
