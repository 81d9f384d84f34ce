#include "memory/store.h"

#include "async/check.h"
#include "memory/space_row.h"
#include "memory/words.h"

#include <openssl/evp.h>

#include <algorithm>
#include <map>
#include <utility>

namespace ambit::memory {
namespace {

// How many that have expired one change clears away.
constexpr std::size_t cleared_max = 256;
constexpr std::size_t space_name_bytes_max = 200;

std::string digest_of(std::string_view text) {
  std::string digest(32, '\0');
  unsigned length = 0;
  const int made =
      EVP_Digest(text.data(), text.size(), reinterpret_cast<unsigned char*>(digest.data()), &length,
                 EVP_sha256(), nullptr);
  INVARIANT(made == 1);
  return digest;
}

// What is searched: the key's words count as well.
std::vector<std::string> searched_words(const Entry& entry) {
  return words_of(entry.key + "\n" + entry.value);
}

Error full(const Space& space, const std::string& bound) {
  return {Code::exhausted, "the memory " + space.bounds.name + " is full: " + bound +
                               "; delete what is not needed any more"};
}

}  // namespace

// One transaction that changes a space.
class Store::Change {
 public:
  static Result<Change> begin(const Environment& environment, const Space& space) {
    if (space.name.empty() || space.name.size() > space_name_bytes_max) {
      return Err(Code::invalid, "a memory's name has 1 to 200 bytes");
    }
    Transaction transaction = TRY(environment.begin(Mode::write));
    auto row = TRY(find(transaction, space.name));
    if (!row) {
      row.emplace();
      TRY(transaction.each(Table::spaces, "", "", [&](std::string_view, std::string_view value) {
        row->id = std::max(row->id, number_at(value, 0, id_width));
        return true;
      }));
      ++row->id;
    }
    return Change(std::move(transaction), space, *row);
  }

  // What this call came to when it was made before.
  Result<std::optional<bool>> made_before(std::string_view once) {
    if (once.empty()) return std::optional<bool>();
    const auto known = TRY(transaction_.get(Table::done, digest_of(once)));
    if (!known || known->size() != 1) return std::optional<bool>();
    return std::optional<bool>(known->front() != '\0');
  }

  // Also forgets the oldest call where there are too many.
  Result<void> remember(std::string_view once, bool came_to) {
    if (once.empty()) return {};
    std::uint64_t last = 0;
    const auto counter = TRY(transaction_.get(Table::done, "n"));
    if (counter) last = number_at(*counter, 0, 8);
    std::string number;
    append_number(number, last + 1, 8);
    const std::string digest = digest_of(once);
    TRY(transaction_.put(Table::done, "n", number));
    TRY(transaction_.put(Table::done, digest, std::string_view(came_to ? "\1" : "\0", 1)));
    TRY(transaction_.put(Table::done_order, number, digest));
    if (last < calls_kept_max) return {};
    std::string oldest;
    append_number(oldest, last + 1 - calls_kept_max, 8);
    const auto row = TRY(transaction_.get(Table::done_order, oldest));
    if (!row) return {};
    const std::string forgotten(*row);
    TRY(transaction_.erase(Table::done, forgotten));
    TRY(transaction_.erase(Table::done_order, oldest));
    return {};
  }

  Result<void> clear_expired(std::int64_t now_ms) {
    std::vector<std::string> keys;
    std::vector<std::uint64_t> documents;
    const std::string prefix = row_key(row_.id);
    TRY(transaction_.each(Table::times, prefix, "", [&](std::string_view key, std::string_view) {
      const auto expires = static_cast<std::int64_t>(number_at(key, id_width, time_width));
      if (is_live(expires, now_ms) || documents.size() >= cleared_max) return false;
      documents.push_back(number_at(key, id_width + time_width, document_width));
      return true;
    }));
    for (const std::uint64_t document : documents) {
      std::string key = prefix;
      append_number(key, document, document_width);
      const auto named = TRY(transaction_.get(Table::documents, key));
      if (!named) return Err(Code::invalid, "the memory is damaged: an entry has no key");
      const std::string name(*named);
      TRY(remove(name));
    }
    return {};
  }

  // False: there was none.
  Result<bool> remove(std::string_view key) {
    const std::string at = row_key(row_.id, key);
    const auto bytes = TRY(transaction_.get(Table::entries, at));
    if (!bytes) return false;
    const EntryRow row = TRY(row_of_bytes(key, *bytes));
    std::string document;
    append_number(document, row.document, document_width);
    std::uint64_t words = 0;
    for (const auto& [word, count] : counted(row.entry, words)) {
      TRY(transaction_.erase(Table::words, word_key(row_.id, word) + document));
    }
    if (row.entry.expires_unix_ms != 0) {
      TRY(transaction_.erase(Table::times, time_key(row.entry.expires_unix_ms) + document));
    }
    TRY(transaction_.erase(Table::documents, row_key(row_.id, document)));
    TRY(transaction_.erase(Table::entries, at));
    --row_.entries;
    row_.bytes -= key.size() + row.entry.value.size();
    row_.words -= words;
    return true;
  }

  Result<void> check_bounds(const Entry& entry) {
    const agents::MemorySpec& bounds = space_.bounds;
    const std::size_t bytes = entry.key.size() + entry.value.size();
    if (bytes > static_cast<std::size_t>(bounds.entry_bytes_max)) {
      return Err(Code::exhausted, "an entry of the memory " + bounds.name + " has at most " +
                                      std::to_string(bounds.entry_bytes_max) +
                                      " bytes (maxEntryBytes), this one has " +
                                      std::to_string(bytes));
    }
    if (row_.entries >= static_cast<std::uint64_t>(bounds.entries_max)) {
      return Err(full(space_, std::to_string(bounds.entries_max) + " entries (maxEntries)"));
    }
    if (row_.bytes + bytes > static_cast<std::uint64_t>(bounds.bytes_max)) {
      return Err(full(space_, std::to_string(bounds.bytes_max) + " bytes (maxBytes)"));
    }
    return {};
  }

  Result<void> add(Entry entry) {
    EntryRow row{row_.next_document++, std::move(entry)};
    const Entry& kept = row.entry;
    std::string document;
    append_number(document, row.document, document_width);
    std::uint64_t words = 0;
    const std::map<std::string, std::uint64_t> counts = counted(kept, words);
    for (const auto& [word, count] : counts) {
      std::string value;
      append_number(value, count, count_width);
      append_number(value, words, count_width);
      append_number(value, static_cast<std::uint64_t>(kept.expires_unix_ms), time_width);
      TRY(transaction_.put(Table::words, word_key(row_.id, word) + document, value));
    }
    if (kept.expires_unix_ms != 0) {
      std::string value;
      append_number(value, words, count_width);
      TRY(transaction_.put(Table::times, time_key(kept.expires_unix_ms) + document, value));
    }
    TRY(transaction_.put(Table::documents, row_key(row_.id, document), kept.key));
    TRY(transaction_.put(Table::entries, row_key(row_.id, kept.key), to_bytes(row)));
    ++row_.entries;
    row_.bytes += kept.key.size() + kept.value.size();
    row_.words += words;
    return {};
  }

  Result<void> commit() {
    std::string value;
    append_number(value, row_.id, id_width);
    for (const std::uint64_t number : {row_.next_document, row_.entries, row_.bytes, row_.words}) {
      append_number(value, number, 8);
    }
    TRY(transaction_.put(Table::spaces, space_.name, value));
    return transaction_.commit();
  }

 private:
  Change(Transaction transaction, const Space& space, const SpaceRow& row)
      : transaction_(std::move(transaction)), space_(space), row_(row) {}

  [[nodiscard]] std::string time_key(std::int64_t expires_ms) const {
    std::string key = row_key(row_.id);
    append_number(key, static_cast<std::uint64_t>(expires_ms), time_width);
    return key;
  }
  static std::map<std::string, std::uint64_t> counted(const Entry& entry, std::uint64_t& words) {
    std::map<std::string, std::uint64_t> counts;
    for (std::string& word : searched_words(entry)) {
      ++counts[std::move(word)];
      ++words;
    }
    return counts;
  }

  Transaction transaction_;
  const Space& space_;
  SpaceRow row_;
};

Result<std::unique_ptr<Store>> Store::open(const std::string& folder, Mode mode,
                                           std::uint64_t map_bytes) {
  auto environment = TRY(Environment::open(folder, mode, map_bytes));
  return std::unique_ptr<Store>(new Store(std::move(environment)));
}

Result<std::optional<Store::SpaceRow>> Store::find(const Transaction& transaction,
                                                   std::string_view name) {
  const auto bytes = TRY(transaction.get(Table::spaces, name));
  if (!bytes) return std::optional<SpaceRow>();
  SpaceRow row;
  row.id = number_at(*bytes, 0, id_width);
  std::size_t at = id_width;
  for (std::uint64_t* number : {&row.next_document, &row.entries, &row.bytes, &row.words}) {
    *number = number_at(*bytes, at, 8);
    at += 8;
  }
  return std::optional<SpaceRow>(row);
}

Result<bool> Store::put(const Space& space, Entry entry, std::string_view once,
                        std::int64_t now_ms) {
  if (entry.key.empty() || entry.key.size() > key_bytes_max) {
    return Err(Code::invalid, "a key has 1 to " + std::to_string(key_bytes_max) + " bytes");
  }
  Change change = TRY(Change::begin(*environment_, space));
  if (const auto before = TRY(change.made_before(once))) return *before;
  TRY(change.clear_expired(now_ms));
  const bool replaced = TRY(change.remove(entry.key));
  TRY(change.check_bounds(entry));
  entry.written_unix_ms = now_ms;
  entry.expires_unix_ms = space.bounds.lifetime_ms > 0 ? now_ms + space.bounds.lifetime_ms : 0;
  TRY(change.add(std::move(entry)));
  TRY(change.remember(once, replaced));
  TRY(change.commit());
  return replaced;
}

Result<bool> Store::erase(const Space& space, std::string_view key, std::string_view once,
                          std::int64_t now_ms) {
  if (key.empty() || key.size() > key_bytes_max) {
    return Err(Code::invalid, "a key has 1 to " + std::to_string(key_bytes_max) + " bytes");
  }
  Change change = TRY(Change::begin(*environment_, space));
  if (const auto before = TRY(change.made_before(once))) return *before;
  TRY(change.clear_expired(now_ms));
  const bool was_there = TRY(change.remove(key));
  TRY(change.remember(once, was_there));
  TRY(change.commit());
  return was_there;
}

Result<std::optional<Entry>> Store::get(std::string_view space, std::string_view key,
                                        std::int64_t now_ms) const {
  // LMDB takes no key of other lengths.
  if (key.empty() || key.size() > key_bytes_max) return std::optional<Entry>();
  const Transaction transaction = TRY(environment_->begin(Mode::read));
  const auto found = TRY(find(transaction, space));
  if (!found) return std::optional<Entry>();
  const auto bytes = TRY(transaction.get(Table::entries, row_key(found->id, key)));
  if (!bytes) return std::optional<Entry>();
  EntryRow row = TRY(row_of_bytes(key, *bytes));
  if (!is_live(row.entry.expires_unix_ms, now_ms)) return std::optional<Entry>();
  return std::optional<Entry>(std::move(row.entry));
}

Result<Listing> Store::list(std::string_view space, std::string_view prefix, std::string_view after,
                            std::size_t limit, std::int64_t now_ms) const {
  Listing listing;
  if (prefix.size() > key_bytes_max || after.size() > key_bytes_max) return listing;
  const Transaction transaction = TRY(environment_->begin(Mode::read));
  const auto found = TRY(find(transaction, space));
  if (!found) return listing;
  Result<void> good;
  TRY(transaction.each(Table::entries, row_key(found->id, prefix), row_key(found->id, after),
                       [&](std::string_view key, std::string_view value) {
                         key.remove_prefix(id_width);
                         if (key == after) return true;
                         auto row = row_of_bytes(key, value);
                         if (!row) {
                           good = Err(std::move(row).error());
                           return false;
                         }
                         if (!is_live(row->entry.expires_unix_ms, now_ms)) return true;
                         listing.more = listing.entries.size() >= limit;
                         if (!listing.more) listing.entries.push_back(std::move(row->entry));
                         return !listing.more;
                       }));
  TRY(good);
  return listing;
}

Result<std::vector<SpaceFacts>> Store::spaces() const {
  std::vector<SpaceFacts> all;
  const Transaction transaction = TRY(environment_->begin(Mode::read));
  TRY(transaction.each(Table::spaces, "", "", [&](std::string_view name, std::string_view bytes) {
    all.push_back({std::string(name), static_cast<std::int64_t>(number_at(bytes, id_width + 8, 8)),
                   static_cast<std::int64_t>(number_at(bytes, id_width + 16, 8))});
    return true;
  }));
  return all;
}

}  // namespace ambit::memory
