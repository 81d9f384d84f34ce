// Durable appends a second at 1, 64 and 1,024 concurrent writers, beside a bare LMDB that commits
// the same number of 800-byte values in the same groups; then records verified a second and bytes
// a record. Works in a folder below the current one, so on the disk that is to be measured.

#include "bench/figure.h"
#include "io/uv_world.h"
#include "log/journal.h"
#include "log/verify.h"

#include <lmdb.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>

using namespace ambit;

namespace {

using Time = std::chrono::steady_clock;
constexpr int rounds = 5;
constexpr std::size_t leaf_bytes = 800;

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

Task<void> run(Loop& loop, log::LogJournal& journal, int writers, int records, double& seconds) {
  const auto start = Time::now();
  {
    Scope scope;
    for (int i = 0; i < writers; ++i) scope.spawn(write(journal, i, records));
    co_await scope.join();
  }
  seconds = seconds_since(start);
  loop.stop();
}

void check_lmdb(int code) {
  if (code == 0) return;
  std::fprintf(stderr, "LMDB: %s\n", ::mdb_strerror(code));
  std::exit(1);
}

// What the disk and LMDB alone need: groups of `group` values, each group one durable commit.
class BareLmdb {
 public:
  explicit BareLmdb(const std::string& folder) {
    std::filesystem::create_directories(folder);
    check_lmdb(::mdb_env_create(&env_));
    check_lmdb(::mdb_env_set_mapsize(env_, std::size_t{8} << 30));
    check_lmdb(::mdb_env_open(env_, folder.c_str(), 0, 0600));
  }
  ~BareLmdb() { ::mdb_env_close(env_); }
  BareLmdb(const BareLmdb&) = delete;
  BareLmdb& operator=(const BareLmdb&) = delete;

  double seconds(int groups, int group) {
    const auto start = Time::now();
    for (int i = 0; i < groups; ++i) {
      MDB_txn* txn = nullptr;
      MDB_dbi database = 0;
      check_lmdb(::mdb_txn_begin(env_, nullptr, 0, &txn));
      check_lmdb(::mdb_dbi_open(txn, nullptr, MDB_INTEGERKEY, &database));
      for (int j = 0; j < group; ++j) {
        std::uint64_t number = next_++;
        MDB_val key{sizeof number, &number};
        MDB_val value{value_.size(), value_.data()};
        check_lmdb(::mdb_put(txn, database, &key, &value, MDB_APPEND));
      }
      check_lmdb(::mdb_txn_commit(txn));
    }
    return seconds_since(start);
  }

 private:
  MDB_env* env_ = nullptr;
  std::uint64_t next_ = 0;
  std::string value_ = std::string(leaf_bytes, 'v');
};

void print(const std::string& what, const std::string& unit, bench::Better better, double ours,
           double goal) {
  bench::Figure figure{"record", what, unit, better, ours};
  if (goal > 0) figure.goal_on = bench::Goal::ours;
  figure.goal = goal;
  bench::print(figure);
}

}  // namespace

int main() {
  const std::string folder = "bench_record";
  std::filesystem::remove_all(folder);
  {
    io::UvWorld world;
    log::JournalOptions options;
    options.writer.folder = folder + "/log";
    auto journal = log::LogJournal::open(world.world(), options);
    if (!journal) return std::fprintf(stderr, "%s\n", journal.error().message.c_str()), 1;
    BareLmdb bare(folder + "/bare");
    for (const auto& [writers, records] :
         {std::pair(1, 200), std::pair(64, 50), std::pair(1024, 20)}) {
      std::vector<double> ours;
      std::vector<double> theirs;
      const double all = static_cast<double>(writers) * records;
      for (int round = 0; round < rounds; ++round) {
        Scope scope;
        double seconds = 0;
        scope.spawn(run(world.loop(), **journal, writers, records, seconds));
        world.loop().run();
        ours.push_back(all / seconds);
        theirs.push_back(all / bare.seconds(records, writers));
      }
      bench::print({"record", std::to_string(writers) + " writers, durable appends", "1/s",
                    bench::Better::more, bench::quantile(ours, 0.5), "bare LMDB",
                    bench::quantile(theirs, 0.5), bench::Goal::ratio, 1 / 1.3});
    }
  }
  std::vector<double> verified;
  log::VerifyReport last;
  for (int round = 0; round < rounds; ++round) {
    const auto start = Time::now();
    const auto report = log::verify_log(folder + "/log");
    if (!report || !report->good()) return std::fprintf(stderr, "the log does not verify\n"), 1;
    last = *report;
    verified.push_back(static_cast<double>(last.records) / seconds_since(start));
  }
  print("records verified", "1/s", bench::Better::more, bench::quantile(verified, 0.5), 1e6);
  print("bytes of disk", "B/record", bench::Better::less,
        static_cast<double>(std::filesystem::file_size(folder + "/log/data.mdb")) /
            static_cast<double>(last.records),
        0);
  std::filesystem::remove_all(folder);
  return 0;
}
