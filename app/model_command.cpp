// ambit model inspect | eval: what is in a model file, and how well it calls tools.

#include "agents/message.h"
#include "app/command.h"
#include "async/channel.h"
#include "async/scope.h"
#include "inference/engine.h"
#include "inference/gguf.h"
#include "inference/model_file.h"
#include "io/file.h"
#include "io/uv_world.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t cases_bytes_max = 1 << 30;
constexpr std::size_t at_once = 256;

struct Case {
  std::string id;
  std::string kind;
  std::vector<agents::Message> messages;
  std::shared_ptr<std::vector<agents::ToolSpec>> tools;
  bool calls = false;  // a call is expected
  std::string name;
  nlohmann::json arguments;
};

struct Verdict {
  bool tool = false;   // called or did not call, and the right one
  bool exact = false;  // and every argument
  std::string said;
};

Result<Case> read_case(const std::string& line, std::size_t number) {
  const std::string where = "line " + std::to_string(number);
  const Json in = Json::parse(line, nullptr, false);
  if (!in.is_object() || !in.contains("messages") || !in.contains("tools") ||
      !in.contains("expected")) {
    return Err(Code::invalid, where + ": a case needs \"messages\", \"tools\" and \"expected\"");
  }
  Case made;
  made.id = in.value("id", where);
  made.kind = in.value("kind", "case");
  for (const Json& item : in["messages"]) {
    auto message = agents::message_from_json(item.dump());
    if (!message) return Err(std::move(message).error().context(where));
    made.messages.push_back(std::move(*message));
  }
  made.tools = std::make_shared<std::vector<agents::ToolSpec>>();
  for (const Json& item : in["tools"]) {
    const Json& function = item.contains("function") ? item["function"] : item;
    agents::ToolSpec spec;
    spec.name = function.value("name", "");
    spec.description = function.value("description", "");
    spec.input_schema =
        function.contains("parameters") ? function["parameters"].dump() : "{\"type\":\"object\"}";
    made.tools->push_back(std::move(spec));
  }
  const Json& expected = in["expected"];
  made.calls = expected.is_object() && expected.contains("name");
  if (made.calls) {
    made.name = expected.value("name", "");
    made.arguments = nlohmann::json::parse(expected["arguments"].dump());
  }
  return made;
}

Result<std::vector<Case>> read_cases(const std::string& path) {
  const std::string text = TRY(io::read_file(path, cases_bytes_max));
  std::vector<Case> cases;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    ++number;
    try {
      if (end > at) cases.push_back(TRY(read_case(text.substr(at, end - at), number)));
    } catch (const Json::exception& error) {
      return Err(Code::invalid, path + ": line " + std::to_string(number) + ": " + error.what());
    }
    at = end + 1;
  }
  if (cases.empty()) return Err(Code::invalid, path + " holds no case");
  return cases;
}

Verdict judge(const Case& wanted, const agents::Turn& turn) {
  Verdict verdict;
  const auto& calls = turn.message.tool_calls;
  verdict.said = turn.message.content;
  for (const agents::ToolCall& call : calls) verdict.said += " " + call.name + call.arguments;
  if (!wanted.calls) {
    verdict.tool = verdict.exact = calls.empty();
    return verdict;
  }
  verdict.tool = calls.size() == 1 && calls[0].name == wanted.name;
  verdict.exact =
      verdict.tool && nlohmann::json::parse(calls[0].arguments, nullptr, false) == wanted.arguments;
  return verdict;
}

Task<void> decode(agents::Model& model, const Case& item, std::size_t number, Semaphore& places,
                  Verdict& verdict, agents::Usage& usage, Error& error) {
  const auto permit = co_await places.acquire();
  agents::TurnRequest request;
  request.session = "eval-" + std::to_string(number);
  request.tools = item.tools;
  request.messages = item.messages;
  request.tokens_max = 256;
  if (item.tools->empty()) request.tool_choice = agents::ToolChoice::none;
  auto turn = co_await model.generate(std::move(request));
  model.observe("eval-" + std::to_string(number), agents::SessionEvent::gone);
  if (!turn) {
    error = std::move(turn).error();
    co_return;
  }
  usage.input_tokens += turn->usage.input_tokens;
  usage.output_tokens += turn->usage.output_tokens;
  verdict = judge(item, *turn);
}

struct Score {
  std::vector<Verdict> verdicts;
  agents::Usage usage;
  double seconds = 0;
};

Result<Score> evaluate(const std::string& model, const std::vector<Case>& cases,
                       std::size_t threads, bool grammar) {
  io::UvWorld world;
  inference::EngineOptions options;
  options.threads = threads > 0 ? threads : processors();
  options.batch_max = 64;
  options.grammar = grammar;
  auto engine = TRY(inference::Engine::open(model, options, world.loop()));
  Score score;
  score.verdicts.resize(cases.size());
  std::vector<Error> errors(cases.size());
  Semaphore places(at_once);
  const Instant start = world.loop().now();
  {
    Scope scope;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      scope.spawn(decode(*engine, cases[i], i, places, score.verdicts[i], score.usage, errors[i]));
    }
    world.loop().run_until([&] { return scope.size() == 0; });
  }
  score.seconds = std::chrono::duration<double>(world.loop().now() - start).count();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (!errors[i].message.empty()) return Err(std::move(errors[i]).context("case " + cases[i].id));
  }
  return score;
}

struct Tally {
  std::int64_t cases = 0;
  std::int64_t tool = 0;
  std::int64_t exact = 0;
};

std::string percent(std::int64_t part, std::int64_t whole) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f",
                whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0);
  return text;
}

void print_score(const std::string& name, const std::vector<Case>& cases, const Score& score,
                 bool as_json, bool failures) {
  std::map<std::string, Tally> tallies;
  Tally calls;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    for (Tally* tally :
         {&tallies[cases[i].kind], &tallies["all"], cases[i].calls ? &calls : nullptr}) {
      if (tally == nullptr) continue;
      ++tally->cases;
      tally->tool += score.verdicts[i].tool ? 1 : 0;
      tally->exact += score.verdicts[i].exact ? 1 : 0;
    }
  }
  tallies["calls"] = calls;
  const auto rate = static_cast<std::int64_t>(static_cast<double>(score.usage.output_tokens) /
                                              std::max(score.seconds, 1e-9));
  if (as_json) {
    Json out = {{"grammar", name == "with grammar"},
                {"seconds", score.seconds},
                {"outputTokens", score.usage.output_tokens},
                {"outputTokensPerSecond", rate}};
    for (const auto& [kind, tally] : tallies) {
      out["kinds"][kind] = {{"cases", tally.cases}, {"tool", tally.tool}, {"exact", tally.exact}};
    }
    print(out.dump() + "\n");
  } else {
    print(name + ": " + percent(calls.exact, calls.cases) + " % of " + std::to_string(calls.cases) +
          " calls right in tool and every argument, " + std::to_string(rate) + " tokens/s\n");
    for (const auto& [kind, tally] : tallies) {
      std::string line = "  " + kind;
      line.resize(std::max<std::size_t>(line.size() + 1, 18), ' ');
      print(line + std::to_string(tally.exact) + " of " + std::to_string(tally.cases) + " exact (" +
            percent(tally.exact, tally.cases) + " %), " + std::to_string(tally.tool) +
            " right tool\n");
    }
  }
  if (!failures) return;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (score.verdicts[i].exact) continue;
    print(cases[i].id + " " + cases[i].kind + "\n  wanted " +
          (cases[i].calls ? cases[i].name + cases[i].arguments.dump() : "no call") + "\n  said   " +
          score.verdicts[i].said + "\n");
  }
}

Result<void> eval(const Options& options, const Context& context) {
  const std::string model = absolute(context, options.positional()[0]);
  const std::vector<Case> cases = TRY(read_cases(absolute(context, options.positional()[1])));
  const auto threads = static_cast<std::size_t>(TRY(options.integer("threads", 0, 0, 1024)));
  for (const bool grammar : {true, false}) {
    if (!grammar && options.flag("grammar-only")) continue;
    const Score score = TRY(evaluate(model, cases, threads, grammar));
    print_score(grammar ? "with grammar" : "without grammar", cases, score, options.flag("json"),
                options.flag("failures"));
  }
  return {};
}

// One value for people: long texts and lists are cut.
Json short_value(const inference::GgufValue& value) {
  return std::visit(
      [](const auto& held) -> Json {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return held.size() <= 200 ? held : held.substr(0, 197) + "...";
        } else if constexpr (std::is_arithmetic_v<T>) {
          return held;
        } else {
          return std::to_string(held.size()) + " values";
        }
      },
      value);
}

Result<void> inspect(const Options& options, const Context& context) {
  const auto file = TRY(inference::ModelFile::open(absolute(context, options.positional()[0])));
  std::int64_t parameters = 0;
  std::map<std::string, std::int64_t> types;
  for (const inference::TensorView& tensor : file->file().tensors()) {
    std::int64_t elements = 1;
    for (const auto size : tensor.shape) elements *= static_cast<std::int64_t>(size);
    parameters += elements;
    types[std::string(inference::to_string(tensor.type))] += elements;
  }
  std::size_t bytes = 0;
  for (const auto& part : file->file().parts()) bytes += part.bytes.size();
  Json out = {{"identity", file->identity()},
              {"architecture", file->model().config.architecture},
              {"parameters", parameters},
              {"bytes", bytes},
              {"layers", file->model().config.layers},
              {"width", file->model().config.width},
              {"heads", file->model().config.heads},
              {"kvHeads", file->model().config.kv_heads},
              {"context", file->model().config.context},
              {"vocabulary", file->tokenizer().size()},
              {"tensors", file->file().tensors().size()}};
  for (const auto& [type, elements] : types) out["elements"][type] = elements;
  const inference::ChatAbilities& chat = file->chat().abilities();
  out["chat"] = {{"system", chat.system ? "template" : "ambit"},
                 {"tools", chat.tools ? "template" : "ambit"},
                 {"calls", chat.dialect == inference::Dialect::llama ? "llama" : "hermes"}};
  for (const auto& [key, value] : file->file().metadata())
    out["metadata"][key] = short_value(value);
  print(out.dump(options.flag("json") ? -1 : 2, ' ', false, Json::error_handler_t::replace) + "\n");
  return {};
}

}  // namespace

Command model_inspect_command() {
  return {"model inspect",
          "MODEL",
          "show what is in a model file: shape, types, vocabulary, template",
          {{"json", "", "print it as JSON"}},
          1,
          1,
          [](const Options& options, const Context& context) {
            const auto done = inspect(options, context);
            return done ? 0 : fail(done.error());
          }};
}

Command model_eval_command() {
  return {"model eval",
          "MODEL CASES",
          "score a model's tool calls on cases (JSON Lines), with and without the grammar",
          {{"threads", "N", "threads of the engine (default: all processors)"},
           {"grammar-only", "", "leave out the run without the grammar"},
           {"failures", "", "print every case that was not exact"},
           {"json", "", "one JSON object a run"}},
          2,
          2,
          [](const Options& options, const Context& context) {
            const auto done = eval(options, context);
            return done ? 0 : fail(done.error());
          }};
}

}  // namespace ambit::app
