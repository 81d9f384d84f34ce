// ambit audit prove | checkpoint | tiles | export | bundle | erase: the record for people and
// programs that are not ours.

#include "app/audit_options.h"
#include "app/export_push.h"
#include "async/scope.h"
#include "evidence/bundle.h"
#include "evidence/formats.h"
#include "http/curl_client.h"
#include "io/file.h"
#include "io/uv_world.h"
#include "log/witness.h"
#include "log/writer.h"

namespace ambit::app {
namespace {

Result<void> prove(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  const std::uint64_t index = TRY(index_of(options.positional()[0]));
  const log::ProvenRecord record = TRY(reader->get(index));
  if (options.flag("leaf")) {
    TRY(io::write_file(absolute(context, options.text("leaf")), record.bytes));
  }
  print(record.tlog_proof());
  return {};
}

// Without --old the signed checkpoint; with it what a witness is asked (add-checkpoint).
Result<void> checkpoint(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  std::uint64_t old_size = 0;
  if (options.flag("old")) old_size = TRY(index_of(options.text("old")));
  const auto consistency = TRY(reader->consistency(old_size));
  if (!options.flag("old")) {
    print(consistency.note);
    return {};
  }
  print(log::AddCheckpoint{old_size, consistency.proof, consistency.note}.text());
  return {};
}

Result<void> tiles(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  const std::string out = absolute(context, options.positional()[0]);
  const std::uint64_t records = TRY(reader->write_tiles(out));
  print(std::to_string(records) + " records as tiles in " + out + "\n");
  return {};
}

// Sends exported lines as they come, a batch at a time.
class Pusher {
 public:
  Pusher(const PushOptions& options, const Context& context)
      : options_(options), client_(world_.watcher()) {
    const auto token = context.environment.find("AMBIT_EXPORT_TOKEN");
    if (token != context.environment.end()) {
      options_.headers.emplace_back("Authorization", "Bearer " + token->second);
    }
  }
  Result<void> add(const std::string& line) {
    lines_.push_back(line);
    bytes_ += line.size();
    return lines_.size() >= options_.lines_max || bytes_ >= options_.bytes_max ? send()
                                                                               : Result<void>();
  }
  Result<void> finish() {
    if (!lines_.empty()) TRY(send());
    if (!options_.url.empty()) print(std::to_string(sent_) + " records sent\n");
    return {};
  }

 private:
  Result<void> send() {
    Result<void> result = Err(Code::internal, "the batch was not sent");
    const std::size_t count = lines_.size();
    Scope scope;
    scope.spawn([](http::Client& client, const PushOptions& options, std::vector<std::string> lines,
                   Result<void>& out) -> Task<void> {
      out = co_await push_batch(client, options, std::move(lines));
    }(client_, options_, std::exchange(lines_, {}), result));
    world_.loop().run_until([&] { return scope.size() == 0; });
    bytes_ = 0;
    if (result) sent_ += count;
    if (!result && sent_ > 0) {
      return Err(std::move(result).error().context(std::to_string(sent_) + " records were sent"));
    }
    return result;
  }

  PushOptions options_;
  io::UvWorld world_;
  http::CurlClient client_;
  std::vector<std::string> lines_;
  std::size_t bytes_ = 0;
  std::size_t sent_ = 0;
};

Result<void> export_records(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  const log::Filter filter = TRY(filter_of(options));
  const log::VerifierKey key = TRY(key_of_log(folder));
  PushOptions push;
  push.format = TRY(evidence::format_named(options.text("format", "jsonl")));
  push.url = options.text("to");
  evidence::Exporter exporter(push.format);
  Pusher pusher(push, context);
  Result<void> problem;
  TRY(reader->for_each(filter, [&](const log::Leaf& leaf) {
    const auto bytes = log::to_bytes(leaf);
    if (!bytes) {
      problem = Err(bytes.error());
      return false;
    }
    const std::string line = exporter.line(leaf, {key.name, log::to_hex(log::leaf_hash(*bytes))});
    if (line.empty()) return true;
    if (push.url.empty()) {
      print(line + "\n");
      return true;
    }
    problem = pusher.add(line);
    return problem.has_value();
  }));
  TRY(problem);
  return pusher.finish();
}

Result<void> bundle(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  evidence::BundleOptions wanted;
  wanted.folder = absolute(context, options.positional()[0]);
  wanted.filter = TRY(filter_of(options));
  wanted.payloads = options.flag("payloads");
  if (options.flag("policy-file")) {
    wanted.policies.push_back(absolute(context, options.text("policy-file")));
  }
  const log::VerifierKey key = TRY(key_of_log(folder));
  const evidence::BundleReport report = TRY(evidence::write_bundle(*reader, key, wanted));
  print(std::to_string(report.records) + " records with their proofs, " +
        std::to_string(report.payloads) + " payloads, " + std::to_string(report.withheld) +
        " payloads withheld: " + wanted.folder + "\nHow to check it: " + wanted.folder +
        "/HOW-TO-VERIFY.txt\n");
  return {};
}

Result<void> erase(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const std::string subject = options.text("subject");
  const std::string reason = options.text("reason");
  if (subject.empty() || reason.empty()) {
    return Err(Code::invalid, "say whose payloads (--subject) and why (--reason)");
  }
  const auto user = context.environment.find("USER");
  const std::string by =
      options.text("by", user != context.environment.end() ? user->second : "unknown");
  io::UvWorld world;
  log::WriterOptions writer_options;
  writer_options.folder = folder;
  auto writer = TRY(log::LogWriter::open(writer_options, [&world](std::span<std::uint8_t> bytes) {
    world.world().entropy.fill(bytes);
  }));
  const std::uint64_t index =
      TRY(writer->erase(subject, by, reason, world.world().clock.unix_ns()));
  TRY(writer->seal());
  print("The payloads of \"" + subject + "\" cannot be read any more; record " +
        std::to_string(index) + " says so. All proofs hold as before.\n");
  return {};
}

Command apart(const char* name, const char* arguments, const char* summary,
              std::vector<OptionSpec> options, std::size_t positional,
              Result<void> (*body)(const Options&, const Context&)) {
  return {name,
          arguments,
          summary,
          std::move(options),
          positional,
          positional,
          [body](const Options& given, const Context& context) {
            return read_apart([&] { return body(given, context); });
          }};
}

}  // namespace

Command audit_prove_command() {
  return apart("audit prove", "INDEX", "print the proof that a record is in the log (tlog-proof)",
               {state_option(), {"leaf", "FILE", "write the record's bytes, as hashed, to FILE"}},
               1, prove);
}

Command audit_checkpoint_command() {
  return apart(
      "audit checkpoint", "", "print the signed checkpoint, or what a witness is asked",
      {state_option(), {"old", "N", "with the proof that the log of N records is a prefix"}}, 0,
      checkpoint);
}

Command audit_tiles_command() {
  return apart("audit tiles", "FOLDER", "write the log as C2SP tlog-tiles", {state_option()}, 1,
               tiles);
}

Command audit_export_command() {
  return apart("audit export", "", "print records in the words of another system",
               filter_options({{"format", "NAME", "jsonl (default), ocsf, otel or cloudevents"},
                               {"to", "URL",
                                "send them there, as http://localhost:4318/v1/traces "
                                "($AMBIT_EXPORT_TOKEN: bearer token)"}}),
               0, export_records);
}

Command audit_bundle_command() {
  return apart("audit bundle", "FOLDER", "write evidence that others can check without ambit",
               filter_options({{"payloads", "", "with what stands beside the records"},
                               {"policy-file", "FILE", "a policy text to go along"}}),
               1, bundle);
}

Command audit_erase_command() {
  return {"audit erase",
          "",
          "make a subject's payloads unreadable for ever; the proofs still hold",
          {state_option(),
           {"subject", "NAME", "whose payloads: a person, or run/RUN"},
           {"reason", "TEXT", "why; goes into the record"},
           {"by", "NAME", "who asks for it (default: $USER)"}},
          0,
          0,
          [](const Options& options, const Context& context) {
            const auto done = erase(options, context);
            return done ? 0 : fail(done.error());
          }};
}

}  // namespace ambit::app
