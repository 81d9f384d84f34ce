#pragma once

// Subjects: the keys that payloads are encrypted under, one a subject (a person, or a run where
// nobody is named), in a file of their own beside the log. Erasing a subject destroys its key: the
// file is overwritten and written anew, the log keeps its commitments, and all proofs still hold.
// Also the cipher of one payload. Used by one thread at a time.

#include "async/result.h"

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::log {

using SubjectKey = std::array<std::uint8_t, 32>;

class Subjects {
 public:
  // An absent file has no subjects. Errors: denied, invalid (damaged in the middle; a last entry
  // that a crash cut off is left out).
  static Result<std::unique_ptr<Subjects>> load(const std::string& folder);

  // The number of a subject, made with a new key and durable if it is new. 1 to 2^53.
  using FillRandom = std::function<void(std::span<std::uint8_t>)>;
  Result<std::uint64_t> number_of(std::string_view subject, const FillRandom& random);
  [[nodiscard]] std::optional<std::uint64_t> find(std::string_view subject) const;
  [[nodiscard]] const SubjectKey* key_of(std::uint64_t number) const;
  // Destroys the key and the name: on return both are gone from the disk's file.
  Result<void> erase(std::uint64_t number);
  [[nodiscard]] std::size_t size() const { return keys_.size(); }

 private:
  struct Entry {
    std::string name;
    SubjectKey key{};
  };
  explicit Subjects(std::string path) : path_(std::move(path)) {}
  Result<void> parse(std::string_view bytes);

  std::string path_;
  std::uint64_t next_ = 1;
  std::size_t good_bytes_ = 0;  // of the file
  std::map<std::uint64_t, Entry> keys_;
  std::map<std::string, std::uint64_t, std::less<>> numbers_;
};

struct OpenPayload {
  std::string salt;
  std::string bytes;
};

// A payload as it is stored: the subject's number, then AES-256-GCM of salt and bytes, bound to its
// place in the log.
class PayloadCipher {
 public:
  PayloadCipher();
  ~PayloadCipher();
  PayloadCipher(const PayloadCipher&) = delete;
  PayloadCipher& operator=(const PayloadCipher&) = delete;

  std::string seal(std::uint64_t subject, const SubjectKey& key, std::uint64_t index,
                   std::size_t place, std::string_view salt, std::string_view bytes);
  // The number of the subject that a stored payload belongs to. Error: not a stored payload.
  static Result<std::uint64_t> subject_of(std::string_view stored);
  // `opened` is salt and bytes, to be used again for the next. Error: not what was sealed here.
  Result<void> open(std::string_view stored, const SubjectKey& key, std::uint64_t index,
                    std::size_t place, std::string& opened);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

inline constexpr std::size_t salt_bytes = 32;

}  // namespace ambit::log
