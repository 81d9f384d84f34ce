// ambit audit retain | hold | release | retention | expire: how long payloads are kept, what must
// not be erased, and who said so. All of it is on record, and audit erase and audit expire obey it.

#include "app/audit_options.h"
#include "io/uv_world.h"
#include "log/expiry.h"
#include "log/retention.h"
#include "log/writer.h"

#include <nlohmann/json.hpp>

namespace ambit::app {
namespace {

struct Opened {
  io::UvWorld world;
  std::unique_ptr<log::LogWriter> writer;
};

Result<void> open(const Options& options, const Context& context, Opened& opened) {
  log::WriterOptions writer;
  writer.folder = TRY(journal_of(options, context));
  opened.writer = TRY(log::LogWriter::open(writer, [&opened](std::span<std::uint8_t> bytes) {
    opened.world.world().entropy.fill(bytes);
  }));
  return {};
}

std::string by_of(const Options& options, const Context& context) {
  const auto user = context.environment.find("USER");
  return options.text("by", user != context.environment.end() ? user->second : "");
}

Result<std::uint64_t> record(Opened& opened, agents::Event event) {
  const log::Prepared prepared = TRY(log::prepare(
      std::move(event), opened.world.world().clock.unix_ns(), [] { return std::string(); }));
  auto indexes = TRY(opened.writer->append({prepared}));
  const std::uint64_t index = TRY(std::move(indexes.front()));
  TRY(opened.writer->seal());
  return index;
}

Result<void> retain(const Options& options, const Context& context) {
  Opened opened;
  TRY(open(options, context, opened));
  const std::int64_t days = TRY(options.integer("days", 0, 1, log::retention_days_max));
  const log::Retention now = TRY(log::read_retention(log::LogReader(opened.writer->store())));
  auto event =
      TRY(log::retention_event(now, {days, options.flag("high-risk"), options.flag("expire")},
                               by_of(options, context), options.text("reason")));
  const std::uint64_t index = TRY(record(opened, std::move(event)));
  print("What stands beside the records is kept for " + std::to_string(days) + " days; record " +
        std::to_string(index) + " says so.\n");
  return {};
}

Result<void> hold(const Options& options, const Context& context) {
  Opened opened;
  TRY(open(options, context, opened));
  log::Hold wanted;
  wanted.by = by_of(options, context);
  wanted.reason = options.text("reason");
  wanted.run = options.text("run");
  const std::string subject = options.text("subject");
  const int named = static_cast<int>(!wanted.run.empty()) + static_cast<int>(!subject.empty()) +
                    static_cast<int>(options.flag("all"));
  if (named != 1) {
    return Err(Code::invalid, "say what is held: one of --subject NAME, --run RUN and --all");
  }
  if (wanted.by.empty() || wanted.reason.empty()) {
    return Err(Code::invalid, "say who wants it (--by) and why (--reason); the record keeps both");
  }
  if (!subject.empty()) {
    wanted.subject = TRY(opened.writer->number_of(subject));
  }
  const std::uint64_t index = TRY(record(opened, log::hold_event(wanted)));
  print("Held; record " + std::to_string(index) + " says so. End it with: ambit audit release " +
        std::to_string(index) + "\n");
  return {};
}

Result<void> release(const Options& options, const Context& context) {
  Opened opened;
  TRY(open(options, context, opened));
  const std::uint64_t index = TRY(index_of(options.positional()[0]));
  const log::Retention now = TRY(log::read_retention(log::LogReader(opened.writer->store())));
  auto event = TRY(log::release_event(now, index, by_of(options, context), options.text("reason")));
  const std::uint64_t said = TRY(record(opened, std::move(event)));
  print("Released; record " + std::to_string(said) + " says so.\n");
  return {};
}

Result<void> show(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  const log::Retention now = TRY(log::read_retention(*reader));
  if (now.days == 0) {
    print("Nothing was said about how long payloads are kept (ambit audit retain).\n");
  } else {
    print("Payloads are kept for " + std::to_string(now.days) + " days" +
          (now.is_high_risk ? ", of fleets of high risk" : "") +
          (now.expires ? "; then a fleet that serves removes them" : "") + " (record " +
          std::to_string(now.index) + ").\n");
  }
  for (const log::Hold& each : now.holds) {
    const std::string what = each.subject       ? "subject " + std::to_string(*each.subject)
                             : each.run.empty() ? "everything"
                                                : "run " + each.run;
    print("hold " + std::to_string(each.index) + "  " + what + "  by " + each.by + ": " +
          each.reason + "\n");
  }
  if (now.holds.empty()) print("Nothing is held.\n");
  return {};
}

// What would go, by a log that somebody else may be writing.
Result<log::Expired> planned(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  TRY(log::check_header_pages(folder + "/data.mdb"));
  const std::shared_ptr<log::Store> store =
      TRY(log::Store::open(folder, log::Store::Mode::read, 0));
  const log::Retention now = TRY(log::read_retention(log::LogReader(store)));
  const log::Snapshot snapshot = TRY(store->snapshot());
  io::UvWorld world;
  const log::ExpiryPlan plan = TRY(log::plan_expiry(snapshot, now, world.world().clock.unix_ns()));
  return log::Expired{
      std::nullopt, plan.before, plan.payloads, plan.bytes, plan.held, plan.in_flight, 0};
}

Result<log::Expired> removed(const Options& options, const Context& context) {
  Opened opened;
  TRY(open(options, context, opened));
  auto expired =
      TRY(opened.writer->expire(by_of(options, context), opened.world.world().clock.unix_ns()));
  TRY(opened.writer->seal());
  return expired;
}

Result<void> expire(const Options& options, const Context& context) {
  const bool is_dry = options.flag("dry-run");
  const log::Expired done = TRY(is_dry ? planned(options, context) : removed(options, context));
  if (options.flag("json")) {
    nlohmann::ordered_json out = {{"dryRun", is_dry},    {"payloads", done.payloads},
                                  {"bytes", done.bytes}, {"before", done.before},
                                  {"held", done.held},   {"inFlight", done.in_flight}};
    if (done.index) out["record"] = *done.index;
    if (!is_dry) out["keys"] = done.subjects;
    print(out.dump() + "\n");
    return {};
  }
  const std::string what =
      std::to_string(done.payloads) + " payloads (" + std::to_string(done.bytes) + " bytes)";
  const std::string where =
      done.payloads == 0 ? "" : " of records before " + std::to_string(done.before);
  if (is_dry) {
    print(what + where + " would be removed.\n");
  } else {
    print(what + where + " were removed, and " + std::to_string(done.subjects) +
          " keys that nothing needs any more" +
          (done.index ? "; record " + std::to_string(*done.index) + " says so" : "") +
          ". All proofs hold as before.\n");
  }
  print(std::to_string(done.held) + " that are old enough are held, " +
        std::to_string(done.in_flight) + " belong to runs that have not ended.\n");
  return {};
}

Command command(const char* name, const char* arguments, const char* summary,
                std::vector<OptionSpec> options, std::size_t positional,
                Result<void> (*body)(const Options&, const Context&)) {
  options.push_back(state_option());
  return {name,
          arguments,
          summary,
          std::move(options),
          positional,
          positional,
          [body](const Options& given, const Context& context) {
            const auto done = body(given, context);
            return done ? 0 : fail(done.error());
          }};
}

const OptionSpec by_option = {"by", "NAME", "who wants it (default: $USER)"};
const OptionSpec reason_option = {"reason", "TEXT", "why; goes into the record"};

}  // namespace

std::vector<Command> audit_retention_commands() {
  return {command("audit retention", "", "say how long payloads are kept, and what is held", {}, 0,
                  show),
          command("audit retain", "",
                  "keep payloads for at least so many days; erase and expire obey it",
                  {{"days", "N", "since they were recorded"},
                   {"high-risk", "", "the fleets are of high risk: never less than 183 days"},
                   {"expire", "", "and no longer: a fleet that serves removes them, once a day"},
                   by_option,
                   reason_option},
                  0, retain),
          command("audit hold", "", "forbid to erase, until it is released",
                  {{"subject", "NAME", "a person's data"},
                   {"run", "RUN", "what happened in a run"},
                   {"all", "", "everything"},
                   by_option,
                   reason_option},
                  0, hold),
          command("audit release", "HOLD", "end a hold", {by_option, reason_option}, 1, release),
          command("audit expire", "",
                  "remove payloads that were kept for long enough; their room is used again",
                  {{"dry-run", "", "say what would be removed, and remove nothing"},
                   {"json", "", "print the result as JSON"},
                   by_option},
                  0, expire)};
}

}  // namespace ambit::app
