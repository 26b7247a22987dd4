// ConfiguredLayer: what every layer with a config struct has in common. The struct names its type, says what
// it is in one line, and lists its fields; checks, printing and model.json follow.
#pragma once
#include "wholestep/io/config_fields.h"
#include "wholestep/nn/module.h"

namespace wholestep::nn {

/// Config: static constexpr kType and kDoc, ConfigFields fields().
template <class ConfigStruct>
class ConfiguredLayer : public Module {
 public:
  using Config = ConfigStruct;

  const Config& config() const { return config_; }
  std::string_view type() const override { return Config::kType; }
  std::string description() const override {
    return std::string(Config::kType) + "(" + print_config(config_) + ")";
  }
  void write_spec(nlohmann::json& spec) const override { write_config(spec, config_); }

 protected:
  /// kBadConfig listing every problem of the config.
  ConfiguredLayer(Config config, std::source_location where)
      : Module(where), config_(checked_config(source() + ": " + Config::kType, std::move(config))) {}

 private:
  Config config_;
};

}  // namespace wholestep::nn
