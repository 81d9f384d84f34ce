// The decoding engine alone: no event loop, no agents, no jail. Links the library `inference` and
// nothing else of Ambit. Two sessions decode in one batch; each says what it would say alone.
//   engine-example MODEL.gguf "a question" "another question"

#include "inference/engine.h"

#include <cstdio>
#include <map>

using namespace ambit;

int main(int count, char** arguments) {
  if (count < 3) {
    std::fprintf(stderr, "usage: %s MODEL.gguf QUESTION...\n", arguments[0]);
    return 2;
  }
  const auto file = inference::ModelFile::open(arguments[1]);
  if (!file) {
    std::fprintf(stderr, "%s\n", file.error().message.c_str());
    return 1;
  }
  inference::EngineOptions options;
  options.threads = 2;
  const auto decoder = inference::Decoder::make(*file, options);
  if (!decoder) {
    std::fprintf(stderr, "%s\n", decoder.error().message.c_str());
    return 1;
  }

  std::map<std::uint64_t, const char*> questions;
  for (int i = 2; i < count; ++i) {
    agents::TurnRequest request;
    request.session = arguments[i];
    request.messages = {{agents::Role::user, arguments[i], {}, "", ""}};
    request.tokens_max = 64;
    request.sampling.temperature = 0.7;
    request.sampling.seed = 1;
    const auto id = (*decoder)->submit(request);
    if (!id) {
      std::fprintf(stderr, "%s: %s\n", arguments[i], id.error().message.c_str());
      return 1;
    }
    questions[*id] = arguments[i];
  }

  inference::Decoder::Progress progress;
  while (!(*decoder)->idle()) {
    progress.clear();
    (*decoder)->step(progress);  // one forward pass for all sessions
    for (const auto& [id, turn] : progress.ended)
      std::printf("%s\n  %s\n", questions[id],
                  turn ? turn->message.content.c_str() : turn.error().message.c_str());
  }
  return 0;
}
