// Durable appends a second and their latency at 1, 64 and 1,024 concurrent writers, beside a bare
// LMDB that commits the same number of 800-byte values in the same groups; what hashing and
// encrypting such a record costs alone, which nothing can go below; records verified a second by
// one processor and by all; how long a proof takes; bytes a record; and how long a log of
// AMBIT_RECORDS (1,000,000) records takes to be taken up after a crash. (What the record costs a
// fleet: bench fleet.) Works in a folder below the current one, so on the disk that is to be
// measured.

#include "bench/figure.h"
#include "io/uv_world.h"
#include "log/journal.h"
#include "log/merkle.h"
#include "log/subjects.h"
#include "log/verify.h"

#include <lmdb.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>

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

Task<void> write(log::LogJournal& journal, int writer, int records, std::vector<double>& took_ms) {
  for (int i = 0; i < records; ++i) {
    const auto start = Time::now();
    const auto index = co_await journal.append(event(writer));
    took_ms.push_back(seconds_since(start) * 1000);
    if (!index) std::fprintf(stderr, "%s\n", index.error().message.c_str());
  }
}

Task<void> run(Loop& loop, log::LogJournal& journal, int writers, int records, double& seconds,
               std::vector<double>& took_ms) {
  const auto start = Time::now();
  {
    Scope scope;
    for (int i = 0; i < writers; ++i) scope.spawn(write(journal, i, records, took_ms));
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

// Hash of an 801-byte leaf and of a node, commitment, nonce and cipher of a short payload.
void floor_of_a_record() {
  constexpr int count = 100'000;
  log::PayloadCipher cipher;
  const log::SubjectKey key{};
  const std::string leaf(leaf_bytes, 'v');
  const std::string salt(log::salt_bytes, 's');
  log::Hash node{};
  const auto start = Time::now();
  for (int i = 0; i < count; ++i) {
    const log::Hash hash = log::leaf_hash(leaf);
    node = log::node_hash(node, hash);
    node[0] ^= log::commitment(salt, "{\"path\":\"logs/web.log\"}")[0];
    const std::string stored =
        cipher.seal(1, key, static_cast<std::uint64_t>(i), 0, salt, "{\"path\":\"logs/web.log\"}");
    node[1] ^= static_cast<std::uint8_t>(stored.back());
  }
  print("hashing and encrypting alone", "us/record", bench::Better::less,
        seconds_since(start) * 1e6 / count + (node[0] == 0 ? 1e-9 : 0), 0);
}

bool proofs(const std::string& folder) {
  const auto reader = log::LogReader::open(folder);
  if (!reader) return false;
  const std::uint64_t size = (*reader)->size().value_or(0);
  std::vector<double> took_us;
  std::uint64_t index = 0;
  for (int i = 0; i < 2000; ++i) {
    index = (index * 6364136223846793005ULL + 1442695040888963407ULL);
    const auto start = Time::now();
    const auto range = (*reader)->prove({index % size});
    if (!range) return false;
    took_us.push_back(seconds_since(start) * 1e6);
  }
  print("an inclusion proof, median", "us", bench::Better::less, bench::quantile(took_us, 0.5), 0);
  print("an inclusion proof, p99", "us", bench::Better::less, bench::quantile(took_us, 0.99), 0);
  return true;
}

// A log that was not closed in order: the time until it can be written again.
bool recovery(const std::string& folder) {
  const char* asked = std::getenv("AMBIT_RECORDS");
  const std::uint64_t records = asked != nullptr ? std::strtoull(asked, nullptr, 10) : 1'000'000;
  const auto fill = [](std::span<std::uint8_t> bytes) {
    for (std::uint8_t& byte : bytes) byte = 7;
  };
  {
    auto writer = log::LogWriter::open({folder, "ambit/bench"}, fill);
    if (!writer) return std::fprintf(stderr, "%s\n", writer.error().message.c_str()), false;
    while ((*writer)->size() < records) {
      std::vector<log::Prepared> group;
      for (int i = 0; i < 4096; ++i) {
        group.push_back(*log::prepare(event(i % 512), 1'795'219'200'000'000'000,
                                      [] { return std::string(log::salt_bytes, 's'); }));
      }
      const auto done = (*writer)->append(group);
      if (!done) return std::fprintf(stderr, "%s\n", done.error().message.c_str()), false;
    }
  }
  const auto start = Time::now();
  auto writer = log::LogWriter::open({folder, ""}, fill);
  if (!writer) return false;
  const auto first = (*writer)->append({*log::prepare(
      event(1), 1'795'219'200'000'000'001, [] { return std::string(log::salt_bytes, 's'); })});
  if (!first) return false;
  print("from a crash to the next durable record, " + std::to_string(records) + " records", "ms",
        bench::Better::less, seconds_since(start) * 1000, 0);
  writer->reset();
  const auto again = Time::now();
  const auto report = log::verify_log(folder);
  if (!report || !report->good()) return false;
  print("all of these verified", "s", bench::Better::less, seconds_since(again), 0);
  return true;
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
      std::vector<double> took_ms;
      const double all = static_cast<double>(writers) * records;
      for (int round = 0; round < rounds; ++round) {
        Scope scope;
        double seconds = 0;
        scope.spawn(run(world.loop(), **journal, writers, records, seconds, took_ms));
        world.loop().run();
        ours.push_back(all / seconds);
        theirs.push_back(all / bare.seconds(records, writers));
      }
      bench::print({"record", std::to_string(writers) + " writers, durable appends", "1/s",
                    bench::Better::more, bench::quantile(ours, 0.5), "bare LMDB",
                    bench::quantile(theirs, 0.5), bench::Goal::ratio, 1 / 1.3});
      const std::string name = std::to_string(writers) + " writers, an append, ";
      print(name + "median", "ms", bench::Better::less, bench::quantile(took_ms, 0.5), 0);
      print(name + "p99", "ms", bench::Better::less, bench::quantile(took_ms, 0.99), 0);
    }
  }
  floor_of_a_record();
  log::VerifyReport last;
  for (const unsigned threads : {0U, log::verify_threads()}) {
    std::vector<double> verified;
    for (int round = 0; round < rounds; ++round) {
      const auto start = Time::now();
      const auto report = log::verify_log(folder + "/log", "", threads);
      if (!report || !report->good()) return std::fprintf(stderr, "the log does not verify\n"), 1;
      last = *report;
      verified.push_back(static_cast<double>(last.records) / seconds_since(start));
    }
    print("records verified, " + std::to_string(threads + 1) + " threads", "1/s",
          bench::Better::more, bench::quantile(verified, 0.5), 1e6 * (threads + 1));
  }
  if (!proofs(folder + "/log")) return 1;
  print("bytes of disk", "B/record", bench::Better::less,
        static_cast<double>(std::filesystem::file_size(folder + "/log/data.mdb")) /
            static_cast<double>(last.records),
        0);
  if (!recovery(folder + "/large")) return 1;
  std::filesystem::remove_all(folder);
  return 0;
}
