#include "http/curl_transfer.h"

#include "http/public_address.h"
#include "http/url.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace ambit::http {
namespace {

Code code_of(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
      return Code::unavailable;
    case CURLE_OPERATION_TIMEDOUT:
      return Code::timeout;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
      return Code::denied;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
      return Code::closed;
    case CURLE_UNSUPPORTED_PROTOCOL:  // also "HTTP/0.9": the reply was no HTTP at all
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return Code::invalid;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FILESIZE_EXCEEDED:
      return Code::exhausted;
    default:
      return Code::unavailable;
  }
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

}  // namespace

// ---- Multi
// ----------------------------------------------------------------------------------------

CurlMulti::CurlMulti(io::FdWatcher& watcher, CurlOptions options)
    : watcher_(watcher),
      options_(std::move(options)),
      places_(options_.transfers_max),
      kick_(*this) {
  INVARIANT(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
  multi_ = curl_multi_init();
  INVARIANT(multi_ != nullptr);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS, long{options_.connections_per_host_max});
}

CurlMulti::~CurlMulti() {
  curl_multi_cleanup(multi_);
  curl_global_cleanup();
}

std::shared_ptr<CurlHost> CurlMulti::host_of(const std::string& url) {
  const auto parsed = parse_url(url);
  // What is no URL is refused when it begins.
  if (!parsed || options_.connections_per_host_max <= 0) return nullptr;
  const std::string name = origin(*parsed);
  auto known = hosts_[name].lock();
  if (known) return known;
  std::erase_if(hosts_, [](const auto& one) { return one.second.expired(); });
  auto made =
      std::make_shared<CurlHost>(static_cast<std::size_t>(options_.connections_per_host_max));
  hosts_[name] = made;
  return made;
}

Task<CurlPlace> CurlMulti::place_for(std::string url) {
  CurlPlace place;
  place.host = host_of(url);
  if (place.host != nullptr && !place.host->is_multiplexed) {
    place.at_host = co_await place.host->places.acquire();
  }
  place.of_all = co_await places_.acquire();
  co_return place;
}

void CurlMulti::add(CURL* easy) {
  INVARIANT(curl_multi_add_handle(multi_, easy) == CURLM_OK);
}

void CurlMulti::remove(CURL* easy) {
  INVARIANT(curl_multi_remove_handle(multi_, easy) == CURLM_OK);
}

int CurlMulti::on_socket(CURL* /*easy*/, curl_socket_t socket, int what, void* self,
                         void* /*unused*/) {
  auto& multi = *static_cast<CurlMulti*>(self);
  if (what == CURL_POLL_REMOVE) {
    multi.watches_.erase(socket);
  } else {
    multi.watch(socket, io::Readiness{(what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0});
  }
  return 0;
}

void CurlMulti::watch(curl_socket_t socket, io::Readiness wanted) {
  std::unique_ptr<io::FdWatch>& watch = watches_[socket];
  if (!watch) {
    auto made = watcher_.watch(socket, [this, socket](io::Readiness ready) {
      act(socket, (ready.readable ? CURL_CSELECT_IN : 0) | (ready.writable ? CURL_CSELECT_OUT : 0));
    });
    INVARIANT(made.has_value());  // libcurl has just made this socket
    watch = std::move(*made);
  }
  INVARIANT(watch->want(wanted).has_value());
}

int CurlMulti::on_timer(CURLM* /*multi*/, long timeout_ms, void* self) {
  auto& multi = *static_cast<CurlMulti*>(self);
  multi.timer_.reset();
  if (timeout_ms >= 0) multi.timer_.emplace(multi.kick_, std::chrono::milliseconds(timeout_ms));
  return 0;
}

void CurlMulti::act(curl_socket_t socket, int events) {
  int running = 0;
  curl_multi_socket_action(multi_, socket, events, &running);
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    Transfer* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    transfer->ended(message->data.result);
  }
}

// ---- Transfer
// -------------------------------------------------------------------------------------

Result<std::shared_ptr<Transfer>> Transfer::start(std::shared_ptr<CurlMulti> multi, CurlPlace place,
                                                  Request request, Mode mode) {
  std::shared_ptr<Transfer> transfer(
      new Transfer(std::move(multi), std::move(place), std::move(request), mode));
  TRY(transfer->check());
  transfer->set_up();
  transfer->multi_->add(transfer->easy_);
  return transfer;
}

Transfer::Transfer(std::shared_ptr<CurlMulti> multi, CurlPlace place, Request request, Mode mode)
    : multi_(std::move(multi)),
      place_(std::move(place)),
      request_(std::move(request)),
      mode_(mode),
      easy_(curl_easy_init()) {
  INVARIANT(easy_ != nullptr);
}

Transfer::~Transfer() {
  // Removing a handle that was never added does nothing.
  multi_->remove(easy_);
  curl_easy_cleanup(easy_);
  curl_slist_free_all(header_list_);
}

Result<void> Transfer::check() const {
  const Url url = TRY(parse_url(request_.url));
  if (!is_token(request_.method) || request_.method == "CONNECT") {
    return Err(Code::invalid, "HTTP request to " + origin(url) + ": the method is malformed");
  }
  for (const Header& header : request_.headers) {
    if (!is_token(header.name) || !is_header_value(header.value)) {
      return Err(Code::invalid, "HTTP request to " + origin(url) + ": header \"" +
                                    (is_token(header.name) ? header.name : "?") +
                                    "\" is malformed");
    }
    for (const char* ours : {"Host", "Content-Length", "Transfer-Encoding", "Connection"}) {
      if (same_name(header.name, ours)) {
        return Err(Code::invalid, "HTTP request to " + origin(url) + ": the header " + header.name +
                                      " is made by the client; leave it out");
      }
    }
  }
  return {};
}

template <class T>
void Transfer::set(CURLoption option, T value) {
  INVARIANT(curl_easy_setopt(easy_, option, value) == CURLE_OK);
}

void Transfer::set_up() {
  const CurlOptions& options = multi_->options();
  const Url url = *parse_url(request_.url);
  label_ = request_.method + " " + origin(url) + url.path;
  const auto ms = [](Duration d) {
    return static_cast<long>(std::chrono::ceil<std::chrono::milliseconds>(d).count());
  };
  set(CURLOPT_URL, request_.url.c_str());
  set(CURLOPT_PRIVATE, static_cast<void*>(this));
  set(CURLOPT_ERRORBUFFER, reason_);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_PATH_AS_IS, 1L);  // what a policy has seen is what is sent
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  if (!options.ca_file.empty()) set(CURLOPT_CAINFO, options.ca_file.c_str());
  set(CURLOPT_PROXY, options.proxy.c_str());  // an empty one also shuts the environment's out
  set(CURLOPT_NOPROXY, "");
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(CURLOPT_CONNECTTIMEOUT_MS, ms(options.connect_timeout));
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME,
      static_cast<long>(std::chrono::ceil<std::chrono::seconds>(options.silence_timeout).count()));
  set(CURLOPT_USERAGENT, options.user_agent.c_str());
  if (options.connects_to_public_alone) {
    set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_open_socket);
    set(CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
  }
  set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  set_up_method();
  set_up_headers();
}

void Transfer::set_up_method() {
  if (request_.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
    return;
  }
  if (!request_.body.empty() || request_.method == "POST") {
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    set(CURLOPT_POSTFIELDS, request_.body.c_str());  // ours until the transfer ends
  }
  set(CURLOPT_CUSTOMREQUEST, request_.method.c_str());
}

void Transfer::set_up_headers() {
  std::vector<std::string> lines;
  for (const Header& header : request_.headers) {
    lines.push_back(header.value.empty() ? header.name + ";" : header.name + ": " + header.value);
  }
  // What libcurl would add by itself.
  if (!request_.headers.has("Expect")) lines.emplace_back("Expect:");
  if (!request_.headers.has("Content-Type")) lines.emplace_back("Content-Type:");
  for (const std::string& line : lines) {
    curl_slist* longer = curl_slist_append(header_list_, line.c_str());
    INVARIANT(longer != nullptr);
    header_list_ = longer;
  }
  set(CURLOPT_HTTPHEADER, header_list_);
}

// Here the address is the one that is connected to: no name can change its meaning any more.
curl_socket_t Transfer::on_open_socket(void* self, curlsocktype /*purpose*/,
                                       curl_sockaddr* address) {
  if (!is_public(address->addr)) {
    static_cast<Transfer*>(self)->met_private_ = true;
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

std::size_t Transfer::on_header(char* bytes, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  auto taken = transfer.header_line(std::string_view(bytes, size * count));
  if (taken) return size * count;
  transfer.refused_ = std::move(taken).error().context(transfer.label_);
  return 0;  // ends the transfer
}

Result<void> Transfer::header_line(std::string_view line) {
  if (head_done_) return {};  // trailers
  header_bytes_ += line.size();
  if (header_bytes_ > multi_->options().header_bytes_max) {
    return Err(Code::exhausted, "the reply's headers are longer than " +
                                    std::to_string(multi_->options().header_bytes_max) + " bytes");
  }
  if (line.starts_with("HTTP/")) {  // a new head: the one before was 1xx
    const bool is_multiplexed = line.starts_with("HTTP/2") || line.starts_with("HTTP/3");
    if (place_.host != nullptr) place_.host->is_multiplexed = is_multiplexed;
    const std::string_view code = trim(line.substr(std::min(line.find(' '), line.size())));
    status_ = 0;
    for (const char c : code.substr(0, 3))
      status_ = c >= '0' && c <= '9' ? status_ * 10 + (c - '0') : 0;
    if (status_ < 100) return Err(Code::invalid, "the reply's status line is malformed");
    headers_ = {};
    return {};
  }
  if (trim(line).empty()) {
    head_done_ = status_ >= 200;
    if (head_done_) changed_.wake_all();
    return {};
  }
  const std::size_t colon = line.find(':');
  const std::string_view name = line.substr(0, std::min(colon, line.size()));
  const std::string_view value = trim(line.substr(std::min(colon + 1, line.size())));
  if (colon == std::string_view::npos || !is_token(name) || !is_header_value(value)) {
    return Err(Code::invalid, "a header of the reply is malformed");
  }
  headers_.add(std::string(name), std::string(value));
  return {};
}

std::size_t Transfer::on_body(char* bytes, std::size_t size, std::size_t count, void* self) {
  return static_cast<Transfer*>(self)->body_bytes(std::string_view(bytes, size * count));
}

std::size_t Transfer::body_bytes(std::string_view bytes) {
  const CurlOptions& options = multi_->options();
  if (mode_ == Mode::streamed) {
    // One piece may overshoot: libcurl wants all or nothing of it taken.
    if (buffer_.size() >= options.buffer_bytes_max) {
      paused_ = true;
      return CURL_WRITEFUNC_PAUSE;
    }
    changed_.wake_all();
  } else if (bytes.size() > options.body_bytes_max - buffer_.size()) {
    refused_ = Error{Code::exhausted, label_ + ": the reply's body is longer than " +
                                          std::to_string(options.body_bytes_max) + " bytes"};
    return 0;
  }
  buffer_ += bytes;
  return bytes.size();
}

std::string Transfer::take_bytes() {
  std::string bytes = std::exchange(buffer_, std::string());
  // libcurl calls on_body at once with what it held back.
  if (std::exchange(paused_, false) && !done_) curl_easy_pause(easy_, CURLPAUSE_CONT);
  return bytes;
}

void Transfer::ended(CURLcode code) {
  done_ = true;
  code_ = code;
  changed_.wake_all();
}

std::optional<Error> Transfer::failure() const {
  if (refused_) return refused_;
  if (!done_ || code_ == CURLE_OK) return std::nullopt;
  if (met_private_ && code_ == CURLE_COULDNT_CONNECT) {
    return Error{Code::denied, label_ + ": that is no address of the public internet"};
  }
  const std::string why = reason_[0] != '\0' ? reason_ : curl_easy_strerror(code_);
  return Error{code_of(code_), label_ + ": " + why};
}

}  // namespace ambit::http
