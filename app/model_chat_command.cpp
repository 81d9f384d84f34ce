// ambit model chat: a conversation with a model file, a line a turn.

#include "app/command.h"
#include "inference/decoder.h"
#include "inference/model_file.h"

#include <cstdio>
#include <iostream>

namespace ambit::app {
namespace {

constexpr std::size_t line_bytes_max = 1U << 20U;

// Decodes one turn and prints it as it comes.
Result<agents::Turn> say(inference::Decoder& decoder, const agents::TurnRequest& request) {
  const std::uint64_t id = TRY(decoder.submit(request, true));
  inference::Decoder::Progress progress;
  for (;;) {
    progress.clear();
    decoder.step(progress);
    for (const auto& [of, piece] : progress.said) print(piece);
    std::fflush(stdout);
    for (auto& [of, turn] : progress.ended)
      if (of == id) return std::move(turn);
  }
}

Result<void> chat(const Options& options, const Context& context) {
  const auto file = TRY(inference::ModelFile::open(absolute(context, options.positional()[0])));
  inference::EngineOptions how;
  how.threads = static_cast<std::size_t>(TRY(options.integer("threads", 0, 0, 256)));
  if (how.threads == 0) how.threads = processors();
  how.device = options.text("device", "cpu");
  how.batch_max = 1;
  const auto decoder = TRY(inference::Decoder::make(file, how));
  agents::TurnRequest request;
  request.session = "chat";
  request.tokens_max = TRY(options.integer("max-tokens", 512, 1, 1'000'000));
  request.sampling.temperature =
      static_cast<double>(TRY(options.integer("temperature", 0, 0, 1000))) / 100;
  request.sampling.seed =
      static_cast<std::uint64_t>(TRY(options.integer("seed", 1, 0, 1LL << 62U)));
  if (const std::string system = options.text("system"); !system.empty())
    request.messages.push_back({agents::Role::system, system, {}, "", ""});
  for (std::string line; std::getline(std::cin, line);) {
    if (line.empty()) continue;
    if (line.size() > line_bytes_max)
      return Err(Code::invalid,
                 "a line has more than " + std::to_string(line_bytes_max) + " bytes");
    request.messages.push_back({agents::Role::user, line, {}, "", ""});
    agents::Turn turn = TRY(say(*decoder, request));
    print("\n");
    request.messages.push_back(std::move(turn.message));
  }
  return {};
}

}  // namespace

Command model_chat_command() {
  return {"model chat",
          "MODEL",
          "talk with a model: each line of standard input is a turn",
          {{"system", "TEXT", "what the model is told first"},
           {"max-tokens", "N", "of one answer (default 512)"},
           {"temperature", "N", "in hundredths: 70 is 0.7 (default 0: the likeliest token)"},
           {"seed", "N", "other choices at the same temperature (default 1)"},
           {"device", "NAME", "cpu (default), cuda, cuda:1 or auto"},
           {"threads", "N", "threads of the engine (default: all processors)"}},
          1,
          1,
          [](const Options& options, const Context& context) {
            const auto done = chat(options, context);
            return done ? 0 : fail(done.error());
          }};
}

}  // namespace ambit::app
