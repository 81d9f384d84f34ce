// Durable appends a second at 1, 64 and 1,024 concurrent writers, and records verified a second,
// with bodies that make leaves of about 800 bytes. One JSON object a line. Argument: a folder on
// the disk to measure.

#include "io/uv_world.h"
#include "log/journal.h"
#include "log/verify.h"

#include <chrono>
#include <cstdio>
#include <filesystem>

using namespace ambit;

namespace {

using Time = std::chrono::steady_clock;

double seconds_since(Time::time_point start) {
  return std::chrono::duration<double>(Time::now() - start).count();
}

agents::Event event(int writer) {
  agents::Event made{"action.decided", "run", "s" + std::to_string(writer), "clerk", "{}", {}};
  made.body = "{\"reason\":\"" + std::string(450, 'r') + "\",\"verdict\":\"allow\"}";
  made.payloads = {{"arguments", "{\"path\":\"logs/web.log\"}"}};
  return made;
}

Task<void> write(log::LogJournal& journal, int writer, int records) {
  for (int i = 0; i < records; ++i) {
    const auto index = co_await journal.append(event(writer));
    if (!index) std::fprintf(stderr, "%s\n", index.error().message.c_str());
  }
}

Task<void> run(Loop& loop, log::LogJournal& journal, int writers, int records) {
  const auto start = Time::now();
  {
    Scope scope;
    for (int i = 0; i < writers; ++i) scope.spawn(write(journal, i, records));
    co_await scope.join();
  }
  const double seconds = seconds_since(start);
  std::printf("{\"bench\":\"append\",\"writers\":%d,\"records\":%d,\"per_second\":%.0f}\n", writers,
              writers * records, writers * records / seconds);
  loop.stop();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = std::string(argc > 1 ? argv[1] : ".") + "/bench_record";
  std::filesystem::remove_all(folder);
  {
    io::UvWorld world;
    log::JournalOptions options;
    options.writer.folder = folder;
    auto journal = log::LogJournal::open(world.world(), options);
    if (!journal) return std::fprintf(stderr, "%s\n", journal.error().message.c_str()), 1;
    for (const auto& [writers, records] :
         {std::pair(1, 200), std::pair(64, 100), std::pair(1024, 30)}) {
      Scope scope;
      scope.spawn(run(world.loop(), **journal, writers, records));
      world.loop().run();
    }
  }
  const auto start = Time::now();
  const auto report = log::verify_log(folder);
  if (!report || !report->good()) return 1;
  const auto bytes = std::filesystem::file_size(folder + "/data.mdb");
  std::printf(
      "{\"bench\":\"verify\",\"records\":%llu,\"per_second\":%.0f,\"bytes_per_record\":%llu}\n",
      static_cast<unsigned long long>(report->records),
      static_cast<double>(report->records) / seconds_since(start),
      static_cast<unsigned long long>(bytes / report->records));
  std::filesystem::remove_all(folder);
  return 0;
}
