// Renders chat templates: a line {"source": ..., "variables": {...}} on standard input gives a line
// {"text": ...} or {"error": ...} on standard output; one without variables says what the template
// has words for. judge.py compares.

#include "inference/chat_words.h"
#include "inference/template.h"

#include <nlohmann/json.hpp>

#include <iostream>
#include <string>

using namespace ambit::inference;
using Json = nlohmann::ordered_json;

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const Json given = Json::parse(line);
    const auto parsed = Template::parse(given.at("source").get<std::string>());
    Json answer;
    if (!parsed) {
      answer["error"] = parsed.error().message;
    } else if (!given.contains("variables")) {
      const ChatAbilities found = abilities_of(*parsed);
      const char* calls = found.dialect == Dialect::llama ? "llama" : "hermes";
      answer = {{"system", found.system}, {"tools", found.tools ? calls : "ours"}};
    } else if (const auto text = parsed->render(given.at("variables"))) {
      answer["text"] = *text;
    } else {
      answer["error"] = text.error().message;
    }
    std::cout << answer.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  }
}
