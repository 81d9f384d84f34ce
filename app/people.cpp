#include "app/people.h"

#include "async/race.h"
#include "governance/obligations.h"

#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include <algorithm>
#include <array>

namespace ambit::app {
namespace {

using agents::ApprovalAnswer;
using agents::ApprovalEnd;
using governance::ApprovalLevel;
using governance::ApprovalState;

// How soon an answer is heard.
constexpr Duration poll_every = std::chrono::milliseconds(200);
constexpr Duration post_patience = std::chrono::seconds(10);
constexpr int post_tries = 4;
constexpr std::size_t posts_max = 256;

std::int64_t changed_ns(const std::string& path) {
  struct stat found{};
  if (::stat(path.c_str(), &found) != 0) return -1;
  return std::int64_t{found.st_mtim.tv_sec} * 1'000'000'000 + found.st_mtim.tv_nsec;
}

std::string random_id(io::Entropy& entropy) {
  std::array<std::uint8_t, 16> bytes{};
  entropy.fill(bytes);
  std::string id;
  for (const std::uint8_t byte : bytes) {
    id += "0123456789abcdef"[byte >> 4];
    id += "0123456789abcdef"[byte & 15];
  }
  return id;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// Nullopt: it waits.
std::optional<Result<ApprovalAnswer>> answer_of(const governance::ApprovalDesk& desk,
                                                const std::string& id, std::int64_t now_ms) {
  const auto state = desk.state(id, now_ms);
  if (!state) {
    return Result<ApprovalAnswer>(Err(Code::not_found, "there is no approval " + id + " any more"));
  }
  ApprovalAnswer answer;
  answer.by = joined(desk.answered(id));
  switch (*state) {
    case ApprovalState::pending:
      return std::nullopt;
    case ApprovalState::approved:
    case ApprovalState::used:
      answer.end = ApprovalEnd::approved;
      break;
    case ApprovalState::denied:
      answer.end = ApprovalEnd::denied;
      break;
    case ApprovalState::done:
      answer.end = ApprovalEnd::done;
      break;
    case ApprovalState::expired:
      answer.end = ApprovalEnd::expired;
      break;
    case ApprovalState::superseded: {
      const auto next = desk.successor(id);
      const auto* request = next ? desk.request(*next) : nullptr;
      if (request == nullptr) {
        return Result<ApprovalAnswer>(Err(Code::not_found, "the modified action is not there"));
      }
      answer.end = ApprovalEnd::modified;
      answer.successor = *next;
      answer.arguments = request->action.arguments;
      break;
    }
  }
  return Result<ApprovalAnswer>(std::move(answer));
}

}  // namespace

std::vector<ApprovalLevel> levels_for(const agents::Action& action,
                                      const std::vector<std::string>& named,
                                      const std::vector<agents::ApprovalLevelSpec>& levels,
                                      const std::vector<log::VerifierKey>& approvers) {
  if (!named.empty()) return {{named, 0}};
  if (levels.empty()) return {};
  const auto has_key = [&](const std::string& name) {
    return std::any_of(approvers.begin(), approvers.end(),
                       [&](const auto& key) { return key.name == name; });
  };
  std::vector<ApprovalLevel> made;
  const std::string& owner = action.on_behalf_of;
  if (has_key(owner) && owner != governance::requester_of(action)) made.push_back({{owner}, 0});
  for (const agents::ApprovalLevelSpec& level : levels) {
    std::vector<std::string> people;
    for (const std::string& who : level.people) {
      if (who != "*") people.push_back(who);
      for (std::size_t i = 0; who == "*" && i < approvers.size(); ++i) {
        people.push_back(approvers[i].name);
      }
    }
    // Without an owner who could answer, the first level is asked at once.
    made.push_back({std::move(people), made.empty() ? 0 : level.after_ms});
  }
  return made;
}

// Each notice with the run and session of its action.
void FolderApprovals::Shared::take_notices() {
  for (agents::Notice& notice : folder.take_notices()) {
    agents::Event event{std::move(notice.type), "", "", "", std::move(notice.body), {}};
    const nlohmann::json body = nlohmann::json::parse(event.body, nullptr, false);
    const auto* request =
        body.is_object() ? folder.desk().request(body.value("approval", "")) : nullptr;
    if (request != nullptr) {
      event.run = request->action.run;
      event.session = request->action.session;
      event.agent = request->action.agent;
    }
    events.push_back(std::move(event));
  }
}

// One for each request that has come to another state or level since the last one.
void FolderApprovals::Shared::make_messages(const std::string& secret, std::int64_t now_ms) {
  if (secret.empty()) return;
  for (const auto& open : folder.desk().pending(now_ms)) told.try_emplace(open.id);
  for (auto at = told.begin(); at != told.end();) {
    auto message = governance::webhook_of(folder.desk(), at->first, secret, now_ms);
    const auto state = folder.desk().state(at->first, now_ms);
    if (message) {
      std::string name;
      for (const auto& [key, value] : message->headers) {
        if (key == "webhook-id") name = value;
      }
      if (name != at->second) messages.push_back(std::move(*message));
      at->second = std::move(name);
    }
    const bool ended =
        !state || (*state != ApprovalState::pending && *state != ApprovalState::approved);
    at = ended ? told.erase(at) : std::next(at);
  }
}

Result<std::unique_ptr<FolderApprovals>> FolderApprovals::open(io::World& world,
                                                               PeopleOptions options) {
  governance::ApprovalDesk::Options desk;
  desk.lifetime_ms = options.lifetime_ms;
  auto opened = TRY(governance::ApprovalFolder::open(options.folder, options.approvers,
                                                     world.clock.unix_ns() / 1'000'000, desk));
  // What was told before this process began is told.
  (void)opened.take_notices();
  auto shared = std::make_shared<Shared>(options.folder, std::move(opened));
  return std::unique_ptr<FolderApprovals>(
      new FolderApprovals(world, std::move(options), std::move(shared)));
}

// What has happened, to the record and to the webhook.
Task<Result<void>> FolderApprovals::tell() {
  std::vector<agents::Event> events = std::exchange(shared_->events, {});
  for (governance::WebhookMessage& message : std::exchange(shared_->messages, {})) {
    if (options_.client != nullptr && posting_.size() < posts_max) {
      posting_.spawn(post(std::move(message)));
    }
  }
  for (agents::Event& event : events) {
    if (options_.journal == nullptr) break;
    co_await ok(options_.journal->append(std::move(event)));
  }
  co_return Result<void>();
}

// Tried again a few times, with the same id. Nothing waits for it: it only tells.
Task<void> FolderApprovals::post(governance::WebhookMessage message) {
  for (int tried = 0; tried < post_tries; ++tried) {
    http::Request request;
    request.method = "POST";
    request.url = options_.webhook;
    for (const auto& [name, value] : message.headers) request.headers.set(name, value);
    request.body = message.body;
    auto sent = co_await with_timeout(post_patience, options_.client->send(std::move(request)));
    if (sent && sent->is_success()) co_return;
    co_await delay(std::chrono::seconds(1LL << tried));
  }
}

Task<Result<agents::ApprovalTicket>> FolderApprovals::ask(agents::Action action,
                                                          agents::Decision decision) {
  const auto turn = co_await turn_.acquire();
  auto asked = std::make_shared<Result<governance::ApprovalRequest>>(
      Err(Code::internal, "the question was not asked"));
  const std::string id = random_id(world_.entropy);
  const std::int64_t now = now_ms();
  const governance::ApprovalTerms terms = governance::approval_terms(decision.obligations);
  auto levels = levels_for(action, terms.people, options_.levels, shared_->folder.approvers());
  std::function<void()> work = [shared = shared_, asked, action = std::move(action), id, now, terms,
                                levels = std::move(levels), secret = options_.secret,
                                reason = decision.reason] {
    // From before a crash: the question stands already.
    for (const auto& open : shared->folder.desk().pending(now)) {
      if (open.action.id == action.id && open.action.arguments == action.arguments) {
        *asked = open;
        return;
      }
    }
    // A level that would begin after the deadline is asked for nothing.
    std::vector<ApprovalLevel> in_time;
    for (const ApprovalLevel& level : levels) {
      if (terms.deadline_ms == 0 || level.after_ms < terms.deadline_ms) in_time.push_back(level);
    }
    *asked = shared->folder.ask(action, reason, terms.needed, id, now, std::move(in_time),
                                terms.deadline_ms);
    shared->take_notices();
    shared->make_messages(secret, now);
  };
  co_await world_.workers.run(std::move(work));
  co_await ok(tell());
  if (!*asked) co_return Err(std::move(*asked).error());
  co_return agents::ApprovalTicket{(*asked)->id, (*asked)->expires_ms};
}

// Takes in what other processes have written; looks at the folder's time first.
Task<Result<void>> FolderApprovals::refresh() {
  const auto turn = co_await turn_.acquire();
  auto done = std::make_shared<Result<void>>();
  const std::int64_t now = now_ms();
  std::function<void()> work = [shared = shared_, done, now, secret = options_.secret] {
    shared->make_messages(secret, now);
    const std::int64_t changed = changed_ns(shared->path);
    if (changed == shared->changed_ns) return;
    *done = shared->folder.refresh(now);
    shared->take_notices();
    shared->make_messages(secret, now);
    // A change within the clock's grain would be missed if the folder's time were believed at once.
    constexpr std::int64_t grain_ns = 50'000'000;
    const bool settled = changed + grain_ns < now * 1'000'000;
    shared->changed_ns = *done && settled ? changed : -1;
  };
  co_await world_.workers.run(std::move(work));
  // Whoever waits for the answer records it too; if that fails, nothing is done.
  (void)co_await tell();
  co_return std::move(*done);
}

Task<void> FolderApprovals::watch() {
  while (waiting_ > 0) {
    co_await refresh();
    changed_.wake_all();
    co_await delay(poll_every);
  }
}

Task<Result<ApprovalAnswer>> FolderApprovals::answered(std::string id) {
  struct Waiting {
    explicit Waiting(std::size_t& of) : count(of) { ++count; }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    ~Waiting() { --count; }
    std::size_t& count;
  };
  const Waiting waiting(waiting_);
  if (watching_.size() == 0) watching_.spawn(watch());
  while (true) {
    co_await changed_.wait();
    const auto turn = co_await turn_.acquire();
    auto answer = answer_of(shared_->folder.desk(), id, now_ms());
    if (answer) co_return std::move(*answer);
  }
}

Task<Result<bool>> FolderApprovals::use(std::string id, agents::Action action,
                                        agents::Decision decision) {
  const auto turn = co_await turn_.acquire();
  const std::int64_t needed = governance::approval_terms(decision.obligations).needed;
  auto used = std::make_shared<Result<bool>>(Err(Code::internal, "the approval was not taken"));
  const std::int64_t now = now_ms();
  std::function<void()> work = [shared = shared_, used, id, action = std::move(action), now, needed,
                                secret = options_.secret] {
    const auto fresh = shared->folder.refresh(now);
    if (!fresh) {
      *used = Err(Error(fresh.error()));
      return;
    }
    if (shared->folder.desk().state(id, now) == ApprovalState::used) {
      *used = false;
      return;
    }
    const auto taken = shared->folder.use(id, action, now, needed);
    shared->take_notices();
    shared->make_messages(secret, now);
    if (taken) {
      *used = true;
    } else {
      *used = Err(Error(taken.error()));
    }
  };
  co_await world_.workers.run(std::move(work));
  co_await ok(tell());
  co_return std::move(*used);
}

}  // namespace ambit::app
