#include "governance/autonomy.h"

#include "governance/action_json.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::governance {
namespace {

using agents::Notice;
using nlohmann::json;

constexpr std::size_t certificate_bytes_max = 1U << 20;
constexpr std::size_t answers_max = 100;

std::string text_of_json(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

tl::unexpected<Error> not_raised(const std::string& why) {
  return Err(Code::denied, "the level is not raised: " + why);
}

bool is_level(const json& value) {
  return value.is_number_integer() && value >= autonomy_least && value <= autonomy_most;
}

// The request as the certificate has it, with the hash that the answers must be about.
Result<ApprovalRequest> request_of(const json& certificate) {
  const auto at = certificate.find("request");
  if (at == certificate.end() || !at->is_object()) return not_raised("it has no request");
  for (const char* name : {"id", "hash", "reason"}) {
    if (!at->contains(name) || !(*at)[name].is_string())
      return not_raised("its request is damaged");
  }
  for (const char* name : {"needed", "askedMs", "expiresMs"}) {
    if (!at->contains(name) || !(*at)[name].is_number_integer()) {
      return not_raised("its request is damaged");
    }
  }
  ApprovalRequest request;
  request.id = (*at)["id"].get<std::string>();
  request.hash = (*at)["hash"].get<std::string>();
  request.reason = (*at)["reason"].get<std::string>();
  request.needed = (*at)["needed"].get<std::int64_t>();
  request.asked_ms = (*at)["askedMs"].get<std::int64_t>();
  request.expires_ms = (*at)["expiresMs"].get<std::int64_t>();
  request.action = TRY(action_from_json(at->value("action", json())));
  return request;
}

// Plays the answers again to a desk that knows only the keys.
Result<void> check_answers(const ApprovalRequest& request, const json& certificate,
                           const std::vector<log::VerifierKey>& approvers) {
  ApprovalDesk desk = TRY(ApprovalDesk::create(approvers, {}));
  TRY(desk.restore(request));
  const auto notes = certificate.find("answers");
  if (notes == certificate.end() || !notes->is_array() || notes->size() > answers_max) {
    return not_raised("it has no answers");
  }
  for (const json& note : *notes) {
    if (!note.is_string()) return not_raised("an answer is no note");
    const auto& text = note.get_ref<const std::string&>();
    const auto parsed = log::Note::parse(text);
    if (!parsed) return not_raised("an answer is no note");
    const ApprovalAnswer said = TRY(parse_answer(parsed->text));
    const auto state = desk.answer(text, said.at_ms);
    if (!state) return not_raised(state.error().message);
  }
  if (desk.state(request.id, request.asked_ms) != ApprovalState::approved) {
    return not_raised("too few people have approved it");
  }
  return {};
}

}  // namespace

agents::Action autonomy_action(const std::string& agent, std::int64_t level,
                               const std::string& requester, const std::string& id) {
  agents::Action action;
  action.id = id;
  action.kind = agents::ActionKind::memory_write;
  action.agent = agent;
  action.on_behalf_of = requester;
  action.tool = "autonomy";
  action.arguments = text_of_json({{"agent", agent}, {"level", level}});
  return action;
}

std::string autonomy_certificate(const ApprovalRequest& request,
                                 const std::vector<std::string>& answers) {
  return text_of_json({{"request",
                        {{"id", request.id},
                         {"hash", request.hash},
                         {"reason", request.reason},
                         {"needed", request.needed},
                         {"askedMs", request.asked_ms},
                         {"expiresMs", request.expires_ms},
                         {"action", to_json(request.action)}}},
                       {"answers", answers}});
}

Result<AutonomyLevels> AutonomyLevels::create(std::map<std::string, std::int64_t> levels) {
  for (const auto& [agent, level] : levels) {
    if (level < autonomy_least || level > autonomy_most) {
      return Err(Code::invalid, "the autonomy level of " + agent + " must be 1 to 5");
    }
  }
  AutonomyLevels made;
  made.levels_ = std::move(levels);
  return made;
}

std::int64_t AutonomyLevels::of(const std::string& agent) const {
  const auto found = levels_.find(agent);
  return found == levels_.end() ? autonomy_least : found->second;
}

std::optional<Notice> AutonomyLevels::lower(const std::string& agent, std::int64_t to,
                                            const std::string& why) {
  const std::int64_t from = of(agent);
  to = std::max(to, autonomy_least);
  if (to >= from) return std::nullopt;
  levels_[agent] = to;
  return Notice{"autonomy.lowered",
                text_of_json({{"agent", agent}, {"from", from}, {"reason", why}, {"to", to}})};
}

Result<Notice> AutonomyLevels::raise(std::string_view text,
                                     const std::vector<log::VerifierKey>& approvers) {
  if (text.size() > certificate_bytes_max) return not_raised("the certificate is too long");
  const json certificate = json::parse(text, nullptr, false);
  if (!certificate.is_object()) return not_raised("the certificate is no JSON object");
  const ApprovalRequest request = TRY(request_of(certificate));
  const agents::Action& action = request.action;
  if (request.needed < 2) return not_raised("two people must approve it");
  if (action.kind != agents::ActionKind::memory_write || action.tool != "autonomy") {
    return not_raised("the certificate is about another action");
  }
  const json arguments = json::parse(action.arguments, nullptr, false);
  if (!arguments.is_object() || arguments.value("agent", "") != action.agent ||
      !arguments.contains("level") || !is_level(arguments["level"])) {
    return not_raised("the certificate names no agent and level");
  }
  const auto level = arguments["level"].get<std::int64_t>();
  const std::int64_t from = of(action.agent);
  if (certificates_.contains(request.id)) return not_raised("the certificate was used before");
  if (level <= from) {
    return not_raised(action.agent + " has the level " + std::to_string(from) + " already");
  }
  TRY(check_answers(request, certificate, approvers));
  certificates_.insert(request.id);
  levels_[action.agent] = level;
  return Notice{"autonomy.raised", text_of_json({{"agent", action.agent},
                                                 {"approval", request.id},
                                                 {"from", from},
                                                 {"hash", request.hash},
                                                 {"reason", request.reason},
                                                 {"to", level}})};
}

void AutonomyLevels::take(const AutonomyLevels& other) {
  for (const auto& [agent, level] : other.levels_) levels_[agent] = level;
  certificates_.insert(other.certificates_.begin(), other.certificates_.end());
}

std::string AutonomyLevels::to_json() const {
  return text_of_json({{"levels", levels_}, {"certificates", certificates_}});
}

Result<AutonomyLevels> AutonomyLevels::from_json(std::string_view text) {
  const json value = json::parse(text, nullptr, false);
  const auto bad = [] { return Err(Code::invalid, "these are no autonomy levels"); };
  if (!value.is_object() || value.size() != 2 || !value.contains("levels") ||
      !value["levels"].is_object() || !value.contains("certificates") ||
      !value["certificates"].is_array()) {
    return bad();
  }
  std::map<std::string, std::int64_t> levels;
  for (const auto& [agent, level] : value["levels"].items()) {
    if (!is_level(level)) return bad();
    levels[agent] = level.get<std::int64_t>();
  }
  AutonomyLevels made = TRY(create(std::move(levels)));
  for (const json& id : value["certificates"]) {
    if (!id.is_string()) return bad();
    made.certificates_.insert(id.get<std::string>());
  }
  return made;
}

}  // namespace ambit::governance
