// The proxy's judgement, without a network: what it reads, whom it lets a jail talk to, where a
// secret goes, and which server a TLS hello names.

#include "sandbox/egress_request.h"

#include <catch2/catch.hpp>

#include <array>

namespace ambit::sandbox::egress {
namespace {

using agents::EgressRule;

std::string head_of(const std::string& line, const std::string& host) {
  return line + "\r\nHost: " + host + "\r\n\r\n";
}

int status_of(const Judged<Head>& head) {
  return head ? 200 : head.error().status;
}

std::vector<EgressRule> rules() {
  EgressRule api{"https://api.example.com", {"GET", "POST"}, {"KEY"}, false, false};
  EgressRule sub{"https://*.cdn.example.com", {}, {}, false, false};
  EgressRule tunnel{"https://git.example.com", {}, {}, true, false};
  EgressRule plain{"http://10.0.0.5:8080", {"*"}, {}, false, true};
  return {api, sub, tunnel, plain};
}

// The origin that is really called, or the status of the refusal.
std::string judged(const std::string& line, const std::string& host) {
  const auto head = read_head(head_of(line, host));
  if (!head) return std::to_string(head.error().status);
  const auto all = rules();
  const auto permit = find_rule(all, *head);
  return permit ? http::to_string(permit->url) : std::to_string(permit.error().status);
}

TEST_CASE("a request to the proxy is read strictly", "[sandbox]") {
  const auto head =
      read_head(head_of("GET http://Api.Example.com/a?b=c HTTP/1.1", "api.example.com"));
  REQUIRE(head);
  CHECK(head->method == "GET");
  CHECK(head->url.host == "api.example.com");
  CHECK(head->rewritten.starts_with("GET /a?b=c HTTP/1.1\r\n"));
  const auto tunnel =
      read_head(head_of("CONNECT git.example.com:443 HTTP/1.1", "git.example.com:443"));
  REQUIRE(tunnel);
  CHECK(tunnel->is_tunnel);
  CHECK(tunnel->url.port == 443);

  for (const char* line :
       {"GET /path HTTP/1.1", "GET ftp://api.example.com/ HTTP/1.1", "GET  http://a.b/ HTTP/1.1",
        "GET http://user@api.example.com/ HTTP/1.1", "GET http://user:pw@api.example.com/ HTTP/1.1",
        "GET http://api.example.com\\@evil.test/ HTTP/1.1", "GET http://0x7f000001/ HTTP/1.1",
        "GET http://127.1/ HTTP/1.1", "GET http://a b.test/ HTTP/1.1",
        "GE T http://a.test/ HTTP/1.1", "GET http://a.test/#x HTTP/1.1",
        "GET http://\xc3\xa4.test/ HTTP/1.1", "CONNECT api.example.com HTTP/1.1",
        "CONNECT http://api.example.com:443 HTTP/1.1", "CONNECT user@api.example.com:443 HTTP/1.1",
        "CONNECT api.example.com:443/ HTTP/1.1", "CONNECT api.example.com:0 HTTP/1.1",
        "CONNECT api.example.com:99999 HTTP/1.1", "GET"}) {
    INFO(line);
    CHECK(status_of(read_head(head_of(line, "api.example.com"))) >= 400);
  }
  CHECK(status_of(read_head(head_of("GET http://api.example.com/ HTTP/2.0", "api.example.com"))) ==
        505);
  CHECK(status_of(read_head(
            std::string("GET http://a.test\0.evil/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 51))) == 400);
  CHECK(status_of(read_head("GET http://a.test/ HTTP/1.1\nHost: a.test\n\n")) >= 400);
  CHECK(status_of(read_head(
            "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n")) == 400);
  CHECK(status_of(read_head("GET http://a.test/ HTTP/1.1\r\nHost : a.test\r\n\r\n")) == 400);
  CHECK(status_of(read_head("POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n")) == 400);
  CHECK(status_of(read_head(
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nContent-Length: 1\r\n\r\n")) ==
        400);
}

TEST_CASE("the Host header must name what the request names", "[sandbox]") {
  CHECK(judged("GET http://api.example.com/ HTTP/1.1", "evil.test") == "403");
  CHECK(judged("GET http://api.example.com/ HTTP/1.1", "api.example.com:81") == "403");
  CHECK(judged("GET http://api.example.com/ HTTP/1.1", "api.example.com:80") ==
        "https://api.example.com/");
  CHECK(judged("CONNECT git.example.com:443 HTTP/1.1", "evil.test:443") == "403");
}

TEST_CASE("only the origins of the profile are reached, by their methods", "[sandbox]") {
  CHECK(judged("GET http://api.example.com/x HTTP/1.1", "api.example.com") ==
        "https://api.example.com/x");
  CHECK(judged("GET https://api.example.com/x HTTP/1.1", "api.example.com") ==
        "https://api.example.com/x");
  CHECK(judged("POST http://api.example.com/ HTTP/1.1", "api.example.com") ==
        "https://api.example.com/");
  CHECK(judged("DELETE http://api.example.com/ HTTP/1.1", "api.example.com") == "403");
  CHECK(judged("GET http://API.EXAMPLE.COM/ HTTP/1.1", "api.example.com") ==
        "https://api.example.com/");
  CHECK(judged("GET http://api.example.com./ HTTP/1.1", "api.example.com.") !=
        "https://api.example.com/");
  CHECK(judged("GET http://api.example.com:8080/ HTTP/1.1", "api.example.com:8080") == "403");
  CHECK(judged("GET http://api.example.com.evil.test/ HTTP/1.1", "api.example.com.evil.test") ==
        "403");
  CHECK(judged("GET http://xapi.example.com/ HTTP/1.1", "xapi.example.com") == "403");
  CHECK(judged("GET http://127.0.0.1/ HTTP/1.1", "127.0.0.1") == "403");
  CHECK(judged("GET http://169.254.169.254/latest HTTP/1.1", "169.254.169.254") == "403");
  CHECK(judged("GET http://a.cdn.example.com/ HTTP/1.1", "a.cdn.example.com") ==
        "https://a.cdn.example.com/");
  CHECK(judged("GET http://cdn.example.com/ HTTP/1.1", "cdn.example.com") == "403");
  CHECK(judged("POST http://a.cdn.example.com/ HTTP/1.1", "a.cdn.example.com") == "403");
  CHECK(judged("PUT http://10.0.0.5:8080/ HTTP/1.1", "10.0.0.5:8080") == "http://10.0.0.5:8080/");
  CHECK(judged("PUT http://10.0.0.5/ HTTP/1.1", "10.0.0.5") == "403");
  CHECK(judged("GET https://10.0.0.5:8080/ HTTP/1.1", "10.0.0.5:8080") == "403");
}

TEST_CASE("a tunnel needs a rule of its own", "[sandbox]") {
  CHECK(judged("CONNECT git.example.com:443 HTTP/1.1", "git.example.com:443") ==
        "https://git.example.com");
  CHECK(judged("CONNECT git.example.com:22 HTTP/1.1", "git.example.com:22") == "403");
  CHECK(judged("CONNECT api.example.com:443 HTTP/1.1", "api.example.com:443") == "403");
  CHECK(judged("GET http://git.example.com/ HTTP/1.1", "git.example.com") == "403");
  CHECK(judged("CONNECT 10.0.0.5:8080 HTTP/1.1", "10.0.0.5:8080") == "403");
}

TEST_CASE("a rule's mistakes are told", "[sandbox]") {
  for (const EgressRule& rule : rules()) CHECK(check_rule(rule));
  const auto fault = [](EgressRule rule) {
    const auto checked = check_rule(rule);
    return checked ? "" : checked.error().message;
  };
  CHECK(fault({"https://api.example.com/path", {}, {}, false, false}).find("no origin") !=
        std::string::npos);
  CHECK(!fault({"api.example.com", {}, {}, false, false}).empty());
  CHECK(fault({"https://*.com", {}, {}, false, false}).find("top-level") != std::string::npos);
  CHECK(!fault({"https://a.*.com", {}, {}, false, false}).empty());
  CHECK(fault({"http://a.test", {}, {}, true, false}).find("https") != std::string::npos);
  CHECK(fault({"https://a.test", {"GET"}, {}, true, false}).find("tunnel") != std::string::npos);
  CHECK(fault({"http://a.test", {}, {"KEY"}, false, false}).find("unencrypted") !=
        std::string::npos);
  CHECK(fault({"https://a.test", {"G T"}, {}, false, false}).find("method") != std::string::npos);
}

Secrets two_secrets() {
  std::array<std::uint8_t, 16> one{};
  std::array<std::uint8_t, 16> two{};
  two.fill(0xab);
  return Secrets(
      {{"KEY", Secrets::placeholder(one), "hunter2"}, {"OTHER", Secrets::placeholder(two), "s3"}});
}

TEST_CASE("a secret is filled in where its rule names it and nowhere else", "[sandbox]") {
  const Secrets secrets = two_secrets();
  const EgressRule rule = rules()[0];
  std::vector<std::string> used;
  std::string value =
      "Bearer " + secrets.all()[0].placeholder + ", again " + secrets.all()[0].placeholder;
  REQUIRE(secrets.fill(value, rule, used));
  CHECK(value == "Bearer hunter2, again hunter2");
  CHECK(used == std::vector<std::string>{"KEY", "KEY"});
  std::string other = secrets.all()[1].placeholder;
  CHECK(secrets.fill(other, rule, used).error().status == 403);
  std::string foreign = "ambit-secret-00112233445566778899aabbccddeeff";
  CHECK(secrets.fill(foreign, rule, used).error().status == 403);
  std::string cut = "ambit-secret-00";
  CHECK(secrets.fill(cut, rule, used).error().status == 403);
  CHECK(Secrets::mentions("x" + cut));
  CHECK(!Secrets::mentions("ambit secret"));
}

TEST_CASE("a secret that a server repeats is taken out again, however it is cut", "[sandbox]") {
  const Secrets secrets = two_secrets();
  const std::string said = "you sent hunter2, hunter2hunter2 and s3 or hunter";
  std::string expected = said;
  for (const auto& one : secrets.all())
    for (std::size_t at = 0; (at = expected.find(one.value, at)) != std::string::npos;)
      expected.replace(at, one.value.size(), one.placeholder);
  for (std::size_t piece = 1; piece < said.size(); ++piece) {
    Scrubber scrubber(secrets.all());
    std::string text;
    for (std::size_t at = 0; at < said.size(); at += piece)
      text += scrubber.feed(said.substr(at, piece));
    text += scrubber.finish();
    INFO(piece);
    CHECK(text == expected);
  }
}

TEST_CASE("headers of one connection are not passed on", "[sandbox]") {
  http::Headers headers{{"Host", "a"},     {"Connection", "close, X-Hop"},
                        {"X-Hop", "1"},    {"Proxy-Authorization", "x"},
                        {"Accept", "*/*"}, {"Transfer-Encoding", "chunked"}};
  CHECK(end_to_end(headers) == http::Headers{{"Accept", "*/*"}});
}

// A hello of one record with the given extensions.
std::string hello_with(const std::string& extensions) {
  const auto two = [](std::size_t n) {
    return std::string{static_cast<char>(n >> 8), static_cast<char>(n & 255)};
  };
  std::string body = std::string("\x03\x03", 2) + std::string(32, 'r') + std::string(1, '\0') +
                     two(2) + "\x13\x01" + std::string("\x01\x00", 2) + two(extensions.size()) +
                     extensions;
  const std::string message = std::string("\x01\x00", 2) + two(body.size()) + body;
  return std::string("\x16\x03\x01", 3) + two(message.size()) + message;
}
std::string name_extension(const std::string& name) {
  const auto two = [](std::size_t n) {
    return std::string{static_cast<char>(n >> 8), static_cast<char>(n & 255)};
  };
  const std::string entry = std::string(1, '\0') + two(name.size()) + name;
  const std::string list = two(entry.size()) + entry;
  return two(0) + two(list.size()) + list;
}

TEST_CASE("a tunnel's hello names its server, once", "[sandbox]") {
  const std::string hello =
      hello_with(std::string("\x00\x17\x00\x00", 4) + name_extension("Git.Example.com"));
  const auto read = read_hello(hello);
  REQUIRE(read);
  CHECK(read->is_complete);
  CHECK(read->server_name == "git.example.com");
  for (std::size_t length = 0; length < hello.size(); ++length) {
    const auto cut = read_hello(hello.substr(0, length));
    REQUIRE(cut);
    CHECK(!cut->is_complete);
  }
  CHECK(!read_hello("SSH-2.0-OpenSSH_9\r\n"));
  CHECK(!read_hello("GET / HTTP/1.1\r\n"));
  CHECK(!read_hello(hello_with("")));
  CHECK(!read_hello(hello_with(name_extension("a.test") + name_extension("b.test"))));
  std::string broken = hello;
  broken[broken.size() - 17] = '\x7f';
  CHECK(!read_hello(broken));
  CHECK(!read_hello(std::string("\x16\x03\x01\x40\x00", 5) +
                    std::string(egress::hello_bytes_max, 'x')));
}

}  // namespace
}  // namespace ambit::sandbox::egress
