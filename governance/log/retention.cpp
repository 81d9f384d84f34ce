#include "log/retention.h"

#include "log/canonical_json.h"
#include "log/subjects.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::log {
namespace {

using nlohmann::json;

std::string text(const json& body, const char* name) {
  const auto at = body.find(name);
  return at != body.end() && at->is_string() ? at->get<std::string>() : std::string();
}

std::int64_t whole(const json& body, const char* name) {
  const auto at = body.find(name);
  return at != body.end() && at->is_number_integer() ? at->get<std::int64_t>() : 0;
}

agents::Event event_of(std::string_view type, const json& body) {
  agents::Event event;
  event.type = type;
  event.run = retention_run;
  event.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  return event;
}

Result<void> check_words(const std::string& by, const std::string& reason) {
  if (by.empty() || reason.empty()) {
    return Err(Code::invalid, "say who wants it (--by) and why (--reason); the record keeps both");
  }
  return {};
}

std::string word_of(const Hold& hold) {
  return "record " + std::to_string(hold.index) + " (a hold by " + hold.by + ": " + hold.reason +
         ")";
}

}  // namespace

void follow_retention(Retention& now, const Leaf& leaf) {
  const json body = json::parse(leaf.body, nullptr, false);
  if (!body.is_object()) return;
  if (leaf.type == retention_type) {
    now.days = std::clamp<std::int64_t>(whole(body, "days"), 0, retention_days_max);
    now.is_high_risk = body.value("highRisk", json()) == true;
    now.expires = body.value("expire", json()) == true;
    now.index = leaf.index;
  } else if (leaf.type == hold_type) {
    Hold hold{leaf.index, std::nullopt, text(body, "run"), text(body, "by"), text(body, "reason")};
    if (body.contains("subject")) hold.subject = static_cast<std::uint64_t>(whole(body, "subject"));
    now.holds.push_back(std::move(hold));
  } else if (leaf.type == release_type) {
    const auto released = static_cast<std::uint64_t>(whole(body, "hold"));
    std::erase_if(now.holds, [&](const Hold& hold) { return hold.index == released; });
  }
}

Result<Retention> read_retention(const LogReader& reader) {
  Retention retention;
  Filter filter;
  filter.run = retention_run;
  TRY(reader.for_each(filter, [&retention](const Leaf& leaf) {
    follow_retention(retention, leaf);
    return true;
  }));
  return retention;
}

Result<agents::Event> retention_event(const Retention& now, const Keeping& wanted,
                                      const std::string& by, const std::string& reason) {
  TRY(check_words(by, reason));
  if (wanted.days < 1 || wanted.days > retention_days_max) {
    return Err(Code::invalid, "payloads are kept for 1 to 36500 days");
  }
  const bool risk = wanted.is_high_risk || now.is_high_risk;
  if (risk && wanted.days < high_risk_days) {
    return Err(Code::denied,
               "the fleets of this log are of high risk: what they did is kept for "
               "at least 183 days");
  }
  json body = {{"by", by}, {"days", wanted.days}, {"highRisk", risk}, {"reason", reason}};
  if (wanted.expires) body["expire"] = true;
  return event_of(retention_type, body);
}

agents::Event hold_event(const Hold& hold) {
  json body = {{"by", hold.by}, {"reason", hold.reason}};
  if (hold.subject) body["subject"] = *hold.subject;
  if (!hold.run.empty()) body["run"] = hold.run;
  return event_of(hold_type, body);
}

Result<agents::Event> release_event(const Retention& now, std::uint64_t hold, const std::string& by,
                                    const std::string& reason) {
  TRY(check_words(by, reason));
  const bool is_there = std::any_of(now.holds.begin(), now.holds.end(),
                                    [hold](const Hold& each) { return each.index == hold; });
  if (!is_there) {
    return Err(Code::not_found, "there is no hold " + std::to_string(hold) +
                                    " that is still in force (see: ambit audit retention)");
  }
  return event_of(release_type, {{"by", by}, {"hold", hold}, {"reason", reason}});
}

Result<void> may_erase(const Retention& retention, const Snapshot& snapshot, std::uint64_t subject,
                       std::int64_t unix_ns) {
  for (const Hold& hold : retention.holds) {
    if (!hold.run.empty()) continue;
    if (!hold.subject || *hold.subject == subject) {
      return Err(Code::denied, word_of(hold) + " forbids to erase this subject");
    }
  }
  const bool has_runs = std::any_of(retention.holds.begin(), retention.holds.end(),
                                    [](const Hold& hold) { return !hold.run.empty(); });
  if (retention.days == 0 && !has_runs) return {};
  LeafView leaf;
  std::int64_t newest_ns = 0;
  TRY(snapshot.for_each_row([&](const LogRow& row) -> Result<void> {
    if (row.kind == RowKind::leaf) return scan_leaf(row.value.substr(32), leaf);
    if (row.kind != RowKind::payload) return {};
    const auto owner = PayloadCipher::subject_of(row.value);
    if (!owner || *owner != subject) return {};
    newest_ns = std::max(newest_ns, leaf.unix_ns);
    for (const Hold& hold : retention.holds) {
      if (!hold.run.empty() && unescape_canonical(leaf.run) == hold.run) {
        return Err(Code::denied, word_of(hold) + " forbids to erase what happened in run " +
                                     hold.run + ", and record " + std::to_string(leaf.index) +
                                     " holds data of this subject");
      }
    }
    return {};
  }));
  if (retention.days > 0 && newest_ns > 0 &&
      unix_ns < newest_ns + retention.days * retention_day_ns) {
    return Err(Code::denied,
               "payloads of this subject are from " + time_text(newest_ns).substr(0, 10) +
                   " and are kept for " + std::to_string(retention.days) + " days, until " +
                   time_text(newest_ns + retention.days * retention_day_ns).substr(0, 10) +
                   " (record " + std::to_string(retention.index) + ")");
  }
  return {};
}

}  // namespace ambit::log
