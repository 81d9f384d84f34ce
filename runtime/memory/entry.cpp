#include "memory/entry.h"

#include "memory/table.h"

namespace ambit::memory {
namespace {

constexpr char version = 1;

void append_text(std::string& out, std::string_view text) {
  append_number(out, text.size(), 4);
  out += text;
}

class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t number(std::size_t width) {
    const std::string_view taken = take(width);
    return good_ ? number_at(taken, 0, width) : 0;
  }
  std::string text() {
    const auto length = static_cast<std::size_t>(number(4));
    return std::string(take(length));
  }
  [[nodiscard]] bool is_whole() const { return good_ && bytes_.empty(); }

 private:
  std::string_view take(std::size_t count) {
    good_ = good_ && count <= bytes_.size();
    if (!good_) return {};
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }

  std::string_view bytes_;
  bool good_ = true;
};

}  // namespace

std::string to_bytes(const EntryRow& row) {
  const Entry& entry = row.entry;
  std::string out(1, version);
  append_number(out, row.document, 8);
  append_number(out, static_cast<std::uint64_t>(entry.written_unix_ms), 8);
  append_number(out, static_cast<std::uint64_t>(entry.expires_unix_ms), 8);
  append_number(out, static_cast<std::uint64_t>(entry.trust), 1);
  append_number(out, entry.tainted ? 1 : 0, 1);
  append_number(out, entry.sources.size(), 1);
  for (const std::string& source : entry.sources) append_text(out, source);
  for (const std::string* text :
       {&entry.run, &entry.session, &entry.agent, &entry.person, &entry.value}) {
    append_text(out, *text);
  }
  return out;
}

Result<EntryRow> row_of_bytes(std::string_view key, std::string_view bytes) {
  Bytes in(bytes);
  const bool is_ours = in.number(1) == static_cast<std::uint64_t>(version);
  EntryRow row;
  Entry& entry = row.entry;
  entry.key = key;
  row.document = in.number(8);
  entry.written_unix_ms = static_cast<std::int64_t>(in.number(8));
  entry.expires_unix_ms = static_cast<std::int64_t>(in.number(8));
  const std::uint64_t trust = in.number(1);
  entry.tainted = in.number(1) != 0;
  for (std::uint64_t sources = in.number(1); sources > 0; --sources) {
    entry.sources.push_back(in.text());
  }
  for (std::string* text :
       {&entry.run, &entry.session, &entry.agent, &entry.person, &entry.value}) {
    *text = in.text();
  }
  if (!is_ours || !in.is_whole() || trust > static_cast<std::uint64_t>(agents::Trust::untrusted)) {
    return Err(Code::invalid, "the memory is damaged: an entry is none of ours");
  }
  entry.trust = static_cast<agents::Trust>(trust);
  return row;
}

}  // namespace ambit::memory
