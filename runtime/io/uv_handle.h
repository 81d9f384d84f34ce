#pragma once

// UvHandle: one libuv handle that keeps itself alive until libuv has let go of it, whoever else
// drops it first. Every handle's `data` points to its UvHandle, so that a shutting loop can end all
// of them. Internal to io, like every file here whose name begins with uv_ (but uv_world.h).

#include "async/result.h"

#include <uv.h>

#include <memory>
#include <string>
#include <string_view>

namespace ambit::io {

class UvHandle : public std::enable_shared_from_this<UvHandle> {
 public:
  UvHandle() = default;
  UvHandle(const UvHandle&) = delete;
  UvHandle& operator=(const UvHandle&) = delete;
  virtual ~UvHandle() = default;

  // Closes the handle; a second call does nothing. The object dies after libuv's close callback.
  void close();
  [[nodiscard]] bool closing() const { return closing_; }
  // What a shutting loop calls; a handle that must first see something end closes later.
  virtual void shut_down() { close(); }

  // The object behind a handle that libuv gives to a callback.
  template <class T, class H>
  static T& of(H* handle) {
    return *static_cast<T*>(static_cast<UvHandle*>(handle->data));
  }

 protected:
  // To be called once, right after uv_*_init succeeded.
  void opened();
  virtual uv_handle_t* handle() = 0;
  // Tells those who wait that nothing will come any more.
  virtual void on_close() {}

 private:
  std::shared_ptr<UvHandle> self_;
  bool closing_ = false;
};

// "what: reason" with the code that fits a libuv status (a negative errno).
Error uv_error(int status, std::string_view what);

}  // namespace ambit::io
