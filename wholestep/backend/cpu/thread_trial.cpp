// Turns are short enough for many of them, and duels long enough to outlast what interrupts a thread; where
// steps are long, one each decides.
#include "wholestep/backend/cpu/thread_trial.h"

#include <bit>
#include <utility>

namespace wholestep {
namespace {

constexpr int kTurnSteps = 4, kRest = 256;
constexpr std::chrono::milliseconds kTurn{1}, kExpectedWon{15}, kFewerWon{45}, kMoreWon{30};
/// Nothing that befalls a step or a turn once matters beside it.
constexpr std::chrono::milliseconds kLong{10};

int64_t fewer_than(int64_t threads) {
  return threads > 1 ? static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(threads - 1))) : 0;
}

}  // namespace

ThreadTrial::ThreadTrial(int64_t most_threads, int64_t of_processors)
    : holder_{most_threads},
      rival_{fewer_than(most_threads)},
      most_(most_threads),
      processors_(of_processors) {}

void ThreadTrial::took(Duration step) {
  if (over()) {
    rested_ += step;
    if (rested_ > kRest * tried_) *this = ThreadTrial(most_, processors_);
    return;
  }
  tried_ += step;
  if (std::exchange(cold_, false)) return;
  Turn& turn = (rivals_turn_ ? rival_ : holder_).turn;
  if (++turn.steps == 0) {
    if (step < kLong) return;
    turn.steps = 1;
  }
  turn.length += step;
  if (turn.length < kLong && (turn.length < kTurn || turn.steps < kTurnSteps)) return;
  if (rivals_turn_) end_bout();
  rivals_turn_ = !rivals_turn_;
}

void ThreadTrial::end_bout() {
  const bool rival_wins = rival_.turn.length / rival_.turn.steps < holder_.turn.length / holder_.turn.steps;
  Side& winner = rival_wins ? rival_ : holder_;
  winner.won += winner.turn.length;
  holder_.turn = rival_.turn = {};
  const bool too_many = holder_.threads > processors_, expected = rival_wins == too_many;
  if (winner.won < (expected ? kExpectedWon : rival_wins ? kFewerWon : kMoreWon)) return;
  holder_ = {winner.threads};
  rival_ = {rival_wins ? fewer_than(winner.threads) : 0};
}

}  // namespace wholestep
