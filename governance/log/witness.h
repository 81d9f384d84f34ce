#pragma once

// Witness: remembers the newest checkpoint of each log that it watches and cosigns a newer one only
// if the old tree is a prefix of the new one (C2SP tlog-witness, `add-checkpoint`). A log that is
// cut off, rolled back or shown differently to different people gets no second cosignature. It runs
// as a program of its own, under a user and with a key that the log's writer does not have.

#include "log/merkle.h"
#include "log/note.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::log {

// What a witness is asked: "old N", the consistency proof, an empty line, the signed checkpoint.
struct AddCheckpoint {
  std::uint64_t old_size = 0;
  std::vector<Hash> proof;
  std::string note;
  static Result<AddCheckpoint> parse(std::string_view body);
  [[nodiscard]] std::string text() const;
};

// As over HTTP: 200 with the cosignature line; 409 with the size that the witness knows; 400, 403,
// 404, 422 with a sentence.
struct WitnessAnswer {
  int status = 200;
  std::string body;
};

class Witness {
 public:
  // `folder` is made (mode 0700) with a new key on first use; `logs` are the keys of those that it
  // watches. Errors: denied, conflict (another process has the folder), invalid (a damaged file).
  using FillRandom = std::function<void(std::span<std::uint8_t>)>;
  static Result<std::unique_ptr<Witness>> open(const std::string& folder, std::string name,
                                               std::vector<VerifierKey> logs,
                                               const FillRandom& random);
  ~Witness();
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;

  // What it has cosigned is durable before it answers. An Error: its own disk failed.
  Result<WitnessAnswer> add_checkpoint(std::string_view body, std::uint64_t unix_s);
  [[nodiscard]] const VerifierKey& verifier() const { return signer_.verifier(); }

 private:
  Witness(std::string folder, std::shared_ptr<void> lock, SignerKey signer,
          std::vector<VerifierKey> logs);
  [[nodiscard]] std::string path_of(const std::string& origin) const;
  [[nodiscard]] Result<Checkpoint> known(const VerifierKey& log) const;

  std::string folder_;
  std::shared_ptr<void> lock_;
  SignerKey signer_;
  std::vector<VerifierKey> logs_;
};

}  // namespace ambit::log
