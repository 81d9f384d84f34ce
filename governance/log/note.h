#pragma once

// C2SP signed notes (signed-note v1.0.0) with Ed25519, and checkpoints of a log (tlog-checkpoint
// v1.0.0) on top of them. Any verifier of transparency logs can check what is signed here.

#include "async/result.h"
#include "log/sha256.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct evp_pkey_st;

namespace ambit::log {

// What a key signs: notes, or (a witness's) cosignatures with a time. Both are Ed25519; the kind is
// part of the key's id, so that one can never pass for the other.
enum class KeyKind : std::uint8_t { note = 1, cosignature = 4 };

// The public half: "name+hash8+base64(kind || key)".
struct VerifierKey {
  std::string name;
  std::uint32_t id = 0;
  std::array<std::uint8_t, 32> key{};
  KeyKind kind = KeyKind::note;
  static Result<VerifierKey> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  friend bool operator==(const VerifierKey&, const VerifierKey&) = default;
};

// The private half: "PRIVATE+KEY+name+hash8+base64(0x01 || seed)".
class SignerKey {
 public:
  // Deterministic from the 32 bytes of seed. Errors: a name that is empty, or has spaces or a plus.
  static Result<SignerKey> from_seed(std::string name, const std::array<std::uint8_t, 32>& seed,
                                     KeyKind kind = KeyKind::note);
  static Result<SignerKey> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  [[nodiscard]] const VerifierKey& verifier() const { return verifier_; }
  // `text` (which must end in a newline) with the signature line after it.
  [[nodiscard]] std::string sign(const std::string& text) const;
  // The line that a witness adds to a checkpoint (cosignature/v1), for a key of that kind.
  [[nodiscard]] std::string cosign(const std::string& text, std::uint64_t unix_s) const;

 private:
  [[nodiscard]] std::string line(const std::string& signature) const;
  [[nodiscard]] std::string ed25519(const std::string& message) const;
  SignerKey() = default;
  std::array<std::uint8_t, 32> seed_{};
  VerifierKey verifier_;
  std::shared_ptr<evp_pkey_st> key_;  // made once: that costs as much as a signature
};

struct NoteSignature {
  std::string name;
  std::uint32_t id = 0;
  std::string bytes;
};

struct Note {
  std::string text;  // with its last newline
  std::vector<NoteSignature> signatures;
  static Result<Note> parse(std::string_view bytes);
};

// The text of a note that carries a good signature of `key`; other signatures are ignored.
Result<std::string> open_note(std::string_view bytes, const VerifierKey& key);

// The time (seconds since 1970) at which the witness says to have seen the note `bytes`.
Result<std::uint64_t> open_cosignature(std::string_view bytes, const VerifierKey& witness);

struct Checkpoint {
  std::string origin;
  std::uint64_t size = 0;
  Hash root{};
  static Result<Checkpoint> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  friend bool operator==(const Checkpoint&, const Checkpoint&) = default;
};

// A tlog-proof (c2sp.org/tlog-proof@v1): one leaf's inclusion with the checkpoint, to be checked
// offline.
std::string tlog_proof(std::uint64_t index, const std::vector<Hash>& proof,
                       std::string_view checkpoint);
// Checks such a proof against the leaf's bytes: the checkpoint it leads to.
Result<Checkpoint> verify_tlog_proof(std::string_view text, std::string_view leaf,
                                     const VerifierKey& key);

}  // namespace ambit::log
