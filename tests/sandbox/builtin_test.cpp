// The built-in tools, first by themselves, then in jails of each service class.

#include "sandbox/builtin.h"

#include "jail_fixture.h"
#include "sandbox/protocol.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <vector>

namespace ambit::sandbox {
namespace {

using agents::JailCall;
using agents::JailOutcome;
using agents::OutcomeKind;

struct Told {
  int status = 0;
  std::string output;
  std::string errors;
  bool cut = false;
};

Told tell(std::vector<std::string> words, const std::string& input = "", std::size_t room = 4096) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  std::string output(room, '\0');
  std::string errors(1024, '\0');
  builtin::Said said;
  said.output = {output.data(), output.size()};
  said.errors = {errors.data(), errors.size()};
  const int status = builtin::run(pointers, input, said);
  return {status, std::string(said.output.view()), std::string(said.errors.view()),
          said.output.cut};
}

TEST_CASE("built-in tools read, write and change files", "[sandbox]") {
  const WorkFolder work;
  CHECK(tell({"@write", work.file("a")}, "one\ntwo\n").status == 0);
  CHECK(tell({"@append", work.file("a")}, "three\n").status == 0);
  CHECK(tell({"@read", work.file("a")}).output == "one\ntwo\nthree\n");
  CHECK(tell({"@read", work.file("a"), "4", "3"}).output == "two");
  CHECK(tell({"@replace", work.file("a"), "two", "a longer two"}).status == 0);
  CHECK(work.read("a") == "one\na longer two\nthree\n");
  CHECK(tell({"@replace", work.file("a"), "nowhere", "x"}).status == 1);
  CHECK(tell({"@replace", work.file("a"), "e", "x"}).status == 2);
  CHECK(tell({"@replace", work.file("a"), "a longer two", "2"}).status == 0);
  CHECK(work.read("a") == "one\n2\nthree\n");
  CHECK(tell({"@write", work.file("a")}, "").status == 0);
  CHECK(work.read("a").empty());
  const Told cut = tell({"@read", "/usr/bin/env"}, "", 100);
  CHECK(cut.cut);
  CHECK(cut.output.size() == 100);
  CHECK(tell({"@read", work.file("missing")}).errors.find("No such file") != std::string::npos);
  CHECK(tell({"@read", work.path()}).status == 3);
  CHECK(tell({"@read"}).status == 2);
  CHECK(tell({"@read", work.file("a"), "x"}).status == 2);
}

TEST_CASE("built-in tools list, find and search folders", "[sandbox]") {
  const WorkFolder work;
  std::filesystem::create_directories(work.file("b/deep"));
  work.write("b/deep/note.md", "first\nneedle here\n");
  work.write("c.md", "needle\n");
  work.write("binary", std::string("needle\0x", 8));
  std::filesystem::create_directory_symlink("/usr", work.file("link"));
  ::mkfifo(work.file("pipe").c_str(), 0600);
  CHECK(tell({"@list", work.path()}).output == "b/\nbinary\nc.md\nlink\npipe\n");
  const Told found = tell({"@find", work.path(), "*.md"});
  CHECK(found.status == 0);
  CHECK(found.output.find(work.file("b/deep/note.md")) != std::string::npos);
  CHECK(found.output.find(work.file("c.md")) != std::string::npos);
  CHECK(tell({"@find", work.path(), "env"}).status == 1);
  const Told hits = tell({"@grep", "needle", work.path()});
  CHECK(hits.output.find("b/deep/note.md:2:needle here\n") != std::string::npos);
  CHECK(hits.output.find("c.md:1:needle\n") != std::string::npos);
  CHECK(hits.output.find("binary") == std::string::npos);
  CHECK(tell({"@grep", "needle", work.file("c.md")}).output == "1:needle\n");
  CHECK(tell({"@grep", "nothing", work.path()}).status == 1);
  CHECK(tell({"@stat", work.path()}).output.starts_with("folder "));
  CHECK(tell({"@stat", work.file("link")}).output.starts_with("link "));
  // A pipe nobody writes to would be waited for.
  CHECK(tell({"@read", work.file("pipe")}).status == 3);
  CHECK(tell({"@echo", "a", "b"}).output == "a b\n");
  CHECK(tell({"@unknown"}).status == 2);
}

TEST_CASE("patterns match names in linear time", "[sandbox]") {
  const WorkFolder work;
  work.write(std::string(200, 'a'), "");
  std::string pattern;
  for (int i = 0; i < 60; ++i) pattern += "a*";
  CHECK(tell({"@find", work.path(), pattern + "b"}).status == 1);
  CHECK(tell({"@find", work.path(), pattern}).status == 0);
  CHECK(tell({"@find", work.path(), "?" + std::string(199, 'a')}).status == 0);
}

JailCall tool(std::vector<std::string> command, const std::string& service,
              const WorkFolder& work) {
  JailCall call;
  call.profile.level = "fs-write";
  call.profile.write_paths = {work.path()};
  call.profile.service = service;
  call.command = std::move(command);
  call.agent = "clerk";
  return call;
}

TEST_CASE("built-in tools work in jails of each class", "[sandbox]") {
  const WorkFolder work;
  Jails jails;
  for (const char* service : {"call", "pooled", "warm"}) {
    INFO(service);
    JailCall write = tool({"@write", work.file("note")}, service, work);
    write.input = service;
    JailOutcome outcome = jails.run(write);
    INFO(outcome.detail + outcome.errors);
    CHECK(outcome.kind == OutcomeKind::ok);
    CHECK(outcome.output == std::to_string(write.input.size()) + " bytes\n");
    outcome = jails.run(tool({"@read", work.file("note")}, service, work));
    CHECK(outcome.output == service);
    CHECK(outcome.exit_code == 0);
    for (const char* path : {"/etc/shadow", "/root", "/proc/self/environ", "/var/tmp"}) {
      outcome = jails.run(tool({"@read", path}, service, work));
      CHECK(outcome.exit_code == 3);
      CHECK(outcome.output.empty());
    }
    outcome = jails.run(tool({"@write", "/tmp/left"}, service, work));
    CHECK(outcome.exit_code == 3);
    outcome = jails.run(tool({"@list", "/tmp"}, service, work));
    CHECK(outcome.output.empty());
    outcome = jails.run(tool({"@nothing"}, service, work));
    CHECK(outcome.kind == OutcomeKind::refused);
  }
}

TEST_CASE("a warm jail is used again by the same agent and profile alone", "[sandbox]") {
  const WorkFolder work;
  const WorkFolder other;
  Jails jails;
  for (int i = 0; i < 5; ++i) CHECK(jails.run(tool({"@echo", "x"}, "warm", work)).output == "x\n");
  CHECK(jails.runner->warm() == 1);
  JailCall somebody = tool({"@echo", "x"}, "warm", work);
  somebody.agent = "auditor";
  (void)jails.run(somebody);
  CHECK(jails.runner->warm() == 2);
  (void)jails.run(tool({"@echo", "x"}, "warm", other));
  CHECK(jails.runner->warm() == 3);
  // Any error ends it.
  (void)jails.run(tool({"@read", work.file("missing")}, "warm", work));
  CHECK(jails.runner->warm() == 2);
  // So does a folder that is replaced meanwhile: the jail would show the old one.
  (void)jails.run(tool({"@echo", "x"}, "warm", work));
  std::filesystem::rename(work.path(), work.path() + ".old");
  std::filesystem::create_directory(work.path());
  work.write("new", "here");
  CHECK(jails.run(tool({"@read", work.file("new")}, "warm", work)).output == "here");
  std::filesystem::remove_all(work.path() + ".old");
}

TEST_CASE("a built-in tool that takes too long or too much is ended", "[sandbox]") {
  const WorkFolder work;
  Jails jails;
  JailCall much = tool({"@read", "/usr/bin/bash"}, "warm", work);
  much.profile.output_bytes = 1000;
  JailOutcome outcome = jails.run(much);
  CHECK(outcome.kind == OutcomeKind::output_limit);
  CHECK(outcome.output.size() == 1000);
  CHECK(jails.runner->warm() == 0);
  JailCall slow = tool({"@grep", "no such text in there", "/usr"}, "call", work);
  slow.profile.wall_ms = 1;
  outcome = jails.run(slow);
  CHECK(outcome.kind == OutcomeKind::timeout);
  JailCall large = tool({"@write", work.file("x")}, "warm", work);
  large.input = std::string(protocol::input_bytes_max + 1, 'x');
  CHECK(jails.run(large).kind == OutcomeKind::refused);
  large.input.pop_back();
  large.profile.file_bytes = 100;
  outcome = jails.run(large);
  CHECK(outcome.exit_code == 3);
  CHECK(outcome.errors.find("File too large") != std::string::npos);
}

}  // namespace
}  // namespace ambit::sandbox
