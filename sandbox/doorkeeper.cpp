#include "sandbox/doorkeeper.h"

#include "async/race.h"
#include "sandbox/profile.h"
#include "sandbox/zygote_link.h"

#include <linux/openat2.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace ambit::sandbox {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t opens_max = 64;  // asked for at once by one call
constexpr int frames_at_once = 32;
constexpr Duration last_words = 1s;

// A jail that has been taken over may send anything: only TCP is spoken to.
bool is_tcp(int descriptor) {
  int domain = 0;
  int type = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) return false;
  size = sizeof type;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) != 0) return false;
  return domain == AF_INET && type == SOCK_STREAM;
}

// A regular file, never by way of a link, with the rights that were asked for.
Result<int> open_regular(const std::string& path, std::uint32_t flags) {
  constexpr std::uint64_t kept = O_ACCMODE | O_APPEND | O_TRUNC;
  open_how how{};
  how.flags = (flags & kept) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long file = ::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how);
  if (file < 0) return Err(Code::denied, "open '" + path + "': " + ::strerror(errno));
  Descriptor owned(static_cast<int>(file));
  struct stat kind{};
  if (::fstat(owned.get(), &kind) != 0 || !S_ISREG(kind.st_mode))
    return Err(Code::denied, "'" + path + "' is no regular file");
  (void)::fcntl(owned.get(), F_SETFL, static_cast<int>(flags & O_APPEND));
  return owned.release();
}

}  // namespace

Doorkeeper::Doorkeeper(DoorOptions options, const agents::JailCall& call, egress::Secrets secrets,
                       int door)
    : options_(options),
      agent_(call.agent),
      session_(call.session),
      profile_(call.profile.name),
      asks_(call.profile.asks),
      has_network_(call.profile.level == "net"),
      urgency_(Loop::current().urgency()),
      door_(door) {
  if (has_network_)
    proxy_ = std::make_unique<EgressProxy>(options_.world, options_.egress, options_.gate, call,
                                           std::move(secrets));
}

void Doorkeeper::knocked() {
  for (int i = 0; i < frames_at_once; ++i) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    alignas(16) std::array<char, 8192> frame{};
    iovec part{frame.data(), frame.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t count = ::recvmsg(door_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (count <= 0) return;
    Descriptor passed;
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
      passed.reset(descriptor);
    }
    take({frame.data(), static_cast<std::size_t>(count)}, std::move(passed));
  }
}

void Doorkeeper::take(std::span<char> frame, Descriptor passed) {
  protocol::Reader reader(frame);
  const bool is_ours = reader.number<std::uint32_t>() == protocol::magic;
  const auto kind = static_cast<protocol::Kind>(reader.number<std::uint32_t>());
  if (is_ours && kind == protocol::Kind::connect && reader.complete() && has_network_) {
    take_connection(std::move(passed));
    return;
  }
  protocol::Open open;
  if (!is_ours || !asks_ || !protocol::parse_open(frame, open)) return;
  scope_.spawn(answer_open(open.cookie, open.flags, std::string(open.path)));
}

void Doorkeeper::take_connection(Descriptor connection) {
  if (connection.get() < 0 || !is_tcp(connection.get())) return;
  if (connections_ >= options_.egress.limits.connections_max) return;
  auto stream = options_.world.network.adopt(connection.release());
  if (!stream) return;
  ++connections_;
  const auto serve = [](Doorkeeper& self, std::unique_ptr<io::Stream> jail) -> Task<void> {
    co_await become(self.urgency_);
    co_await self.proxy_->serve(std::move(jail));
    --self.connections_;
  };
  scope_.spawn(serve(*this, std::move(*stream)));
}

Task<Result<int>> Doorkeeper::open_path(std::uint32_t flags, std::string path) {
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  // What is said about a path must hold before and after the decision: no links, none of ours.
  auto checked = check_path(path, writes, options_.forbidden);
  if (!checked) co_return Err(std::move(checked).error());
  OpenAsk ask{agent_, session_, profile_, path, writes};
  auto allowed = co_await options_.gate.may_open(std::move(ask));
  if (!allowed) co_return Err(std::move(allowed).error());
  checked = check_path(path, writes, options_.forbidden);
  if (!checked) co_return Err(std::move(checked).error());
  co_return open_regular(path, flags);
}

Task<void> Doorkeeper::answer_open(std::uint64_t cookie, std::uint32_t flags, std::string path) {
  co_await become(urgency_);
  Result<int> file = Err(Code::exhausted, "");
  if (opens_ < opens_max) {
    ++opens_;
    file = co_await open_path(flags, std::move(path));
    --opens_;
  }
  const Descriptor granted(file ? *file : -1);
  std::int32_t error = 0;
  if (!file) error = file.error().code == Code::not_found ? ENOENT : EACCES;
  const std::string frame = encode_opened(cookie, error);
  const int descriptor = granted.get();
  const auto beside = file ? std::span<const int>(&descriptor, 1) : std::span<const int>{};
  // A jail that does not take its answer waits until its time is up.
  (void)send_frame(door_.get(), frame, beside);
}

Task<void> Doorkeeper::finish() {
  const auto all = [](Scope& scope) -> Task<void> { co_await scope.join(); };
  if (scope_.size() != 0) {
    co_await race(all(scope_), delay_task(last_words));
  }
}

}  // namespace ambit::sandbox
