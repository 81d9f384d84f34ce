#include "log/note.h"

#include "async/check.h"
#include "log/merkle.h"

#include <openssl/evp.h>

#include <charconv>
#include <memory>
#include <optional>

namespace ambit::log {
namespace {

constexpr std::string_view dash = "\xE2\x80\x94 ";  // U+2014 and a space begin a signature line
constexpr std::string_view private_prefix = "PRIVATE+KEY+";
constexpr std::size_t time_bytes = 8;
constexpr std::size_t note_bytes_max = 64U << 10;

struct KeyDelete {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Key = std::unique_ptr<EVP_PKEY, KeyDelete>;
struct ContextDelete {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MD_CTX, ContextDelete>;

std::string tagged(const std::array<std::uint8_t, 32>& key, KeyKind kind) {
  return static_cast<char>(kind) +
         std::string(reinterpret_cast<const char*>(key.data()), key.size());
}

std::uint32_t key_id(const std::string& name, const std::array<std::uint8_t, 32>& key,
                     KeyKind kind) {
  const Hash hash = sha256({name, "\n", tagged(key, kind)});
  return (std::uint32_t{hash[0]} << 24) | (std::uint32_t{hash[1]} << 16) |
         (std::uint32_t{hash[2]} << 8) | hash[3];
}

std::string id_bytes(std::uint32_t id) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>((id >> shift) & 0xFF);
  return bytes;
}

bool is_key_name(std::string_view name) {
  if (name.empty()) return false;
  for (const char c : name) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == '+' || c == 0x7F) return false;
  }
  return true;
}

struct KeyParts {
  std::string name;
  std::uint32_t id = 0;
  std::array<std::uint8_t, 32> key{};
  KeyKind kind = KeyKind::note;
};

// "name+hash8+base64(0x01 || 32 bytes)".
Result<KeyParts> parse_key(std::string_view text) {
  const auto bad = [] {
    return Err(Code::invalid, "this is not a note key (name+hash+base64 of an Ed25519 key)");
  };
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  const std::size_t first = text.find('+');
  const std::size_t second = first == std::string_view::npos ? first : text.find('+', first + 1);
  if (second == std::string_view::npos || second - first != 9) return bad();
  KeyParts parts;
  parts.name = std::string(text.substr(0, first));
  const auto id = from_hex(text.substr(first + 1, 8));
  const auto bytes = from_base64(text.substr(second + 1));
  if (!is_key_name(parts.name) || !id || !bytes || bytes->size() != 33 ||
      ((*bytes)[0] != static_cast<char>(KeyKind::note) &&
       (*bytes)[0] != static_cast<char>(KeyKind::cosignature))) {
    return bad();
  }
  parts.kind = static_cast<KeyKind>((*bytes)[0]);
  for (const char c : *id) parts.id = (parts.id << 8) | static_cast<unsigned char>(c);
  std::copy(bytes->begin() + 1, bytes->end(), reinterpret_cast<char*>(parts.key.data()));
  return parts;
}

std::string key_text(const std::string& name, std::uint32_t id,
                     const std::array<std::uint8_t, 32>& key, KeyKind kind) {
  return name + "+" + to_hex(id_bytes(id)) + "+" + to_base64(tagged(key, kind));
}

bool verify_ed25519(const VerifierKey& key, std::string_view text, std::string_view signature) {
  const Key pkey(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.key.data(), key.key.size()));
  const Context context(EVP_MD_CTX_new());
  if (!pkey || !context) return false;
  if (EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, pkey.get()) != 1) return false;
  return EVP_DigestVerify(context.get(), reinterpret_cast<const std::uint8_t*>(signature.data()),
                          signature.size(), reinterpret_cast<const std::uint8_t*>(text.data()),
                          text.size()) == 1;
}

std::string cosigned_text(std::string_view text, std::uint64_t unix_s) {
  return "cosignature/v1\ntime " + std::to_string(unix_s) + "\n" + std::string(text);
}

// Takes a line off the front; nullopt if there is no newline.
std::optional<std::string_view> take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

// A decimal number without leading zeros.
std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  return value;
}

}  // namespace

Result<VerifierKey> VerifierKey::parse(std::string_view text) {
  KeyParts parts = TRY(parse_key(text));
  if (parts.id != key_id(parts.name, parts.key, parts.kind)) {
    return Err(Code::invalid, "the key's hash does not fit the key; it was damaged or altered");
  }
  return VerifierKey{std::move(parts.name), parts.id, parts.key, parts.kind};
}

std::string VerifierKey::text() const {
  return key_text(name, id, key, kind);
}

Result<SignerKey> SignerKey::from_seed(std::string name, const std::array<std::uint8_t, 32>& seed,
                                       KeyKind kind) {
  if (!is_key_name(name)) {
    return Err(Code::invalid,
               "the key's name \"" + name + "\" may not be empty or hold spaces or +");
  }
  Key pkey(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
  SignerKey signer;
  signer.seed_ = seed;
  std::size_t length = signer.verifier_.key.size();
  if (!pkey || EVP_PKEY_get_raw_public_key(pkey.get(), signer.verifier_.key.data(), &length) != 1) {
    return Err(Code::unavailable, "OpenSSL cannot make an Ed25519 key");
  }
  signer.key_ = std::shared_ptr<evp_pkey_st>(pkey.release(), KeyDelete());
  signer.verifier_.name = std::move(name);
  signer.verifier_.kind = kind;
  signer.verifier_.id = key_id(signer.verifier_.name, signer.verifier_.key, kind);
  return signer;
}

Result<SignerKey> SignerKey::parse(std::string_view text) {
  if (!text.starts_with(private_prefix)) {
    return Err(Code::invalid, "this is not a private note key (PRIVATE+KEY+...)");
  }
  KeyParts parts = TRY(parse_key(text.substr(private_prefix.size())));
  SignerKey signer = TRY(from_seed(std::move(parts.name), parts.key, parts.kind));
  if (signer.verifier_.id != parts.id) {
    return Err(Code::invalid,
               "the private key's hash does not fit the key; it was damaged or altered");
  }
  return signer;
}

std::string SignerKey::text() const {
  return std::string(private_prefix) +
         key_text(verifier_.name, verifier_.id, seed_, verifier_.kind);
}

std::string SignerKey::ed25519(const std::string& message) const {
  const Context context(EVP_MD_CTX_new());
  std::string signature(64, '\0');
  std::size_t length = signature.size();
  INVARIANT(context);
  INVARIANT(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1);
  INVARIANT(EVP_DigestSign(context.get(), reinterpret_cast<std::uint8_t*>(signature.data()),
                           &length, reinterpret_cast<const std::uint8_t*>(message.data()),
                           message.size()) == 1);
  return signature;
}

std::string SignerKey::line(const std::string& signature) const {
  return std::string(dash) + verifier_.name + " " + to_base64(id_bytes(verifier_.id) + signature) +
         "\n";
}

std::string SignerKey::sign(const std::string& text) const {
  INVARIANT(text.ends_with('\n') && verifier_.kind == KeyKind::note);
  return text + "\n" + line(ed25519(text));
}

std::string SignerKey::cosign(const std::string& text, std::uint64_t unix_s) const {
  INVARIANT(text.ends_with('\n') && verifier_.kind == KeyKind::cosignature);
  std::string time;
  for (int shift = 56; shift >= 0; shift -= 8) time += static_cast<char>((unix_s >> shift) & 0xFF);
  return line(time + ed25519(cosigned_text(text, unix_s)));
}

Result<Note> Note::parse(std::string_view bytes) {
  const auto bad = [](const char* why) {
    return Err(Code::invalid, std::string("this is not a signed note: ") + why);
  };
  if (bytes.size() > note_bytes_max) return bad("it is too long");
  const std::size_t gap = bytes.rfind("\n\n");
  if (gap == std::string_view::npos) return bad("no empty line before the signatures");
  Note note;
  note.text = std::string(bytes.substr(0, gap + 1));
  std::string_view rest = bytes.substr(gap + 2);
  while (!rest.empty()) {
    const auto line = take_line(rest);
    if (!line || !line->starts_with(dash)) return bad("a signature line is malformed");
    const std::string_view inner = line->substr(dash.size());
    const std::size_t space = inner.find(' ');
    if (space == std::string_view::npos) return bad("a signature line is malformed");
    NoteSignature signature;
    signature.name = std::string(inner.substr(0, space));
    const auto decoded = from_base64(inner.substr(space + 1));
    if (!is_key_name(signature.name) || !decoded || decoded->size() < 5) {
      return bad("a signature line is malformed");
    }
    for (std::size_t i = 0; i < 4; ++i) {
      signature.id = (signature.id << 8) | static_cast<unsigned char>((*decoded)[i]);
    }
    signature.bytes = decoded->substr(4);
    note.signatures.push_back(std::move(signature));
  }
  if (note.signatures.empty()) return bad("it has no signature");
  return note;
}

Result<std::string> open_note(std::string_view bytes, const VerifierKey& key) {
  Note note = TRY(Note::parse(bytes));
  for (const NoteSignature& signature : note.signatures) {
    if (signature.name != key.name || signature.id != key.id) continue;
    if (key.kind == KeyKind::note && verify_ed25519(key, note.text, signature.bytes))
      return std::move(note.text);
    return Err(Code::invalid, "the signature of " + key.name + " does not verify");
  }
  return Err(Code::invalid,
             "there is no signature of the key " + key.name + "+" + to_hex(id_bytes(key.id)));
}

Result<std::uint64_t> open_cosignature(std::string_view bytes, const VerifierKey& witness) {
  const Note note = TRY(Note::parse(bytes));
  for (const NoteSignature& signature : note.signatures) {
    if (signature.name != witness.name || signature.id != witness.id) continue;
    std::uint64_t unix_s = 0;
    for (const char c : signature.bytes.substr(0, time_bytes)) {
      unix_s = (unix_s << 8) | static_cast<unsigned char>(c);
    }
    const bool good = witness.kind == KeyKind::cosignature &&
                      signature.bytes.size() == time_bytes + 64 &&
                      verify_ed25519(witness, cosigned_text(note.text, unix_s),
                                     std::string_view(signature.bytes).substr(time_bytes));
    if (good) return unix_s;
    return Err(Code::invalid, "the cosignature of " + witness.name + " does not verify");
  }
  return Err(Code::not_found, "there is no cosignature of " + witness.text());
}

Result<Checkpoint> Checkpoint::parse(std::string_view text) {
  const auto origin = take_line(text);
  const auto size = take_line(text);
  const auto root = take_line(text);
  if (!origin || origin->empty() || !size || !root) {
    return Err(Code::invalid, "this is not a checkpoint: origin, size and root, a line each");
  }
  Checkpoint checkpoint;
  checkpoint.origin = std::string(*origin);
  const auto count = number(*size);
  const auto bytes = from_base64(*root);
  if (!count || !bytes || bytes->size() != 32) {
    return Err(Code::invalid, "this is not a checkpoint: the size or the root is malformed");
  }
  checkpoint.size = *count;
  checkpoint.root = TRY(hash_from(*bytes));
  return checkpoint;
}

std::string Checkpoint::text() const {
  return origin + "\n" + std::to_string(size) + "\n" + to_base64(bytes_of(root)) + "\n";
}

std::string tlog_proof(std::uint64_t index, const std::vector<Hash>& proof,
                       std::string_view checkpoint) {
  std::string text = "c2sp.org/tlog-proof@v1\nindex " + std::to_string(index) + "\n";
  for (const Hash& hash : proof) text += to_base64(bytes_of(hash)) + "\n";
  return text + "\n" + std::string(checkpoint);
}

Result<Checkpoint> verify_tlog_proof(std::string_view text, std::string_view leaf,
                                     const VerifierKey& key) {
  const auto bad = [] { return Err(Code::invalid, "this is not a c2sp.org/tlog-proof@v1"); };
  if (take_line(text) != std::string_view("c2sp.org/tlog-proof@v1")) return bad();
  auto line = take_line(text);
  if (line && line->starts_with("extra ")) line = take_line(text);
  if (!line || !line->starts_with("index ")) return bad();
  const auto index = number(line->substr(6));
  if (!index) return bad();
  std::vector<Hash> proof;
  for (line = take_line(text); line && !line->empty(); line = take_line(text)) {
    if (proof.size() == 64) return bad();
    const std::string bytes = TRY(from_base64(*line));
    proof.push_back(TRY(hash_from(bytes)));
  }
  if (!line) return bad();
  const std::string opened = TRY(open_note(text, key));
  Checkpoint checkpoint = TRY(Checkpoint::parse(opened));
  TRY(verify_inclusion(*index, checkpoint.size, leaf_hash(leaf), proof, checkpoint.root));
  return checkpoint;
}

}  // namespace ambit::log
