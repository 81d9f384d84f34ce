#include "mcp/gateway_upstream.h"

#include "async/pending.h"
#include "async/race.h"
#include "mcp/questions.h"
#include "mcp/server_replies.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr std::size_t progress_waiting_max = 64;
constexpr std::size_t fault_bytes_max = 4000;
constexpr std::size_t fault_data_bytes_max = 64 << 10;

// What an upstream says went wrong, at a length that a client can bear.
rpc::Fault bounded(rpc::Fault fault) {
  if (fault.message.size() > fault_bytes_max) {
    fault.message = std::string(rpc::utf8_prefix(fault.message, fault_bytes_max)) + "...";
  }
  if (fault.data.present() && fault.data.text().size() > fault_data_bytes_max) fault.data = {};
  return fault;
}

}  // namespace

bool has_capability(const Client& client, const char* name) {
  const Json& all = client.server().capabilities.json();
  return all.is_object() && all.contains(name);
}

// One call at the upstream. A modern client that is asked something ends its request and comes back
// with the answers; meanwhile the call stays here, and the upstream waits.
class Gateway::Upstream::Conversation {
 public:
  Conversation(std::string name, std::string caller, std::string server,
               const GatewayOptions& options)
      : id(std::move(name)),
        principal(std::move(caller)),
        server_("MCP server \"" + std::move(server) + "\""),
        options_(options) {}
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;
  ~Conversation() { answer_all(Error{Code::closed, "the call has ended"}); }

  // The answer of whoever made the call, once there is one.
  static Task<Result<Value>> ask(std::weak_ptr<Conversation> weak, std::string method,
                                 Value params) {
    auto [pending, resolver] = make_pending<Result<Value>>();
    auto taken = take_question(weak, std::move(method), std::move(params), std::move(resolver));
    if (!taken) co_return Err(std::move(taken).error());
    auto answer = co_await std::move(pending);
    co_return std::move(answer);
  }
  void answer_all(const Error& error) {
    for (auto& [key, question] : std::exchange(asked_, {})) {
      question.resolver.resolve(Err(Error(error)));
    }
  }
  void answer(const Json& answers) {
    for (const auto& [key, answer] : answers.items()) {
      const auto at = asked_.find(key);
      if (at == asked_.end()) continue;
      at->second.resolver.resolve(Value(answer));
      asked_.erase(at);
    }
  }
  [[nodiscard]] bool has_questions() const { return !asked_.empty(); }
  [[nodiscard]] Json questions() const {
    Json all = Json::object();
    for (const auto& [key, question] : asked_) {
      all[key] = {{"method", question.method}};
      if (question.params.present()) all[key]["params"] = question.params.json();
    }
    return all;
  }
  void note_progress(const ProgressParams& progress) {
    // Progress that nobody takes in time is old by then.
    if (news.size() >= progress_waiting_max) news.pop_front();
    news.push_back(progress);
    changed.wake_all();
  }
  Task<void> ended() {
    while (!outcome) co_await changed.wait();
  }

  const std::string id;
  const std::string principal;
  std::deque<ProgressParams> news;
  std::optional<Result<rpc::Reply>> outcome;
  bool is_task = false;  // the upstream has made a task of it
  bool attached = true;  // a request of the client is here
  std::uint64_t stays = 0;
  Waiters changed;

 private:
  struct Question {
    std::string method;
    Value params;
    Resolver<Result<Value>> resolver;
  };
  static Result<void> take_question(const std::weak_ptr<Conversation>& weak, std::string method,
                                    Value params, Resolver<Result<Value>> resolver) {
    const auto talk = weak.lock();
    if (!talk) return Err(Code::closed, "the call has ended");
    if (const auto why = why_not_ask(method, params)) {
      return Err(Code::denied, talk->server_ + " may not ask this (" + method + "): " + *why);
    }
    if (++talk->asked_ever_ > talk->options_.questions_max) {
      return Err(Code::exhausted, talk->server_ + " asks more than " +
                                      std::to_string(talk->options_.questions_max) +
                                      " questions in one call");
    }
    const std::string key = method + "#" + std::to_string(talk->asked_ever_);
    talk->asked_.emplace(key, Question{std::move(method), std::move(params), std::move(resolver)});
    talk->changed.wake_all();
    return {};
  }

  const std::string server_;
  const GatewayOptions& options_;
  std::map<std::string, Question> asked_;  // by the key that the client hears
  std::size_t asked_ever_ = 0;

 public:
  Scope scope;  // of the upstream's call; last, so that it dies first
};

// A request of the client at its call; whoever leaves without parking it ends it.
struct Gateway::Upstream::Attached {
  Upstream& upstream;
  std::shared_ptr<Conversation> talk;
  bool parks = false;
  Attached(Upstream& owner, std::shared_ptr<Conversation> joined)
      : upstream(owner), talk(std::move(joined)) {
    talk->attached = true;
  }
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;
  ~Attached() {
    talk->attached = false;
    if (!parks) upstream.talks_.erase(talk->id);
  }
};

Gateway::Upstream::Upstream(std::string name, Connect connect, const GatewayOptions& options,
                            Heard heard)
    : name_(std::move(name)),
      connect_(std::move(connect)),
      options_(options),
      heard_(std::move(heard)) {}
Gateway::Upstream::~Upstream() = default;

bool Gateway::Upstream::owns(const std::string& uri) const {
  if (resources.contains(uri)) return true;
  return std::any_of(resources.begin(), resources.end(), [&](const std::string& pattern) {
    return pattern.find('{') != std::string::npos && fits_template(pattern, uri);
  });
}

// ---- the connection
// ---------------------------------------------------------------------------------

Task<Result<std::shared_ptr<Client>>> Gateway::Upstream::client() {
  auto permit = co_await connecting_.acquire();
  if (client_ && !client_->ended()) co_return client_;
  bool died = false;
  auto fresh = co_await connect(options_.client.era, died);
  // Older servers end at a message that they do not know: they are not asked then.
  if (!fresh && died && options_.client.era == EraChoice::automatic) {
    fresh = co_await connect(EraChoice::legacy, died);
  }
  if (!fresh) co_return Err(std::move(fresh).error());
  client_ = *fresh;
  hear(*client_);
  co_return client_;
}

Task<Result<std::shared_ptr<Client>>> Gateway::Upstream::connect(EraChoice era, bool& died) {
  auto connection = co_await ok(connect_());
  ClientOptions options = options_.client;
  options.era = era;
  options.capabilities = Json::parse(R"({"elicitation":{},"sampling":{},"roots":{}})");
  options.on_change = heard_;
  // What is asked within a call goes to that call; this is what nobody can tell whose it is.
  options.on_input = [](std::string /*method*/, Value /*params*/) -> Task<Result<Value>> {
    return []() -> Task<Result<Value>> {
      co_return Err(Code::unsupported,
                    "the question belongs to no one call; ask in a quiet moment");
    }();
  };
  auto fresh = std::make_shared<Client>(std::move(connection), std::move(options));
  auto connected = co_await fresh->connect();
  died = fresh->died_at_discovery();
  if (!connected) co_return Err(std::move(connected).error());
  co_return fresh;
}

void Gateway::Upstream::hear(Client& client) const {
  Interests wanted;
  wanted.tools = tells(client.server(), "tools", "listChanged");
  wanted.prompts = tells(client.server(), "prompts", "listChanged");
  wanted.resources = tells(client.server(), "resources", "listChanged");
  if (tells(client.server(), "resources", "subscribe")) wanted.uris = watched_;
  client.hear_of(std::move(wanted));
}

void Gateway::Upstream::watch(const std::set<std::string>& watched) {
  std::set<std::string> ours;
  for (const std::string& uri : watched) {
    if (owns(uri)) ours.insert(uri);
  }
  if (ours == watched_) return;
  watched_ = std::move(ours);
  if (client_ && !client_->ended()) hear(*client_);
}

// ---- calls
// ---------------------------------------------------------------------------------

Task<Result<Value>> Gateway::Upstream::pass(std::string method, Json params, Call& call) {
  std::shared_ptr<Conversation> joined;
  if (call.kept().empty()) {
    joined = begin(std::move(method), std::move(params), call);
  } else {
    joined = co_await ok(resume(call));
  }
  Attached at(*this, std::move(joined));
  auto attended = co_await attend(*at.talk, call);
  if (!attended) {
    call.keep(at.talk->id);
    at.parks = true;
    park(*at.talk);
    co_return Err(std::move(attended).error());
  }
  auto outcome = co_await outcome_of(*at.talk, call);
  co_return std::move(outcome);
}

std::shared_ptr<Gateway::Upstream::Conversation> Gateway::Upstream::begin(std::string method,
                                                                          Json params,
                                                                          const Call& call) {
  // Whoever comes back is known by the seal, so a number is enough of a name.
  auto talk =
      std::make_shared<Conversation>(std::to_string(++begun_), call.principal(), name_, options_);
  talks_.emplace(talk->id, talk);
  talk->scope.spawn(work(*talk, std::move(method), std::move(params)));
  return talk;
}

Result<std::shared_ptr<Gateway::Upstream::Conversation>> Gateway::Upstream::resume(
    const Call& call) const {
  const auto at = talks_.find(call.kept());
  if (at == talks_.end() || at->second->principal != call.principal()) {
    return Err(Code::closed, "the call that asked has ended meanwhile; call again from the start");
  }
  if (at->second->attached)
    return Err(Code::conflict, "the answers to this call have come already");
  return at->second;
}

// A call that met a server which had forgotten our session was never done: it is made once more, on
// a new one.
Task<void> Gateway::Upstream::work(Conversation& talk, std::string method, Json params) {
  bool lost = false;
  auto reply = co_await ask_once(talk, method, params, lost);
  if (lost) reply = co_await ask_once(talk, method, params, lost);
  talk.outcome = std::move(reply);
  talk.changed.wake_all();
}

Task<Result<rpc::Reply>> Gateway::Upstream::ask_once(Conversation& talk, std::string method,
                                                     Json params, bool& lost) {
  const std::shared_ptr<Client> to = co_await ok(client());
  CallOptions options = options_.call;
  options.on_progress = [&talk](const ProgressParams& progress) { talk.note_progress(progress); };
  options.on_task = [&talk]() {
    talk.is_task = true;
    talk.changed.wake_all();
  };
  options.on_input = [weak = std::weak_ptr(talks_.at(talk.id))](std::string asked, Value about) {
    return Conversation::ask(weak, std::move(asked), std::move(about));
  };
  auto reply =
      co_await to->request(std::move(method), Value(std::move(params)), std::move(options));
  lost = !reply && to->has_lost_session();
  co_return std::move(reply);
}

// Until the upstream has answered. An error: the client must bring answers first.
Task<Result<void>> Gateway::Upstream::attend(Conversation& talk, Call& call) {
  bool detached = false;
  while (true) {
    while (!talk.news.empty()) {
      const ProgressParams one = std::move(talk.news.front());
      talk.news.pop_front();
      co_await call.progress(one.progress, one.total, one.message);
    }
    if (talk.outcome) co_return Result<void>();
    if (talk.has_questions()) {
      co_await ok(put_questions(talk, call));
    } else if (talk.is_task && !detached) {
      detached = true;
      co_await call.detach();
    } else {
      co_await talk.changed.wait();
    }
  }
}

Task<Result<void>> Gateway::Upstream::put_questions(Conversation& talk, Call& call) {
  // Those that come together are asked together.
  co_await delay(Duration::zero());
  auto outcome = co_await race(call.ask_all(Value(talk.questions())), talk.ended());
  if (outcome.index() == 1) co_return Result<void>();
  auto answers = std::get<0>(std::move(outcome));
  if (answers) {
    talk.answer(answers->json());
    co_return Result<void>();
  }
  const bool waits = call.era() == Era::modern && answers.error().code == Code::unavailable;
  if (waits) co_return Err(std::move(answers).error());
  talk.answer_all(answers.error());
  co_return Result<void>();
}

Task<Result<Value>> Gateway::Upstream::outcome_of(Conversation& talk, Call& call) {
  Result<rpc::Reply> reply = std::move(*talk.outcome);
  if (!reply) co_return Err(std::move(reply).error().context("MCP server \"" + name_ + "\""));
  if (reply->fault) {
    call.refuse(bounded(std::move(*reply->fault)));
    co_return Err(Code::internal, "refused");
  }
  if (reply->result.text().size() > options_.result_bytes_max) {
    co_return Err(Code::exhausted, "MCP server \"" + name_ + "\" answers with more than " +
                                       std::to_string(options_.result_bytes_max) + " bytes");
  }
  // How the upstream's era marks its results is not the client's business.
  Json& result = reply->result.edit();
  for (const char* key : {"resultType", "ttlMs", "cacheScope"}) {
    if (result.is_object()) result.erase(key);
  }
  co_return std::move(reply->result);
}

void Gateway::Upstream::park(Conversation& talk) {
  ++talk.stays;
  std::size_t parked = 0;
  auto oldest = talks_.end();
  for (auto at = talks_.begin(); at != talks_.end(); ++at) {
    if (at->second->attached) continue;
    ++parked;
    const bool older =
        oldest == talks_.end() || std::stoull(at->first) < std::stoull(oldest->first);
    if (older) oldest = at;
  }
  if (parked >= options_.parked_max) talks_.erase(oldest);
  scope_.spawn(expire(talk.id, talk.stays));
}

Task<void> Gateway::Upstream::expire(std::string id, std::uint64_t stay) {
  co_await delay(options_.park_time);
  const auto at = talks_.find(id);
  if (at == talks_.end() || at->second->attached || at->second->stays != stay) co_return;
  talks_.erase(at);
}

}  // namespace ambit::mcp
