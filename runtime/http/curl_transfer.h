#pragma once

// The inside of CurlClient: Multi owns libcurl's multi handle and connects it to the loop
// (descriptors by FdWatcher, its one timer by async's); Transfer is one request in it, removed when
// its last owner goes. libcurl's callbacks only note what came and wake tasks, so no task ever runs
// inside libcurl.

#include "async/channel.h"
#include "async/waiters.h"
#include "http/curl_client.h"
#include "http/message.h"

#include <curl/curl.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

namespace ambit::http {

class Transfer;

// Where requests go to, for as long as some are about.
struct CurlHost {
  explicit CurlHost(std::size_t at_once_max) : places(at_once_max) {}
  Semaphore places;
  bool is_multiplexed = false;  // a connection takes more than one request at once
};

// A request's leave to begin; its members go in the other order.
struct CurlPlace {
  std::shared_ptr<CurlHost> host;  // null: the number of its connections is not bounded
  std::optional<Semaphore::Permit> at_host{};
  std::optional<Semaphore::Permit> of_all{};
};

class CurlMulti {
 public:
  CurlMulti(io::FdWatcher& watcher, CurlOptions options);
  ~CurlMulti();
  CurlMulti(const CurlMulti&) = delete;
  CurlMulti& operator=(const CurlMulti&) = delete;

  [[nodiscard]] const CurlOptions& options() const { return options_; }
  // Waits at the host first: who waits there keeps nobody else waiting.
  Task<CurlPlace> place_for(std::string url);
  void add(CURL* easy);
  void remove(CURL* easy);

 private:
  class Kick final : public Event {
   public:
    explicit Kick(CurlMulti& multi) : multi_(multi) {}

   private:
    void fire() override { multi_.act(CURL_SOCKET_TIMEOUT, 0); }
    CurlMulti& multi_;
  };

  static int on_socket(CURL* easy, curl_socket_t socket, int what, void* self, void* unused);
  static int on_timer(CURLM* multi, long timeout_ms, void* self);
  std::shared_ptr<CurlHost> host_of(const std::string& url);
  void watch(curl_socket_t socket, io::Readiness wanted);
  void act(curl_socket_t socket, int events);

  io::FdWatcher& watcher_;
  CurlOptions options_;
  Semaphore places_;
  std::map<std::string, std::weak_ptr<CurlHost>> hosts_;  // by origin
  CURLM* multi_;
  std::map<curl_socket_t, std::unique_ptr<io::FdWatch>> watches_;
  Kick kick_;
  std::optional<Timer> timer_;
};

class Transfer {
 public:
  enum class Mode { whole, streamed };

  // Checks the request and starts it.
  static Result<std::shared_ptr<Transfer>> start(std::shared_ptr<CurlMulti> multi, CurlPlace place,
                                                 Request request, Mode mode);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  Waiters& changed() { return changed_; }
  // All headers are there (and bad ones have been refused).
  [[nodiscard]] bool has_head() const { return head_done_; }
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] bool has_bytes() const { return !buffer_.empty(); }
  [[nodiscard]] int status() const { return status_; }
  Headers take_headers() { return std::move(headers_); }
  // What has come so far; lets a paused transfer go on.
  std::string take_bytes();
  // Why a transfer that is done has failed.
  [[nodiscard]] std::optional<Error> failure() const;

 private:
  friend class CurlMulti;
  Transfer(std::shared_ptr<CurlMulti> multi, CurlPlace place, Request request, Mode mode);
  Result<void> check() const;
  void set_up();
  void set_up_method();
  void set_up_headers();
  template <class T>
  void set(CURLoption option, T value);

  static curl_socket_t on_open_socket(void* self, curlsocktype purpose, curl_sockaddr* address);
  static std::size_t on_header(char* bytes, std::size_t size, std::size_t count, void* self);
  static std::size_t on_body(char* bytes, std::size_t size, std::size_t count, void* self);
  Result<void> header_line(std::string_view line);
  std::size_t body_bytes(std::string_view bytes);
  void ended(CURLcode code);

  std::shared_ptr<CurlMulti> multi_;
  CurlPlace place_;
  Request request_;
  Mode mode_;
  std::string label_;  // "GET https://host/path" for error messages
  CURL* easy_;
  curl_slist* header_list_ = nullptr;
  char reason_[CURL_ERROR_SIZE] = {};

  int status_ = 0;
  Headers headers_;
  std::size_t header_bytes_ = 0;
  std::string buffer_;
  bool head_done_ = false;
  bool paused_ = false;
  bool done_ = false;
  bool met_private_ = false;
  CURLcode code_ = CURLE_OK;
  std::optional<Error> refused_;  // why we ended it ourselves
  Waiters changed_;
};

}  // namespace ambit::http
