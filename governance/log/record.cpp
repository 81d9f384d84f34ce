#include "log/record.h"

#include "log/canonical_json.h"

#include <nlohmann/json.hpp>

#include <array>

namespace ambit::log {
namespace {

using nlohmann::json;

constexpr std::int64_t SECOND_NS = 1'000'000'000;
constexpr std::int64_t DAY_S = 86'400;

std::string padded(std::int64_t number, std::size_t width) {
  std::string text = std::to_string(number);
  if (text.size() < width) text.insert(0, width - text.size(), '0');
  return text;
}

struct Date {
  std::int64_t year = 1970;
  std::int64_t month = 1;
  std::int64_t day = 1;
};

// Proleptic Gregorian calendar; days since 1970-01-01, not negative.
Date date_of(std::int64_t days) {
  const std::int64_t z = days + 719'468;
  const std::int64_t era = z / 146'097;
  const std::int64_t day_of_era = z % 146'097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted = (5 * day_of_year + 2) / 153;
  Date date;
  date.day = day_of_year - (153 * shifted + 2) / 5 + 1;
  date.month = shifted < 10 ? shifted + 3 : shifted - 9;
  date.year = year_of_era + era * 400 + (date.month <= 2 ? 1 : 0);
  return date;
}

std::int64_t days_of(const Date& date) {
  const std::int64_t y = date.month <= 2 ? date.year - 1 : date.year;
  const std::int64_t era = y / 400;
  const std::int64_t year_of_era = y % 400;
  const std::int64_t day_of_year =
      (153 * (date.month + (date.month > 2 ? -3 : 9)) + 2) / 5 + date.day - 1;
  return era * 146'097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
         719'468;
}

Result<void> check_name(std::string_view what, std::string_view name, std::size_t most) {
  if (name.size() > most) {
    return Err(Code::invalid, "the " + std::string(what) + " has " + std::to_string(name.size()) +
                                  " bytes, more than " + std::to_string(most));
  }
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      return Err(Code::invalid, "the " + std::string(what) + " holds a control character");
    }
  }
  return {};
}

Result<std::string> quoted(const std::string& text) {
  return canonical_json(json(text));
}

Result<std::string> text_member(const json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end() || !at->is_string()) {
    return Err(Code::invalid, "the record has no text \"" + std::string(name) + "\"");
  }
  return at->get<std::string>();
}

Result<std::uint64_t> number_member(const json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end() || !at->is_number_unsigned()) {
    return Err(Code::invalid, "the record has no number \"" + std::string(name) + "\"");
  }
  return at->get<std::uint64_t>();
}

Result<Commitment> parse_commitment(const json& object) {
  if (!object.is_object()) return Err(Code::invalid, "a payload of the record is no object");
  Commitment made;
  made.name = TRY(text_member(object, "name"));
  made.bytes = TRY(number_member(object, "bytes"));
  const std::string hex = TRY(text_member(object, "commitment"));
  const std::string bytes = TRY(from_hex(hex));
  made.hash = TRY(hash_from(bytes));
  return made;
}

}  // namespace

Hash commitment(std::string_view salt, std::string_view bytes) {
  return sha256({salt, bytes});
}

Result<void> check_names(const agents::Event& event) {
  TRY(check_name("type", event.type, 128));
  TRY(check_name("run", event.run, 128));
  TRY(check_name("session", event.session, 256));
  TRY(check_name("agent", event.agent, 128));
  if (event.type.empty()) return Err(Code::invalid, "the event has no type");
  if (event.payloads.size() > 64) return Err(Code::invalid, "the event has more than 64 payloads");
  for (const agents::Payload& payload : event.payloads) {
    TRY(check_name("payload's name", payload.name, 64));
  }
  return {};
}

Result<std::string> to_bytes(const Leaf& leaf) {
  // The members stand in the order that canonical JSON asks for.
  std::string out = "{\"agent\":" + TRY(quoted(leaf.agent)) + ",\"body\":" + leaf.body +
                    ",\"index\":" + std::to_string(leaf.index) + ",\"payloads\":[";
  for (std::size_t i = 0; i < leaf.payloads.size(); ++i) {
    const Commitment& payload = leaf.payloads[i];
    if (i > 0) out += ',';
    out += "{\"bytes\":" + std::to_string(payload.bytes) + ",\"commitment\":\"" +
           to_hex(bytes_of(payload.hash)) + "\",\"name\":" + TRY(quoted(payload.name)) + "}";
  }
  out += "],\"previous\":\"" + leaf.previous + "\",\"run\":" + TRY(quoted(leaf.run)) +
         ",\"schema\":\"" + std::string(SCHEMA) + "\",\"session\":" + TRY(quoted(leaf.session)) +
         ",\"time\":\"" + time_text(leaf.unix_ns) + "\",\"type\":" + TRY(quoted(leaf.type)) + "}";
  if (out.size() > LEAF_BYTES_MAX) {
    return Err(Code::invalid, "the record of type " + leaf.type + " has " +
                                  std::to_string(out.size()) + " bytes, more than " +
                                  std::to_string(LEAF_BYTES_MAX) +
                                  "; put what is long into a payload");
  }
  return out;
}

Result<Leaf> parse_leaf(std::string_view bytes) {
  if (bytes.size() > LEAF_BYTES_MAX) return Err(Code::invalid, "the record is longer than 64 KiB");
  const json parsed = json::parse(bytes, nullptr, false);
  if (!parsed.is_object()) return Err(Code::invalid, "the record is not a JSON object");
  Leaf leaf;
  leaf.index = TRY(number_member(parsed, "index"));
  const std::string time = TRY(text_member(parsed, "time"));
  leaf.unix_ns = TRY(parse_time(time));
  leaf.type = TRY(text_member(parsed, "type"));
  leaf.run = TRY(text_member(parsed, "run"));
  leaf.session = TRY(text_member(parsed, "session"));
  leaf.agent = TRY(text_member(parsed, "agent"));
  leaf.previous = TRY(text_member(parsed, "previous"));
  if (TRY(text_member(parsed, "schema")) != SCHEMA) {
    return Err(Code::unsupported, "the record's schema is not " + std::string(SCHEMA));
  }
  const auto body = parsed.find("body");
  const auto payloads = parsed.find("payloads");
  if (body == parsed.end() || !body->is_object() || payloads == parsed.end() ||
      !payloads->is_array()) {
    return Err(Code::invalid, "the record has no body or no list of payloads");
  }
  leaf.body = TRY(canonical_json(*body));
  for (const json& payload : *payloads) leaf.payloads.push_back(TRY(parse_commitment(payload)));
  if (TRY(to_bytes(leaf)) != bytes) return Err(Code::invalid, "the record is not canonical JSON");
  return leaf;
}

std::string time_text(std::int64_t unix_ns) {
  const std::int64_t seconds = unix_ns / SECOND_NS;
  const Date date = date_of(seconds / DAY_S);
  const std::int64_t of_day = seconds % DAY_S;
  return padded(date.year, 4) + "-" + padded(date.month, 2) + "-" + padded(date.day, 2) + "T" +
         padded(of_day / 3600, 2) + ":" + padded(of_day / 60 % 60, 2) + ":" +
         padded(of_day % 60, 2) + "." + padded(unix_ns % SECOND_NS, 9) + "Z";
}

Result<std::int64_t> parse_time(std::string_view given) {
  constexpr std::string_view shape = "0000-00-00T00:00:00.000000000Z";
  constexpr std::string_view whole_seconds = "0000-00-00T00:00:00Z";
  std::string text(given.substr(0, shape.size() + 1));
  if (text.size() == whole_seconds.size() && text.back() == 'Z')
    text.insert(text.size() - 1, ".000000000");
  std::array<std::int64_t, 7> numbers{};
  std::size_t part = 0;
  bool good = text.size() == shape.size();
  for (std::size_t i = 0; good && i < shape.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (shape[i] == '0') {
      good = digit;
      numbers[part] = numbers[part] * 10 + (text[i] - '0');
    } else {
      good = text[i] == shape[i];
      part = std::min<std::size_t>(part + 1, 6);
    }
  }
  if (good) {
    const std::int64_t days = days_of(Date{numbers[0], numbers[1], numbers[2]});
    const std::int64_t seconds = days * DAY_S + numbers[3] * 3600 + numbers[4] * 60 + numbers[5];
    const bool in_range = numbers[0] >= 1970 && numbers[0] <= 2261;
    if (in_range && time_text(seconds * SECOND_NS + numbers[6]) == text) {
      return seconds * SECOND_NS + numbers[6];
    }
  }
  return Err(Code::invalid,
             "\"" + text + "\" is not a time such as 2026-11-21T08:30:00.000000000Z");
}

}  // namespace ambit::log
