#include "evidence/bundle.h"

#include "evidence/members.h"
#include "io/file.h"
#include "log/canonical_json.h"
#include "log/folder_lock.h"
#include "log/sha256.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>

namespace ambit::evidence {
namespace {

constexpr std::uint64_t records_max = 100'000;
constexpr std::size_t policy_bytes_max = std::size_t{4} << 20;
constexpr std::size_t policies_max = 1000;

constexpr std::string_view how_to = R"(# How to check this bundle without the program that made it

Files
  records.jsonl    the records, one a line; a line without its newline is a leaf of the log, byte for byte
  proofs/N.tlog-proof  for record N: c2sp.org/tlog-proof@v1, with the signed checkpoint at its end
  checkpoint       the newest signed checkpoint (C2SP tlog-checkpoint, a signed note)
  vkey             the log's public key; compare it with the one that you got in another way
  tlog-policy      the same for tools that read C2SP tlog-policy
  payloads.jsonl   only if asked for: what stands beside the records, with its salt
  redactions.jsonl payloads that are not here, and why
  policies/HASH    policy texts by their SHA-256
  schema.json      JSON Schema of a record

1. The checkpoint: verify the Ed25519 signature of the note with vkey (C2SP signed-note; in Go:
   golang.org/x/mod/sumdb/note.Open).
2. Each record: SHA-256(0x00 || line) is the leaf hash; with the hashes in the proof, the index and the
   size in the checkpoint, RFC 6962 section 2.1.1 leads to the root in the checkpoint (in Go:
   golang.org/x/mod/sumdb/tlog.CheckRecord).
3. The session's chain: "previous" is the leaf hash of the record before it in the same run and session.
4. Each payload: SHA-256(salt || bytes) is the "commitment" of the record's payload of that name.
5. Completeness: if the bundle holds a whole session, the chain has no gap from the record with an empty
   "previous" to the one of type session.ended.
)";

constexpr std::string_view schema_text = R"({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "$id": "ambit.record/1",
  "type": "object",
  "additionalProperties": false,
  "required": ["agent", "body", "index", "payloads", "previous", "run", "schema", "session", "time", "type"],
  "properties": {
    "agent": {"type": "string"},
    "body": {"type": "object"},
    "index": {"type": "integer", "minimum": 0},
    "payloads": {"type": "array", "maxItems": 64, "items": {
      "type": "object", "additionalProperties": false, "required": ["bytes", "commitment", "name"],
      "properties": {"bytes": {"type": "integer", "minimum": 0},
        "commitment": {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "name": {"type": "string"}}}},
    "previous": {"type": "string", "pattern": "^([0-9a-f]{64})?$"},
    "run": {"type": "string"},
    "schema": {"const": "ambit.record/1"},
    "session": {"type": "string"},
    "time": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{9}Z$"},
    "type": {"type": "string"}
  }
}
)";

Result<void> make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0) return {};
  if (errno == EEXIST) {
    return Err(Code::conflict, "the folder " + path + " is there already; name a new one");
  }
  return Err(log::file_error("make the folder", path, errno));
}

// The texts that grow with each record; bounded by records_max and the payloads' size.
struct Texts {
  std::string records;
  std::string payloads;
  std::string redactions;
};

std::string in_quotes(std::string_view text) {
  std::string out;
  return log::append_quoted(text, out) ? out : "\"?\"";
}

void add_redaction(Texts& texts, std::uint64_t index, const std::string& name, const char* why) {
  texts.redactions += "{\"index\":" + std::to_string(index) + ",\"name\":" + in_quotes(name) +
                      ",\"why\":\"" + why + "\"}\n";
}

// What the fleet's rules took out of it before it was recorded.
void add_early_redactions(Texts& texts, const log::Leaf& leaf) {
  for_each_member(leaf.body, [&](std::string_view name, std::string_view value) {
    if (name != "redacted") return;
    for_each_element(value, [&](std::string_view each) {
      if (each.starts_with('"')) {
        add_redaction(texts, leaf.index, text_of(each), "taken out before it was recorded");
      }
    });
  });
}

using PolicyTexts = std::map<std::string, std::string>;  // by their SHA-256

void take_policies(const std::vector<agents::Payload>& payloads, PolicyTexts& policies) {
  for (const agents::Payload& payload : payloads) {
    if (!payload.name.starts_with("policy ") || policies.size() >= policies_max) continue;
    policies.emplace(log::to_hex(log::sha256(payload.bytes)), payload.bytes);
  }
}

// A process that serves says which policies it began with, and which it read again; a run says it
// in its first record. They are nobody's secret, and a decision means nothing without them.
Result<void> take_policies_of_processes(const log::LogReader& reader, PolicyTexts& policies) {
  for (const char* type : {"serve.started", "policy.loaded"}) {
    log::Filter filter;
    filter.type = type;
    std::vector<std::uint64_t> indexes;
    TRY(reader.for_each(filter, [&indexes](const log::Leaf& leaf) {
      indexes.push_back(leaf.index);
      return indexes.size() < policies_max;
    }));
    for (const std::uint64_t index : indexes) {
      const log::ProvenRecord record = TRY(reader.get(index));
      take_policies(record.payloads, policies);
    }
  }
  return {};
}

}  // namespace

Result<BundleReport> write_bundle(const log::LogReader& reader, const log::VerifierKey& key,
                                  const BundleOptions& options) {
  std::vector<std::uint64_t> chosen;
  TRY(reader.for_each(options.filter, [&chosen](const log::Leaf& leaf) {
    chosen.push_back(leaf.index);
    return chosen.size() <= records_max;
  }));
  if (chosen.empty()) return Err(Code::not_found, "no record fits; nothing was written");
  if (chosen.size() > records_max) {
    return Err(Code::exhausted, "more than 100000 records fit; choose fewer, or export the tiles");
  }
  TRY(make_folder(options.folder));
  TRY(make_folder(options.folder + "/proofs"));
  BundleReport report;
  Texts texts;
  std::string checkpoint;
  PolicyTexts policies;
  TRY(take_policies_of_processes(reader, policies));
  for (const std::uint64_t index : chosen) {
    const log::ProvenRecord record = TRY(reader.get(index));
    texts.records += record.bytes + "\n";
    checkpoint = record.note;
    add_early_redactions(texts, record.leaf);
    take_policies(record.payloads, policies);
    TRY(io::write_file(options.folder + "/proofs/" + std::to_string(index) + ".tlog-proof",
                       record.tlog_proof()));
    ++report.records;
    for (const std::string& name : record.erased) {
      add_redaction(texts, index, name, "erased");
      ++report.withheld;
    }
    for (const std::string& name : record.expired) {
      add_redaction(texts, index, name, "expired");
      ++report.withheld;
    }
    for (std::size_t i = 0; i < record.payloads.size(); ++i) {
      const agents::Payload& payload = record.payloads[i];
      if (!options.payloads) {
        add_redaction(texts, index, payload.name, "not included");
        ++report.withheld;
        continue;
      }
      texts.payloads += "{\"index\":" + std::to_string(index) +
                        ",\"name\":" + in_quotes(payload.name) + ",\"salt\":\"" +
                        log::to_hex(record.salts[i]) + "\",\"bytes\":\"" +
                        log::to_base64(payload.bytes) + "\"}\n";
      ++report.payloads;
    }
  }
  const std::pair<const char*, std::string> files[] = {
      {"records.jsonl", texts.records},
      {"redactions.jsonl", texts.redactions},
      {"checkpoint", checkpoint},
      {"vkey", key.text() + "\n"},
      {"tlog-policy", "log " + key.text() + "\nquorum none\n"},
      {"schema.json", std::string(schema_text)},
      {"HOW-TO-VERIFY.txt", std::string(how_to)}};
  for (const auto& [name, text] : files) {
    TRY(io::write_file(options.folder + "/" + name, text));
  }
  if (options.payloads) TRY(io::write_file(options.folder + "/payloads.jsonl", texts.payloads));
  if (!options.cosignatures.empty()) {
    std::string lines;
    for (const std::string& line : options.cosignatures) lines += line + "\n";
    TRY(io::write_file(options.folder + "/cosignatures", lines));
  }
  for (const std::string& path : options.policies) {
    std::string text = TRY(io::read_file(path, policy_bytes_max));
    std::string hash = log::to_hex(log::sha256(text));
    policies.emplace(std::move(hash), std::move(text));
  }
  if (!policies.empty()) TRY(make_folder(options.folder + "/policies"));
  for (const auto& [hash, text] : policies) {
    TRY(io::write_file(options.folder + "/policies/" + hash, text));
  }
  return report;
}

}  // namespace ambit::evidence
