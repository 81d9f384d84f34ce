#include "log/witness.h"

#include "io/file.h"
#include "log/folder_lock.h"

#include <array>
#include <charconv>
#include <filesystem>
#include <optional>

namespace ambit::log {
namespace {

constexpr std::size_t file_bytes_max = 64U << 10;
constexpr std::size_t proof_max = 63;  // hashes, as the specification bounds them

std::optional<std::string_view> take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

WitnessAnswer refuse(int status, const std::string& why) {
  return {status, why + "\n"};
}

WitnessAnswer known_size(std::uint64_t size) {
  return {409, std::to_string(size) + "\n"};
}

}  // namespace

Result<AddCheckpoint> AddCheckpoint::parse(std::string_view body) {
  const auto bad = [](const char* why) {
    return Err(Code::invalid, std::string("this is no add-checkpoint request: ") + why);
  };
  AddCheckpoint request;
  const auto first = take_line(body);
  if (!first || !first->starts_with("old ")) return bad("its first line is not \"old N\"");
  const std::string_view digits = first->substr(4);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), request.old_size);
  if (error != std::errc() || end != digits.data() + digits.size() ||
      (digits.size() > 1 && digits.front() == '0')) {
    return bad("its first line is not \"old N\"");
  }
  auto line = take_line(body);
  for (; line && !line->empty(); line = take_line(body)) {
    if (request.proof.size() == proof_max) return bad("its proof is too long");
    const std::string bytes = TRY(from_base64(*line));
    request.proof.push_back(TRY(hash_from(bytes)));
  }
  if (!line) return bad("there is no checkpoint");
  request.note = std::string(body);
  return request;
}

std::string AddCheckpoint::text() const {
  std::string out = "old " + std::to_string(old_size) + "\n";
  for (const Hash& hash : proof) out += to_base64(bytes_of(hash)) + "\n";
  return out + "\n" + note;
}

Witness::Witness(std::string folder, std::shared_ptr<void> lock, SignerKey signer,
                 std::vector<VerifierKey> logs)
    : folder_(std::move(folder)),
      lock_(std::move(lock)),
      signer_(std::move(signer)),
      logs_(std::move(logs)) {}

Witness::~Witness() = default;

Result<std::unique_ptr<Witness>> Witness::open(const std::string& folder, std::string name,
                                               std::vector<VerifierKey> logs,
                                               const FillRandom& random) {
  std::shared_ptr<FolderLock> lock = TRY(FolderLock::take(folder));
  const std::string path = folder + "/key";
  std::error_code failed;
  if (!std::filesystem::exists(path, failed)) {
    std::array<std::uint8_t, 32> seed{};
    random(seed);
    const SignerKey made = TRY(SignerKey::from_seed(std::move(name), seed, KeyKind::cosignature));
    TRY(io::write_file(folder + "/vkey", made.verifier().text() + "\n", 0644));
    TRY(io::write_file(path, made.text() + "\n", 0600));
  }
  const std::string text = TRY(io::read_file(path, file_bytes_max));
  auto signer = SignerKey::parse(text);
  if (!signer) return Err(std::move(signer).error().context(path));
  if (signer->verifier().kind != KeyKind::cosignature) {
    return Err(Code::invalid, path + ": this is the key of a log, not that of a witness");
  }
  return std::unique_ptr<Witness>(
      new Witness(folder, std::move(lock), std::move(*signer), std::move(logs)));
}

std::string Witness::path_of(const std::string& origin) const {
  return folder_ + "/log-" + to_hex(sha256(origin));
}

// The newest checkpoint that was cosigned; of size 0 if there is none.
Result<Checkpoint> Witness::known(const VerifierKey& log) const {
  const std::string path = path_of(log.name);
  std::error_code failed;
  Checkpoint none{log.name, 0, empty_root()};
  if (!std::filesystem::exists(path, failed)) return none;
  const std::string bytes = TRY(io::read_file(path, file_bytes_max));
  auto text = open_note(bytes, log);
  if (!text) return Err(std::move(text).error().context(path));
  return Checkpoint::parse(*text);
}

Result<WitnessAnswer> Witness::add_checkpoint(std::string_view body, std::uint64_t unix_s) {
  const auto request = AddCheckpoint::parse(body);
  if (!request) return refuse(400, request.error().message);
  const auto note = Note::parse(request->note);
  if (!note) return refuse(400, note.error().message);
  const std::string origin = note->text.substr(0, note->text.find('\n'));
  const VerifierKey* log = nullptr;
  for (const VerifierKey& each : logs_) {
    if (each.name == origin) log = &each;
  }
  if (log == nullptr) return refuse(404, "this witness does not watch the log " + origin);
  const auto text = open_note(request->note, *log);
  if (!text) return refuse(403, text.error().message);
  const auto offered = Checkpoint::parse(*text);
  if (!offered) return refuse(400, offered.error().message);
  if (request->old_size > offered->size) {
    return refuse(400, "the old size is greater than that of the checkpoint");
  }
  const Checkpoint before = TRY(known(*log));
  if (request->old_size != before.size) return known_size(before.size);
  if (before.size == offered->size) {
    if (before.root != offered->root) return known_size(before.size);
    if (!request->proof.empty()) return refuse(422, "a proof between equal sizes is empty");
  } else if (before.size == 0) {
    if (!request->proof.empty()) return refuse(422, "a proof from the empty tree is empty");
  } else {
    const auto holds =
        verify_consistency(before.size, offered->size, before.root, offered->root, request->proof);
    if (!holds) return refuse(422, holds.error().message);
  }
  TRY(io::write_file(path_of(origin), request->note, 0600));
  return WitnessAnswer{200, signer_.cosign(*text, unix_s)};
}

}  // namespace ambit::log
