// wholestep data: look at a data set and convert it.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "wholestep/base/human.h"
#include "wholestep/cli/app.h"
#include "wholestep/cli/open_data.h"
#include "wholestep/cli/terminal.h"
#include "wholestep/data/preview.h"
#include "wholestep/io/files.h"

namespace wholestep::cli {
namespace {

using nlohmann::json;

json to_json(const DatasetDescription& d) {
  json classes = json::array();
  for (size_t i = 0; i < d.class_names.size(); ++i)
    classes.push_back({{"name", d.class_names[i]}, {"samples", d.class_counts[i]}});
  return {{"samples", d.size},
          {"sample_shape", std::vector<int64_t>(d.sample_shape.begin(), d.sample_shape.end())},
          {"classes", std::move(classes)},
          {"mean", d.normalization.mean},
          {"std", d.normalization.std}};
}

std::string numbers(const std::vector<float>& values) {
  std::string text;
  for (float value : values) text += fmt::format("{}{:.4f}", text.empty() ? "" : ", ", value);
  return text.empty() ? "n/a" : text;
}

void describe_data(const std::string& spec, bool as_json) {
  DataSplits data = open_data_with_progress(spec);
  DatasetDescription train = describe(*data.train), test = describe(*data.test);
  if (as_json) {
    json all = {{"data", data.description}, {"train", to_json(train)}, {"test", to_json(test)}};
    fmt::print("{}\n", all.dump(2));
    return;
  }
  fmt::print("{}\n", data.description);
  for (const DatasetDescription* part : {&train, &test})
    fmt::print("{:<5}  {:>10} samples {}  mean {}  std {}\n", part == &train ? "train" : "test",
               human_count(part->size), to_string(part->sample_shape), numbers(part->normalization.mean),
               numbers(part->normalization.std));
  if (train.class_names.empty()) return;
  fmt::print("{:<16}{:>10}{:>10}\n", "class", "train", "test");
  for (size_t i = 0; i < train.class_names.size(); ++i)
    fmt::print("{:<16}{:>10}{:>10}\n", train.class_names[i], human_count(train.class_counts[i]),
               human_count(test.class_counts[i]));
}

void add_describe(CLI::App& data) {
  CLI::App* verb =
      add_verb(data, "describe", "Counts, shapes, classes and statistics of a data set",
               "  wholestep data describe digits\n  wholestep data describe idx:data/mnist --json\n");
  struct Options {
    std::string spec;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  verb->add_option("spec", o->spec, kDataForms)->required();
  verb->add_flag("--json", o->json, "one JSON object on standard output");
  verb->callback([o] { describe_data(o->spec, o->json); });
}

void add_preview(CLI::App& data) {
  CLI::App* verb =
      add_verb(data, "preview", "Pictures of a data set as one PNG sheet",
               "  wholestep data preview digits --out digits.png\n"
               "  wholestep data preview mnist --part test --samples 8,115,247 --out three.png\n");
  struct Options {
    std::string spec, out, part = "train";
    SheetOptions sheet;
  };
  auto o = std::make_shared<Options>();
  verb->add_option("spec", o->spec, kDataForms)->required();
  verb->add_option("--out", o->out, "the PNG file to write")->required();
  verb->add_option("--part", o->part, "train or test")->capture_default_str();
  verb->add_option("--columns", o->sheet.columns, "pictures in a row")->capture_default_str();
  verb->add_option("--scale", o->sheet.scale, "picture pixels a side for one sample pixel")
      ->capture_default_str();
  verb->add_option("--samples", o->sheet.samples,
                   "which samples, numbered from 0; the first 10 rows by default")
      ->delimiter(',');
  verb->callback([o] {
    DataSplits data_set = open_data_with_progress(o->spec);
    Bytes png = encode_png(contact_sheet(part_of(data_set, o->part), o->sheet));
    write_file(std::filesystem::absolute(o->out), ByteSpan(png));
    print_note(fmt::format("wrote {} ({})", o->out, human_bytes(static_cast<int64_t>(png.size()))));
  });
}

void add_convert(CLI::App& data) {
  CLI::App* verb =
      add_verb(data, "convert", "Write a data set as IDX files, which idx:FOLDER reads back equal",
               "  wholestep data convert digits:train=1000,test=200 data/digits\n");
  struct Options {
    std::string spec, folder;
  };
  auto o = std::make_shared<Options>();
  verb->add_option("spec", o->spec, kDataForms)->required();
  verb->add_option("folder", o->folder, "the folder to write into; it is made where absent")->required();
  verb->callback([o] {
    DataSplits data_set = open_data_with_progress(o->spec);
    convert_to_idx(data_set, o->folder);
    print_note(fmt::format("wrote {} and {} samples to {}", human_count(data_set.train->size()),
                           human_count(data_set.test->size()), o->folder));
  });
}

}  // namespace

void add_data(CLI::App& app) {
  CLI::App* data = add_verb(app, "data", "Look at a data set and convert it",
                            "  wholestep data describe digits\n"
                            "  wholestep data preview digits --out digits.png\n"
                            "  wholestep data convert digits:train=1000,test=200 data/digits\n");
  data->require_subcommand(1);
  add_describe(*data);
  add_preview(*data);
  add_convert(*data);
}

}  // namespace wholestep::cli
