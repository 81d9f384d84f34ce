// What a jail asks for while it runs, in real jails: requests through the proxy of level net, and
// paths that are granted after an approval.

#include "outdoors.h"
#include "sandbox/doorkeeper.h"
#include "sandbox/zygote_link.h"

#include <catch2/catch.hpp>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <fcntl.h>

namespace ambit::sandbox {
namespace {

using agents::EgressRule;
using agents::JailCall;
using agents::JailOutcome;
using agents::OutcomeKind;

EgressRule rule_for(const std::string& origin) {
  return {origin, {"GET", "POST"}, {}, false, true};
}

TEST_CASE("a jail of level net reaches the origins of its profile through the proxy", "[sandbox]") {
  Outdoors net;
  const std::string host = net.origin().substr(7);
  net.server.then({{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Seen: yes\r\n\r\nhello"}});
  const std::string get =
      "GET " + net.origin() + "/a?q=1 HTTP/1.1\\r\\nHost: " + host + "\\r\\n\\r\\n";
  JailOutcome outcome = net.run(saying(get, {rule_for(net.origin())}));
  INFO(outcome.detail + outcome.errors);
  CHECK(outcome.output.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(outcome.output.find("X-Seen: yes") != std::string::npos);
  CHECK(outcome.output.ends_with("5\r\nhello\r\n0\r\n\r\n"));
  REQUIRE(net.server.requests().size() == 1);
  CHECK(net.server.requests()[0].starts_with("GET /a?q=1 HTTP/1.1\r\n"));
  CHECK(net.gate.asked == std::vector<std::string>{"GET " + net.origin() + "/a"});
  CHECK(net.gate.ended == std::vector<std::string>{"200 " + net.origin() + "/a"});

  // A body in chunks, and one of a known length.
  net.server.then({{"HTTP/1.1 204 No Content\r\n\r\n"}});
  const std::string post =
      "POST " + net.origin() + "/b HTTP/1.1\\r\\nHost: " + host +
      "\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n3\\r\\nabc\\r\\n0\\r\\n\\r\\n";
  outcome = net.run(saying(post, {rule_for(net.origin())}));
  CHECK(outcome.output.starts_with("HTTP/1.1 204"));
  CHECK(net.server.requests().back().ends_with("\r\n\r\nabc"));
}

TEST_CASE("what a jail asks for is as urgent as the call that it is for", "[sandbox]") {
  Outdoors net;
  net.server.then({{"HTTP/1.1 204 No Content\r\n\r\n"}});
  const std::string get =
      "GET " + net.origin() + "/ HTTP/1.1\\r\\nHost: " + net.host() + "\\r\\n\\r\\n";
  const Urgency urgency{LatencyClass::interactive, 1'000'000};
  const JailOutcome outcome = net.run(saying(get, {rule_for(net.origin())}), urgency);
  INFO(outcome.detail + outcome.errors);
  REQUIRE(outcome.output.starts_with("HTTP/1.1 204"));
  CHECK(net.gate.urgency == urgency);
}

TEST_CASE("programs find the proxy by themselves", "[sandbox]") {
  if (!std::filesystem::exists("/usr/bin/curl")) {
    WARN("skipped: there is no curl");
    return;
  }
  Outdoors net;
  net.server.then({{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"}});
  JailCall call;
  call.profile.level = "net";
  call.profile.egress = {rule_for(net.origin())};
  call.command = {"curl", "-sS", "-m", "5", net.origin() + "/x"};
  const JailOutcome outcome = net.run(call);
  INFO(outcome.detail + outcome.errors);
  CHECK(outcome.output == "hello");
}

TEST_CASE("what the profile, the gate or the address forbids is refused and recorded",
          "[sandbox]") {
  Outdoors net;
  const std::string host = net.origin().substr(7);
  const auto get = [](const std::string& url, const std::string& at) {
    return "GET " + url + " HTTP/1.1\\r\\nHost: " + at + "\\r\\n\\r\\n";
  };
  JailOutcome outcome =
      net.run(saying(get("http://elsewhere.test/", "elsewhere.test"), {rule_for(net.origin())}));
  CHECK(outcome.output.starts_with("HTTP/1.1 403"));
  CHECK(net.gate.ended == std::vector<std::string>{"403 http://elsewhere.test/"});
  // Only public addresses unless the rule says otherwise, as a literal and as a name.
  EgressRule is_public = rule_for(net.origin());
  is_public.is_private = false;
  outcome = net.run(saying(get(net.origin() + "/", host), {is_public}));
  CHECK(outcome.output.starts_with("HTTP/1.1 403"));
  EgressRule by_name = is_public;
  by_name.origin = "http://localhost.localdomain:" + host.substr(host.find(':') + 1);
  outcome = net.run(saying(get(by_name.origin + "/", by_name.origin.substr(7)), {by_name}));
  CHECK(outcome.output.find("HTTP/1.1 200") == std::string::npos);
  net.gate.refuses = true;
  outcome = net.run(saying(get(net.origin() + "/", host), {rule_for(net.origin())}));
  CHECK(outcome.output.find("policy says no") != std::string::npos);
  CHECK(net.server.connections() == 0);
}

TEST_CASE("the proxy fills in a secret that the jail never sees", "[sandbox]") {
  Outdoors net;
  const std::string host = net.origin().substr(7);
  net.server.then(
      {{"HTTP/1.1 200 OK\r\nX-Echo: hunter2\r\nContent-Length: 19\r\n\r\nyou are hunter2, ok"}});
  EgressRule rule = rule_for(net.origin());
  rule.secrets = {"API_KEY"};
  JailCall call = saying("", {rule});
  call.command[2] = "exec 3<>/dev/tcp/127.0.0.1/${http_proxy##*:}; printf '%b' \"GET " +
                    net.origin() + "/ HTTP/1.1\\r\\nHost: " + host +
                    "\\r\\nAuthorization: Bearer $API_KEY\\r\\n\\r\\n\" >&3; cat <&3; echo; env; "
                    "echo \"k=$API_KEY\"";
  const JailOutcome outcome = net.run(call);
  INFO(outcome.output);
  CHECK(outcome.output.find("hunter2") == std::string::npos);
  CHECK(outcome.output.find("you are ambit-secret-") != std::string::npos);
  CHECK(outcome.output.find("k=ambit-secret-") != std::string::npos);
  REQUIRE(net.server.requests().size() == 1);
  CHECK(net.server.requests()[0].find("Authorization: Bearer hunter2\r\n") != std::string::npos);
  CHECK(net.gate.secrets == std::vector<std::string>{"API_KEY"});
  // Another call's placeholder is worth nothing, and none belongs into a URL.
  const std::string at = outcome.output.find("k=") == std::string::npos
                             ? ""
                             : outcome.output.substr(outcome.output.find("k=") + 2, 45);
  JailOutcome other = net.run(saying(
      "GET " + net.origin() + "/ HTTP/1.1\\r\\nHost: " + host + "\\r\\nX: " + at + "\\r\\n\\r\\n",
      {rule}));
  CHECK(other.output.starts_with("HTTP/1.1 403"));
  call.command[2] = "exec 3<>/dev/tcp/127.0.0.1/${http_proxy##*:}; printf '%b' \"GET " +
                    net.origin() + "/?k=$API_KEY HTTP/1.1\\r\\nHost: " + host +
                    "\\r\\n\\r\\n\" >&3; cat <&3";
  other = net.run(call);
  CHECK(other.output.starts_with("HTTP/1.1 403"));
  rule.secrets = {"UNSET"};
  CHECK(net.run(saying("", {rule})).kind == OutcomeKind::refused);
}

TEST_CASE("a tunnel goes to the address that was checked and to the server that was named",
          "[sandbox]") {
  Outdoors net;
  const std::string host = net.origin().substr(7);
  const std::string port = host.substr(host.find(':') + 1);
  EgressRule rule{"https://git.test:" + port, {}, {}, true, true};
  const std::string connect =
      "CONNECT git.test:" + port + " HTTP/1.1\\r\\nHost: git.test:" + port + "\\r\\n\\r\\n";
  net.addresses = {"127.0.0.1"};
  // What follows is no TLS: nothing of it goes out.
  JailOutcome outcome = net.run(saying(connect + "SSH-2.0-x\\r\\n", {rule}));
  CHECK(outcome.output.starts_with("HTTP/1.1 200 Connection established"));
  CHECK(net.server.requests().empty());
  CHECK(net.gate.ended.back().starts_with("403"));
  rule.is_private = false;
  outcome = net.run(saying(connect, {rule}));
  CHECK(outcome.output.find("which is not public") != std::string::npos);
  // One that is not public among others, or no address at all.
  for (const std::vector<std::string>& some :
       {std::vector<std::string>{"93.184.216.34", "10.0.0.1"},
        std::vector<std::string>{"fe80::1%lo"}, std::vector<std::string>{"localhost"},
        std::vector<std::string>{"::ffff:127.0.0.1"}}) {
    net.addresses = some;
    outcome = net.run(saying(connect, {rule}));
    CHECK(outcome.output.starts_with("HTTP/1.1 403"));
  }
  // Nobody asks a resolver for a host that is not on the list.
  const std::size_t before = net.looked_up.size();
  outcome = net.run(
      saying("CONNECT evil.test:443 HTTP/1.1\\r\\nHost: evil.test:443\\r\\n\\r\\n", {rule}));
  CHECK(outcome.output.starts_with("HTTP/1.1 403"));
  CHECK(net.looked_up.size() == before);
}

TEST_CASE("the way to the proxy is the only way out of level net", "[sandbox]") {
  Outdoors net;
  const std::string host = net.origin().substr(7);
  const std::string port = host.substr(host.find(':') + 1);
  JailCall call;
  call.profile.level = "net";
  call.profile.egress = {rule_for(net.origin())};
  call.command = {"bash", "-c",
                  "for p in " + port +
                      " 1 22 80 $((${http_proxy##*:} - 1)) $((${http_proxy##*:} + 1)); do "
                      "(exec 3<>/dev/tcp/127.0.0.1/$p) 2>/dev/null && echo \"reached $p\"; done; "
                      "(exec 3<>/dev/tcp/169.254.169.254/80) 2>/dev/null && echo meta; "
                      "(exec 3<>/dev/udp/127.0.0.1/53) 2>/dev/null && echo udp; "
                      "(exec 3<>/dev/tcp/::1/${http_proxy##*:}) 2>/dev/null && echo six; "
                      "(exec 3<>/dev/tcp/127.0.0.1/${http_proxy##*:}) && echo control"};
  const JailOutcome outcome = net.run(call);
  CHECK(outcome.output == "control\n");
  CHECK(net.server.connections() == 0);
}

TEST_CASE("level net is refused without a proxy", "[sandbox]") {
  Jails jails;
  JailCall call = shell("true", "net");
  const JailOutcome outcome = jails.run(call);
  CHECK(outcome.kind == OutcomeKind::refused);
  CHECK(outcome.detail.find("proxy") != std::string::npos);
  call = shell("true", "fs-read");
  call.profile.asks = true;
  CHECK(jails.run(call).kind == OutcomeKind::refused);
}

// ---- opens

JailCall asking(const std::string& script, const std::string& level = "fs-read") {
  JailCall call = shell(script, level);
  call.profile.asks = true;
  return call;
}

TEST_CASE("a path that is granted at run time is opened without restarting the call", "[sandbox]") {
  Outdoors net;
  const WorkFolder outside;
  outside.write("report", "sings\n");
  const std::string path = outside.file("report");
  JailOutcome outcome =
      net.run(asking("cat " + path + " && echo more >> " + path + "; cat " + path));
  INFO(outcome.detail + outcome.errors);
  CHECK(outcome.output == "sings\nsings\nmore\n");
  CHECK(net.gate.opens ==
        std::vector<std::string>{"read " + path, "write " + path, "read " + path});
  CHECK(outside.read("report") == "sings\nmore\n");
  // What the jail has is opened without asking.
  net.gate.opens.clear();
  outcome =
      net.run(asking("echo x > /tmp/y; cat /tmp/y /etc/passwd /usr/share/none 2>/dev/null; cd "
                     "/usr; cat bin/true > /dev/null; echo done"));
  CHECK(outcome.output.ends_with("done\n"));
  CHECK(net.gate.opens.empty());
}

TEST_CASE("a path that is not granted, or must not be, stays closed", "[sandbox]") {
  const WorkFolder secrets;
  secrets.write("key", "sings\n");
  RunnerOptions options;
  options.forbidden = {secrets.path()};
  Outdoors net(options);
  const WorkFolder outside;
  outside.write("report", "sings\n");
  outside.write("control", "control\n");
  std::filesystem::create_symlink(outside.file("report"), outside.file("link"));
  ::mkfifo(outside.file("pipe").c_str(), 0666);
  net.gate.refuses = true;
  JailOutcome outcome = net.run(asking("cat " + outside.file("report")));
  CHECK(outcome.output.empty());
  CHECK(outcome.errors.find("Permission denied") != std::string::npos);
  net.gate.refuses = false;
  net.gate.opens.clear();
  for (const std::string& path :
       {secrets.file("key"), outside.file("link"), outside.file("pipe"), outside.path(),
        outside.path() + "/../" + outside.path().substr(9) + "/report",
        std::string("/root/.ssh/id_rsa"), outside.file("missing")}) {
    INFO(path);
    outcome = net.run(asking("cat " + path));
    CHECK(outcome.output.empty());
    CHECK(outcome.exit_code != 0);
  }
  outcome = net.run(asking("echo x > " + outside.file("made"), "fs-write"));
  CHECK(!std::filesystem::exists(outside.file("made")));
  outcome = net.run(asking("cat " + outside.file("control")));
  CHECK(outcome.output == "control\n");
}

// What init would send if the jail had taken it over.
TEST_CASE("a door that speaks nonsense is not listened to", "[sandbox]") {
  io::UvWorld world;
  ListeningGate gate;
  const EgressOptions egress;
  const std::vector<std::string> forbidden;
  JailCall call;
  call.profile.level = "net";
  call.profile.asks = true;
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  Doorkeeper keeper(DoorOptions{world.world(), gate, egress, forbidden}, call, egress::Secrets(),
                    ends[0]);
  const Descriptor jail(ends[1]);
  const std::uint32_t connect[2] = {protocol::magic,
                                    static_cast<std::uint32_t>(protocol::Kind::connect)};
  const std::string good(reinterpret_cast<const char*>(connect), sizeof connect);
  const Descriptor folder(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  const Descriptor one(pair[0]);
  const Descriptor other(pair[1]);
  // No descriptor, a folder, a socket of another kind; then frames of any bytes.
  const int passed[] = {folder.get(), one.get()};
  REQUIRE(send_frame(jail.get(), good, {}));
  for (const int& descriptor : passed) REQUIRE(send_frame(jail.get(), good, {&descriptor, 1}));
  for (std::size_t length = 1; length < 40; ++length)
    REQUIRE(send_frame(jail.get(), std::string(length, static_cast<char>(length)), {}));
  for (int i = 0; i < 4; ++i) keeper.knocked();
  CHECK(gate.asked.empty());
  CHECK(gate.opens.empty());
  CHECK(gate.ended.empty());
}

TEST_CASE("a jail that waits for an approval still ends at its limits", "[sandbox]") {
  class Slow final : public Gate {
   public:
    Task<Result<void>> may_request(EgressAsk /*ask*/) override { co_return Err(Code::denied, ""); }
    Task<void> requested(EgressAsk /*ask*/, EgressResult /*result*/) override { co_return; }
    Task<Result<void>> may_open(OpenAsk /*ask*/) override {
      co_await delay(std::chrono::hours(1));
      co_return Result<void>{};
    }
  };
  Slow slow;
  RunnerOptions options;
  options.gate = &slow;
  Jails jails(options);
  const WorkFolder outside;
  outside.write("report", "sings\n");
  JailCall call = asking("cat " + outside.file("report"));
  call.profile.wall_ms = 150;
  const JailOutcome outcome = jails.run(call);
  CHECK(outcome.kind == OutcomeKind::timeout);
  CHECK(jails.run(shell("echo next")).output == "next\n");
}

}  // namespace
}  // namespace ambit::sandbox
