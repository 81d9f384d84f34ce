// Appends to a log without end and says on stdout which records are durable: the victim of
// crash_test. Each line is "run-index" of an acknowledged record; it is written only after append()
// returned.

#include "log/writer.h"

#include <cstdio>
#include <random>
#include <unistd.h>

using ambit::agents::Event;
using namespace ambit::log;

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::mt19937 random(static_cast<unsigned>(std::stoul(argv[2])));
  auto writer = LogWriter::open({argv[1], "ambit/crash", 256U << 20},
                                [&random](std::span<std::uint8_t> bytes) {
                                  for (std::uint8_t& byte : bytes)
                                    byte = static_cast<std::uint8_t>(random());
                                });
  if (!writer) {
    std::fprintf(stderr, "%s\n", writer.error().message.c_str());
    return 1;
  }
  for (std::uint64_t number = 0;; ++number) {
    std::vector<Prepared> group;
    for (std::uint64_t left = random() % 30 + 1; left > 0; --left) {
      Prepared one;
      one.event = Event{"crash.test",
                        "run",
                        "s" + std::to_string(random() % 5),
                        "clerk",
                        "{\"n\":" + std::to_string(number) + "}",
                        {{"result", std::string(random() % 5000, 'x')}}};
      one.salts = {std::string(32, 's')};
      group.push_back(std::move(one));
    }
    const auto result = (*writer)->append(group);
    if (!result) return 1;
    const std::string line = std::to_string(*result->back()) + "\n";
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) return 1;
  }
}
