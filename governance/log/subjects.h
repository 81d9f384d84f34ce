#pragma once

// Subjects: the keys that payloads are encrypted under, one a subject (a person, or a run where
// nobody is named), in a file of their own beside the log. Memory holds where each subject stands
// in the file, some 30 bytes a subject; names and keys are read from there when they are asked for.
// Erasing a subject destroys its key: the file is written anew and the old one overwritten, the log
// keeps its commitments, and all proofs still hold. Also the cipher of one payload.

#include "async/result.h"
#include "io/descriptor.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::log {

using SubjectKey = std::array<std::uint8_t, 32>;

struct Subject {
  std::string name;
  SubjectKey key{};
  friend bool operator==(const Subject&, const Subject&) = default;
};

// Whose the payloads of a run are where nobody is named.
inline std::string subject_of_run(const std::string& run) {
  return "run/" + run;
}

inline constexpr std::size_t subjects_bytes_max = std::size_t{1} << 30;  // of the file

// Used by one thread at a time; what is const, by several.
class Subjects {
 public:
  // An absent file has no subjects. Errors: denied, invalid (damaged in the middle; what a crash
  // cut off at the end is left out), exhausted (longer than `bytes_max`).
  static Result<std::unique_ptr<Subjects>> load(const std::string& folder,
                                                std::size_t bytes_max = subjects_bytes_max);

  // The number of a subject, made with a new key if it is new: in memory, until sync(). 1 to 2^53.
  // Errors: invalid (the name), exhausted (the file is as long as it may be).
  using FillRandom = std::function<void(std::span<std::uint8_t>)>;
  Result<std::uint64_t> number_of(std::string_view subject, const FillRandom& random);
  // Makes durable what is new, with one write. After an error it is new still.
  Result<void> sync();
  // What other processes have changed since. Not for who writes.
  Result<void> refresh();

  // Errors: invalid, where the file has changed under it (see refresh) or is damaged.
  [[nodiscard]] Result<std::optional<std::uint64_t>> find(std::string_view subject) const;
  [[nodiscard]] Result<std::optional<Subject>> get(std::uint64_t number) const;
  // Destroys the keys and the names: on return they are gone from the disk's file. Error:
  // not_found.
  Result<void> erase(std::vector<std::uint64_t> numbers);

  [[nodiscard]] std::vector<std::uint64_t> numbers() const;  // rising
  [[nodiscard]] std::size_t size() const { return places_.size(); }
  [[nodiscard]] std::size_t index_bytes() const;
  [[nodiscard]] std::uint64_t syncs() const { return syncs_; }  // that wrote something

 private:
  struct Place {
    std::uint64_t number = 0;
    std::uint64_t offset = 0;  // in the file, or behind its end in what is new
  };
  struct Slot {
    std::uint32_t tag = 0;    // of the name's hash
    std::uint32_t entry = 0;  // its place + 1; 0: none
  };
  struct Entry;

  Subjects(std::string path, std::size_t bytes_max)
      : path_(std::move(path)), bytes_max_(bytes_max) {}
  Result<void> reload();
  Result<void> read_more();
  Result<bool> read_magic();
  [[nodiscard]] Result<bool> is_zero_from(std::uint64_t offset) const;
  Result<void> add(const Entry& entry, std::uint64_t offset);
  void insert(std::uint32_t tag, std::uint32_t entry);
  [[nodiscard]] Result<Entry> entry_at(std::uint64_t offset) const;
  [[nodiscard]] Result<std::string> read(std::uint64_t offset, std::size_t count) const;
  [[nodiscard]] const Place* place_of(std::uint64_t number) const;
  Result<void> open_to_write();
  Result<void> write_without(const std::vector<std::uint64_t>& numbers);
  [[nodiscard]] Error error(const char* doing) const;

  std::string path_;
  std::size_t bytes_max_;
  io::Descriptor file_;
  bool is_writable_ = false;
  bool is_loaded_ = false;  // else the last attempt failed, and nothing may be written
  std::uint64_t next_ = 1;
  std::uint64_t good_bytes_ = 0;  // of the file
  std::uint64_t file_bytes_ = 0;  // when it was read; more than good_bytes_: a cut-off end
  std::string pending_;           // what follows good_bytes_ with the next sync
  std::uint64_t syncs_ = 0;
  std::vector<Place> places_;  // by number
  std::vector<Slot> slots_;    // by name, open addressing
};

// The keys as the readers of one process share them, of a log that this or another process writes.
class SharedSubjects {
 public:
  explicit SharedSubjects(std::string folder) : folder_(std::move(folder)) {}
  // As the file is now: to be called before what is read may need them.
  Result<void> refresh();
  [[nodiscard]] Result<std::optional<Subject>> get(std::uint64_t number);

 private:
  std::string folder_;
  std::mutex mutex_;
  std::unique_ptr<Subjects> subjects_;
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
