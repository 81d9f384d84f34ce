#include "log/expiry.h"

#include "log/canonical_json.h"
#include "log/writer.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::log {
namespace {

using nlohmann::json;

constexpr std::size_t removed_at_once = 1024;  // payloads of one transaction
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

Result<ExpiryPlan> plan_expiry(const Snapshot& snapshot, const Retention& retention,
                               std::int64_t unix_ns, ExpiryState state) {
  if (retention.days == 0) {
    return Err(Code::invalid,
               "nothing was said about how long payloads are kept; say it with: ambit audit retain "
               "--days N --reason TEXT");
  }
  ExpiryPlan plan;
  plan.rule = {0, unix_ns - retention.days * retention_day_ns, retention};
  plan.state = std::move(state);
  ExpiryState::HeldBy holds;
  for (const Hold& hold : retention.holds) {
    if (hold.subject) holds.emplace_back(hold.index, *hold.subject);
  }
  TRY(plan.state.hold(std::move(holds), snapshot));
  TRY(go_on(plan, snapshot));
  DueWalk walk(plan.state, plan.rule.newest_ns);
  TRY(walk.go_on(snapshot, 0, [&plan](const PayloadRow& row) {
    if (plan.rule.holds_subject(row.subject) || plan.rule.holds_run(row.run)) {
      ++plan.held;
    } else if (plan.state.runs.contains(row.run, plan.rule.size)) {
      ++plan.in_flight;
    } else {
      ++plan.payloads;
      plan.bytes += row.bytes;
      plan.before = std::max(plan.before, row.index + 1);
      return true;
    }
    return false;
  }));
  // Else what goes is still there until it has been removed.
  if (plan.payloads == 0) walk.finish();
  return plan;
}

Result<void> go_on(ExpiryPlan& plan, const Snapshot& snapshot) {
  TRY(plan.state.follow(snapshot));
  plan.rule.size = plan.state.size;
  return {};
}

agents::Event expired_event(const ExpiryPlan& plan, const std::string& by) {
  json body = {{"before", plan.before}, {"by", by}, {"retention", plan.rule.retention.index}};
  if (plan.rule.holds_subjects()) {
    body["held"] = {{"count", plan.state.held.count}, {"hash", to_hex(plan.state.held.hash)}};
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
    plan = TRY(plan_expiry(snapshot, retention, unix_ns, ExpiryState::read(folder_, snapshot)));
  }
  Expired done;
  done.before = plan.before;
  done.payloads = plan.payloads;
  done.bytes = plan.bytes;
  done.held = plan.held;
  done.in_flight = plan.in_flight;
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
  done.subjects = TRY(forget_subjects(plan));
  done.rows = plan.state.rows;
  // A hint, and nobody misses it but the next one's patience.
  (void)plan.state.write(folder_);
  return done;
}

// So many in each transaction, each from a snapshot of its own: the pages of one are there for the
// next.
Result<void> LogWriter::remove_expired(ExpiryPlan& plan) {
  std::vector<PayloadPlace> places;
  DueWalk walk(plan.state, plan.rule.newest_ns);
  while (!walk.is_over()) {
    places.clear();
    {
      const Snapshot snapshot = TRY(store_->snapshot());
      TRY(walk.go_on(snapshot, removed_at_once, [&](const PayloadRow& row) {
        const bool goes = row.index < plan.before && !plan.rule.holds_subject(row.subject) &&
                          plan.rule.may_go(row.run, row.unix_ns, plan.state.runs);
        if (goes) places.push_back({row.index, row.place});
        return goes;
      }));
    }
    if (stops_expiring_) return Err(Code::closed, "the log is being closed");
    const std::lock_guard lock(mutex_);
    if (!places.empty()) TRY(store_->remove_payloads(places));
  }
  walk.finish();
  return {};
}

// The keys of those who own no payload any more go in one rewrite; how many.
Result<std::uint64_t> LogWriter::forget_subjects(ExpiryPlan& plan) {
  if (plan.rule.holds_run({})) return std::uint64_t{0};  // everything is held
  if (stops_expiring_) return Err(Code::closed, "the log is being closed");
  // Those who were given a payload meanwhile keep their key.
  const std::lock_guard lock(mutex_);
  const Snapshot snapshot = TRY(store_->snapshot());
  TRY(plan.state.follow(snapshot));
  auto gone = TRY(plan.state.without_payload(subjects_->numbers(), snapshot));
  // Who is held by number must not get another one.
  std::erase_if(gone, [&](std::uint64_t number) { return plan.rule.holds_subject(number); });
  payloads_number_ = 0;
  const std::uint64_t count = gone.size();
  TRY(subjects_->erase(std::move(gone)));
  return count;
}

}  // namespace ambit::log
