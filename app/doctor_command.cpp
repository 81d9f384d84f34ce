// ambit doctor: which layers of a jail this machine can enforce, each tried, not guessed.

#include "app/command.h"
#include "sandbox/doctor.h"

namespace ambit::app {
namespace {

int doctor(const Options& options, const Context& /*context*/) {
  const std::vector<sandbox::Layer> layers = sandbox::examine_machine();
  bool all = true;
  bool reduced = true;
  std::string json;
  for (const sandbox::Layer& layer : layers) {
    all = all && (layer.available || !layer.needed);
    reduced = reduced && (layer.available || !layer.of_reduced);
    if (options.flag("json")) {
      json += (json.empty() ? "" : ",") + std::string("{\"layer\":") + json_text(layer.name) +
              ",\"available\":" + (layer.available ? "true" : "false") +
              ",\"full\":" + (layer.needed ? "true" : "false") +
              ",\"reduced\":" + (layer.of_reduced ? "true" : "false") +
              ",\"detail\":" + json_text(layer.detail) + ",\"how\":" + json_text(layer.how_to_get) +
              "}";
      continue;
    }
    std::string name = layer.name;
    name.resize(std::max<std::size_t>(name.size() + 1, 28), ' ');
    print(std::string(layer.available ? "yes  "
                      : layer.needed  ? "NO   "
                                      : "no   ") +
          name + layer.detail + "\n");
    if (!layer.available && !layer.how_to_get.empty())
      print("       to get it: " + layer.how_to_get + "\n");
  }
  if (options.flag("json")) {
    print("{\"layers\":[" + json + "],\"fullJails\":" + (all ? "true" : "false") +
          ",\"reducedJails\":" + (reduced ? "true" : "false") + "}\n");
  } else {
    print(std::string("\nfull jails:    ") + (all ? "yes" : "NO, every call is refused") + "\n");
    print(std::string("reduced jails: ") +
          (!reduced ? "no"
           : all    ? "not needed here"
                 : "yes, for profiles whose \"isolation\" is \"reduced-if-needed\": Landlock, the "
                   "filter and rlimits alone") +
          "\n");
  }
  return all ? 0 : 1;
}

}  // namespace

Command doctor_command() {
  return {"doctor",
          "",
          "try every layer of a jail on this machine; a call whose layer is missing is refused",
          {{"json", "", "print the layers as JSON"}},
          0,
          0,
          doctor};
}

}  // namespace ambit::app
