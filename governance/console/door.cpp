#include "console/door.h"

#include "console/files.h"
#include "console/json.h"
#include "http/event_stream.h"

#include <algorithm>
#include <array>

namespace ambit::console {
namespace {

using http::Headers;

constexpr std::string_view cookie_name = "ambit_console";
constexpr std::size_t body_bytes_max = 256 << 10;
constexpr int live_rounds_max = 7200;  // an hour; the page connects again
constexpr int live_heartbeat_rounds = 30;

// Nothing but the page's own files, no frame around it, no script that is not one of them.
constexpr const char* content_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'";

Headers headers_of(const char* type, const char* caching) {
  return Headers({{"Content-Type", type},
                  {"Cache-Control", caching},
                  {"Content-Security-Policy", content_policy},
                  {"Cross-Origin-Opener-Policy", "same-origin"},
                  {"Cross-Origin-Resource-Policy", "same-origin"},
                  {"Permissions-Policy", "camera=(), geolocation=(), microphone=()"},
                  {"Referrer-Policy", "no-referrer"},
                  {"X-Content-Type-Options", "nosniff"},
                  {"X-Frame-Options", "DENY"}});
}

const char* type_of(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  return "text/javascript; charset=utf-8";
}

int status_of(Code code) {
  switch (code) {
    case Code::invalid:
      return 400;
    case Code::not_found:
      return 404;
    case Code::denied:
      return 403;
    case Code::conflict:
      return 409;
    case Code::exhausted:
      return 429;
    case Code::unavailable:
    case Code::closed:
      return 503;
    default:
      return 500;
  }
}

std::string cookie_of(const http::RequestHead& head) {
  std::string_view rest = head.headers.find("Cookie").value_or("");
  while (!rest.empty()) {
    std::string_view one = rest.substr(0, std::min(rest.find(';'), rest.size()));
    rest.remove_prefix(std::min(one.size() + 1, rest.size()));
    while (one.starts_with(' ')) one.remove_prefix(1);
    if (one.starts_with(cookie_name) && one.substr(cookie_name.size()).starts_with('=')) {
      return std::string(one.substr(cookie_name.size() + 1));
    }
  }
  return {};
}

std::string cookie_text(const std::string& base, const std::string& value, bool ends) {
  return std::string(cookie_name) + "=" + value + "; Path=" + base + "; HttpOnly; SameSite=Strict" +
         (ends ? "; Max-Age=0" : "");
}

}  // namespace

struct Door::Job {
  Question question;
  std::shared_ptr<Desk> desk;
  Result<std::string> answer = Err(Code::internal, "it was not answered");
};

Door::Door(io::World& world, std::unique_ptr<Desk> desk, Access access, agents::Journal* journal,
           DoorOptions options)
    : world_(world),
      desk_(std::move(desk)),
      access_(std::move(access)),
      journal_(journal),
      options_(std::move(options)) {}

Door::~Door() = default;

std::int64_t Door::now_ms() const {
  return world_.clock.unix_ns() / ms_ns;
}

std::string Door::secret() {
  std::array<std::uint8_t, 32> bytes{};
  world_.entropy.fill(bytes);
  return log::to_hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::string Door::make_link(const Person& person) {
  const std::string code = secret();
  access_.add_code(code, person, now_ms());
  return options_.base + "/login?code=" + code;
}

Task<Result<std::string>> Door::ask(Question question) {
  if (waiting_ >= options_.waiting_max) {
    co_return Err(Code::unavailable, "too many questions wait for an answer; try again");
  }
  auto job = std::make_shared<Job>();
  job->question = std::move(question);
  job->desk = desk_;
  auto both = make_pending<Result<std::string>>();
  // A task of its own: the question is answered to its end even if the asker goes away, and the
  // next one waits for that.
  scope_.spawn(work(std::move(job), std::move(both.second)));
  auto answer = co_await std::move(both.first);
  co_return answer;
}

Task<void> Door::work(std::shared_ptr<Job> job, Resolver<Result<std::string>> done) {
  ++waiting_;
  const auto permit = co_await place_.acquire();
  --waiting_;
  if (!done.wanted()) co_return;
  std::function<void()> run = [job] { job->answer = job->question(*job->desk); };
  co_await world_.workers.run(std::move(run));
  done.resolve(std::move(job->answer));
}

Task<Result<std::uint64_t>> Door::record(agents::Event event) {
  if (journal_ != nullptr) {
    auto index = co_await journal_->append(std::move(event));
    co_return index;
  }
  auto kept = std::make_shared<agents::Event>(std::move(event));
  Question question = [kept](Desk& desk) -> Result<std::string> {
    const std::uint64_t index = TRY(desk.append(*kept));
    return std::to_string(index);
  };
  auto said = co_await ask(std::move(question));
  if (!said) co_return Err(std::move(said).error());
  co_return static_cast<std::uint64_t>(std::stoull(*said));
}

Task<Result<void>> Door::close() {
  if (journal_ != nullptr) co_return Result<void>();
  Question question = [](Desk& desk) -> Result<std::string> {
    TRY(desk.close());
    return std::string();
  };
  auto closed = co_await ask(std::move(question));
  if (!closed) co_return Err(std::move(closed).error());
  co_return Result<void>();
}

std::optional<Person> Door::person_of(const http::RequestHead& head) {
  const std::string_view given = head.headers.find("Authorization").value_or("");
  constexpr std::string_view scheme = "Bearer ";
  if (given.starts_with(scheme)) return access_.by_token(given.substr(scheme.size()));
  const std::string cookie = cookie_of(head);
  return cookie.empty() ? std::nullopt : access_.by_cookie(cookie, now_ms());
}

Task<void> Door::handle(http::Exchange& exchange) {
  const http::RequestHead& head = exchange.request();
  std::string path = head.path.substr(std::min(options_.base.size(), head.path.size()));
  const bool is_read = head.method == "GET" || head.method == "HEAD";
  if (path.empty()) {
    const Headers headers({{"Location", options_.base + "/"}});
    co_await exchange.respond(308, headers, "");
  } else if (path == "/login") {
    co_await log_in(exchange);
  } else if (path == "/logout") {
    co_await log_out(exchange);
  } else if (!path.starts_with("/api/")) {
    std::string name = path == "/" ? "index.html" : path.substr(1);
    co_await give_file(exchange, std::move(name));
  } else if (const std::optional<Person> person = person_of(head); !person) {
    Headers headers = headers_of("application/json", "no-store");
    headers.set("WWW-Authenticate", "Bearer");
    co_await exchange.respond(401, headers, "{\"error\":\"log in first\"}");
  } else if (path == "/api/live" && is_read) {
    co_await live(exchange, *person);
  } else if (is_read) {
    co_await api(exchange, path.substr(5), *person);
  } else if (head.method == "POST") {
    co_await write(exchange, path.substr(5), *person);
  } else {
    co_await exchange.respond(405, headers_of("application/json", "no-store"), "");
  }
}

Task<void> Door::give_file(http::Exchange& exchange, std::string name) {
  const auto files = page_files();
  const auto at = std::find_if(files.begin(), files.end(),
                               [&name](const PageFile& file) { return file.name == name; });
  const std::string& method = exchange.request().method;
  if (at == files.end() || (method != "GET" && method != "HEAD")) {
    const int status = at == files.end() ? 404 : 405;
    co_await exchange.respond(status, headers_of("text/plain; charset=utf-8", "no-store"), "");
    co_return;
  }
  Headers headers = headers_of(type_of(name), "no-cache");
  headers.set("ETag", std::string(at->tag));
  if (exchange.request().headers.find("If-None-Match") == at->tag) {
    co_await exchange.respond(304, headers, "");
    co_return;
  }
  co_await exchange.respond(200, headers, std::string(at->bytes));
}

// GET with ?code= from a link, POST {"token"} from the page.
Task<void> Door::log_in(http::Exchange& exchange) {
  const http::RequestHead& head = exchange.request();
  std::string given;
  const bool is_link = head.method == "GET";
  if (is_link) {
    const auto query = http::split_query(head.query);
    if (query) given = parameter(*query, "code");
  } else {
    auto body = co_await exchange.read_all();
    if (!body) co_return;
    const auto said = nlohmann::json::parse(*body, nullptr, false);
    if (said.is_object()) given = member(said, "token");
  }
  const std::string cookie = secret();
  const auto person = access_.log_in(given, cookie, now_ms());
  if (person) {
    // Who looked is part of the record; if that cannot be, nobody looks.
    agents::Event event;
    event.type = "review.opened";
    event.run = "review";
    event.session = person->name;
    event.body = text_of(json{{"by", person->name}, {"role", to_string(person->role)}});
    const auto recorded = co_await record(std::move(event));
    // A record that a running fleet writes can be read all the same; the fleet's own console says
    // who looked.
    const bool is_read_only = !recorded && recorded.error().code == Code::conflict;
    if (!recorded && !is_read_only) {
      access_.log_out(cookie);
      co_await answer(exchange, Err(recorded.error()));
      co_return;
    }
  }
  if (is_link) {
    Headers headers = headers_of("text/plain; charset=utf-8", "no-store");
    headers.set("Location", options_.base + (person ? "/" : "/#/login"));
    if (person) headers.set("Set-Cookie", cookie_text(options_.base, cookie, false));
    co_await exchange.respond(303, headers, "");
    co_return;
  }
  if (!person) {
    co_await answer(exchange, Err(person.error()));
    co_return;
  }
  Headers headers = headers_of("application/json", "no-store");
  headers.set("Set-Cookie", cookie_text(options_.base, cookie, false));
  const std::string text =
      text_of(json{{"person", person->name}, {"role", to_string(person->role)}});
  co_await exchange.respond(200, headers, text);
}

Task<void> Door::log_out(http::Exchange& exchange) {
  access_.log_out(cookie_of(exchange.request()));
  Headers headers = headers_of("application/json", "no-store");
  headers.set("Set-Cookie", cookie_text(options_.base, "", true));
  co_await exchange.respond(200, headers, "{}");
}

Task<void> Door::answer(http::Exchange& exchange, Result<std::string> result) {
  const Headers headers = headers_of("application/json", "no-store");
  if (result) {
    co_await exchange.respond(200, headers, std::move(*result));
    co_return;
  }
  const std::string text = text_of(json{{"error", result.error().message}});
  co_await exchange.respond(status_of(result.error().code), headers, text);
}

Task<void> Door::api(http::Exchange& exchange, std::string what, Person person) {
  const auto query = http::split_query(exchange.request().query);
  if (!query) {
    co_await answer(exchange, Err(Code::invalid, "the query has a broken escape"));
    co_return;
  }
  Question question = [what = std::move(what), query = *query, person](Desk& desk) {
    return desk.get(what, query, person);
  };
  auto result = co_await ask(std::move(question));
  co_await answer(exchange, std::move(result));
}

Task<void> Door::write(http::Exchange& exchange, std::string what, Person person) {
  // Other sites can make a browser send a form, but not this header.
  if (!exchange.request().headers.has("X-Ambit-Console")) {
    co_await answer(exchange, Err(Code::denied, "the header X-Ambit-Console is missing"));
    co_return;
  }
  auto body = co_await exchange.read_all();
  if (!body) co_return;
  if (body->size() > body_bytes_max) {
    co_await answer(exchange, Err(Code::invalid, "the body is longer than 256 KiB"));
    co_return;
  }
  auto drafted = std::make_shared<agents::Event>();
  Question question = [what = std::move(what), body = std::move(*body), person,
                       drafted](Desk& desk) -> Result<std::string> {
    *drafted = TRY(desk.draft(what, body, person));
    return std::string();
  };
  const auto checked = co_await ask(std::move(question));
  if (!checked) {
    co_await answer(exchange, Err(checked.error()));
    co_return;
  }
  const auto index = co_await record(std::move(*drafted));
  if (!index) {
    co_await answer(exchange, Err(index.error()));
    co_return;
  }
  const std::string text = text_of(json{{"record", *index}});
  co_await answer(exchange, text);
}

namespace {

// Counts a stream for as long as its task lives.
class Counted {
 public:
  explicit Counted(std::size_t& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::size_t& count_;
};

}  // namespace

Task<void> Door::live(http::Exchange& exchange, Person person) {
  if (streams_ >= options_.streams_max) {
    co_await answer(exchange, Err(Code::unavailable, "too many live views are open"));
    co_return;
  }
  const Counted counted(streams_);
  const auto query = http::split_query(exchange.request().query).value_or(http::Query());
  std::string after = parameter(query, "after");
  http::EventStream stream(exchange, std::chrono::seconds(15));
  Headers headers = headers_of("text/event-stream", "no-store");
  const auto opened = co_await stream.open(std::move(headers));
  if (!opened) co_return;
  int quiet = 0;
  for (int round = 0; round < live_rounds_max; ++round) {
    http::Query wanted;
    wanted.emplace_back("after", after);
    Question question = [wanted = std::move(wanted), person](Desk& desk) {
      return desk.get("live", wanted, person);
    };
    const auto text = co_await ask(std::move(question));
    if (text) {
      const auto found = nlohmann::json::parse(*text, nullptr, false);
      const std::string size = std::to_string(found.value("records", std::uint64_t{0}));
      if (size != after || ++quiet >= live_heartbeat_rounds) {
        quiet = 0;
        after = size;
        std::string event = "data: " + *text + "\n\n";
        const auto sent = co_await stream.send(std::move(event));
        if (!sent) co_return;
      }
    }
    co_await delay(options_.live_interval);
  }
  co_await stream.end();
}

}  // namespace ambit::console
