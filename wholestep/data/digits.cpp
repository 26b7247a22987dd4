// A digit is drawn in three moves: a style's control points are bent and placed as a writer's hand would, the
// smooth path through them is swept with a round pen, and the ink is blurred and grained as a scanner would.
#include "wholestep/data/digits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "wholestep/base/error.h"
#include "wholestep/base/philox.h"
#include "wholestep/data/digit_strokes.h"

namespace wholestep {
namespace {

constexpr int kSide = kDigitSide;
constexpr int kPixels = kSide * kSide;
constexpr int kStepsPerSpan = 6;  // straight pieces between two control points

struct Point {
  float x = 0, y = 0;
};

// Places the 100 x 100 box of a style in the picture: slant, size, rotation and shift, then a slow wave.
class Hand {
 public:
  explicit Hand(PhiloxStream& random) {
    float height = random.uniform(15.5f, 21), aspect = random.uniform(0.6f, 0.95f);
    float slant = 0.12f + 0.16f * static_cast<float>(random.normal());
    float angle = 0.11f * static_cast<float>(random.normal());  // radians
    float c = std::cos(angle), s = std::sin(angle), sx = height * aspect / 100, sy = height / 100;
    // rotation * shear * scale
    xx_ = c * sx, xy_ = (-c * slant - s) * sy;
    yx_ = s * sx, yy_ = (-s * slant + c) * sy;
    centre_ = {kSide / 2.0f + random.uniform(-2.5f, 2.5f), kSide / 2.0f + random.uniform(-2.5f, 2.5f)};
    constexpr float kTurn = 2 * std::numbers::pi_v<float>;
    for (Wave& wave : waves_)
      wave = {random.uniform(0.2f, 0.9f), random.uniform(0.05f, 0.3f), random.uniform(0.05f, 0.3f),
              random.uniform(0, kTurn)};
  }
  Point place(Point p) const {
    float u = p.x - 50, v = p.y - 50;
    float x = centre_.x + xx_ * u + xy_ * v, y = centre_.y + yx_ * u + yy_ * v;
    return {x + waves_[0].at(x, y), y + waves_[1].at(x, y)};
  }

 private:
  struct Wave {
    float amplitude = 0, fx = 0, fy = 0, phase = 0;
    float at(float x, float y) const { return amplitude * std::sin(fx * x + fy * y + phase); }
  };
  float xx_, xy_, yx_, yy_;
  Point centre_;
  std::array<Wave, 2> waves_;
};

// The ink of a round pen, one minimum of distance at a time.
class Canvas {
 public:
  Canvas() { depth_.fill(-8); }
  // How far each pixel lies inside the pen (radius ra at a to rb at b), in pixels.
  void sweep(Point a, Point b, float ra, float rb) {
    float reach = std::max(ra, rb) + 1;
    int x0 = clamp(std::min(a.x, b.x) - reach), x1 = clamp(std::max(a.x, b.x) + reach + 1);
    int y0 = clamp(std::min(a.y, b.y) - reach), y1 = clamp(std::max(a.y, b.y) + reach + 1);
    float dx = b.x - a.x, dy = b.y - a.y;
    float scale = 1 / std::max(dx * dx + dy * dy, 1e-6f);
    for (int y = y0; y < y1; ++y)
      for (int x = x0; x < x1; ++x) {
        float px = static_cast<float>(x) + 0.5f - a.x, py = static_cast<float>(y) + 0.5f - a.y;
        float t = std::clamp((px * dx + py * dy) * scale, 0.0f, 1.0f);
        float ex = px - t * dx, ey = py - t * dy;
        float inside = ra + t * (rb - ra) - std::sqrt(ex * ex + ey * ey);
        float& depth = depth_[static_cast<size_t>(y * kSide + x)];
        depth = std::max(depth, inside);
      }
  }
  // Coverage 0 to 1, with edges `softness` pixels wide.
  std::array<float, kPixels> ink(float softness) const {
    std::array<float, kPixels> ink;
    for (size_t i = 0; i < ink.size(); ++i) {
      float t = std::clamp(0.5f + depth_[i] / softness, 0.0f, 1.0f);
      ink[i] = t * t * (3 - 2 * t);
    }
    return ink;
  }

 private:
  static int clamp(float v) { return std::clamp(static_cast<int>(std::floor(v)), 0, kSide); }
  std::array<float, kPixels> depth_;
};

// Catmull-Rom through p1 and p2; a neighbour beyond a corner or an end is replaced by the point itself.
Point curve(Point p0, Point p1, Point p2, Point p3, float t) {
  auto blend = [t](float a, float b, float c, float d) {
    return b + 0.5f * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
  };
  return {blend(p0.x, p1.x, p2.x, p3.x), blend(p0.y, p1.y, p2.y, p3.y)};
}

void draw_stroke(const Stroke& stroke, const std::vector<Point>& points, const Hand& hand, float radius,
                 float taper, Canvas& canvas) {
  for (size_t i = 0; i + 1 < points.size(); ++i) {
    Point before = i > 0 && !stroke[i].corner ? points[i - 1] : points[i];
    Point after = i + 2 < points.size() && !stroke[i + 1].corner ? points[i + 2] : points[i + 1];
    Point from = hand.place(points[i]);
    for (int step = 1; step <= kStepsPerSpan; ++step) {
      float t = static_cast<float>(step) / kStepsPerSpan;
      Point to = hand.place(curve(before, points[i], points[i + 1], after, t));
      float along = (static_cast<float>(i) + t) / static_cast<float>(points.size());
      float r = radius * (1 + taper * (along - 0.5f));
      canvas.sweep(from, to, r, r);
      from = to;
    }
  }
}

// Strokes often begin and end away from where the table says: control points wander, ends most of all.
std::vector<Point> wander(const Stroke& stroke, float amount, PhiloxStream& random) {
  std::vector<Point> points;
  for (size_t i = 0; i < stroke.size(); ++i) {
    float a = i == 0 || i + 1 == stroke.size() ? 1.5f * amount : amount;
    points.push_back({stroke[i].x + a * static_cast<float>(random.normal()),
                      stroke[i].y + a * static_cast<float>(random.normal())});
  }
  return points;
}

// Mixes each pixel with the mean of its neighbours.
void blur(std::array<float, kPixels>& ink, float amount) {
  std::array<float, kPixels> source = ink;
  auto at = [&](int y, int x) {
    return y < 0 || y >= kSide || x < 0 || x >= kSide ? 0.0f : source[static_cast<size_t>(y * kSide + x)];
  };
  for (int y = 0; y < kSide; ++y)
    for (int x = 0; x < kSide; ++x) {
      float around = 0.25f * (at(y - 1, x) + at(y + 1, x) + at(y, x - 1) + at(y, x + 1));
      float& value = ink[static_cast<size_t>(y * kSide + x)];
      value += amount * (around - value);
    }
}

std::shared_ptr<const Dataset> make_part(const DigitsConfig& config, DigitsPart part, int64_t count) {
  std::vector<uint8_t> pixels(static_cast<size_t>(count) * kPixels);
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < count; ++i)
    labels.push_back(
        draw_digit(config.seed, part, i, std::span(pixels).subspan(labels.size() * kPixels, kPixels)));
  std::vector<std::string> names = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  return std::make_shared<InMemoryDataset>(Shape{1, kSide, kSide}, std::move(pixels), std::move(labels),
                                           std::move(names), "digits");
}

void check_count(int64_t count, const char* key) {
  constexpr int64_t kMax = 10'000'000;
  if (count < 0 || count > kMax)
    throw Error(ErrorCode::kBadConfig, {.what = "number of digits out of range",
                                        .where = key,
                                        .got = std::to_string(count),
                                        .expected = fmt::format("0 to {}", kMax)});
}

}  // namespace

int32_t draw_digit(uint64_t seed, DigitsPart part, int64_t index, std::span<uint8_t> out) {
  WHOLESTEP_CHECK(out.size() == kPixels);
  PhiloxStream random(mix(seed, static_cast<uint64_t>(part)), static_cast<uint64_t>(index));
  int digit = static_cast<int>(random.below(10));
  std::span<const DigitStyle> styles = digit_styles(digit);
  const DigitStyle& style = styles[random.below(styles.size())];

  Hand hand(random);
  float radius = random.uniform(0.75f, 1.75f), taper = random.uniform(-0.35f, 0.35f);
  float wandering = random.uniform(1.0f, 3.5f);
  Canvas canvas;
  for (const Stroke& stroke : style)
    draw_stroke(stroke, wander(stroke, wandering, random), hand, radius, taper, canvas);

  std::array<float, kPixels> ink = canvas.ink(random.uniform(1.0f, 1.6f));
  blur(ink, random.uniform(0, 0.6f));
  float strength = random.uniform(0.7f, 1.0f), grain = random.uniform(0.0f, 0.09f);
  for (size_t i = 0; i < kPixels; ++i) {
    float value = strength * ink[i] + grain * (random.uniform() - 0.5f);
    out[i] = static_cast<uint8_t>(std::lround(255 * std::clamp(value, 0.0f, 1.0f)));
  }
  return digit;
}

DataSplits make_digits(const DigitsConfig& config) {
  check_count(config.train, "train");
  check_count(config.test, "test");
  return {.train = make_part(config, DigitsPart::kTrain, config.train),
          .test = make_part(config, DigitsPart::kTest, config.test),
          .description = fmt::format("{} train and {} test generated digits [1, 28, 28], seed {}",
                                     config.train, config.test, config.seed)};
}

}  // namespace wholestep
