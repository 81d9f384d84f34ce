// Two hundred ways to falsify a log, each by someone who can write the files, some by someone who
// has a key too: each is detected, by verification with the key that the reader trusts, or, where a
// whole older or other log is put in its place, by a witness.

#include "../support/temporary_folder.h"
#include "log/reader.h"
#include "log/verify.h"
#include "log/witness.h"
#include "log_fixture.h"

#include <catch2/catch.hpp>
#include <lmdb.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <sstream>

namespace fs = std::filesystem;
using ambit::TemporaryFolder;
using namespace ambit::log;

namespace {

constexpr std::uint64_t record_count = 60;

// Changes rows of the log as LMDB itself would write them: no damaged page gives it away.
class Rows {
 public:
  Rows(const std::string& folder, const char* table) {
    REQUIRE(mdb_env_create(&environment_) == 0);
    mdb_env_set_maxdbs(environment_, 2);
    REQUIRE(mdb_env_open(environment_, folder.c_str(), 0, 0600) == 0);
    REQUIRE(mdb_txn_begin(environment_, nullptr, 0, &transaction_) == 0);
    REQUIRE(mdb_dbi_open(transaction_, table, 0, &table_) == 0);
  }
  ~Rows() {
    if (transaction_ != nullptr) mdb_txn_commit(transaction_);
    mdb_env_close(environment_);
  }
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  std::vector<std::pair<std::string, std::string>> all() {
    std::vector<std::pair<std::string, std::string>> rows;
    MDB_cursor* cursor = nullptr;
    REQUIRE(mdb_cursor_open(transaction_, table_, &cursor) == 0);
    MDB_val key{};
    MDB_val value{};
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
      rows.emplace_back(std::string(static_cast<char*>(key.mv_data), key.mv_size),
                        std::string(static_cast<char*>(value.mv_data), value.mv_size));
    }
    mdb_cursor_close(cursor);
    return rows;
  }
  void put(const std::string& key, const std::string& value) {
    MDB_val k{key.size(), const_cast<char*>(key.data())};
    MDB_val v{value.size(), const_cast<char*>(value.data())};
    REQUIRE(mdb_put(transaction_, table_, &k, &v, 0) == 0);
  }
  void remove(const std::string& key) {
    MDB_val k{key.size(), const_cast<char*>(key.data())};
    REQUIRE(mdb_del(transaction_, table_, &k, nullptr) == 0);
  }

 private:
  MDB_env* environment_ = nullptr;
  MDB_txn* transaction_ = nullptr;
  MDB_dbi table_ = 0;
};

void copy_log(const std::string& from, const std::string& to) {
  fs::create_directories(to);
  for (const char* name : {"/data.mdb", "/key", "/vkey", "/subjects"}) {
    fs::copy_file(from + name, to + name, fs::copy_options::overwrite_existing);
  }
}

// A log that was not sealed, so that only the records themselves can give a change away.
std::string original(const TemporaryFolder& folder) {
  const std::string log = folder.path() + "/original";
  auto writer = open_writer(log);
  fill(*writer, record_count);
  return log;
}

}  // namespace

TEST_CASE("two hundred kinds of tampering are all detected", "[tamper]") {
  TemporaryFolder folder;
  const std::string log = original(folder);
  const std::string trusted = open_writer(log)->verifier().text();
  REQUIRE(verify_log(log, trusted)->good());
  const std::string copy = folder.path() + "/copy";
  std::size_t kinds = 0;
  std::size_t detected = 0;
  const auto attempt = [&](const std::string& kind, const char* table,
                           const std::function<void(Rows&)>& change) {
    copy_log(log, copy);
    {
      Rows rows(copy, table);
      change(rows);
    }
    const auto report = verify_log(copy, trusted);
    ++kinds;
    const bool found = !report || !report->good();
    detected += found ? 1 : 0;
    CAPTURE(kind);
    CHECK(found);
  };
  std::vector<std::pair<std::string, std::string>> log_rows;
  std::vector<std::pair<std::string, std::string>> index_rows;
  copy_log(log, copy);
  {
    Rows rows(copy, "log");
    log_rows = rows.all();
  }
  {
    Rows rows(copy, "index");
    index_rows = rows.all();
  }
  // Each kind of row, in many places: altered at its begin, middle and end; dropped; cut; made
  // longer; given another's value; put in another's place.
  for (std::size_t i = 0; i < log_rows.size(); i += log_rows.size() / 18) {
    const auto& [key, value] = log_rows[i];
    const auto& [other_key, other_value] = log_rows[(i + 2) % log_rows.size()];
    for (const std::size_t at : {std::size_t{0}, value.size() / 2, value.size() - 1}) {
      attempt("flip", "log", [&, at](Rows& rows) {
        std::string altered = value;
        altered[at] = static_cast<char>(altered[at] ^ 1);
        rows.put(key, altered);
      });
    }
    attempt("drop", "log", [&](Rows& rows) { rows.remove(key); });
    attempt("cut", "log", [&](Rows& rows) { rows.put(key, value.substr(0, value.size() - 1)); });
    attempt("lengthen", "log", [&](Rows& rows) { rows.put(key, value + " "); });
    attempt("another's value", "log", [&](Rows& rows) { rows.put(key, other_value); });
    attempt("swap", "log", [&](Rows& rows) {
      rows.put(key, other_value);
      rows.put(other_key, value);
    });
  }
  for (std::size_t i = 0; i < index_rows.size(); i += index_rows.size() / 12) {
    const auto& [key, value] = index_rows[i];
    attempt("drop from the index", "index", [&](Rows& rows) { rows.remove(key); });
    attempt("alter in the index", "index", [&](Rows& rows) { rows.put(key, value + "x"); });
    attempt("add to the index", "index", [&](Rows& rows) {
      std::string another = key;
      another.back() = static_cast<char>(another.back() ^ 0x40);
      rows.put(another, value);
    });
  }
  // The last records dropped together with their checkpoint: the log of yesterday.
  for (const std::uint64_t keep : {std::uint64_t{59}, std::uint64_t{30}, std::uint64_t{1}}) {
    attempt("cut off", "log", [&](Rows& rows) {
      for (const auto& [key, value] : log_rows) {
        if (static_cast<unsigned char>(key[7]) >= keep) rows.remove(key);
      }
    });
  }
  std::cout << "tampering: " << detected << " of " << kinds << " kinds detected\n";
  CHECK(kinds >= 180);
  CHECK(detected == kinds);
}

TEST_CASE("a log put in the place of another is detected by its key or by a witness", "[tamper]") {
  TemporaryFolder folder;
  const std::string log = original(folder);
  const VerifierKey trusted = open_writer(log)->verifier();
  auto witness = std::move(*Witness::open(folder.path() + "/witness", "w", {trusted}, counter(3)));
  const std::string copy = folder.path() + "/copy";
  copy_log(log, copy);  // of the time before
  {
    auto writer = open_writer(log);
    fill(*writer, 40);
    const auto step = LogReader(writer->store()).consistency(0);
    REQUIRE(witness->add_checkpoint(AddCheckpoint{0, step->proof, step->note}.text(), 1)->status ==
            200);
  }
  const auto witnessed = [&](const std::string& folder_of_log) {
    const auto reader = LogReader::open(folder_of_log);
    const std::uint64_t old = std::min<std::uint64_t>(record_count + 40, *(*reader)->size());
    const auto step = (*reader)->consistency(old);
    return witness->add_checkpoint(AddCheckpoint{old, step->proof, step->note}.text(), 2)->status ==
           200;
  };
  std::size_t detected = 0;
  constexpr std::size_t kinds = 12;
  // Rolled back, then grown again in other ways, with the right key: only a witness can know.
  for (const std::uint64_t more : {0U, 1U, 20U, 39U, 40U, 41U, 100U}) {
    const std::string fork = folder.path() + "/fork-" + std::to_string(more);
    copy_log(copy, fork);
    {
      auto writer = open_writer(fork);
      fill(*writer, more, "other");
    }
    REQUIRE(verify_log(fork, trusted.text())->good());
    CAPTURE(more);
    CHECK_FALSE(witnessed(fork));
    ++detected;
  }
  // The same records, signed with another key.
  for (const std::uint64_t seed : {11U, 12U, 13U, 14U, 15U}) {
    const std::string other = folder.path() + "/other-" + std::to_string(seed);
    {
      auto writer = open_writer(other, seed);
      fill(*writer, record_count);
    }
    CHECK_FALSE(verify_log(other, trusted.text())->good());
    CHECK_FALSE(witnessed(other));
    ++detected;
  }
  CHECK(detected == kinds);
  CHECK(witnessed(log));
  std::cout << "tampering: " << detected << " of " << kinds << " other logs detected\n";
}
