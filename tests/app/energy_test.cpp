// What this machine says of its energy and of its processors.

#include "app/energy.h"

#include "io/file.h"
#include "support/temporary_folder.h"

#include <catch2/catch.hpp>

#include <filesystem>

namespace ambit::app {
namespace {

struct Machine {
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
    write("intel-rapl:0", first);
    write("intel-rapl:0:0", first);  // a part of the first: counted already
    write("intel-rapl:1", second);
  }
  void write(const std::string& name, std::int64_t number) {
    REQUIRE(io::write_file(folder.path() + "/" + name + "/energy_uj", std::to_string(number) + "\n",
                           0644));
  }
  TemporaryFolder folder;
};

}  // namespace

TEST_CASE("all packages are counted together, and parts of one not again", "[app]") {
  Machine machine;
  PackageCounter counter(machine.folder.path());
  REQUIRE(counter.counts());
  CHECK(counter.joules() == Approx(0.9001));
  machine.counts(1500, 900'300);
  CHECK(counter.joules() == Approx(0.9018));
  // A counter begins again at its end.
  machine.counts(1600, 100);
  CHECK(counter.joules() == Approx(0.9018 + 1e-6 * (100 + 1'000'000 - 900'300 + 100)));
  CHECK(processor_name(machine.folder.path() + "/cpuinfo") == "cpu: Some CPU @ 3 GHz");
}

TEST_CASE("a machine that does not count is no error", "[app]") {
  const TemporaryFolder empty;
  for (const std::string& folder : {empty.path(), empty.path() + "/not-there"}) {
    PackageCounter counter(folder);
    CHECK_FALSE(counter.counts());
    CHECK(counter.joules() == 0);
  }
  CHECK(processor_name(empty.path() + "/not-there").empty());
}

TEST_CASE("energy and bytes are said in units that one can read", "[app]") {
  CHECK(energy_text(0.000'012) == "12 uJ");
  CHECK(energy_text(0.25) == "250 mJ");
  CHECK(energy_text(4.56) == "4.6 J");
  CHECK(energy_text(12'345) == "12 kJ");
  CHECK(bytes_text(999) == "999 B");
  CHECK(bytes_text(2.5e9) == "2.5 GB");
  CHECK(bytes_text(3e19) == "30000 PB");
}

TEST_CASE("a run says what its engines moved, and what that took if anybody knows", "[app]") {
  agents::RunProgress sum;
  sum.output_tokens = 200;
  CHECK(energy_summary(sum, 5).empty());
  sum.moved_bytes = 400'000'000'000;
  CHECK(energy_summary(sum, 0) ==
        "Moved:  400 GB of weights, keys and values, 2.0 GB for each token decoded.\n");
  sum.energy_uj = 50'000'000;
  const double idle = idle_joules({{"processors", {80, 20}}, {"cuda:0", {30, 10}}});
  CHECK(energy_summary(sum, idle) ==
        "Moved:  400 GB of weights, keys and values, 2.0 GB for each token decoded.\n"
        "Energy: 50 J for turns, 250 mJ for each token decoded (4 tokens a joule); 30 J while no "
        "model ran.\n");
}

}  // namespace ambit::app
