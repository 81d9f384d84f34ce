#include "log/expiry.h"

#include "lmdb/key.h"
#include "log/canonical_json.h"
#include "log/subjects.h"
#include "log/writer.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace ambit::log {
namespace {

using nlohmann::json;

constexpr std::size_t removed_at_once = 1024;  // payloads of one transaction
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

std::string plain(std::string_view text) {
  return text.find('\\') == std::string_view::npos ? std::string(text) : unescape_canonical(text);
}

// What cannot be read is left out.
void for_each_of_retention(const Snapshot& snapshot,
                           const std::function<void(const Leaf&)>& visit) {
  (void)snapshot.for_each_in_run(retention_run, [&](std::uint64_t index) {
    const auto bytes = snapshot.leaf(index);
    if (!bytes) return true;
    const auto leaf = parse_leaf(*bytes);
    if (leaf && leaf->run == retention_run && leaf->index == index) visit(*leaf);
    return true;
  });
}

// What a record of expiry says; 0: nothing that can be meant.
std::uint64_t before_in(const Leaf& leaf) {
  const json body = json::parse(leaf.body, nullptr, false);
  if (!body.is_object()) return 0;
  const json before = body.value("before", json());
  return before.is_number_unsigned() ? std::min(before.get<std::uint64_t>(), leaf.index) : 0;
}

}  // namespace

void RunsInFlight::follow(const LeafView& leaf) {
  const bool begins = leaf.type == "run.started" || leaf.type == "run.resumed";
  const bool ends = leaf.type == "run.ended";
  const bool is_task = leaf.type == "task.created" || leaf.type == "task.changed";
  if (!begins && !ends && !is_task) return;
  Flight& flight = runs_[plain(leaf.run)];
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

void HeldPayloads::add(std::uint64_t index, unsigned place) {
  std::string where;
  lmdb::append_number(where, index, 8);
  lmdb::append_number(where, place, 1);
  hash = sha256({bytes_of(hash), where});
  ++count;
}

bool ExpiryRule::holds_run(std::string_view run) const {
  return std::any_of(retention.holds.begin(), retention.holds.end(), [&](const Hold& hold) {
    return !hold.subject && (hold.run.empty() || hold.run == run);
  });
}

bool ExpiryRule::holds_subject(std::uint64_t subject) const {
  return std::any_of(retention.holds.begin(), retention.holds.end(),
                     [&](const Hold& hold) { return hold.subject == subject; });
}

bool ExpiryRule::holds_subjects() const {
  return std::any_of(retention.holds.begin(), retention.holds.end(),
                     [](const Hold& hold) { return hold.subject.has_value(); });
}

bool ExpiryRule::may_go(std::string_view run, std::int64_t unix_ns,
                        const RunsInFlight& runs) const {
  return unix_ns <= newest_ns && !holds_run(run) && !runs.contains(run, size);
}

Result<void> for_each_payload(const Snapshot& snapshot, std::uint64_t begin,
                              const std::function<bool(const PayloadRow&)>& visit) {
  LeafView leaf;
  std::string run;
  const Error enough(Code::closed, "");
  bool is_over = false;
  auto done = snapshot.for_each_row(
      [&](const LogRow& row) -> Result<void> {
        if (row.kind == RowKind::leaf) {
          TRY(scan_leaf(row.value.substr(32), leaf));
          run = plain(leaf.run);
        }
        if (row.kind != RowKind::payload) return {};
        const std::uint64_t subject = TRY(PayloadCipher::subject_of(row.value));
        is_over = !visit({row.index, row.place, subject, run, leaf.unix_ns, row.value.size()});
        if (is_over) return Err(enough);
        return {};
      },
      begin);
  if (is_over) return {};
  return done;
}

Result<ExpiryPlan> plan_expiry(const Snapshot& snapshot, const Retention& retention,
                               std::int64_t unix_ns) {
  if (retention.days == 0) {
    return Err(Code::invalid,
               "nothing was said about how long payloads are kept; say it with: ambit audit retain "
               "--days N --reason TEXT");
  }
  ExpiryPlan plan;
  plan.rule = {0, unix_ns - retention.days * retention_day_ns, retention};
  TRY(go_on(plan, snapshot));
  TRY(for_each_payload(snapshot, 0, [&](const PayloadRow& row) {
    if (row.unix_ns > plan.rule.newest_ns) return true;
    if (plan.rule.holds_subject(row.subject) || plan.rule.holds_run(row.run)) {
      ++plan.held;
    } else if (plan.runs.contains(row.run, plan.rule.size)) {
      ++plan.in_flight;
    } else {
      ++plan.payloads;
      plan.bytes += row.bytes;
      plan.before = row.index + 1;
    }
    return true;
  }));
  return plan;
}

Result<void> go_on(ExpiryPlan& plan, const Snapshot& snapshot) {
  const std::uint64_t begin = plan.rule.size;
  plan.rule.size = TRY(snapshot.size());
  if (begin >= plan.rule.size) return {};
  LeafView leaf;
  Result<void> good;
  TRY(snapshot.for_each_leaf(begin, [&](std::uint64_t, std::string_view bytes) {
    good = scan_leaf(bytes, leaf);
    if (good) plan.runs.follow(leaf);
    return good.has_value();
  }));
  TRY(good);
  if (!plan.rule.holds_subjects()) return {};
  return for_each_payload(snapshot, begin, [&](const PayloadRow& row) {
    if (plan.rule.holds_subject(row.subject)) plan.held_subjects.add(row.index, row.place);
    return true;
  });
}

agents::Event expired_event(const ExpiryPlan& plan, const std::string& by) {
  json body = {{"before", plan.before}, {"by", by}, {"retention", plan.rule.retention.index}};
  if (plan.rule.holds_subjects()) {
    body["held"] = {{"count", plan.held_subjects.count}, {"hash", to_hex(plan.held_subjects.hash)}};
  }
  agents::Event event;
  event.type = expired_type;
  event.run = retention_run;
  event.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  return event;
}

std::uint64_t expired_before(const Snapshot& snapshot) {
  std::uint64_t most = 0;
  for_each_of_retention(snapshot, [&most](const Leaf& leaf) {
    if (leaf.type == expired_type) most = std::max(most, before_in(leaf));
  });
  return most;
}

Expiries Expiries::read(const Snapshot& snapshot) {
  Expiries made;
  Retention now;
  for_each_of_retention(snapshot, [&](const Leaf& leaf) {
    follow_retention(now, leaf);
    if (leaf.type != expired_type) return;
    const json body = json::parse(leaf.body, nullptr, false);
    const std::uint64_t before = before_in(leaf);
    if (before == 0 || now.days == 0 || body.value("retention", json()) != now.index) return;
    Said said;
    said.before = before;
    said.rule = {leaf.index, leaf.unix_ns - now.days * retention_day_ns, now};
    if (body.contains("held") && body["held"].is_object()) {
      const json& held = body["held"];
      if (held.contains("count") && held["count"].is_number_unsigned()) {
        said.held.count = held["count"].get<std::uint64_t>();
      }
      const auto hash = held.contains("hash") && held["hash"].is_string()
                            ? from_hex(held["hash"].get_ref<const std::string&>())
                            : Result<std::string>(std::string());
      if (hash && hash->size() == said.held.hash.size()) said.held.hash = *hash_from(*hash);
    }
    made.all_.push_back(std::move(said));
  });
  if (made.all_.empty()) return made;
  LeafView leaf;
  (void)snapshot.for_each_leaf(0, [&](std::uint64_t, std::string_view bytes) {
    if (scan_leaf(bytes, leaf)) made.runs_.follow(leaf);
    return true;
  });
  return made;
}

bool Expiries::explain(std::uint64_t index, std::string_view run, std::int64_t unix_ns) const {
  // The newest first: it covers most.
  return std::any_of(all_.rbegin(), all_.rend(), [&](const Said& said) {
    return index < said.before && said.rule.may_go(run, unix_ns, runs_);
  });
}

void Expiries::follow(std::uint64_t index, unsigned place, std::uint64_t subject) {
  if (all_.empty() || index >= all_.back().rule.size) return;
  if (all_.back().rule.holds_subject(subject)) found_.add(index, place);
}

bool Expiries::has_all_held() const {
  return all_.empty() || !all_.back().rule.holds_subjects() || found_ == all_.back().held;
}

std::uint64_t Expiries::newest() const {
  return all_.empty() ? 0 : all_.back().rule.size;
}

Result<Expired> LogWriter::expire(const std::string& by, std::int64_t unix_ns) {
  if (by.empty()) return Err(Code::invalid, "say who wants it (--by); the record keeps it");
  const Retention retention = TRY(read_retention(LogReader(store_)));
  ExpiryPlan plan;
  {
    const Snapshot snapshot = TRY(store_->snapshot());
    plan = TRY(plan_expiry(snapshot, retention, unix_ns));
  }
  Expired done{std::nullopt, plan.before, plan.payloads, plan.bytes, plan.held, plan.in_flight, 0};
  if (plan.payloads > 0) {
    // The record comes first: a crash between the two leaves payloads too many, never one too few,
    // and the next time takes them out.
    {
      const std::lock_guard lock(mutex_);
      {
        const Snapshot snapshot = TRY(store_->snapshot());
        TRY(go_on(plan, snapshot));
      }
      const Prepared prepared =
          TRY(log::prepare(expired_event(plan, by), unix_ns, [] { return std::string(); }));
      auto indexes = TRY(append_locked({prepared}));
      done.index = TRY(std::move(indexes.front()));
    }
    TRY(remove_expired(plan));
  }
  done.subjects = TRY(forget_subjects(plan.rule));
  return done;
}

// So many in each transaction, each from a snapshot of its own: the pages of one are there for the
// next.
Result<void> LogWriter::remove_expired(const ExpiryPlan& plan) {
  std::vector<PayloadPlace> places;
  for (std::uint64_t next = 0; next < plan.before;) {
    places.clear();
    const std::uint64_t begin = next;
    next = plan.before;
    {
      const Snapshot snapshot = TRY(store_->snapshot());
      TRY(for_each_payload(snapshot, begin, [&](const PayloadRow& row) {
        const bool is_enough = places.size() >= removed_at_once && row.index != places.back().index;
        if (is_enough) next = row.index;
        if (is_enough || row.index >= plan.before) return false;
        if (!plan.rule.holds_subject(row.subject) &&
            plan.rule.may_go(row.run, row.unix_ns, plan.runs)) {
          places.push_back({row.index, row.place});
        }
        return true;
      }));
    }
    if (stops_expiring_) return Err(Code::closed, "the log is being closed");
    const std::lock_guard lock(mutex_);
    if (!places.empty()) TRY(store_->remove_payloads(places));
  }
  return {};
}

// The keys of those who own no payload any more go in one rewrite; how many.
Result<std::uint64_t> LogWriter::forget_subjects(const ExpiryRule& rule) {
  if (rule.holds_run({})) return std::uint64_t{0};  // everything is held
  std::vector<std::uint64_t> gone;
  {
    const std::lock_guard lock(mutex_);
    gone = subjects_->numbers();
  }
  std::vector<bool> owns(gone.size());
  std::uint64_t seen = 0;  // records
  const auto look = [&]() -> Result<void> {
    const Snapshot snapshot = TRY(store_->snapshot());
    TRY(for_each_payload(snapshot, seen, [&](const PayloadRow& row) {
      const auto at = std::lower_bound(gone.begin(), gone.end(), row.subject);
      if (at != gone.end() && *at == row.subject) {
        owns[static_cast<std::size_t>(at - gone.begin())] = true;
      }
      return !stops_expiring_;
    }));
    seen = TRY(snapshot.size());
    if (stops_expiring_) return Err(Code::closed, "the log is being closed");
    return {};
  };
  TRY(look());
  // Those who were given a payload meanwhile keep their key.
  const std::lock_guard lock(mutex_);
  TRY(look());
  std::size_t kept = 0;
  for (std::size_t i = 0; i < gone.size(); ++i) {
    // Who is held by number must not get another one.
    if (!owns[i] && !rule.holds_subject(gone[i])) gone[kept++] = gone[i];
  }
  gone.resize(kept);
  payloads_number_ = 0;
  TRY(subjects_->erase(std::move(gone)));
  return std::uint64_t{kept};
}

}  // namespace ambit::log
