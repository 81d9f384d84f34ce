#include "log/record.h"

#include "log/canonical_json.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace ambit::log {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;
constexpr std::int64_t day_s = 86'400;

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
  std::string quoted;
  if (!append_quoted(name, quoted)) {
    return Err(Code::invalid, "the " + std::string(what) + " is not UTF-8");
  }
  return {};
}

// Takes the parts of a record one after another; the first that is not there ends it.
class Scanner {
 public:
  explicit Scanner(std::string_view bytes) : rest_(bytes) {}

  bool literal(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  // A text with its quotes; `inner` is what stands between them.
  bool text(std::string_view& inner) {
    const std::size_t length = canonical_string_length(rest_);
    if (length == 0) return false;
    inner = rest_.substr(1, length - 2);
    rest_.remove_prefix(length);
    return true;
  }
  bool object(std::string_view& value) {
    if (!rest_.starts_with('{')) return false;
    const std::size_t length = canonical_value_length(rest_);
    value = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return length > 0;
  }
  bool number(std::uint64_t& value) {
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    const auto length = static_cast<std::size_t>(end - rest_.data());
    if (error != std::errc() || length == 0 || (rest_.front() == '0' && length > 1)) return false;
    rest_.remove_prefix(length);
    return true;
  }
  [[nodiscard]] bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

constexpr std::array<bool, 256> lower_hex_digits = [] {
  std::array<bool, 256> table{};
  for (const char c : std::string_view("0123456789abcdef")) {
    table[static_cast<unsigned char>(c)] = true;
  }
  return table;
}();

bool is_hash(std::string_view text) {
  if (text.size() != 64) return false;
  bool good = true;
  for (const char c : text) good &= lower_hex_digits[static_cast<unsigned char>(c)];
  return good;
}

bool scan_payloads(Scanner& scanner, std::vector<LeafView::Payload>& found) {
  found.clear();
  if (scanner.literal("]")) return true;
  do {
    LeafView::Payload one;
    const bool good = scanner.literal("{\"bytes\":") && scanner.number(one.bytes) &&
                      scanner.literal(",\"commitment\":") && scanner.text(one.commitment) &&
                      is_hash(one.commitment) && scanner.literal(",\"name\":") &&
                      scanner.text(one.name) && scanner.literal("}");
    if (!good) return false;
    found.push_back(one);
  } while (scanner.literal(","));
  return scanner.literal("]");
}

void append_digits(std::string& out, std::int64_t number, std::size_t width) {
  const std::size_t end = out.size() + width;
  out.resize(end, '0');
  for (std::size_t at = end; number > 0 && at > end - width; number /= 10) {
    out[--at] = static_cast<char>('0' + number % 10);
  }
}

std::int64_t days_in_month(std::int64_t year, std::int64_t month) {
  constexpr std::array<std::int64_t, 12> days = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : days[static_cast<std::size_t>(month - 1)];
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
  std::string out;
  out.reserve(leaf.body.size() + 384 + 160 * leaf.payloads.size());
  bool good = true;
  const auto text = [&out, &good](std::string_view name, const std::string& value) {
    out += name;
    good = append_quoted(value, out) && good;
  };
  text("{\"agent\":", leaf.agent);
  out += ",\"body\":";
  out += leaf.body;
  out += ",\"index\":";
  out += std::to_string(leaf.index);
  out += ",\"payloads\":[";
  for (std::size_t i = 0; i < leaf.payloads.size(); ++i) {
    const Commitment& payload = leaf.payloads[i];
    out += i > 0 ? ",{\"bytes\":" : "{\"bytes\":";
    out += std::to_string(payload.bytes);
    out += ",\"commitment\":\"";
    append_hex(bytes_of(payload.hash), out);
    text("\",\"name\":", payload.name);
    out += '}';
  }
  out += "],\"previous\":\"";
  out += leaf.previous;
  text("\",\"run\":", leaf.run);
  out += ",\"schema\":\"";
  out += schema_name;
  text("\",\"session\":", leaf.session);
  out += ",\"time\":\"";
  out += time_text(leaf.unix_ns);
  text("\",\"type\":", leaf.type);
  out += '}';
  if (!good) return Err(Code::invalid, "a name of the record is not UTF-8");
  if (out.size() > leaf_bytes_max) {
    return Err(Code::invalid, "the record of type " + leaf.type + " has " +
                                  std::to_string(out.size()) + " bytes, more than " +
                                  std::to_string(leaf_bytes_max) +
                                  "; put what is long into a payload");
  }
  return out;
}

Result<void> scan_leaf(std::string_view bytes, LeafView& found) {
  if (bytes.size() > leaf_bytes_max) return Err(Code::invalid, "the record is longer than 64 KiB");
  Scanner scanner(bytes);
  std::string_view schema;
  std::string_view time;
  const bool first = scanner.literal("{\"agent\":") && scanner.text(found.agent) &&
                     scanner.literal(",\"body\":") && scanner.object(found.body) &&
                     scanner.literal(",\"index\":") && scanner.number(found.index) &&
                     scanner.literal(",\"payloads\":[") && scan_payloads(scanner, found.payloads) &&
                     scanner.literal(",\"previous\":") && scanner.text(found.previous) &&
                     (found.previous.empty() || is_hash(found.previous)) &&
                     scanner.literal(",\"run\":") && scanner.text(found.run) &&
                     scanner.literal(",\"schema\":") && scanner.text(schema);
  if (first && schema != schema_name) {
    return Err(Code::unsupported, "the record's schema is not " + std::string(schema_name));
  }
  const bool second = first && scanner.literal(",\"session\":") && scanner.text(found.session) &&
                      scanner.literal(",\"time\":") && scanner.text(time) && time.size() == 30 &&
                      scanner.literal(",\"type\":") && scanner.text(found.type) &&
                      scanner.literal("}") && scanner.at_end();
  if (!second) {
    return Err(Code::invalid,
               "the record is not canonical JSON of the form " + std::string(schema_name));
  }
  found.unix_ns = TRY(parse_time(time));
  return {};
}

Result<Leaf> parse_leaf(std::string_view bytes) {
  LeafView view;
  TRY(scan_leaf(bytes, view));
  Leaf leaf;
  leaf.index = view.index;
  leaf.unix_ns = view.unix_ns;
  leaf.type = unescape_canonical(view.type);
  leaf.run = unescape_canonical(view.run);
  leaf.session = unescape_canonical(view.session);
  leaf.agent = unescape_canonical(view.agent);
  leaf.body = std::string(view.body);
  leaf.previous = std::string(view.previous);
  for (const LeafView::Payload& payload : view.payloads) {
    const std::string hash = TRY(from_hex(payload.commitment));
    leaf.payloads.push_back(
        {unescape_canonical(payload.name), payload.bytes, TRY(hash_from(hash))});
  }
  return leaf;
}

std::string time_text(std::int64_t unix_ns) {
  const std::int64_t seconds = unix_ns / second_ns;
  const Date date = date_of(seconds / day_s);
  const std::int64_t of_day = seconds % day_s;
  std::string text;
  text.reserve(32);
  const auto put = [&text](std::int64_t number, std::size_t width, char after) {
    append_digits(text, number, width);
    text += after;
  };
  put(date.year, 4, '-');
  put(date.month, 2, '-');
  put(date.day, 2, 'T');
  put(of_day / 3600, 2, ':');
  put(of_day / 60 % 60, 2, ':');
  put(of_day % 60, 2, '.');
  put(unix_ns % second_ns, 9, 'Z');
  return text;
}

Result<std::int64_t> parse_time(std::string_view given) {
  constexpr std::string_view shape = "0000-00-00T00:00:00.000000000Z";
  constexpr std::string_view whole_seconds = "0000-00-00T00:00:00Z";
  // A time in whole seconds is the same with a fraction of zeros.
  const bool whole = given.size() == whole_seconds.size() && given.back() == 'Z';
  std::string longer;
  if (whole) longer = std::string(given.substr(0, given.size() - 1)) + ".000000000Z";
  const std::string_view text = whole ? std::string_view(longer) : given;
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
  const auto [year, month, day, hour, minute, second, fraction] = numbers;
  if (good && year >= 1970 && year <= 2261 && month >= 1 && month <= 12 && day >= 1 &&
      day <= days_in_month(year, month) && hour <= 23 && minute <= 59 && second <= 59) {
    const std::int64_t seconds =
        days_of(Date{year, month, day}) * day_s + hour * 3600 + minute * 60 + second;
    return seconds * second_ns + fraction;
  }
  return Err(Code::invalid, "\"" + std::string(given.substr(0, 40)) +
                                "\" is not a time such as 2026-11-21T08:30:00.000000000Z");
}

}  // namespace ambit::log
