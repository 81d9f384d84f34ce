#include "mcp/unix_socket.h"

#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

namespace ambit::mcp {
namespace {

std::string listed(const std::vector<std::uint32_t>& users) {
  std::string text;
  for (const std::uint32_t user : users) {
    text += (text.empty() ? "" : " or ") + std::to_string(user);
  }
  return text;
}

// The kernel refuses a file that is no socket as it refuses a socket that nobody listens on.
Error why_not(const std::string& path, Error error) {
  struct stat found{};
  if (::stat(path.c_str(), &found) == 0 && !S_ISSOCK(found.st_mode)) {
    return {Code::denied, path + " is no socket"};
  }
  // Whoever listens there may come back: that is not lasting.
  if (error.code == Code::not_found) error.code = Code::unavailable;
  return error;
}

}  // namespace

Task<Result<Connection>> connect_unix(io::Network& network, UnixTarget target) {
  if (!target.path.starts_with('/')) {
    co_return Err(Code::denied, "the path of the socket is not absolute: " + target.path);
  }
  auto connected = co_await network.connect("unix:" + target.path);
  if (!connected) co_return Err(why_not(target.path, std::move(connected).error()));
  std::shared_ptr<io::Stream> stream = std::move(*connected);
  const std::optional<std::uint32_t> user = stream->peer_user();
  if (!user || std::find(target.users.begin(), target.users.end(), *user) == target.users.end()) {
    co_return Err(Code::denied, "the server on " + target.path + " is of user " +
                                    (user ? std::to_string(*user) : std::string("unknown")) +
                                    ", and only user " + listed(target.users) + " is spoken to");
  }
  Connection connection;
  connection.input = stream.get();
  connection.output = stream.get();
  connection.owner = std::move(stream);
  co_return connection;
}

}  // namespace ambit::mcp
