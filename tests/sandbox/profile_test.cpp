#include "sandbox/profile.h"

#include "jail_fixture.h"
#include "sandbox/doctor.h"
#include "sandbox/outcome.h"
#include "sandbox/zygote_link.h"

#include <catch2/catch.hpp>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

using agents::OutcomeKind;
using agents::Profile;
using protocol::Report;

Profile profile_of(const std::string& level) {
  Profile profile;
  profile.level = level;
  return profile;
}

std::string fault(const Profile& profile, std::vector<std::string> forbidden = {}) {
  const Result<void> result = validate(profile, forbidden);
  return result ? "" : result.error().message;
}

TEST_CASE("the presets are valid and explained", "[sandbox]") {
  for (const char* level : {"compute", "fs-read", "fs-write"}) {
    const auto profile = preset(level);
    REQUIRE(profile);
    CHECK(fault(*profile).empty());
    const auto words = explain(*profile);
    REQUIRE(words);
    CHECK(words->find("network   none") != std::string::npos);
    CHECK(words->find("openat") != std::string::npos);
  }
  CHECK(preset("net"));
  CHECK(!preset("everything"));
}

TEST_CASE("a profile's mistakes are told one by one", "[sandbox]") {
  const WorkFolder folder;
  folder.write("file", "x");
  std::filesystem::create_symlink("/etc", folder.file("link"));
  const auto with = [](const std::string& level, const std::string& path, bool writes) {
    Profile profile = profile_of(level);
    (writes ? profile.write_paths : profile.read_paths).push_back(path);
    return profile;
  };
  const auto says = [](const std::string& message, const char* words) {
    INFO(message);
    CHECK(message.find(words) != std::string::npos);
  };
  says(fault(with("fs-read", "relative", false)), "not absolute");
  says(fault(with("fs-read", "/", false)), "whole system");
  says(fault(with("fs-read", folder.path() + "/", false)), "ends in /");
  says(fault(with("fs-read", "/proc/1", false)), "/proc");
  says(fault(with("fs-read", "/etc", false)), "secrets");
  says(fault(with("fs-read", "/tmp", false)), "/tmp of its own");
  says(fault(with("fs-read", "/no/such", false)), "does not exist");
  says(fault(with("fs-read", folder.file("link"), false)), "symbolic link");
  says(fault(with("fs-write", "/usr/bin", true)), "stays read-only");
  says(fault(with("fs-read", folder.path(), true)), "writes no paths");
  says(fault(with("compute", folder.path(), false)), "reads no paths");
  says(fault(with("fs-read", folder.path(), false), {folder.file("file")}),
       "belongs to the runtime");
  says(fault(with("fs-read", folder.file("file"), false), {folder.path()}),
       "belongs to the runtime");
  Profile net = profile_of("fs-write");
  net.egress = {{"https://api.example.com", {}, {}, false, false}};
  says(fault(net), "has no network");
  net.level = "net";
  CHECK(fault(net).empty());
  net.egress[0].origin = "https://api.example.com/path";
  says(fault(net), "no origin");
  Profile service = profile_of("fs-read");
  service.service = "hot";
  says(fault(service), "no service class 'hot'");
  Profile asks = profile_of("compute");
  asks.asks = true;
  says(fault(asks), "cannot ask");
  says(fault(profile_of("root")), "no profile level 'root'");
  Profile small = profile_of("compute");
  small.memory_bytes = 1;
  says(fault(small), "memory_bytes is 1");
  CHECK(fault(with("fs-write", folder.path(), true)).empty());
  CHECK(fault(with("fs-read", folder.file("file"), false)).empty());
}

Report ended(int wait_status) {
  Report report;
  report.flags = Report::has_status;
  report.wait_status = wait_status;
  return report;
}

TEST_CASE("reports become typed outcomes", "[sandbox]") {
  const Profile profile;
  const auto kind = [&](const Report& report, const Circumstances& known = {}) {
    return classify(report, profile, known).kind;
  };
  CHECK(kind(ended(0)) == OutcomeKind::ok);
  CHECK(classify(ended(W_EXITCODE(9, 0)), profile, {}).exit_code == 9);
  CHECK(kind(ended(SIGXCPU)) == OutcomeKind::cpu_limit);
  CHECK(kind(ended(SIGXFSZ)) == OutcomeKind::file_size_limit);
  CHECK(kind(ended(SIGSYS)) == OutcomeKind::policy_violation);
  CHECK(kind(ended(SIGSEGV)) == OutcomeKind::crashed);
  Circumstances cut;
  cut.output_cut = true;
  CHECK(kind(Report{}, cut) == OutcomeKind::output_limit);
  Circumstances late;
  late.timed_out = true;
  CHECK(kind(Report{}, late) == OutcomeKind::timeout);
  late.processes_refused = true;
  CHECK(kind(Report{}, late) == OutcomeKind::process_limit);
  Circumstances killed;
  killed.memory_killed = true;
  killed.memory_is_counted = true;
  CHECK(kind(ended(SIGKILL), killed) == OutcomeKind::memory_limit);
  Report greedy = ended(W_EXITCODE(1, 0));
  greedy.memory_peak_bytes = profile.memory_bytes;
  CHECK(kind(greedy) == OutcomeKind::memory_limit);
  Report stuck;
  stuck.stage = protocol::Stage::landlock;
  stuck.error = ENOSYS;
  CHECK(kind(stuck) == OutcomeKind::refused);
  Report wire;
  wire.flags = Report::violation;
  wire.syscall = seccomp::number_of("reboot", seccomp::native());
  wire.architecture = seccomp::audit_architecture(seccomp::native());
  CHECK(classify(wire, profile, {}).detail.find("reboot") != std::string::npos);
  CHECK(kind(wire) == OutcomeKind::policy_violation);
}

TEST_CASE("frames are read back as they were written", "[sandbox]") {
  Profile profile = profile_of("fs-write");
  profile.read_paths = {"/b", "/a"};
  profile.write_paths = {"/a/c"};
  const auto filters = seccomp::build(seccomp::Tier::fs_write, seccomp::native());
  REQUIRE(filters);
  auto frame = encode_spec(profile, *filters, {});
  REQUIRE(frame);
  const auto spec = std::make_unique<protocol::Spec>();
  REQUIRE(protocol::parse_spec({frame->data(), frame->size()}, *spec));
  REQUIRE(spec->path_count == 3);
  CHECK(spec->paths[0].name == "/a");
  CHECK(spec->paths[1].name == "/a/c");
  CHECK(spec->paths[1].access == protocol::Access::write);
  CHECK(spec->filter.size() == filters->first.size());
  CHECK(std::memcmp(spec->last_filter.data(), filters->last.data(),
                    spec->last_filter.size_bytes()) == 0);

  agents::JailCall call;
  call.command = {"grep", "x"};
  call.environment = {{"A", "b"}};
  auto sent = encode_call(call);
  REQUIRE(sent);
  const auto parsed = std::make_unique<protocol::Call>();
  REQUIRE(protocol::parse_call({sent->data(), sent->size()}, *parsed));
  CHECK(std::string(parsed->arguments[1]) == "x");
  CHECK(parsed->arguments[2] == nullptr);
  CHECK(std::string(parsed->environment[0]) == "A=b");
}

TEST_CASE("a frame that is cut or changed anywhere is refused or harmless", "[sandbox]") {
  agents::JailCall call;
  call.command = {"grep", "needle", "haystack"};
  call.environment = {{"A", "b"}};
  const auto frame = encode_call(call);
  REQUIRE(frame);
  const auto parsed = std::make_unique<protocol::Call>();
  for (std::size_t length = 0; length < frame->size(); ++length) {
    std::string cut = frame->substr(0, length);
    CHECK(!protocol::parse_call({cut.data(), cut.size()}, *parsed));
  }
  for (std::size_t at = 0; at < frame->size(); ++at) {
    for (const char value : {'\0', '\1', '\x7f', '\xff'}) {
      std::string changed = *frame;
      changed[at] = value;
      if (!protocol::parse_call({changed.data(), changed.size()}, *parsed)) continue;
      CHECK(parsed->argument_count <= protocol::strings_max);
      CHECK(parsed->arguments[parsed->argument_count] == nullptr);
    }
  }
  CHECK(!decode_report("short"));
  CHECK(!decode_report(std::string(sizeof(Report), 'x')));
}

TEST_CASE("a damaged request for a jail is refused or understood, never read beyond its end",
          "[sandbox]") {
  const auto frame = encode_jail({7, JailUse::command, true, 8080, {"run/agent.1", 42}});
  REQUIRE(frame);
  protocol::Jail parsed;
  std::string whole = *frame;
  REQUIRE(protocol::parse_jail({whole.data(), whole.size()}, parsed));
  CHECK(parsed.id == 7);
  CHECK(parsed.flags == protocol::Jail::has_door);
  CHECK(parsed.port == 8080);
  CHECK(parsed.work == "run/agent.1");
  CHECK(parsed.work_inode == 42);
  for (std::size_t length = 0; length < frame->size(); ++length) {
    std::string cut = frame->substr(0, length);
    CHECK(!protocol::parse_jail({cut.data(), cut.size()}, parsed));
  }
  for (std::size_t at = 0; at < frame->size(); ++at) {
    for (const char value : {'\0', '\1', '\x7f', '\xff'}) {
      std::string changed = *frame;
      changed[at] = value;
      if (protocol::parse_jail({changed.data(), changed.size()}, parsed))
        CHECK(parsed.work.size() == 11);
    }
  }
}

TEST_CASE("calls that no kernel could run are refused before they are sent", "[sandbox]") {
  agents::JailCall call;
  CHECK(!encode_call(call));
  call.command = {"true"};
  call.environment = {{"A=B", "c"}};
  CHECK(!encode_call(call));
  call.environment = {{"A", std::string("b\0c", 3)}};
  CHECK(!encode_call(call));
  call.environment.clear();
  call.command = {"true", std::string(protocol::frame_bytes_max, 'x')};
  CHECK(!encode_call(call));
  call.command = std::vector<std::string>(protocol::strings_max + 1, "x");
  CHECK(!encode_call(call));
  call.command = {"true"};
  call.directory = "here";
  CHECK(!encode_call(call));
}

TEST_CASE("the doctor tries every layer and explains what is missing", "[sandbox]") {
  const std::vector<Layer> layers = examine_machine();
  CHECK(layers.size() >= 16);
  for (const Layer& layer : layers) {
    INFO(layer.name + ": " + layer.detail);
    CHECK(!layer.detail.empty());
    CHECK(layer.how_to_get.empty() == layer.available);
  }
}

}  // namespace
}  // namespace ambit::sandbox
