#include "inference/page_file.h"

#include "async/check.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <limits>
#include <mutex>
#include <thread>
#include <unistd.h>

namespace ambit::inference {

namespace {

constexpr std::size_t copies_bytes_max = 64U << 20U;
constexpr std::size_t tag_bytes = 16;
constexpr std::size_t nonce_bytes = 12;
constexpr std::size_t key_bytes = 32;

// A file without a name; where the file system has no such thing, one whose name is taken away.
int open_nameless(const std::string& folder) {
  const int made = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
  if (made >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return made;
  std::string path = folder + "/.kv-XXXXXX";
  const int named = mkostemp(path.data(), O_CLOEXEC);
  if (named >= 0 && unlink(path.c_str()) != 0) {
    close(named);
    return -1;
  }
  return named;
}

bool write_all(int file, const std::vector<std::byte>& bytes, std::uint64_t at) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t count =
        pwrite(file, bytes.data() + done, bytes.size() - done, static_cast<off_t>(at + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<std::size_t>(count);
  }
  return true;
}

bool read_all(int file, std::vector<std::byte>& bytes, std::uint64_t at) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t count =
        pread(file, bytes.data() + done, bytes.size() - done, static_cast<off_t>(at + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<std::size_t>(count);
  }
  return true;
}

}  // namespace

// AES-256-GCM: what was changed on the disk does not open. No nonce is used twice with a key.
class PageFile::Seal {
 public:
  struct Proof {
    std::uint64_t number = 0;  // of the write; 0: there was none
    std::array<unsigned char, tag_bytes> tag{};
  };

  Seal() : context_(EVP_CIPHER_CTX_new()) {
    INVARIANT(context_ != nullptr);
    INVARIANT(getrandom(key_.data(), key_.size(), 0) == static_cast<ssize_t>(key_.size()));
  }
  Seal(const Seal&) = delete;
  Seal& operator=(const Seal&) = delete;
  ~Seal() {
    OPENSSL_cleanse(key_.data(), key_.size());
    EVP_CIPHER_CTX_free(context_);
  }

  Proof close(std::vector<std::byte>& bytes) {
    Proof proof;
    proof.number = ++last_;
    int size = 0;
    const auto nonce = nonce_of(proof.number);
    INVARIANT(EVP_EncryptInit_ex(context_, EVP_aes_256_gcm(), nullptr, key_.data(), nonce.data()) ==
              1);
    INVARIANT(EVP_EncryptUpdate(context_, text(bytes), &size, text(bytes),
                                static_cast<int>(bytes.size())) == 1);
    INVARIANT(EVP_EncryptFinal_ex(context_, text(bytes) + size, &size) == 1);
    INVARIANT(EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_GCM_GET_TAG, tag_bytes, proof.tag.data()) ==
              1);
    return proof;
  }
  bool open(std::vector<std::byte>& bytes, Proof proof) {
    if (proof.number == 0) return false;
    int size = 0;
    const auto nonce = nonce_of(proof.number);
    return EVP_DecryptInit_ex(context_, EVP_aes_256_gcm(), nullptr, key_.data(), nonce.data()) ==
               1 &&
           EVP_DecryptUpdate(context_, text(bytes), &size, text(bytes),
                             static_cast<int>(bytes.size())) == 1 &&
           EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_GCM_SET_TAG, tag_bytes, proof.tag.data()) == 1 &&
           EVP_DecryptFinal_ex(context_, text(bytes) + size, &size) == 1;
  }

 private:
  static unsigned char* text(std::vector<std::byte>& bytes) {
    return reinterpret_cast<unsigned char*>(bytes.data());
  }
  static std::array<unsigned char, nonce_bytes> nonce_of(std::uint64_t number) {
    std::array<unsigned char, nonce_bytes> nonce{};
    std::memcpy(nonce.data(), &number, sizeof number);
    return nonce;
  }

  EVP_CIPHER_CTX* context_;
  std::array<unsigned char, key_bytes> key_{};
  std::uint64_t last_ = 0;
};

// What both threads know is under the mutex; the file, the key and the proofs belong to its own.
struct PageFile::Thread {
  Thread(int opened, std::size_t bytes, std::function<std::int64_t()> clock)
      : file(opened), page_bytes(bytes), clock_us(std::move(clock)) {
    worker = std::thread([this] { run(); });
  }
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  ~Thread() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    asked.notify_one();
    worker.join();
    close(file);
  }

  void run() {
    for (;;) {
      Done job;
      {
        std::unique_lock lock(mutex);
        asked.wait(lock, [this] { return stopping || !jobs.empty(); });
        if (stopping) return;
        job = std::move(jobs.front());
        jobs.pop_front();
      }
      if (job.what == Done::What::probe) put_on_disk(job);
      const std::int64_t begun_us = clock_us ? clock_us() : 0;
      if (job.what == Done::What::write)
        write(job);
      else if (job.what == Done::What::read || job.ok)
        read(job);
      job.took_us = clock_us ? clock_us() - begun_us : 0;
      if (job.what != Done::What::read) job.bytes = {};
      {
        const std::lock_guard lock(mutex);
        done.push_back(std::move(job));
      }
      ended.notify_one();
    }
  }

  void write(Done& job) {
    if (proofs.size() <= job.slot) proofs.resize(job.slot + 1);
    proofs[job.slot] = seal.close(job.bytes);
    job.ok = write_all(file, job.bytes, std::uint64_t{job.slot} * page_bytes);
    if (!job.ok) proofs[job.slot] = {};
  }
  // So that what reads it next has to wait for the disk.
  void put_on_disk(Done& job) {
    write(job);
    const auto at = static_cast<off_t>(std::uint64_t{job.slot} * page_bytes);
    job.ok = job.ok && fdatasync(file) == 0;
    if (job.ok) posix_fadvise(file, at, static_cast<off_t>(page_bytes), POSIX_FADV_DONTNEED);
  }
  void read(Done& job) {
    job.bytes.resize(page_bytes);
    job.ok = job.slot < proofs.size() &&
             read_all(file, job.bytes, std::uint64_t{job.slot} * page_bytes) &&
             seal.open(job.bytes, proofs[job.slot]);
    if (!job.ok) job.bytes = {};
  }

  int file;
  std::size_t page_bytes;
  std::function<std::int64_t()> clock_us;
  Seal seal;
  std::vector<Seal::Proof> proofs;  // by slot

  std::mutex mutex;
  std::condition_variable asked;
  std::condition_variable ended;
  std::deque<Done> jobs;  // a write has its bytes
  std::vector<Done> done;
  bool stopping = false;
  std::thread worker;
};

Result<std::unique_ptr<PageFile>> PageFile::open(const std::string& folder, std::size_t page_bytes,
                                                 std::size_t bytes_max,
                                                 std::function<std::int64_t()> clock_us) {
  const std::size_t slots = std::min<std::size_t>(bytes_max / page_bytes, 1U << 30U);
  if (slots == 0 || page_bytes > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    return Err(Code::invalid, "the disk tier of " + std::to_string(bytes_max) +
                                  " bytes holds no page of " + std::to_string(page_bytes));
  const int file = open_nameless(folder);
  if (file < 0)
    return Err(errno == EACCES || errno == EPERM ? Code::denied : Code::unavailable,
               "cannot make a file for the disk tier in " + folder + ": " + std::strerror(errno));
  return std::unique_ptr<PageFile>(new PageFile(
      std::make_unique<Thread>(file, page_bytes, std::move(clock_us)), page_bytes, slots));
}

PageFile::PageFile(std::unique_ptr<Thread> thread, std::size_t page_bytes, std::size_t slots_max)
    : thread_(std::move(thread)),
      page_bytes_(page_bytes),
      slots_max_(slots_max),
      under_way_max_(std::clamp<std::size_t>(copies_bytes_max / page_bytes, 4, 256)) {}

PageFile::~PageFile() = default;

PageFile::Slot PageFile::take_slot() {
  INVARIANT(has_slot());
  if (free_.empty()) return made_++;
  const Slot slot = free_.back();
  free_.pop_back();
  return slot;
}

PageTier::Level PageFile::level(Tier tier) const {
  if (tier != Tier::disk) return {};
  return {slots_max_, slots_used(), written_, failed_};
}

void PageFile::use(Tier tier, bool uses) {
  if (tier == Tier::disk) uses_ = uses;
}

void PageFile::ask(Done job) {
  INVARIANT(has_room());
  ++under_way_;
  {
    const std::lock_guard lock(thread_->mutex);
    thread_->jobs.push_back(std::move(job));
  }
  thread_->asked.notify_one();
}

void PageFile::write(Slot slot, const std::byte* page, std::uint64_t ticket) {
  Done job;
  job.ticket = ticket;
  job.slot = slot;
  job.bytes.assign(page, page + page_bytes_);
  ask(std::move(job));
}

void PageFile::read(Slot slot, std::uint64_t ticket) {
  Done job;
  job.ticket = ticket;
  job.slot = slot;
  job.what = Done::What::read;
  ask(std::move(job));
}

bool PageFile::place(const Done& read, std::byte* page) {
  std::memcpy(page, read.bytes.data(), page_bytes_);
  return true;
}

bool PageFile::probe(const std::byte* page, std::uint64_t ticket) {
  if (probes_ > 0 || failed_ || !has_slot() || !has_room()) return false;
  Done job;
  job.ticket = ticket;
  job.slot = take_slot();
  job.what = Done::What::probe;
  job.bytes.assign(page, page + page_bytes_);
  ++probes_;
  ask(std::move(job));
  return true;
}

std::vector<PageFile::Done> PageFile::take_done(bool waits) {
  std::vector<Done> done;
  if (under_way_ == 0) return done;
  {
    std::unique_lock lock(thread_->mutex);
    if (waits && under_way() > 0)
      thread_->ended.wait(lock, [this] { return !thread_->done.empty(); });
    done.swap(thread_->done);
  }
  under_way_ -= done.size();
  for (const Done& each : done) {
    if (each.what == Done::What::read) continue;
    if (!each.ok) failed_ = true;
    if (each.what == Done::What::write) {
      written_ += each.ok ? 1 : 0;
    } else {
      --probes_;
      give_back(each.slot);
    }
  }
  return done;
}

}  // namespace ambit::inference
