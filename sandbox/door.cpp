#include "door.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <string_view>
#include <unistd.h>

namespace ambit::sandbox::door {
namespace {

using protocol::Kind;

constexpr int waiting_max = 16;

// The answer to a notice: the kernel goes on, or the call fails.
void answer(std::uint64_t id, int error, bool goes_on) {
  seccomp_notif_resp response{};
  response.id = id;
  response.error = -error;
  if (goes_on) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  (void)ioctl(protocol::jail_listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

// 0, or an errno: EAGAIN when too much waits there.
int put(const char* frame, std::size_t bytes, int descriptor) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptor)] = {};
  iovec part{const_cast<char*>(frame), bytes};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  }
  ssize_t sent = 0;
  do sent = sendmsg(protocol::jail_door, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

void knock(std::uint32_t call) {
  protocol::Report report;
  report.kind = Kind::knock;
  report.call = call;
  (void)!write(protocol::jail_reports, &report, sizeof report);
}

// A frame by hand: numbers as they lie in memory.
struct Frame {
  char bytes[PATH_MAX + 64];
  std::size_t used = 0;
  template <class T>
  void number(T value) {
    std::memcpy(bytes + used, &value, sizeof value);
    used += sizeof value;
  }
  void string(const char* text, std::size_t length) {
    number(static_cast<std::uint32_t>(length));
    std::memcpy(bytes + used, text, length);
    used += length;
    bytes[used++] = '\0';
  }
};

// The text at `from` in another process of the jail; its length, or 0. Two pieces, so that a text
// that ends before an unmapped page is read.
std::size_t read_text(pid_t process, std::uint64_t from, char (&into)[PATH_MAX]) {
  constexpr std::uint64_t page = 4096;
  const std::size_t first = static_cast<std::size_t>(page - from % page);
  iovec here{into, sizeof into};
  iovec there[2] = {{reinterpret_cast<void*>(from), first},
                    {reinterpret_cast<void*>(from + first), sizeof into - first}};
  const unsigned long pieces = first >= sizeof into ? 1 : 2;
  if (pieces == 1) there[0].iov_len = sizeof into;
  const long count = syscall(SYS_process_vm_readv, process, &here, 1UL, &there[0], pieces, 0UL);
  if (count <= 0) return 0;
  const void* end = std::memchr(into, 0, static_cast<std::size_t>(count));
  return end == nullptr ? 0 : static_cast<std::size_t>(static_cast<const char*>(end) - into);
}

bool holds(std::string_view outer, std::string_view inner) {
  return inner.starts_with(outer) && (inner.size() == outer.size() || inner[outer.size()] == '/');
}

// What mounts and Landlock decide without us.
bool is_of_the_jail(const protocol::Spec& spec, std::string_view path) {
  for (const char* own : {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc",
                          "/dev", "/proc", "/sys", "/run", "/tmp"})
    if (holds(own, path)) return true;
  for (std::size_t i = 0; i < spec.path_count; ++i)
    if (holds(spec.paths[i].name, path)) return true;
  return path.size() < 2 || path[0] != '/';
}

}  // namespace

int open_gate(std::uint16_t port, int& gate) {
  const int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (made < 0) return errno;
  const int yes = 1;
  (void)setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return errno;
  if (listen(made, waiting_max) != 0) return errno;
  gate = made;
  return 0;
}

void pass_connection(std::uint32_t call) {
  const int connection =
      accept4(protocol::jail_gate, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (connection < 0) return;
  Frame frame;
  frame.number(protocol::magic);
  frame.number(Kind::connect);
  if (put(frame.bytes, frame.used, connection) == 0) knock(call);
  close(connection);
}

bool is_open(const seccomp_notif& notice) {
#ifdef SYS_open
  if (notice.data.nr == SYS_open) return true;
#endif
  return notice.data.nr == SYS_openat;
}

void ask_to_open(const protocol::Spec& spec, const seccomp_notif& notice, std::uint32_t call) {
  static char path[PATH_MAX];
  const bool is_at = notice.data.nr == SYS_openat;
  const std::size_t length =
      read_text(static_cast<pid_t>(notice.pid), notice.data.args[is_at ? 1 : 0], path);
  // What was read is another process's if this one has ended meanwhile.
  if (ioctl(protocol::jail_listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &notice.id) != 0) return;
  // Going on grants nothing: the mounts, Landlock and the first filter still decide.
  if (length == 0 || is_of_the_jail(spec, {path, length})) {
    answer(notice.id, 0, true);
    return;
  }
  Frame frame;
  frame.number(protocol::magic);
  frame.number(Kind::open);
  frame.number(std::uint64_t{notice.id});
  frame.number(static_cast<std::uint32_t>(notice.data.args[is_at ? 2 : 1]));
  frame.string(path, length);
  if (const int error = put(frame.bytes, frame.used, -1)) {
    answer(notice.id, error, false);
  } else {
    knock(call);
  }
}

void take_answer() {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  alignas(16) char frame[64];
  iovec part{frame, sizeof frame};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t count = recvmsg(protocol::jail_door, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (count <= 0) return;
  int file = -1;
  const cmsghdr* passed = CMSG_FIRSTHDR(&message);
  if (passed != nullptr && passed->cmsg_type == SCM_RIGHTS &&
      passed->cmsg_len == CMSG_LEN(sizeof file))
    std::memcpy(&file, CMSG_DATA(passed), sizeof file);
  protocol::Opened opened;
  if (protocol::parse_opened({frame, static_cast<std::size_t>(count)}, opened)) {
    if (opened.error == 0 && file >= 0) {
      seccomp_notif_addfd add{};
      add.id = opened.cookie;
      add.flags = SECCOMP_ADDFD_FLAG_SEND;
      add.srcfd = static_cast<std::uint32_t>(file);
      add.newfd_flags = O_CLOEXEC;
      if (ioctl(protocol::jail_listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0)
        answer(opened.cookie, errno, false);
    } else {
      answer(opened.cookie, opened.error == 0 ? EACCES : opened.error, false);
    }
  }
  if (file >= 0) close(file);
}

}  // namespace ambit::sandbox::door
