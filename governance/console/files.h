#pragma once

// The page's files, which the build puts into the program (page/, embed.cmake).

#include <span>
#include <string_view>

namespace ambit::console {

struct PageFile {
  std::string_view name;  // "index.html"
  std::string_view bytes;
  std::string_view tag;  // of the bytes, quoted: an ETag
};

std::span<const PageFile> page_files();

}  // namespace ambit::console
