// The search in a memory: BM25 over the inverted index.

#include "memory/space_row.h"
#include "memory/store.h"
#include "memory/words.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace ambit::memory {
namespace {

// The usual values: how fast more of the same word stops counting, how much length counts.
constexpr double saturation = 1.2;
constexpr double length_share = 0.75;

struct Posting {
  std::uint64_t document = 0;
  std::uint64_t count = 0;
  std::uint64_t length = 0;
};

Posting posting_of(std::string_view key, std::string_view value) {
  return {number_at(key, key.size() - document_width, document_width),
          number_at(value, 0, count_width), number_at(value, count_width, count_width)};
}

std::vector<std::string> distinct_words(std::string_view query) {
  std::vector<std::string> words;
  for (std::string& word : words_of(query)) {
    const bool is_new = std::find(words.begin(), words.end(), word) == words.end();
    if (is_new && words.size() < query_words_max) words.push_back(std::move(word));
  }
  return words;
}

}  // namespace

double rarity(double having, double all) {
  return std::log(1.0 + (all - having + 0.5) / (having + 0.5));
}

double weight(double count, double length, double average) {
  const double share = 1.0 - length_share + length_share * length / average;
  return count * (saturation + 1.0) / (count + saturation * share);
}

Result<std::vector<Hit>> Store::search(std::string_view space, std::string_view query,
                                       std::size_t limit, std::int64_t now_ms) const {
  std::vector<Hit> hits;
  const Transaction transaction = TRY(environment_->begin(Mode::read));
  const auto found = TRY(find(transaction, space));
  if (!found) return hits;
  std::uint64_t live = found->entries;
  std::uint64_t words = found->words;
  // Those that have expired are first among the times.
  const std::string prefix = row_key(found->id);
  TRY(transaction.each(Table::times, prefix, "", [&](std::string_view key, std::string_view value) {
    const auto expires = static_cast<std::int64_t>(number_at(key, id_width, time_width));
    if (is_live(expires, now_ms)) return false;
    --live;
    words -= number_at(value, 0, count_width);
    return true;
  }));
  if (live == 0 || words == 0) return hits;
  const double average = static_cast<double>(words) / static_cast<double>(live);
  std::map<std::uint64_t, double> scores;
  for (const std::string& word : distinct_words(query)) {
    std::vector<Posting> postings;
    TRY(transaction.each(Table::words, word_key(found->id, word), "",
                         [&](std::string_view key, std::string_view value) {
                           const auto expires = static_cast<std::int64_t>(
                               number_at(value, 2 * count_width, time_width));
                           if (is_live(expires, now_ms)) postings.push_back(posting_of(key, value));
                           return true;
                         }));
    const double rare = rarity(static_cast<double>(postings.size()), static_cast<double>(live));
    for (const Posting& posting : postings) {
      scores[posting.document] += rare * weight(static_cast<double>(posting.count),
                                                static_cast<double>(posting.length), average);
    }
  }
  std::vector<std::pair<double, std::uint64_t>> order;
  order.reserve(scores.size());
  for (const auto& [document, score] : scores) order.emplace_back(-score, document);
  const std::size_t kept = std::min(limit, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end());
  for (std::size_t i = 0; i < kept; ++i) {
    std::string document = prefix;
    append_number(document, order[i].second, document_width);
    const auto named = TRY(transaction.get(Table::documents, document));
    const auto bytes =
        named ? TRY(transaction.get(Table::entries, row_key(found->id, *named))) : std::nullopt;
    if (!bytes) return Err(Code::invalid, "the memory is damaged: a word has no entry");
    EntryRow row = TRY(row_of_bytes(*named, *bytes));
    hits.push_back({std::move(row.entry), -order[i].first});
  }
  return hits;
}

}  // namespace ambit::memory
