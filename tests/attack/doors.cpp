// Attacks on what a jail may ask for (52, 53: the proxy; 33, 43: opens that are granted) and on
// jails that are used again (31 to 36, 62 with built-in tools, cold and warm). A server outside, a
// canary and what was looked up are the judges; each scene shows first that the way is open to who
// may use it.

#include "../sandbox/outdoors.h"
#include "suite.h"

#include <sys/stat.h>

#include <algorithm>
#include <csignal>

namespace ambit::sandbox {

using agents::EgressRule;
using agents::JailCall;
using agents::JailOutcome;

namespace {

// Every name stands for this machine: rebinding at its worst.
struct Rebinding : Outdoors {
  Rebinding() { addresses = {"127.0.0.1"}; }
};

std::string get(const std::string& url, const std::string& host) {
  return "GET " + url + " HTTP/1.1\\r\\nHost: " + host + "\\r\\n\\r\\n";
}
std::string connect_to(const std::string& target) {
  return "CONNECT " + target + " HTTP/1.1\\r\\nHost: " + target + "\\r\\n\\r\\n";
}

}  // namespace

void try_proxy(Score& score) {
  Rebinding out;
  const std::string url = "http://" + out.host();
  const EgressRule open{url, {"GET"}, {}, false, true};
  out.server.then(
      {{"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: "
        "0\r\n\r\n"}});
  const JailOutcome control = out.run(saying(get(url + "/", out.host()), {open}));
  // A redirect is an answer: nobody follows it for the jail.
  score.count(control.output.starts_with("HTTP/1.1 302") && out.server.connections() == 1,
              "proxy: control, and a redirect is not followed", seen(control) + control.output);
  const EgressRule rules[] = {
      {"http://listed.test:" + out.port(), {"GET"}, {}, false, false},
      {"https://tunnel.test:" + out.port(), {}, {}, true, false},
      {"http://[::ffff:127.0.0.1]:" + out.port(), {"GET"}, {}, false, false},
      {"https://*.wild.test", {"GET"}, {}, false, false},
  };
  const std::vector<EgressRule> all(std::begin(rules), std::end(rules));
  const std::string listed = "listed.test:" + out.port();
  const std::string tunnel = "tunnel.test:" + out.port();
  const std::string texts[] = {
      get("http://unlisted.test/", "unlisted.test"),
      get("http://127.0.0.1:" + out.port() + "/", out.host()),
      get("http://2130706433:" + out.port() + "/", out.host()),
      get("http://0177.0.0.1:" + out.port() + "/", out.host()),
      get("http://0x7f.1:" + out.port() + "/", out.host()),
      get("http://[::1]:" + out.port() + "/", "[::1]:" + out.port()),
      get("http://[::ffff:127.0.0.1]:" + out.port() + "/", "[::ffff:127.0.0.1]:" + out.port()),
      get("http://localhost:" + out.port() + "/", "localhost:" + out.port()),
      get("http://" + listed + "@" + out.host() + "/", out.host()),
      get("http://" + out.host() + "\\\\@" + listed + "/", listed),
      get("http://" + out.host() + "#@" + listed + "/", listed),
      get("http://listed.test.:" + out.port() + "/", listed),
      get("http://LISTED.TEST.evil.test/", "listed.test.evil.test"),
      get("http://xn--listed-9ua.test/", "xn--listed-9ua.test"),
      get("http://wild.test/", "wild.test"),
      get("http://a.wild.test.evil.test/", "a.wild.test.evil.test"),
      get("http://listed.test\\0.evil.test/", "listed.test"),
      get("http://listed.test%00.evil.test/", "listed.test"),
      get("http://" + listed + "/", out.host()),
      get("http://" + listed + "/", "listed.test"),
      get("/", out.host()),
      get("https://" + listed + "/", listed),
      get("ftp://" + listed + "/", listed),
      "POST http://" + listed + "/ HTTP/1.1\\r\\nHost: " + listed +
          "\\r\\nContent-Length: 0\\r\\n\\r\\n",
      "get http://" + listed + "/ HTTP/1.1\\r\\nHost: " + listed + "\\r\\n\\r\\n",
      "GET http://" + listed + "/ HTTP/1.1\\nHost: " + listed + "\\n\\n",
      "GET http://" + listed + "/ HTTP/1.1\\r\\nHost: " + listed +
          "\\r\\nHost: evil.test\\r\\n\\r\\n",
      "GET http://" + listed + "/ HTTP/1.1\\r\\nHost: " + listed + "\\r\\n X: folded\\r\\n\\r\\n",
      "GET http://" + listed + "/ HTTP/1.1 HTTP/1.1\\r\\nHost: " + listed + "\\r\\n\\r\\n",
      // The name is listed, and stands for an address that is not public.
      get("http://localhost.localdomain:" + out.port() + "/",
          "localhost.localdomain:" + out.port()),
      connect_to(tunnel),
      connect_to("tunnel.test:22"),
      connect_to("tunnel.test:443"),
      connect_to(out.host()),
      connect_to("tunnel.test:" + out.port() + "/"),
      connect_to("user@" + tunnel),
      connect_to(listed),
      connect_to("tunnel.test"),
      "\\x05\\x01\\x00",
      "\\x04\\x01\\x00\\x50\\x7f\\x00\\x00\\x01",
  };
  const int before = out.server.connections();
  for (const std::string& text : texts) {
    const std::size_t recorded = out.gate.ended.size();
    const JailOutcome outcome = out.run(saying(text + "\\r\\n\\r\\n", all));
    const std::string& said = outcome.output;
    // Whoever goes on talking may find the door closed before the answer is read.
    const bool is_refused = said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.1 5") ||
                            (said.empty() && outcome.signal == SIGPIPE);
    score.count(
        is_refused && out.server.connections() == before && out.gate.ended.size() == recorded + 1,
        "proxy: " + text.substr(0, 60), seen(outcome) + ": " + said.substr(0, 60));
  }
  const bool asked_for_evil =
      std::any_of(out.looked_up.begin(), out.looked_up.end(),
                  [](const std::string& host) { return host.find("evil") != std::string::npos; });
  score.count(!asked_for_evil, "proxy: names that are not listed", "a resolver was asked");
  // A tunnel that is granted carries TLS to the server that was named, and nothing else.
  EgressRule wide = rules[1];
  wide.is_private = true;
  for (const char* first : {"SSH-2.0-x\\r\\n", "GET / HTTP/1.1\\r\\n\\r\\n",
                            "\\x16\\x03\\x01\\x00\\x05\\x01\\x00\\x00\\x01\\x00"}) {
    (void)out.run(saying(connect_to(tunnel) + first, {wide}));
    score.count(out.server.requests().size() == 1 && out.gate.last.status == 403,
                "tunnel: what is no hello", "it was sent on");
  }
  // Without the proxy's variable there is no other way; see connect_outside (47).
  const JailOutcome bypass = out.run(saying(
      "", {open}, "(exec 4<>/dev/tcp/127.0.0.1/" + out.port() + ") 2>/dev/null && echo out; true"));
  score.count(bypass.output.empty() && out.server.connections() <= before + 3, "NO_PROXY",
              bypass.output);
}

// 53: the value of a secret is nowhere in the jail, and its placeholder is of no use elsewhere.
void try_secrets(Score& score) {
  Rebinding out;
  const std::string url = "http://" + out.host();
  EgressRule rule{url, {"GET", "POST"}, {"API_KEY"}, false, true};
  EgressRule other = rule;
  other.secrets = {"OTHER_KEY"};
  const auto with_header = [&](const std::string& value) {
    return saying("", {rule},
                  "printf '%b' \"GET " + url + "/ HTTP/1.1\\r\\nHost: " + out.host() +
                      "\\r\\nX-Key: " + value +
                      "\\r\\n\\r\\n\" >&3; cat <&3; env; echo; "
                      "cat /proc/self/environ /proc/1/environ 2>/dev/null; echo \"is=$API_KEY\"");
  };
  out.server.then(
      {{"HTTP/1.1 200 OK\r\nX-Back: hunter2\r\nContent-Length: 14\r\n\r\nback: hunter2!"}});
  const JailOutcome control = out.run(with_header("$API_KEY"));
  const bool filled = !out.server.requests().empty() &&
                      out.server.requests()[0].find("X-Key: hunter2\r\n") != std::string::npos;
  score.count(filled, "secret: control", control.output);
  score.count(control.output.find("hunter2") == std::string::npos, "secret: seen in the jail",
              control.output);
  const std::size_t at = control.output.find("is=");
  const std::string stolen = at == std::string::npos ? "" : control.output.substr(at + 3, 45);
  const int before = out.server.connections();
  const auto refused_all = [&](JailCall call, const char* what) {
    const JailOutcome outcome = out.run(std::move(call));
    score.count(outcome.output.starts_with("HTTP/1.1 403") && out.server.connections() == before,
                std::string("secret: ") + what, outcome.output.substr(0, 80));
  };
  refused_all(with_header(stolen), "another call's placeholder");
  refused_all(with_header("ambit-secret-0"), "a placeholder that is none");
  JailCall elsewhere = with_header("$API_KEY");
  EgressRule plain = rule;
  plain.secrets.clear();
  plain.origin = url;
  other.origin = "https://other.test";
  other.secrets = {"API_KEY"};
  elsewhere.profile.egress = {plain, other};
  refused_all(elsewhere, "at an origin that it is not for");
  JailCall in_url = with_header("x");
  in_url.command[2] = "exec 3<>/dev/tcp/127.0.0.1/${http_proxy##*:}; printf '%b' \"GET " + url +
                      "/$API_KEY HTTP/1.1\\r\\nHost: " + out.host() + "\\r\\n\\r\\n\" >&3; cat <&3";
  refused_all(in_url, "in a URL");
}

// 33, 34, 43: what a jail asks to have opened can be made to lead elsewhere, to block or to harm.
void try_asking(Score& score) {
  Rebinding out;
  const WorkFolder outside;
  const WorkFolder work;
  outside.write("granted", "granted\n");
  outside.write("canary", "do not sing\n");
  (void)::chmod(outside.path().c_str(), 0777);
  std::filesystem::create_symlink(outside.file("canary"), outside.file("link"));
  std::filesystem::create_directory_symlink(outside.path(), work.file("folder"));
  (void)::mkfifo(outside.file("pipe").c_str(), 0666);
  const auto ask = [&](const std::string& script) {
    JailCall call = shell(script);
    call.profile.asks = true;
    call.profile.processes = 64;
    call.profile.wall_ms = 3000;
    return out.run(std::move(call));
  };
  const JailOutcome control = ask("cat " + outside.file("granted"));
  score.count(control.output == "granted\n", "asking: control", seen(control));
  const std::string paths[] = {outside.file("link"),
                               work.file("folder") + "/canary",
                               outside.path() + "/./canary",
                               outside.path() + "//canary",
                               outside.path() + "/x/../canary",
                               outside.file("pipe"),
                               outside.path(),
                               "/var/lib/dpkg/../../../etc/shadow",
                               "/boot",
                               outside.file("missing")};
  for (const std::string& path : paths) {
    const JailOutcome outcome = ask("cat '" + path + "'; true");
    score.count(outcome.kind == agents::OutcomeKind::ok && outcome.output.empty(),
                "asking: " + path.substr(0, 50), seen(outcome) + outcome.output);
  }
  (void)ask("echo x > '" + outside.file("made") + "'; mkdir '" + outside.file("folder") +
            "'; ln -s /etc/shadow '" + outside.file("new") + "'; true");
  score.count(!std::filesystem::exists(outside.file("made")) &&
                  !std::filesystem::exists(outside.file("folder")) &&
                  outside.read("canary") == "do not sing\n",
              "asking: making files", "something was made outside");
  // Many at once, from many processes, while the answers come.
  const JailOutcome many =
      ask("for i in 1 2 3 4 5 6 7 8; do (for j in 1 2 3 4 5; do cat '" + outside.file("granted") +
          "' '" + outside.file("link") + "' 2>/dev/null; done) & done; wait");
  score.count(many.output.size() == 8 * 5 * 8, "asking: many at once", seen(many));
}

// 31 to 36 and 62, with the tools that need no program: in a new jail, in one made ahead, and again
// and again in one that is warm.
void try_tools(Score& score) {
  const WorkFolder outside;
  const WorkFolder work;
  outside.write("canary", "do not sing\n");
  work.write("own", "fine\n");
  (void)::chmod(work.path().c_str(), 0777);
  std::filesystem::create_symlink(outside.file("canary"), work.file("link"));
  std::filesystem::create_directory_symlink(outside.path(), work.file("folder"));
  Jails jails;
  for (const char* service : {"call", "pooled", "warm"}) {
    const auto use = [&](std::vector<std::string> words, const std::string& input = "") {
      JailCall call;
      call.profile.level = "fs-write";
      call.profile.write_paths = {work.path()};
      call.profile.service = service;
      call.directory = work.path();
      call.command = std::move(words);
      call.input = input;
      call.agent = "attacker";
      return jails.run(std::move(call));
    };
    for (int round = 0; round < 3; ++round) {
      const std::string where = std::string(" (") + service + ", " + std::to_string(round) + ")";
      const JailOutcome control = use({"@read", "own"});
      score.count(control.output == "fine\n", "tool: control" + where, seen(control));
      for (const std::string& path :
           {outside.file("canary"), work.file("link"), work.file("folder") + "/canary",
            std::string("/etc/shadow"), std::string("/proc/self/mem"),
            std::string("/proc/1/environ"), "../" + outside.path().substr(9) + "/canary",
            std::string("/tmp/.work")}) {
        const JailOutcome read = use({"@read", path});
        score.count(read.output.empty() && read.exit_code == 3, "tool: @read " + path + where,
                    seen(read));
        const JailOutcome written = use({"@write", path}, "evil");
        score.count(written.exit_code == 3, "tool: @write " + path + where, seen(written));
      }
      for (const char* path : {"/usr/bin/x", "/tmp/left", "/etc/x", "/x"})
        score.count(use({"@write", path}, "evil").exit_code == 3,
                    std::string("tool: @write ") + path + where, "it was written");
      const JailOutcome found = use({"@grep", "sing", "."});
      score.count(found.output.empty(), "tool: @grep through links" + where, found.output);
      // Nothing of the call before: its folder, its files, its output.
      const JailOutcome after = use({"@list", "/tmp"});
      score.count(after.output.empty(), "tool: state" + where, after.output);
      const JailOutcome nul = use({"@read", std::string("own\0/etc/shadow", 15)});
      score.count(nul.kind == agents::OutcomeKind::refused, "tool: a NUL" + where, seen(nul));
    }
  }
  score.count(outside.read("canary") == "do not sing\n", "tool: the canary", "it was changed");
}

}  // namespace ambit::sandbox
