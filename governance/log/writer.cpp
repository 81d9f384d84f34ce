#include "log/writer.h"

#include "async/check.h"
#include "io/file.h"
#include "log/canonical_json.h"
#include "log/folder_lock.h"
#include "log/retention.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

namespace ambit::log {
namespace {

constexpr std::size_t heads_max = 65'536;
constexpr std::size_t key_file_bytes_max = 4096;

// The key of the log in `folder`, made on first use.
Result<SignerKey> load_key(const WriterOptions& options, const LogWriter::FillRandom& random) {
  const std::string path = options.folder + "/key";
  const std::string data = options.folder + "/data.mdb";
  std::error_code failed;
  if (std::filesystem::exists(path, failed)) {
    const std::string text = TRY(io::read_file(path, key_file_bytes_max));
    auto signer = SignerKey::parse(text);
    if (!signer) return Err(std::move(signer).error().context(path));
    return signer;
  }
  if (std::filesystem::exists(data, failed)) {
    return Err(Code::not_found, path +
                                    ": the log's private key is missing; put it back, or start a "
                                    "new log in another folder");
  }
  std::array<std::uint8_t, 32> seed{};
  random(seed);
  std::string origin = options.origin;
  if (origin.empty()) {
    std::array<std::uint8_t, 4> name{};
    random(name);
    origin = "ambit/log-" + to_hex({reinterpret_cast<const char*>(name.data()), name.size()});
  }
  SignerKey signer = TRY(SignerKey::from_seed(std::move(origin), seed));
  TRY(io::write_file(options.folder + "/vkey", signer.verifier().text() + "\n", 0644));
  TRY(io::write_file(path, signer.text() + "\n", 0600));
  return signer;
}

// The right edge of the stored tree, checked against the newest checkpoint.
Result<Tree> load_tree(const std::string& folder, const Snapshot& snapshot,
                       const VerifierKey& key) {
  const std::uint64_t size = TRY(snapshot.size());
  std::vector<Hash> roots;
  for (int level = 63; level >= 0; --level) {
    if (((size >> level) & 1) == 0) continue;
    const auto at = static_cast<unsigned>(level);
    roots.push_back(TRY(snapshot.node(at, (size >> at) - 1)));
  }
  Tree tree(size, std::move(roots));
  const std::string note = TRY(snapshot.checkpoint());
  if (size == 0 && note.empty()) return tree;
  const std::string damaged = "log " + folder + ": ";
  auto text = open_note(note, key);
  if (!text) return Err(std::move(text).error().context(damaged + "its newest checkpoint"));
  const Checkpoint checkpoint = TRY(Checkpoint::parse(*text));
  if (checkpoint.size != size || checkpoint.root != tree.root()) {
    return Err(Code::invalid,
               damaged + "its records do not fit its newest checkpoint; verify the log");
  }
  return tree;
}

// Runs what it was given unless it is told that all went well.
class OnFailure {
 public:
  explicit OnFailure(std::function<void()> undo) : undo_(std::move(undo)) {}
  ~OnFailure() {
    if (undo_) undo_();
  }
  OnFailure(const OnFailure&) = delete;
  OnFailure& operator=(const OnFailure&) = delete;
  void disarm() { undo_ = nullptr; }

 private:
  std::function<void()> undo_;
};

}  // namespace

Result<Prepared> prepare(agents::Event event, std::int64_t unix_ns, const TakeSalt& salt) {
  TRY(check_names(event));
  if (!is_canonical_json(event.body)) {
    auto body = canonical_json(std::string_view(event.body));
    if (!body) return Err(std::move(body).error().context("the body of the event " + event.type));
    event.body = std::move(*body);
  }
  if (!event.body.starts_with('{')) {
    return Err(Code::invalid, "the body of the event " + event.type + " is not a JSON object");
  }
  Prepared prepared;
  prepared.salts.reserve(event.payloads.size());
  for (std::size_t i = 0; i < event.payloads.size(); ++i) prepared.salts.push_back(salt());
  prepared.unix_ns = std::max<std::int64_t>(0, unix_ns);
  prepared.event = std::move(event);
  return prepared;
}

LogWriter::LogWriter(std::string folder, std::unique_ptr<FolderLock> lock,
                     std::shared_ptr<Store> store, SignerKey signer, Tree tree,
                     std::unique_ptr<Subjects> subjects, FillRandom random)
    : folder_(std::move(folder)),
      lock_(std::move(lock)),
      store_(std::move(store)),
      signer_(std::move(signer)),
      tree_(std::move(tree)),
      subjects_(std::move(subjects)),
      random_(std::move(random)) {}

LogWriter::~LogWriter() = default;

Result<std::unique_ptr<LogWriter>> LogWriter::open(const WriterOptions& options,
                                                   const FillRandom& random) {
  auto lock = TRY(FolderLock::take(options.folder));
  SignerKey signer = TRY(load_key(options, random));
  const std::string data = options.folder + "/data.mdb";
  std::error_code failed;
  if (std::filesystem::exists(data, failed)) {
    TRY(check_header_pages(data));
    TRY(check_last_write(options.folder));
  }
  std::shared_ptr<Store> store =
      TRY(Store::open(options.folder, Store::Mode::write, options.map_bytes));
  Tree tree;
  {
    const Snapshot snapshot = TRY(store->snapshot());
    tree = TRY(load_tree(options.folder, snapshot, signer.verifier()));
  }
  auto subjects = TRY(Subjects::load(options.folder));
  std::unique_ptr<LogWriter> writer(new LogWriter(options.folder, std::move(lock), std::move(store),
                                                  std::move(signer), std::move(tree),
                                                  std::move(subjects), random));
  writer->sealed_ = std::filesystem::exists(options.folder + "/seal", failed);
  return writer;
}

// Commitments into the leaf, what they commit to, encrypted, beside it.
Result<void> LogWriter::store_payloads(const Prepared& prepared, Leaf& leaf, StoredRecord& record) {
  const agents::Event& event = prepared.event;
  if (event.payloads.empty()) return {};
  const std::string subject = event.subject.empty() ? subject_of_run(event.run) : event.subject;
  if (payloads_number_ == 0 || subject != payloads_of_) {
    payloads_number_ = 0;
    const std::uint64_t number = TRY(subjects_->number_of(subject, random_));
    const auto found = TRY(subjects_->get(number));
    INVARIANT(found.has_value());
    payloads_key_ = found->key;
    payloads_of_ = subject;
    payloads_number_ = number;
  }
  leaf.payloads.reserve(event.payloads.size());
  for (std::size_t i = 0; i < event.payloads.size(); ++i) {
    const agents::Payload& payload = event.payloads[i];
    leaf.payloads.push_back(
        {payload.name, payload.bytes.size(), commitment(prepared.salts[i], payload.bytes)});
    record.payloads.push_back(cipher_.seal(payloads_number_, payloads_key_, record.index, i,
                                           prepared.salts[i], payload.bytes));
  }
  return {};
}

Result<std::vector<Result<std::uint64_t>>> LogWriter::append(const std::vector<Prepared>& group) {
  const std::lock_guard lock(mutex_);
  return append_locked(group);
}

Result<std::vector<Result<std::uint64_t>>> LogWriter::append_locked(
    const std::vector<Prepared>& group) {
  Batch batch;
  batch.records.reserve(group.size());
  Tree tree = tree_;
  std::vector<Result<std::uint64_t>> results;
  results.reserve(group.size());
  const Snapshot snapshot = TRY(store_->snapshot());
  // What is not committed has changed the heads for nothing: then the store is asked again.
  OnFailure forget([this] { heads_.clear(); });
  for (const Prepared& prepared : group) {
    const agents::Event& event = prepared.event;
    Leaf leaf{tree.size(), prepared.unix_ns, event.type, event.run, event.session,
              event.agent, event.body,       {},         {}};
    chain_.assign(event.run).append(1, '\0').append(event.session);
    const auto [head, is_unknown] = heads_.try_emplace(chain_);
    if (is_unknown) {
      const auto known = snapshot.head(event.run, event.session);
      if (!known) return Err(known.error());
      if (*known) head->second = (*known)->hash;
    }
    if (head->second) append_hex(bytes_of(*head->second), leaf.previous);
    StoredRecord record{tree.size(), event.run, event.session, {}, {}, {}};
    const auto stored = store_payloads(prepared, leaf, record);
    if (!stored) {
      results.emplace_back(Err(stored.error()));
      continue;
    }
    auto bytes = to_bytes(leaf);
    if (!bytes) {
      results.emplace_back(Err(std::move(bytes).error()));
      continue;
    }
    record.leaf = std::move(*bytes);
    record.hash = leaf_hash(record.leaf);
    tree.append(record.hash, [&batch](unsigned level, std::uint64_t index, const Hash& node) {
      if (level > 0 && level % tile_height == 0) batch.nodes.push_back({level, index, node});
    });
    head->second = record.hash;
    results.emplace_back(record.index);
    batch.records.push_back(std::move(record));
  }
  if (batch.records.empty()) return results;
  if (sealed_) {
    // Before the first new byte: a seal that no longer fits would look like tampering.
    std::error_code failed;
    std::filesystem::remove(folder_ + "/seal", failed);
    if (failed) return Err(file_error("remove", folder_ + "/seal", failed.value()));
    sealed_ = false;
  }
  batch.size = tree.size();
  batch.checkpoint =
      signer_.sign(Checkpoint{signer_.verifier().name, tree.size(), tree.root()}.text());
  // The keys first: one whose group is not committed after all is one too many, never one too few.
  TRY(subjects_->sync());
  TRY(store_->commit(batch));
  tree_ = std::move(tree);
  forget.disarm();
  if (heads_.size() > heads_max) heads_.clear();
  return results;
}

Result<std::uint64_t> LogWriter::number_of(const std::string& subject) const {
  const auto number = TRY(subjects_->find(subject));
  if (!number) {
    return Err(Code::not_found, "there is no subject \"" + subject + "\" in " + folder_);
  }
  return *number;
}

Result<std::uint64_t> LogWriter::erase(const std::string& subject, const std::string& by,
                                       const std::string& reason, std::int64_t unix_ns) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t number = TRY(number_of(subject));
  {
    const Retention retention = TRY(read_retention(LogReader(store_)));
    const Snapshot snapshot = TRY(store_->snapshot());
    TRY(may_erase(retention, snapshot, number, unix_ns));
  }
  // The record comes first: a crash between the two leaves a key too many, never one too few.
  // The name itself is personal, so the record holds the number.
  std::string body = "{\"by\":";
  bool good = append_quoted(by, body);
  body += ",\"reason\":";
  good = append_quoted(reason, body) && good;
  body += ",\"subject\":" + std::to_string(number) + "}";
  if (!good) return Err(Code::invalid, "who erases, and why, must be UTF-8");
  Prepared prepared;
  prepared.unix_ns = unix_ns;
  prepared.event.type = erased_type;
  prepared.event.body = std::move(body);
  auto appended = TRY(append_locked({prepared}));
  const std::uint64_t index = TRY(std::move(appended.front()));
  payloads_number_ = 0;
  TRY(subjects_->erase({number}));
  return index;
}

Result<void> LogWriter::seal() {
  const std::lock_guard lock(mutex_);
  const auto [bytes, hash] = TRY(hash_file(folder_ + "/data.mdb"));
  const Seal seal{signer_.verifier().name, tree_.size(), bytes, hash};
  TRY(io::write_file(folder_ + "/seal", signer_.sign(seal.text()), 0644));
  sealed_ = true;
  return {};
}

std::string Seal::text() const {
  return "ambit-seal/1\n" + origin + "\n" + std::to_string(records) + "\n" +
         std::to_string(file_bytes) + "\n" + file_hash + "\n";
}

Result<Seal> Seal::parse(std::string_view text) {
  std::array<std::string, 5> lines;
  for (std::string& line : lines) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return Err(Code::invalid, "the seal is cut off");
    line = std::string(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  Seal seal{lines[1], 0, 0, lines[4]};
  const auto number = [](const std::string& digits, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  if (lines[0] != "ambit-seal/1" || !number(lines[2], seal.records) ||
      !number(lines[3], seal.file_bytes) || !text.empty()) {
    return Err(Code::invalid, "the seal is malformed");
  }
  return seal;
}

Result<std::pair<std::uint64_t, std::string>> hash_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return Err(file_error("read", path, errno));
  Sha256 hash;
  std::vector<char> buffer(1U << 20);
  std::uint64_t total = 0;
  ssize_t count = 0;
  while ((count = ::read(file, buffer.data(), buffer.size())) > 0) {
    hash.update({buffer.data(), static_cast<std::size_t>(count)});
    total += static_cast<std::uint64_t>(count);
  }
  const int failed = errno;
  ::close(file);
  if (count < 0) return Err(file_error("read", path, failed));
  return std::pair(total, to_hex(hash.finish()));
}

}  // namespace ambit::log
