#include "sandbox/zygote_process.h"

#include "async/check.h"
#include "sandbox/outcome.h"
#include "sandbox/pipes.h"
#include "sandbox/zygote_link.h"

#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <unistd.h>
#include <utility>
#include <vector>

namespace ambit::sandbox {

using protocol::Kind;
using protocol::Report;

Result<std::shared_ptr<ZygoteProcess>> ZygoteProcess::start(io::World& world,
                                                            const std::string& program,
                                                            const std::string& spec,
                                                            const agents::Profile& profile) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return Err(Code::unavailable, std::string("make a socket for a jail: ") + ::strerror(errno));
  io::ProcessOptions options;
  options.command = {program};
  options.directory = "/";
  options.inherit = {ends[1]};
  auto process = world.processes.spawn(std::move(options));
  ::close(ends[1]);
  if (!process) {
    ::close(ends[0]);
    return Err(std::move(process).error().context("start the jail's helper"));
  }
  std::shared_ptr<ZygoteProcess> zygote(new ZygoteProcess(profile, ends[0], std::move(*process)));
  TRY(send_frame(zygote->requests_, spec, {}));
  return zygote;
}

ZygoteProcess::ZygoteProcess(const agents::Profile& profile, int requests,
                             std::unique_ptr<io::Process> process)
    : profile_(profile), requests_(requests), process_(std::move(process)) {
  scope_.spawn(read_reports());
}

ZygoteProcess::~ZygoteProcess() {
  scope_.cancel();
  ::close(requests_);
  // Its death is the death of its jails.
  process_->signal(SIGKILL);
}

Result<std::unique_ptr<ZygoteCall>> ZygoteProcess::prepare(JailSeen jail,
                                                           std::span<const int> groups,
                                                           std::shared_ptr<void> held) {
  if (dead_) return Err(Code::closed, *dead_);
  jail.id = next_id_;
  // Below the ports that the kernel chooses by itself; no two jails that live have the same.
  constexpr std::uint32_t port_first = 10'000;
  constexpr std::uint32_t ports = 20'000;
  if (jail.has_door && profile_.level == "net")
    jail.port = static_cast<std::uint16_t>(port_first + jail.id % ports);
  const std::string frame = TRY(encode_jail(jail));
  // A worker is spoken to in a stream, whose other end the loop can read.
  const int kind = (jail.use == JailUse::worker ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC;
  int ends[2] = {-1, -1};
  int door[2] = {-1, -1};
  if (::socketpair(AF_UNIX, kind, 0, ends) != 0)
    return Err(Code::unavailable, std::string("make a socket for a jail: ") + ::strerror(errno));
  const Descriptor theirs(ends[1]);
  if (jail.has_door && ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, door) != 0) {
    ::close(ends[0]);
    return Err(Code::unavailable, std::string("make a door for a jail: ") + ::strerror(errno));
  }
  const Descriptor their_door(door[1]);
  auto made = std::make_unique<ZygoteCall>(shared_from_this(), jail, ends[0], door[0]);
  std::vector<int> descriptors = {ends[1]};
  if (jail.has_door) descriptors.push_back(door[1]);
  descriptors.insert(descriptors.end(), groups.begin(), groups.end());
  TRY(send_frame(requests_, frame, descriptors));
  ++next_id_;
  calls_[jail.id] = Running{made.get(), std::move(held)};
  return made;
}

void ZygoteProcess::end() {
  process_->signal(SIGKILL);
  die("the jail's helper was ended");
}

Task<void> ZygoteProcess::death() {
  while (!dead_) {
    co_await changed_.wait();
  }
}

void ZygoteProcess::signal(Kind kind, std::uint32_t id) {
  if (dead_) return;
  // A zygote that takes no message cannot end the call: then it ends itself, with all its calls.
  if (!send_frame(requests_, encode_signal(kind, id), {})) process_->signal(SIGKILL);
}

Task<void> ZygoteProcess::read_reports() {
  std::string bytes;
  for (;;) {
    Result<std::string> part = co_await process_->output().read(64 * sizeof(Report));
    if (!part || part->empty()) break;
    bytes += *part;
    std::size_t at = 0;
    for (; bytes.size() - at >= sizeof(Report); at += sizeof(Report)) {
      const Result<Report> report =
          decode_report(std::string_view(bytes).substr(at, sizeof(Report)));
      if (!report) {
        die(report.error().message);
        process_->signal(SIGKILL);
        co_return;
      }
      take(*report);
    }
    bytes.erase(0, at);
  }
  die("the jail's helper died");
}

void ZygoteProcess::take(const Report& report) {
  if (report.kind == Kind::ready) {
    ready_ = true;
  } else if (report.kind == Kind::failed) {
    die("the jail could not be made: " + describe_fault(report, profile_));
  } else {
    const auto found = calls_.find(report.call);
    if (found == calls_.end()) return;
    if (report.kind == Kind::knock) {
      if (found->second.call != nullptr && found->second.call->knocked_)
        found->second.call->knocked_();
      return;
    }
    ZygoteCall* call = std::exchange(found->second.call, nullptr);
    if (report.kind == Kind::gone) calls_.erase(found);
    if (call != nullptr) call->end(report);
  }
  changed_.wake_all();
}

void ZygoteProcess::die(std::string why) {
  if (dead_) return;
  dead_ = std::move(why);
  for (const auto& [id, running] : std::exchange(calls_, {}))
    if (running.call != nullptr) running.call->end(Err(Code::unavailable, *dead_));
  changed_.wake_all();
}

ZygoteCall::~ZygoteCall() {
  close_sockets();
  if (ended_) return;
  const auto found = zygote_->calls_.find(id_);
  if (found == zygote_->calls_.end()) return;
  // It keeps its place until the zygote says that it is gone.
  found->second.call = nullptr;
  kill();
}

void ZygoteCall::close_sockets() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  if (door_ >= 0) ::close(std::exchange(door_, -1));
}

Result<void> ZygoteCall::begin(const agents::JailCall& call, std::span<const int> descriptors) {
  INVARIANT(socket_ >= 0);
  const std::string frame = TRY(encode_call(call));
  TRY(send_frame(socket_, frame, descriptors));
  ::close(std::exchange(socket_, -1));
  return {};
}

Task<void> ZygoteCall::wait() {
  while (!ended_) {
    co_await waiters_.wait();
  }
}

void ZygoteCall::stop() {
  zygote_->signal(Kind::stop, id_);
}
void ZygoteCall::kill() {
  zygote_->signal(Kind::kill, id_);
}

void ZygoteCall::end(Result<Report> how) {
  ended_.emplace(std::move(how));
  waiters_.wake_all();
}

}  // namespace ambit::sandbox
