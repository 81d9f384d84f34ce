#pragma once

// Whole small files, in and out. Both functions block: use them at the start of the program, or in
// Workers. Errors name the path and the reason.

#include "async/result.h"

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace ambit::io {

// The whole file; Code::exhausted if it is longer than `bytes_max`. Only regular files.
Result<std::string> read_file(const std::string& path, std::size_t bytes_max);

// What a crash can leave beside a file: its path, this, and six letters.
inline constexpr std::string_view beside_mark = ".new-";

// Readers see the old content or the new one, also after a crash: written beside, fsynced, renamed.
// The folder must exist. Returns when the new content is durable.
Result<void> write_file(const std::string& path, std::string_view bytes, unsigned mode = 0644);
// The same for what does not fit into memory: `next` gives one part after another, an empty one at
// the end. A part is borrowed until the next call.
using NextPart = std::function<Result<std::string_view>()>;
Result<void> write_file_parts(const std::string& path, const NextPart& next, unsigned mode = 0644);

}  // namespace ambit::io
