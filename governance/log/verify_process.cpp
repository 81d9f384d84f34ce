// Verification as a process of its own: the parent hears of its progress through shared memory.

#include "io/file.h"
#include "log/folder_lock.h"
#include "log/verify.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <poll.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace ambit::log {
namespace {

constexpr int stall_ms = 60'000;  // a child that gets no further for so long walks in circles
constexpr std::size_t key_bytes_max = 4096;
constexpr unsigned threads_max = 15;
constexpr int attempts_max = 3;  // of a log whose keys are being destroyed at the same time

// What the child tells the parent through shared memory.
struct Shared {
  volatile std::uint64_t record;  // that is being looked at
  volatile std::uint64_t beat;    // grows as long as there is progress
  std::uint64_t records;
  std::uint64_t payloads;
  std::uint64_t erased;
  std::uint64_t expired;
  std::uint64_t checkpoints;
  std::uint64_t clock_back;
  std::uint64_t first_clock_back;
  std::uint64_t bad_index;
  bool has_bad_index;
  bool sealed;
  bool done;
  std::uint32_t length;
  std::array<char, 4096> what;
};

void tell(const VerifyReport& report, Shared& shared) {
  shared.records = report.records;
  shared.payloads = report.payloads;
  shared.erased = report.erased;
  shared.expired = report.expired;
  shared.checkpoints = report.checkpoints;
  shared.clock_back = report.clock_back;
  shared.first_clock_back = report.first_clock_back;
  shared.has_bad_index = report.bad_index.has_value();
  shared.bad_index = report.bad_index.value_or(0);
  shared.sealed = report.sealed;
  shared.length = static_cast<std::uint32_t>(std::min(report.what.size(), shared.what.size()));
  std::memcpy(shared.what.data(), report.what.data(), shared.length);
  shared.done = true;
}

VerifyReport heard(const Shared& shared, int status) {
  VerifyReport report;
  if (!shared.done) {
    report.was_cut_off = true;
    report.records = shared.record;
    report.bad_index = shared.record;
    report.what =
        "record " + std::to_string(shared.record) + ": data.mdb is damaged there: reading it " +
        (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? "did not come to an end" : "failed");
    return report;
  }
  report.records = shared.records;
  report.payloads = shared.payloads;
  report.erased = shared.erased;
  report.expired = shared.expired;
  report.checkpoints = shared.checkpoints;
  report.clock_back = shared.clock_back;
  report.first_clock_back = shared.first_clock_back;
  if (shared.has_bad_index) report.bad_index = shared.bad_index;
  report.sealed = shared.sealed;
  report.what.assign(shared.what.data(), shared.length);
  if (report.good()) report.summary = summary_of(report);
  return report;
}

// The child's whole life. Whatever LMDB or a sanitizer prints about a crash is not for the reader.
[[noreturn]] void child(const std::string& folder, const VerifierKey& key, unsigned threads,
                        Shared& shared) {
  const int nothing = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nothing >= 0) ::dup2(nothing, STDERR_FILENO);
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) ::signal(signal, SIG_DFL);
  const auto progress = [&shared](std::uint64_t index) {
    shared.record = index;
    shared.beat = shared.beat + 1;
  };
  tell(verify_here(folder, key, progress, threads), shared);
  ::_exit(0);
}

// Waits for the child, and ends it if it gets no further.
int wait_for(pid_t pid, const Shared& shared) {
  int status = 0;
  std::uint64_t beat = shared.beat;
  int quiet_ms = 0;
  constexpr int step_ms = 5;
  for (;;) {
    const pid_t ended = ::waitpid(pid, &status, WNOHANG);
    if (ended == pid || (ended < 0 && errno != EINTR)) return status;
    ::poll(nullptr, 0, step_ms);
    quiet_ms = shared.beat == beat ? quiet_ms + step_ms : 0;
    beat = shared.beat;
    // The seal of a large file is hashed after the last record, without a beat: that is progress
    // too.
    if (quiet_ms >= stall_ms && !shared.done) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, &status, 0);
      return status;
    }
  }
}

Result<VerifyReport> verify_in_child(const std::string& folder, const VerifierKey& key,
                                     unsigned threads) {
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Err(file_error("share memory to verify", folder, errno));
  auto& shared = *new (memory) Shared{};
  const pid_t pid = ::fork();
  if (pid < 0) {
    const int failed = errno;
    ::munmap(memory, sizeof(Shared));
    return Err(file_error("start a process to verify", folder, failed));
  }
  if (pid == 0) child(folder, key, threads, shared);
  const int status = wait_for(pid, shared);
  VerifyReport report = heard(shared, status);
  ::munmap(memory, sizeof(Shared));
  return report;
}

ino_t file_number(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

}  // namespace

unsigned verify_threads() {
  const unsigned processors = std::thread::hardware_concurrency();
  return std::clamp(processors, 1U, threads_max + 1) - 1;
}

Result<VerifyReport> verify_log(const std::string& folder, const std::string& vkey,
                                unsigned threads) {
  const std::string data = folder + "/data.mdb";
  if (::access(data.c_str(), R_OK) != 0) return Err(file_error("read", data, errno));
  const std::string text =
      vkey.empty() ? TRY(io::read_file(folder + "/vkey", key_bytes_max)) : vkey;
  auto key = VerifierKey::parse(text);
  if (!key)
    return Err(std::move(key).error().context(vkey.empty() ? folder + "/vkey" : "the given key"));
  for (int attempt = 1;; ++attempt) {
    const ino_t keys = file_number(folder + "/subjects");
    // Threads read ahead of the record that is being followed, so where one of them ends the
    // process, a single one is asked where that was.
    VerifyReport report = TRY(verify_in_child(folder, *key, threads));
    if (report.was_cut_off && threads > 0) report = TRY(verify_in_child(folder, *key, 0));
    // Keys that were destroyed under our hands are missing in what we saw, and their record came
    // after it.
    if (report.good() || attempt == attempts_max || file_number(folder + "/subjects") == keys) {
      return report;
    }
  }
}

}  // namespace ambit::log
