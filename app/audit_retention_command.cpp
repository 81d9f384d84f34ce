// ambit audit retain | hold | release | retention: how long payloads are kept, what must not be
// erased, and who said so. All of it is on record, and audit erase obeys it.

#include "app/audit_options.h"
#include "io/uv_world.h"
#include "log/retention.h"
#include "log/writer.h"

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
  auto event = TRY(log::retention_event(now, days, options.flag("high-risk"),
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
          (now.is_high_risk ? ", of fleets of high risk" : "") + " (record " +
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
          command("audit retain", "", "keep payloads for at least so many days; erase obeys it",
                  {{"days", "N", "since they were recorded"},
                   {"high-risk", "", "the fleets are of high risk: never less than 183 days"},
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
          command("audit release", "HOLD", "end a hold", {by_option, reason_option}, 1, release)};
}

}  // namespace ambit::app
