#include "remote/chat_model.h"

#include "async/race.h"
#include "remote/chat_wire.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace ambit::remote {
namespace {

std::int64_t us_between(Instant from, Instant to) {
  return std::chrono::duration_cast<std::chrono::microseconds>(to - from).count();
}

// Whole seconds; the other form, a date, depends on two clocks that agree.
std::optional<Duration> retry_after(const http::Headers& headers) {
  const auto text = headers.find("Retry-After");
  if (!text) return std::nullopt;
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), seconds);
  if (error != std::errc() || end != text->data() + text->size() || seconds < 0) {
    return std::nullopt;
  }
  return std::chrono::seconds(std::min<std::int64_t>(seconds, 86'400));
}

void add(agents::Usage& sum, const agents::Usage& more) {
  sum.input_tokens += more.input_tokens;
  sum.cached_tokens += more.cached_tokens;
  sum.output_tokens += more.output_tokens;
}

bool is_passing(int status) {
  return status == 408 || status == 409 || status == 425 || status == 429 || status >= 500;
}

}  // namespace

struct ChatModel::Attempt {
  Result<agents::Turn> turn;
  bool again = false;  // a retry is reasonable
  std::optional<Duration> wait{};
  bool is_limited = false;  // it says that it is asked too much: by all of us
  agents::Usage paid{};     // for an answer that is of no use
};

std::string ChatModel::identity() const {
  return options_.name + "@" + options_.base_url + " " + options_.model;
}

Task<Result<void>> ChatModel::wait_until_open() {
  // Somebody may push the hour back while we wait for it.
  while (Loop::current().now() < endpoint_.open_again) {
    const Duration left = endpoint_.open_again - Loop::current().now();
    if (left > options_.backoff_max) {
      const auto seconds = std::chrono::ceil<std::chrono::seconds>(left).count();
      co_return Err(Code::unavailable, "the endpoint has asked to be left alone for another " +
                                           std::to_string(seconds) + " s");
    }
    co_await delay(left);
  }
  co_return Result<void>();
}

Task<Result<agents::Turn>> ChatModel::generate(agents::TurnRequest request) {
  const std::string body = co_await ok(to_request(options_.model, request));
  const Instant asked = Loop::current().now();
  Error last{Code::unavailable, "not asked"};
  agents::Usage paid;
  for (int i = 0; i < options_.attempts_max; ++i) {
    co_await ok(wait_until_open());
    const Instant sent = Loop::current().now();
    Attempt made = co_await attempt(body);
    if (made.turn) {
      agents::Usage& usage = made.turn->usage;
      add(usage, paid);
      usage.queue_us = us_between(asked, sent);
      usage.decode_us = us_between(sent, Loop::current().now());
      if (request.on_text && !made.turn->message.content.empty())
        request.on_text(made.turn->message.content);
      co_return std::move(made.turn);
    }
    last = made.turn.error();
    add(paid, made.paid);
    const bool may = paid == agents::Usage() || !request.may_retry || request.may_retry(paid);
    if (!made.again) co_return Err(std::move(last));
    if (!may) {
      co_return Err(Code::exhausted, last.message + "; no budget is left for another attempt");
    }
    const Duration pause = made.wait ? *made.wait : pause_before(i);
    if (made.wait || made.is_limited) {
      endpoint_.open_again = std::max(endpoint_.open_again, Loop::current().now() + pause);
    } else if (i + 1 < options_.attempts_max) {
      co_await delay(pause);
    }
    if (made.wait && *made.wait > options_.backoff_max) {
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*made.wait).count();
      last.message += "; it asks to come back in " + std::to_string(seconds) + " s";
      co_return Err(Code::unavailable, std::move(last.message));
    }
  }
  last.message += " (" + std::to_string(options_.attempts_max) + " attempts)";
  co_return Err(Code::unavailable, std::move(last.message));
}

Task<ChatModel::Attempt> ChatModel::attempt(const std::string& body) {
  http::Request request;
  request.method = "POST";
  request.url = options_.base_url + "/chat/completions";
  request.headers.set("Content-Type", "application/json");
  request.headers.set("Accept", "application/json");
  if (!options_.key.empty()) request.headers.set("Authorization", "Bearer " + options_.key);
  request.body = body;
  auto response = co_await with_timeout(options_.attempt_timeout, client_.send(std::move(request)));
  if (!response) {
    const Code code = response.error().code;
    const bool again = code == Code::unavailable || code == Code::closed || code == Code::timeout;
    co_return Attempt{Err(std::move(response).error()), again};
  }
  co_return judge(*response);
}

ChatModel::Attempt ChatModel::judge(const http::Response& response) {
  if (response.is_success()) {
    Attempt made{to_turn(response.body)};
    // A model that writes broken arguments may write good ones the next time.
    made.again = !made.turn && made.turn.error().code == Code::invalid;
    if (!made.turn) made.paid = usage_of(response.body);
    return made;
  }
  const std::string said = error_message(response.body);
  const std::string what = "the endpoint answered " + std::to_string(response.status) +
                           (said.empty() ? "" : ": " + said);
  if (is_passing(response.status)) {
    return {Err(Code::unavailable, what), true, retry_after(response.headers),
            response.status == 429};
  }
  Code code = Code::invalid;
  if (response.status == 401 || response.status == 403) code = Code::denied;
  if (response.status == 404) code = Code::not_found;
  if (is_context_overflow(response.body)) code = Code::exhausted;
  return {Err(code, what)};
}

Duration ChatModel::pause_before(int attempt) const {
  Duration pause = options_.backoff;
  for (int i = 0; i < attempt && pause < options_.backoff_max; ++i) pause *= 2;
  return std::min(pause, options_.backoff_max);
}

}  // namespace ambit::remote
