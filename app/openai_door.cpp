#include "app/openai_door.h"

#include "async/race.h"
#include "http/event_stream.h"
#include "io/uuid.h"

#include <algorithm>

namespace ambit::app {
namespace {

using agents::Verdict;

constexpr Duration heartbeat = std::chrono::seconds(15);

Task<void> say(http::Exchange& exchange, int status, std::string body) {
  const http::Headers headers({{"Content-Type", "application/json"}});
  co_await exchange.respond(status, headers, std::move(body));
}

Task<void> say(http::Exchange& exchange, ApiError error) {
  const int status = error.status;
  co_await say(exchange, status, to_json(error));
}

std::string event_of(const std::string& data) {
  return "data: " + data + "\n\n";
}

}  // namespace

// One request in the record: a session with one turn.
class OpenaiDoor::Session final : public agents::Recorder {
 public:
  Session(OpenaiDoor& door, std::string id, std::string caller)
      : door_(door),
        id_(std::move(id)),
        caller_(std::move(caller)),
        gate_(door.ports_, door.ledger_) {}

  Task<Result<void>> record(agents::Fact& fact) override {
    agents::settle_texts(fact);
    const agents::Origin origin{door_.run_, id_, door_.agent_.name};
    agents::Event event = agents::to_event(fact, origin);
    co_await ok(door_.ports_.journal.append(std::move(event)));
    co_return Result<void>();
  }
  std::string next_action() override {
    return door_.run_ + "/" + id_ + "/" + std::to_string(++actions_);
  }

  // Code::denied: the policies, or a quota, say no.
  Task<Result<void>> begin(const std::string& name, const std::string& identity, std::string prompt,
                           std::int64_t tokens_max) {
    agents::SessionStarted begun{caller_, "", std::move(prompt)};
    agents::Fact started = std::move(begun);
    co_await ok(record(started));
    agents::Action action;
    action.id = next_action();
    action.kind = agents::ActionKind::model_call;
    action.agent = door_.agent_.name;
    action.session = id_;
    action.run = door_.run_;
    action.on_behalf_of = caller_;
    action.tool = identity;
    action.tainted = true;
    spec_ = door_.assembly_.fleet().model(name);
    identity_ = identity;
    action_ = action.id;
    const agents::Cost cost{1, 0, tokens_max};
    std::string refused = door_.assembly_.roster().refuses(door_.run_, door_.agent_.name, id_);
    agents::Gate::Passage passage =
        co_await ok(gate_.pass(*this, std::move(action), cost, "", std::move(refused)));
    if (passage.decision->verdict != Verdict::allow) {
      const std::string reason = passage.decision->reason;
      co_await ok(end(agents::SessionEnd::denied, reason));
      co_return Err(Code::denied, reason);
    }
    hold_ = std::move(passage.hold);
    co_return Result<void>();
  }
  Task<Result<void>> complete(agents::Turn turn) {
    agents::TurnCompleted completed{action_, identity_, std::move(turn)};
    const agents::Usage& usage = completed.turn.usage;
    completed.cost_micros = spec_->price.micros_of(usage);
    agents::Cost spent{1, 0, usage.input_tokens - usage.cached_tokens + usage.output_tokens};
    spent.money_micros = completed.cost_micros;
    hold_.settle(spent, false);
    usage_ = usage;
    turns_ = 1;
    agents::Fact fact = std::move(completed);
    co_await ok(record(fact));
    co_return co_await end(agents::SessionEnd::completed, "");
  }
  Task<Result<void>> end(agents::SessionEnd end, std::string error) {
    hold_.settle(agents::Cost{1, 0, 0}, end != agents::SessionEnd::completed);
    agents::SessionEnded ended{end, turns_, 0, usage_, std::move(error), ""};
    agents::Fact fact = std::move(ended);
    co_return co_await record(fact);
  }
  // The model could not answer.
  Task<Result<void>> fail(const Error& error) {
    const agents::Usage& usage = wasted_;
    agents::TurnFailed failed{action_, identity_, usage, spec_->price.micros_of(usage),
                              error.message};
    agents::Cost spent{1, 0, usage.input_tokens - usage.cached_tokens + usage.output_tokens};
    spent.money_micros = failed.cost_micros;
    hold_.settle(spent, true);
    usage_ = usage;
    std::string why = error.message;
    agents::Fact fact = std::move(failed);
    co_await ok(record(fact));
    co_return co_await end(agents::SessionEnd::failed, std::move(why));
  }
  // An attempt has come to nothing and was paid: there is no budget here that it could pass.
  bool may_retry(const agents::Usage& usage) {
    wasted_ = usage;
    return true;
  }
  agents::Model* model = nullptr;

 private:
  OpenaiDoor& door_;
  std::string id_;
  std::string caller_;
  agents::Gate gate_;
  agents::Hold hold_;
  const agents::ModelSpec* spec_ = nullptr;
  std::string identity_;
  std::string action_;
  agents::Usage usage_;
  agents::Usage wasted_;
  std::int64_t turns_ = 0;
  std::int64_t actions_ = 0;
};

// What the model has said and the client has not got yet.
struct OpenaiDoor::Streamed {
  std::string text;
  std::optional<Result<agents::Turn>> turn;
  Waiters changed;

  [[nodiscard]] bool has_news() const { return !text.empty() || turn.has_value(); }
  // Looks for itself: what comes between a caller's look and the start of this task counts.
  Task<void> news() {
    while (!has_news()) co_await changed.wait();
  }
};

OpenaiDoor::OpenaiDoor(io::World& world, Assembly& assembly, std::string run)
    : world_(world),
      assembly_(assembly),
      run_(std::move(run)),
      ports_(assembly.ports()),
      ledger_("the OpenAI door", {-1, -1, -1, -1, -1, -1}, Loop::current().now(), nullptr) {
  agent_.name = "openai";
}

Task<void> OpenaiDoor::refuse(http::Exchange& exchange) {
  ApiError error{401,
                 "Incorrect API key provided. Give one of the server's tokens as a bearer token.",
                 "", "invalid_api_key"};
  co_await say(exchange, std::move(error));
}

std::vector<std::string> OpenaiDoor::model_names() const {
  std::vector<std::string> names;
  for (const agents::ModelSpec& spec : assembly_.fleet().models) names.push_back(spec.name);
  return names;
}

agents::Model* OpenaiDoor::model_of(const std::string& name, ApiError& error) const {
  if (assembly_.fleet().model(name) != nullptr) return &assembly_.model(name);
  const auto near = agents::suggestion(name, model_names());
  error = {404,
           "The model '" + name + "' does not exist" +
               (near ? "; did you mean '" + *near + "'?" : " (see /v1/models)"),
           "model", "model_not_found"};
  return nullptr;
}

Task<void> OpenaiDoor::handle(http::Exchange& exchange, std::string caller) {
  const std::string path = exchange.request().path;
  const std::string method = exchange.request().method;
  const bool reads = method == "GET";
  if (path == "/v1/models" && reads) {
    co_await say(exchange, 200, models_json(model_names()));
  } else if (path.starts_with("/v1/models/") && reads) {
    ApiError error;
    const std::string name = path.substr(11);
    if (model_of(name, error) != nullptr) {
      co_await say(exchange, 200, model_json(name));
    } else {
      co_await say(exchange, std::move(error));
    }
  } else if (path == "/v1/chat/completions" && method == "POST") {
    co_await chat(exchange, std::move(caller), true);
  } else if (path == "/v1/completions" && method == "POST") {
    co_await chat(exchange, std::move(caller), false);
  } else if (path == "/v1/embeddings" && method == "POST") {
    co_await embeddings(exchange, std::move(caller));
  } else {
    ApiError unknown{404, "Invalid URL (" + method + " " + path + ")", "", "unknown_url"};
    co_await say(exchange, std::move(unknown));
  }
}

Answer OpenaiDoor::new_answer(const ChatRequest& request) {
  const std::string id = io::uuid_v7(world_.clock, world_.entropy);
  std::string name;
  for (const char c : id) {
    if (c != '-') name += c;
  }
  return {(request.is_chat ? "chatcmpl-" : "cmpl-") + name, request.model,
          world_.clock.unix_ns() / 1'000'000'000, request.is_chat};
}

Task<void> OpenaiDoor::chat(http::Exchange& exchange, std::string caller, bool is_chat) {
  auto body = co_await exchange.read_all();
  if (!body) co_return;
  auto request = is_chat ? parse_chat(*body) : parse_completion(*body);
  if (!request) {
    co_await say(exchange, std::move(request).error());
    co_return;
  }
  ApiError unknown;
  agents::Model* model = model_of(request->model, unknown);
  if (model == nullptr) {
    co_await say(exchange, std::move(unknown));
    co_return;
  }
  const Answer answer = new_answer(*request);
  Session session(*this, answer.id, std::move(caller));
  session.model = model;
  auto begun = co_await session.begin(request->model, model->identity(), std::move(request->text),
                                      request->turn.tokens_max);
  if (!begun) {
    co_await say(exchange, to_api_error(begun.error()));
    co_return;
  }
  // No session of the engine's: the client comes back with the same conversation and a word more,
  // and what was computed of it waits for that as long as there is room.
  request->turn.may_retry = [&session](const agents::Usage& usage) {
    return session.may_retry(usage);
  };
  if (request->stream) {
    co_await answer_stream(exchange, session, std::move(*request), answer);
  } else {
    co_await answer_whole(exchange, session, std::move(*request), answer);
  }
}

Task<void> OpenaiDoor::answer_whole(http::Exchange& exchange, Session& session, ChatRequest request,
                                    Answer answer) {
  const bool with_logprobs = request.turn.logprobs >= 0;
  auto turn = co_await session.model->generate(std::move(request.turn));
  if (!turn) {
    co_await session.fail(turn.error());
    co_await say(exchange, to_api_error(turn.error()));
    co_return;
  }
  auto recorded = co_await session.complete(*turn);
  if (!recorded) {
    co_await say(exchange, to_api_error(recorded.error()));
    co_return;
  }
  co_await say(exchange, 200, to_json(answer, *turn, with_logprobs));
}

Task<void> OpenaiDoor::answer_stream(http::Exchange& exchange, Session& session,
                                     ChatRequest request, Answer answer) {
  const bool with_logprobs = request.turn.logprobs >= 0;
  const bool with_usage = request.stream_usage;
  Streamed streamed;
  request.turn.on_text = [&streamed](const std::string& piece) {
    streamed.text += piece;
    streamed.changed.wake_all();
  };
  Scope scope;
  scope.spawn([](agents::Model& model, agents::TurnRequest turn, Streamed& out) -> Task<void> {
    out.turn = co_await model.generate(std::move(turn));
    out.changed.wake_all();
  }(*session.model, std::move(request.turn), streamed));
  // A failure before the first word is an answer of its own.
  co_await streamed.news();
  if (streamed.turn && !*streamed.turn) {
    const Error failed = streamed.turn->error();
    co_await session.fail(failed);
    co_await say(exchange, to_api_error(failed));
    co_return;
  }
  http::EventStream events(exchange, heartbeat);
  auto sent = co_await events.open(http::Headers());
  if (sent && answer.is_chat) sent = co_await events.send(event_of(first_chunk(answer)));
  while (sent && (!streamed.turn || !streamed.text.empty())) {
    if (streamed.text.empty()) {
      co_await race(streamed.news(), delay_task(heartbeat));
      if (!streamed.has_news()) sent = co_await events.send(": \n\n");
      continue;
    }
    const std::string text = std::exchange(streamed.text, "");
    sent = co_await events.send(event_of(text_chunk(answer, text)));
  }
  if (!streamed.turn) {
    co_await session.end(agents::SessionEnd::failed, "the client went away");
    co_return;
  }
  std::string rest;
  if (*streamed.turn) {
    const agents::Turn& turn = **streamed.turn;
    auto recorded = co_await session.complete(turn);
    if (!recorded) co_return;
    for (const std::string& data : last_chunks(answer, turn, with_logprobs)) rest += event_of(data);
    if (with_usage) rest += event_of(usage_chunk(answer, turn.usage));
  } else {
    co_await session.fail(streamed.turn->error());
    rest = event_of(to_json(to_api_error(streamed.turn->error())));
  }
  co_await events.send(rest + event_of("[DONE]"));
  co_await events.end();
}

Task<void> OpenaiDoor::embeddings(http::Exchange& exchange, std::string caller) {
  auto body = co_await exchange.read_all();
  if (!body) co_return;
  auto request = parse_embeddings(*body);
  if (!request) {
    co_await say(exchange, std::move(request).error());
    co_return;
  }
  ApiError unknown;
  agents::Model* model = model_of(request->model, unknown);
  if (model == nullptr) {
    co_await say(exchange, std::move(unknown));
    co_return;
  }
  std::string texts;
  for (const std::string& text : request->inputs) texts += text + "\n";
  Session session(*this, "embd-" + io::uuid_v7(world_.clock, world_.entropy), std::move(caller));
  const auto bytes = static_cast<std::int64_t>(texts.size());
  auto begun = co_await session.begin(request->model, model->identity(), std::move(texts), bytes);
  if (!begun) {
    co_await say(exchange, to_api_error(begun.error()));
    co_return;
  }
  std::vector<agents::Embedding> made;
  agents::Turn turn;
  turn.message.role = agents::Role::assistant;
  for (std::string& text : request->inputs) {
    agents::EmbeddingRequest one;
    one.text = std::move(text);
    auto embedding = co_await model->embed(std::move(one));
    if (!embedding) {
      co_await session.end(agents::SessionEnd::failed, embedding.error().message);
      co_await say(exchange, to_api_error(embedding.error()));
      co_return;
    }
    turn.usage.input_tokens += embedding->tokens;
    made.push_back(std::move(*embedding));
  }
  auto recorded = co_await session.complete(std::move(turn));
  if (!recorded) {
    co_await say(exchange, to_api_error(recorded.error()));
    co_return;
  }
  co_await say(exchange, 200, to_json(request->model, made, request->base64));
}

}  // namespace ambit::app
