// Energy: what the machine counts is shared out among the turns that are under way.

#include "app/energy.h"

#include "io/file.h"
#include "runtime/agents/scripted.h"
#include "support/run_task.h"
#include "support/temporary_folder.h"

#include <catch2/catch.hpp>

#include <filesystem>

namespace ambit::app {
namespace {

struct Machine final : io::Clock {
  Machine() {
    for (const char* name : {"intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1"}) {
      std::filesystem::create_directories(folder.path() + "/" + name);
      REQUIRE(
          io::write_file(folder.path() + "/" + name + "/max_energy_range_uj", "1000000\n", 0644));
    }
    counts(100, 900'000);
    REQUIRE(io::write_file(folder.path() + "/cpuinfo",
                           "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t: x\n", 0644));
  }
  void counts(std::int64_t first, std::int64_t second) {
    now_ns += 10'000'000;
    write("intel-rapl:0", first);
    write("intel-rapl:0:0", first);  // a part of the first: counted already
    write("intel-rapl:1", second);
  }
  void write(const std::string& name, std::int64_t number) {
    REQUIRE(io::write_file(folder.path() + "/" + name + "/energy_uj", std::to_string(number) + "\n",
                           0644));
  }
  std::int64_t unix_ns() override { return now_ns; }

  TemporaryFolder folder;
  std::int64_t now_ns = 1'795'219'200'000'000'000;
};

}  // namespace

TEST_CASE("what the machine takes belongs to the turns under way, in equal parts", "[app]") {
  Machine machine;
  EnergyMeter meter(machine, machine.folder.path(), machine.folder.path() + "/cpuinfo");
  REQUIRE(meter.measures());
  CHECK(meter.device() == "cpu: Some CPU @ 3 GHz");
  machine.counts(500, 900'100);  // while nobody is under way: nobody's
  EnergyMeter::Share one(meter);
  machine.counts(1500, 900'100);
  {
    EnergyMeter::Share two(meter);
    CHECK(one.microjoules() == 1000);
    machine.counts(1500, 902'100);
    CHECK(two.microjoules() == 1000);
  }
  CHECK(one.microjoules() == 2000);
  // The counter begins again at its end.
  machine.counts(1600, 100);
  CHECK(one.microjoules() == 2000 + 100 + (1'000'000 - 902'100 + 100));
}

TEST_CASE("a machine that does not count is no error, and the record says nothing", "[app]") {
  Machine machine;
  const std::string empty = machine.folder.path() + "/empty";
  std::filesystem::create_directories(empty);
  EnergyMeter meter(machine, empty, empty + "/cpuinfo");
  CHECK_FALSE(meter.measures());
  CHECK(meter.device().empty());
  EnergyMeter::Share share(meter);
  CHECK(share.microjoules() == 0);
  EnergyMeter none(machine, empty + "/not-there", "/not-there");
  CHECK_FALSE(none.measures());
}

TEST_CASE("a metered turn says what it took and what computed it", "[app]") {
  Machine machine;
  EnergyMeter meter(machine, machine.folder.path(), machine.folder.path() + "/cpuinfo");
  agents::SayingModel inner([&machine](const agents::TurnRequest&) {
    machine.counts(600, 900'000);
    return agents::says("yes");
  });
  MeteredModel model(inner, meter);
  FakePoller poller;
  Loop loop(poller);
  agents::TurnRequest request;
  request.messages.push_back({agents::Role::user, "well?", {}, "", ""});
  const auto turn = run_task(loop, model.generate(std::move(request)));
  REQUIRE(turn);
  CHECK(turn->usage.energy_uj == 500);
  CHECK(turn->device == "cpu: Some CPU @ 3 GHz");
  CHECK(model.identity() == inner.identity());
}

}  // namespace ambit::app
