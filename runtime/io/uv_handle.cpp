#include "io/uv_handle.h"

#include "async/check.h"

namespace ambit::io {
namespace {

Code code_of(int status) {
  switch (status) {
    case UV_ENOENT:
    case UV_ENOTDIR:
    case UV_EAI_NONAME:
    case UV_EAI_NODATA:
      return Code::not_found;
    case UV_EACCES:
    case UV_EPERM:
      return Code::denied;
    case UV_EADDRINUSE:
    case UV_EALREADY:
    case UV_EEXIST:
      return Code::conflict;
    case UV_EOF:
    case UV_EPIPE:
    case UV_ECANCELED:
    case UV_ECONNRESET:
    case UV_ECONNABORTED:
    case UV_ENOTCONN:
      return Code::closed;
    case UV_ETIMEDOUT:
      return Code::timeout;
    case UV_EMFILE:
    case UV_ENFILE:
    case UV_ENOBUFS:
    case UV_ENOSPC:
    case UV_ENOMEM:
      return Code::exhausted;
    case UV_EINVAL:
    case UV_E2BIG:
    case UV_ENAMETOOLONG:
      return Code::invalid;
    case UV_ENOSYS:
    case UV_ENOTSUP:
    case UV_EAFNOSUPPORT:
      return Code::unsupported;
    case UV_EBADF:
      return Code::internal;
    default:
      return Code::unavailable;
  }
}

}  // namespace

void UvHandle::opened() {
  handle()->data = this;
  self_ = shared_from_this();
}

void UvHandle::close() {
  if (closing_) return;
  closing_ = true;
  on_close();
  INVARIANT(self_ != nullptr);
  uv_close(handle(), [](uv_handle_t* closed) {
    const std::shared_ptr<UvHandle> last = std::move(static_cast<UvHandle*>(closed->data)->self_);
  });
}

Error uv_error(int status, std::string_view what) {
  return Error{code_of(status), std::string(what) + ": " + uv_strerror(status)};
}

}  // namespace ambit::io
