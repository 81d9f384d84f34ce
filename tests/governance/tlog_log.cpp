// Writes a log of 1,000 records and everything about it that others can check: tiles, a bundle,
// consistency proofs and cosignatures. tlog_log FOLDER; verify.go checks them.

#include "evidence/bundle.h"
#include "io/file.h"
#include "log/reader.h"
#include "log/witness.h"
#include "log/writer.h"

#include <cstdio>
#include <filesystem>

using namespace ambit;
using namespace ambit::log;

namespace {

LogWriter::FillRandom counter(std::uint64_t seed) {
  return [state = seed](std::span<std::uint8_t> bytes) mutable {
    for (std::uint8_t& byte : bytes) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      byte = static_cast<std::uint8_t>(state >> 56);
    }
  };
}

Prepared prepared(std::uint64_t number) {
  Prepared made;
  made.event = agents::Event{"action.decided",
                             "run-" + std::to_string(number % 3),
                             "s" + std::to_string(number % 11),
                             "clerk",
                             "{\"n\":" + std::to_string(number) + ",\"text\":\"\xC3\xBC \\\" \"}",
                             {{"arguments", std::string(number % 300, 'p')}}};
  made.salts = {std::string(32, static_cast<char>('a' + number % 20))};
  made.unix_ns = 1'795'219'200'000'000'000 + static_cast<std::int64_t>(number);
  return made;
}

Result<void> write(const std::string& folder) {
  constexpr std::uint64_t records = 1000;
  auto writer = TRY(LogWriter::open({folder + "/log", "ambit/conformance", 64U << 20}, counter(1)));
  auto witness =
      TRY(Witness::open(folder + "/witness", "ambit/witness", {writer->verifier()}, counter(2)));
  std::filesystem::create_directories(folder + "/consistency");
  const LogReader reader(writer->store());
  std::uint64_t seen = 0;
  std::uint64_t time = 1'795'219'200;
  for (std::uint64_t at = 0; at < records;) {
    std::vector<Prepared> group;
    for (std::uint64_t size = at % 23 + 1; size > 0 && at < records; --size) {
      group.push_back(prepared(at++));
    }
    TRY(writer->append(group));
    const auto step = TRY(reader.consistency(seen));
    const AddCheckpoint request{seen, step.proof, step.note};
    const WitnessAnswer answer = TRY(witness->add_checkpoint(request.text(), ++time));
    if (answer.status != 200) return Err(Code::internal, "the witness said: " + answer.body);
    if (seen > 0) {
      const std::string path = folder + "/consistency/" + std::to_string(seen) + ".request";
      TRY(io::write_file(path, request.text()));
      TRY(io::write_file(path + ".cosigned", step.note + answer.body));
    }
    seen = at;
  }
  TRY(io::write_file(folder + "/vkey", writer->verifier().text() + "\n"));
  TRY(io::write_file(folder + "/witness-vkey", witness->verifier().text() + "\n"));
  TRY(reader.write_tiles(folder + "/tiles"));
  evidence::BundleOptions options;
  options.folder = folder + "/bundle";
  options.filter.run = "run-1";
  options.payloads = true;
  TRY(evidence::write_bundle(reader, writer->verifier(), options));
  return {};
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return std::fputs("usage: tlog_log FOLDER\n", stderr), 2;
  std::filesystem::create_directories(arguments[1]);
  const auto done = write(arguments[1]);
  if (done) return 0;
  std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return 1;
}
