#include "log/expiry_state.h"

#include "io/file.h"
#include "lmdb/key.h"
#include "log/canonical_json.h"
#include "log/canonical_scan.h"
#include "log/record.h"
#include "log/subjects.h"

#include <algorithm>
#include <array>

namespace ambit::log {
namespace {

// The states that a task does not leave any more.
constexpr std::array<std::string_view, 4> last_states = {
    "TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED", "TASK_STATE_REJECTED"};

// Its member "state", or nothing.
std::string_view state_in(std::string_view body) {
  constexpr std::string_view member = "\"state\":\"";
  const std::size_t at = body.rfind(member);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = body.substr(at + member.size());
  return rest.substr(0, rest.find('"'));
}

void set_plain(std::string_view text, std::string& to) {
  to = text.find('\\') == std::string_view::npos ? std::string(text) : unescape_canonical(text);
}

// Records that stand near each other are one stretch.
void add_to(std::vector<Stretch>& all, std::uint64_t index) {
  constexpr std::uint64_t near = 16;
  if (!all.empty() && index >= all.back().begin && index < all.back().end + near) {
    all.back().end = std::max(all.back().end, index + 1);
  } else {
    all.push_back({index, index + 1});
  }
}

constexpr const char* state_file = "/expiry";
constexpr std::string_view state_magic = "ambit-expiry/1\n";
constexpr std::size_t state_bytes_max = std::size_t{1} << 28;
constexpr std::size_t field_bytes = 8;
constexpr std::size_t digest_bytes = 32;

std::string& put(std::string& text, std::uint64_t number) {
  lmdb::append_number(text, number, field_bytes);
  return text;
}

class StateReader {
 public:
  explicit StateReader(std::string_view text) : text_(text) {}

  // None: it is not what was written.
  std::optional<ExpiryState> read() {
    if (text_.size() < state_magic.size() + digest_bytes || !text_.starts_with(state_magic))
      return std::nullopt;
    const std::string_view said = text_.substr(text_.size() - digest_bytes);
    text_.remove_suffix(digest_bytes);
    if (bytes_of(sha256(text_)) != said) return std::nullopt;
    text_.remove_prefix(state_magic.size());
    ExpiryState state;
    state.size = number();
    state.last = hash();
    state.newest_ns = static_cast<std::int64_t>(number());
    for (auto* all : {&state.young, &state.kept}) {
      all->resize(count(2 * field_bytes));
      for (Stretch& each : *all) {
        each.begin = number();
        each.end = number();
      }
    }
    state.held.count = number();
    state.held.hash = hash();
    for (auto* all : {&state.held_by, &state.owners}) {
      all->resize(count(2 * field_bytes));
      for (auto& [one, other] : *all) {
        one = number();
        other = number();
      }
    }
    for (std::size_t left = count(2 * field_bytes); left > 0; --left) {
      const std::uint64_t flags = number();
      const std::size_t length = count(1);
      state.runs.add({std::string(take(length)), (flags & 1U) != 0, (flags & 2U) != 0});
    }
    if (is_cut_off_ || !text_.empty() || state.young.empty()) return std::nullopt;
    return state;
  }

 private:
  std::string_view take(std::size_t bytes) {
    if (bytes > text_.size()) {
      is_cut_off_ = true;
      return {};
    }
    const std::string_view taken = text_.substr(0, bytes);
    text_.remove_prefix(bytes);
    return taken;
  }
  std::uint64_t number() {
    const std::string_view bytes = take(field_bytes);
    return bytes.empty() ? 0 : lmdb::number_at(bytes, 0, field_bytes);
  }
  Hash hash() {
    auto read = hash_from(take(digest_bytes));
    return read ? *read : Hash{};
  }
  // Of things that take at least so many bytes each.
  std::size_t count(std::size_t each) {
    const std::uint64_t said = number();
    if (said <= text_.size() / each) return static_cast<std::size_t>(said);
    is_cut_off_ = true;
    return 0;
  }

  std::string_view text_;
  bool is_cut_off_ = false;
};

}  // namespace

void RunsInFlight::follow(const LeafView& leaf) {
  const bool begins = leaf.type == "run.started" || leaf.type == "run.resumed";
  const bool ends = leaf.type == "run.ended";
  const bool is_task = leaf.type == "task.created" || leaf.type == "task.changed";
  if (!begins && !ends && !is_task) return;
  std::string run;
  set_plain(leaf.run, run);
  Flight& flight = runs_[run];
  const bool before = flight.is_running || flight.has_task;
  if (!is_task) {
    flight.is_running = begins;
  } else if (leaf.type == "task.created") {
    flight.has_task = true;
  } else if (const std::string_view state = state_in(leaf.body); !state.empty()) {
    flight.has_task = std::find(last_states.begin(), last_states.end(), state) == last_states.end();
  }
  if ((flight.is_running || flight.has_task) != before) flight.changes.push_back(leaf.index);
}

bool RunsInFlight::contains(std::string_view run, std::uint64_t size) const {
  const auto at = runs_.find(std::string(run));
  if (at == runs_.end()) return false;
  const auto& changes = at->second.changes;
  const auto later = std::lower_bound(changes.begin(), changes.end(), size);
  return (later - changes.begin()) % 2 == 1;
}

std::vector<RunsInFlight::InFlight> RunsInFlight::all() const {
  std::vector<InFlight> found;
  for (const auto& [run, flight] : runs_) {
    if (flight.is_running || flight.has_task)
      found.push_back({run, flight.is_running, flight.has_task});
  }
  std::sort(found.begin(), found.end(),
            [](const auto& one, const auto& other) { return one.run < other.run; });
  return found;
}

void RunsInFlight::add(InFlight run) {
  runs_[std::move(run.run)] = {run.is_running, run.has_task, {0}};
}

void HeldPayloads::add(std::uint64_t index, unsigned place) {
  std::string where;
  lmdb::append_number(where, index, 8);
  lmdb::append_number(where, place, 1);
  hash = sha256({bytes_of(hash), where});
  ++count;
}

// The leaves and the payloads of a stretch, in order, until `leaf` returns false.
Result<void> ExpiryState::rows_from(const Snapshot& snapshot, std::uint64_t begin,
                                    std::uint64_t end,
                                    const std::function<bool(const LeafView&)>& leaf,
                                    const std::function<void(const PayloadRow&)>& payload) {
  LeafView view;
  std::string run;
  bool has_leaf = false;
  const Error enough(Code::closed, "");
  bool is_over = begin >= end;
  if (is_over) return {};
  auto done = snapshot.for_each_row(
      [&](const LogRow& row) -> Result<void> {
        ++rows;
        if (row.kind == RowKind::leaf) {
          is_over = row.index >= end;
          if (!is_over) {
            TRY(scan_leaf(row.value.substr(32), view));
            has_leaf = true;
            set_plain(view.run, run);
            is_over = !leaf(view);
          }
          if (is_over) return Err(enough);
        }
        if (row.kind != RowKind::payload) return {};
        if (!has_leaf || view.index != row.index) {
          return Err(Code::invalid, "a payload belongs to no record; verify the log");
        }
        const std::uint64_t subject = TRY(PayloadCipher::subject_of(row.value));
        payload({row.index, row.place, subject, run, view.unix_ns, row.value.size()});
        return {};
      },
      begin);
  if (is_over) return {};
  return done;
}

void ExpiryState::see(const LeafView& leaf) {
  runs.follow(leaf);
  if (leaf.unix_ns < newest_ns - step_back_ns) {
    young.back().end = leaf.index;
    if (young.back().begin >= young.back().end) young.pop_back();
    young.push_back({leaf.index, UINT64_MAX});
    newest_ns = leaf.unix_ns;
  }
  newest_ns = std::max(newest_ns, leaf.unix_ns);
}

void ExpiryState::see(const PayloadRow& row) {
  const auto is_held = [&](const auto& by) { return by.second == row.subject; };
  if (std::any_of(held_by.begin(), held_by.end(), is_held)) held.add(row.index, row.place);
  // Most who come are new, and have a greater number than all before.
  if (owners.empty() || owners.back().first < row.subject) {
    owners.emplace_back(row.subject, row.index);
    return;
  }
  const auto at =
      std::lower_bound(owners.begin(), owners.end(), decltype(owners)::value_type(row.subject, 0));
  if (at->first == row.subject) {
    at->second = row.index;
  } else {
    owners.insert(at, {row.subject, row.index});
  }
}

ExpiryState ExpiryState::read(const std::string& folder, const Snapshot& snapshot) {
  const auto text = io::read_file(folder + state_file, state_bytes_max);
  if (!text) return {};
  std::optional<ExpiryState> state = StateReader(*text).read();
  if (!state || state->size == 0) return {};
  // The same log, and no older than what is said of it.
  const auto row = snapshot.leaf_row(state->size - 1);
  if (!row || row->hash != state->last) return {};
  return std::move(*state);
}

Result<void> ExpiryState::write(const std::string& folder) const {
  std::string text(state_magic);
  put(text, size);
  text += bytes_of(last);
  put(text, static_cast<std::uint64_t>(newest_ns));
  for (const auto* all : {&young, &kept}) {
    put(text, all->size());
    for (const Stretch& each : *all) put(put(text, each.begin), each.end);
  }
  put(text, held.count);
  text += bytes_of(held.hash);
  for (const auto* all : {&held_by, &owners}) {
    put(text, all->size());
    for (const auto& [one, other] : *all) put(put(text, one), other);
  }
  const auto flights = runs.all();
  put(text, flights.size());
  for (const RunsInFlight::InFlight& run : flights) {
    put(text, (run.is_running ? 1U : 0U) + (run.has_task ? 2U : 0U));
    put(text, run.run.size());
    text += run.run;
  }
  text += bytes_of(sha256(text));
  // What cannot be read again is of no use: then the next one begins at the beginning.
  if (text.size() > state_bytes_max) text.clear();
  return io::write_file(folder + state_file, text, 0600);
}

Result<void> ExpiryState::follow(const Snapshot& snapshot) {
  const std::uint64_t now = TRY(snapshot.size());
  if (now <= size) return {};
  TRY(rows_from(
      snapshot, size, now,
      [this](const LeafView& leaf) {
        see(leaf);
        return true;
      },
      [this](const PayloadRow& row) { see(row); }));
  size = now;
  last = TRY(snapshot.leaf_row(now - 1)).hash;
  return {};
}

Result<void> ExpiryState::hold(HeldBy by, const Snapshot& snapshot) {
  if (by == held_by) return {};
  held_by = std::move(by);
  held = {};
  if (held_by.empty()) return {};
  return rows_from(
      snapshot, 0, size, [](const LeafView&) { return true; },
      [this](const PayloadRow& row) {
        for (const auto& each : held_by) {
          if (each.second != row.subject) continue;
          held.add(row.index, row.place);
          return;
        }
      });
}

Result<std::vector<std::uint64_t>> ExpiryState::without_payload(std::vector<std::uint64_t> subjects,
                                                                const Snapshot& snapshot) {
  std::vector<bool> owns(subjects.size());
  const auto mark = [&](std::uint64_t subject) {
    const auto at = std::lower_bound(subjects.begin(), subjects.end(), subject);
    if (at == subjects.end() || *at != subject) return;
    owns[static_cast<std::size_t>(at - subjects.begin())] = true;
  };
  // Whose last payload has gone may have an earlier one that is younger, by a clock that was wrong.
  bool is_in_doubt = false;
  for (const auto& [subject, last_index] : owners) {
    const auto has = [index = last_index](const Stretch& each) {
      return index >= each.begin && index < each.end;
    };
    if (std::any_of(young.begin(), young.end(), has)) {
      mark(subject);
    } else if (last_index > young.front().begin) {
      is_in_doubt = true;
    }
  }
  std::vector<Stretch> rest = kept;
  if (is_in_doubt) rest.insert(rest.end(), young.begin(), young.end() - 1);
  for (const Stretch& each : rest) {
    TRY(rows_from(
        snapshot, each.begin, each.end, [](const LeafView&) { return true; },
        [&](const PayloadRow& row) { mark(row.subject); }));
  }
  const auto has_gone = [&](const auto& owner) {
    const auto at = std::lower_bound(subjects.begin(), subjects.end(), owner.first);
    return at == subjects.end() || *at != owner.first ||
           !owns[static_cast<std::size_t>(at - subjects.begin())];
  };
  std::erase_if(owners, has_gone);
  std::size_t count = 0;
  for (std::size_t i = 0; i < subjects.size(); ++i) {
    if (!owns[i]) subjects[count++] = subjects[i];
  }
  subjects.resize(count);
  return subjects;
}

DueWalk::DueWalk(ExpiryState& state, std::int64_t newest_ns)
    : state_(state), newest_ns_(newest_ns) {
  for (const Stretch& each : state.kept) work_.push_back({each, true, false, {}});
  for (const Stretch& each : state.young) work_.push_back({each, false, false, {}});
  work_.back().is_last = true;
  work_.back().where.end = std::max(work_.back().where.begin, state.size);
  next_ = work_.front().where.begin;
}

bool DueWalk::look_at(Work& work, const LeafView& leaf) {
  is_paused_ = most_ > 0 && gone_ >= most_;
  if (is_paused_) {
    next_ = leaf.index;
    return false;
  }
  if (leaf.unix_ns <= newest_ns_) return true;
  if (!work.young) work.young = leaf.index;
  return work.is_kept || leaf.unix_ns <= newest_ns_ + step_back_ns;
}

void DueWalk::look_at(Work& work, const PayloadRow& row, const Visit& visit) {
  const bool is_due = row.unix_ns <= newest_ns_;
  const bool goes = is_due && visit(row);
  if (goes) ++gone_;
  // A young one of what is kept: more days are kept now than when it came of age.
  const bool stays = is_due ? !goes : work.is_kept;
  if (stays) add_to(work.stay, row.index);
}

Result<void> DueWalk::go_on(const Snapshot& snapshot, std::size_t most, const Visit& visit) {
  gone_ = 0;
  most_ = most;
  while (!is_over()) {
    Work& work = work_[at_];
    is_paused_ = false;
    TRY(state_.rows_from(
        snapshot, next_, work.where.end, [&](const LeafView& leaf) { return look_at(work, leaf); },
        [&](const PayloadRow& row) { look_at(work, row, visit); }));
    if (is_paused_) return {};
    if (++at_ < work_.size()) next_ = work_[at_].where.begin;
  }
  return {};
}

void DueWalk::finish() {
  state_.kept.clear();
  state_.young.clear();
  for (const Work& work : work_) {
    const std::uint64_t begin = work.is_kept ? work.where.end : work.young.value_or(work.where.end);
    // What stays behind the first young one is seen again with it.
    for (const Stretch& each : work.stay) {
      if (each.begin < begin) state_.kept.push_back({each.begin, std::min(each.end, begin)});
    }
    const std::uint64_t end = work.is_last ? UINT64_MAX : work.where.end;
    if (!work.is_kept && begin < end) state_.young.push_back({begin, end});
  }
}

}  // namespace ambit::log
