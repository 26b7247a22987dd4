// Samples out of files for prediction: pictures, rows of numbers, IDX.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "wholestep/train/trained_model.h"

namespace wholestep::cli {

struct NamedSamples {
  std::vector<std::string> names;  ///< "a.png", "rows.csv:3", "images.idx:0"
  std::vector<uint8_t> pixels;     ///< bytes of the values [names.size(), sample shape...]
};

/// Reads what `argument` names and appends its samples:
///   *.png *.jpg *.jpeg    a picture, made grey or RGB and box-resized to the model's input [1 or 3, H, W];
///                         `invert` turns dark on light into light on dark
///   *.csv                 a sample a line: as many numbers 0 to 255 as the input has values; for a model of
///   a
///                         table, and then nothing else, a header and the columns it was trained on
///   idx:FILE              u8 samples [N, ...] with as many values each
/// kBadData naming file and line, kNoInput, kUsage for a file of no known kind.
void read_samples(const std::string& argument, const TrainedModel& model, bool invert, NamedSamples& samples);

}  // namespace wholestep::cli
