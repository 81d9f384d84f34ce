#pragma once

// Whole small files, in and out. Both functions block: use them at the start of the program, or in
// Workers. Errors name the path and the reason.

#include "async/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace ambit::io {

// The whole file; Code::exhausted if it is longer than `bytes_max`. Only regular files.
Result<std::string> read_file(const std::string& path, std::size_t bytes_max);

// Readers see the old content or the new one, also after a crash: written beside, fsynced, renamed.
// The folder must exist. Returns when the new content is durable.
Result<void> write_file(const std::string& path, std::string_view bytes, unsigned mode = 0644);

}  // namespace ambit::io
