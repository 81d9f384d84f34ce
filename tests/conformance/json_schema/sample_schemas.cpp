// Draws texts from the languages of JSON Schemas and prints a JSON line a schema: what was drawn,
// and which of the suite's instances the language has. judge.mjs judges. Arguments: texts a schema,
// then files: a list of schemas, a folder of the public suite, or one schema with definitions.

#include "inference/json_schema.h"
#include "inference/json_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>

using namespace ambit;
using namespace ambit::inference;
using Json = nlohmann::ordered_json;

namespace {

// Whether the schema, or one that it refers to, has keywords that json_schema.h says are not
// enforced.
bool has_loose_keyword(const Json& root, const Json& schema, std::set<std::string>& seen) {
  static const std::vector<std::string> loose = {"not",
                                                 "if",
                                                 "contains",
                                                 "uniqueItems",
                                                 "dependencies",
                                                 "dependentRequired",
                                                 "dependentSchemas",
                                                 "oneOf",
                                                 "multipleOf",
                                                 "additionalItems",
                                                 "unevaluatedProperties",
                                                 "unevaluatedItems"};
  if (schema.is_array())
    return std::any_of(schema.begin(), schema.end(),
                       [&](const Json& each) { return has_loose_keyword(root, each, seen); });
  if (!schema.is_object()) return false;
  for (const auto& [key, value] : schema.items()) {
    if (key == "$defs" || key == "definitions") continue;
    if (std::find(loose.begin(), loose.end(), key) != loose.end()) return true;
    if (key == "$ref" && value.is_string() && seen.insert(value.get<std::string>()).second) {
      const std::string name = value.get<std::string>();
      if (!name.starts_with('#')) return true;
      const Json::json_pointer pointer(name.substr(1));
      if (root.contains(pointer) && has_loose_keyword(root, root.at(pointer), seen)) return true;
    }
    if (has_loose_keyword(root, value, seen)) return true;
  }
  return false;
}

bool offers(Automaton& automaton, ExpressionId language, const std::string& text) {
  for (const char c : text) language = automaton.step(language, static_cast<unsigned char>(c));
  return automaton.may_end(language);
}

// A walk by random bytes that closes what is open once the text is long.
std::string draw(Automaton& automaton, ExpressionId state, std::mt19937_64& random) {
  std::string text;
  while (text.size() < 20'000) {
    std::vector<unsigned char> possible;
    for (unsigned byte = 0; byte < 256; ++byte)
      if (automaton.step(state, static_cast<unsigned char>(byte)) != Automaton::never)
        possible.push_back(static_cast<unsigned char>(byte));
    if (possible.empty() || (automaton.may_end(state) && random() % 3 == 0)) return text;
    unsigned char next = possible[random() % possible.size()];
    if (text.size() > 60 && random() % 4 != 0)
      for (const char closing : {']', '}', '"'})
        if (std::find(possible.begin(), possible.end(), closing) != possible.end())
          next = static_cast<unsigned char>(closing);
    text += static_cast<char>(next);
    state = automaton.step(state, next);
  }
  return text;
}

void look_at(const std::string& group, const std::string& name, const Json& schema,
             const Json& tests, std::size_t samples) {
  std::set<std::string> seen;
  Json out = {{"group", group},           {"name", name},
              {"schema", schema},         {"loose", has_loose_keyword(schema, schema, seen)},
              {"samples", Json::array()}, {"instances", Json::array()}};
  Automaton automaton;
  const auto start = std::chrono::steady_clock::now();
  const auto language = json_language(automaton, schema);
  out["compile_us"] =
      std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
  const bool nothing_fits =
      !language && language.error().message.find("allows no value") != std::string::npos;
  if (!language && !nothing_fits) {
    out["error"] = language.error().message;
  } else {
    std::mt19937_64 random(std::hash<std::string>()(name));
    // Texts are drawn where everything that the schema says is enforced.
    if (language && !out["loose"].get<bool>())
      for (std::size_t i = 0; i < samples; ++i)
        out["samples"].push_back(draw(automaton, *language, random));
    for (const Json& test : tests)
      out["instances"].push_back(
          {{"valid", test["valid"]},
           {"offered", language && offers(automaton, *language, test["data"].dump())}});
  }
  std::printf("%s\n", out.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

Json read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return parse_json(std::string(std::istreambuf_iterator<char>(file), {}));
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) {
    std::fprintf(stderr, "usage: sample_schemas TEXTS FILE...\n");
    return 2;
  }
  const std::size_t samples = std::strtoul(arguments[1], nullptr, 10);
  for (int i = 2; i < count; ++i) {
    const std::filesystem::path path = arguments[i];
    if (std::filesystem::is_directory(path)) {
      std::vector<std::filesystem::path> files;
      for (const auto& entry : std::filesystem::directory_iterator(path))
        if (entry.path().extension() == ".json") files.push_back(entry.path());
      std::sort(files.begin(), files.end());
      for (const auto& file : files)
        for (const Json& group : read(file))
          look_at("draft7", file.stem().string() + ": " + group["description"].get<std::string>(),
                  group["schema"], group["tests"], samples);
    } else if (const Json whole = std::filesystem::exists(path) ? read(path) : Json();
               whole.is_array()) {
      for (const Json& each : whole)
        look_at("tools", each["title"].get<std::string>(), each, Json::array(), samples);
    } else if (whole.is_object()) {
      const char* definitions = whole.contains("$defs") ? "$defs" : "definitions";
      for (const auto& [name, schema] : whole[definitions].items())
        look_at("mcp", name,
                {{"$ref", "#/" + std::string(definitions) + "/" + name},
                 {definitions, whole[definitions]}},
                Json::array(), samples / 10 + 1);
    }
  }
  return 0;
}
