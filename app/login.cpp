#include "app/login.h"

#include "async/race.h"

#include <cstdio>
#include <utility>

namespace ambit::app {
namespace {

constexpr Duration login_time = std::chrono::minutes(5);
constexpr std::string_view callback_path = "/callback";

}  // namespace

Result<std::unique_ptr<Login>> Login::open(io::World& world) {
  std::unique_ptr<Login> login(new Login());
  login->server_ = TRY(http::Server::listen(
      world, {}, [&self = *login](http::Exchange& exchange) { return self.serve(exchange); }));
  return login;
}

std::string Login::redirect_uri() const {
  return "http://" + server_->address() + std::string(callback_path);
}

Task<void> Login::serve(http::Exchange& exchange) {
  const http::RequestHead& head = exchange.request();
  const bool ours = head.method == "GET" && head.path == callback_path && !head.query.empty();
  http::Headers headers({{"Content-Type", "text/plain; charset=utf-8"}});
  const std::string query = head.query;
  auto sent = co_await exchange.respond(
      ours ? 200 : 404, std::move(headers),
      ours ? "Done: go back to the terminal.\n" : "There is nothing here.\n");
  if (!ours || !sent) co_return;
  back_ = redirect_uri() + "?" + query;
  waiters_.wake_all();
}

Task<Result<std::string>> Login::came_back() {
  while (back_.empty()) co_await waiters_.wait();
  co_return std::exchange(back_, std::string());
}

Task<Result<std::string>> Login::browse(std::string url) {
  std::fprintf(stderr, "Open this page to log in:\n%s\n", url.c_str());
  auto back = co_await with_timeout(login_time, came_back());
  if (!back) co_return Err(std::move(back).error().context("login"));
  co_return std::move(back);
}

}  // namespace ambit::app
