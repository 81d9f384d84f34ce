// The log as files in the layout of C2SP tlog-tiles v0.1.0, for verifiers that are not ours.

#include "io/file.h"
#include "log/folder_lock.h"
#include "log/reader.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace ambit::log {
namespace {

constexpr std::uint64_t tile_width = 256;

Result<void> write(const std::string& path, std::string_view bytes) {
  std::error_code failed;
  const std::string folder = std::filesystem::path(path).parent_path();
  std::filesystem::create_directories(folder, failed);
  if (failed) return Err(file_error("make the folder", folder, failed.value()));
  return io::write_file(path, bytes);
}

// The tile's path; one that is not full carries its width.
std::string tile_path(const std::string& folder, const std::string& level, std::uint64_t tile,
                      std::uint64_t width) {
  return folder + "/tile/" + level + "/" + tile_number(tile) +
         (width < tile_width ? ".p/" + std::to_string(width) : "");
}

Result<std::string> entries(const Snapshot& snapshot, std::uint64_t first, std::uint64_t width) {
  std::string bundle;
  for (std::uint64_t i = 0; i < width; ++i) {
    const std::string_view leaf = TRY(snapshot.leaf(first + i));
    bundle += static_cast<char>(leaf.size() >> 8);
    bundle += static_cast<char>(leaf.size() & 0xFF);
    bundle += leaf;
  }
  return bundle;
}

Result<std::string> hashes(const Snapshot& snapshot, unsigned level, std::uint64_t first,
                           std::uint64_t width) {
  std::string tile;
  for (std::uint64_t i = 0; i < width; ++i) {
    const Hash hash = TRY(snapshot.node(level * tile_height, first + i));
    tile += bytes_of(hash);
  }
  return tile;
}

}  // namespace

std::string tile_number(std::uint64_t number) {
  std::string path;
  for (bool last = true; last || number > 0; last = false) {
    std::string group = std::to_string(number % 1000);
    group.insert(0, 3 - group.size(), '0');
    path.insert(0, last ? group : "x" + group + "/");
    number /= 1000;
  }
  return path;
}

Result<std::uint64_t> write_tiles(const Store& store, const std::string& folder) {
  const Snapshot snapshot = TRY(store.snapshot());
  const std::uint64_t size = TRY(snapshot.size());
  for (std::uint64_t first = 0; first < size; first += tile_width) {
    const std::uint64_t width = std::min(tile_width, size - first);
    const std::string bundle = TRY(entries(snapshot, first, width));
    TRY(write(tile_path(folder, "entries", first / tile_width, width), bundle));
  }
  std::uint64_t count = size;
  for (unsigned level = 0; count > 0; ++level, count /= tile_width) {
    for (std::uint64_t first = 0; first < count; first += tile_width) {
      const std::uint64_t width = std::min(tile_width, count - first);
      const std::string tile = TRY(hashes(snapshot, level, first, width));
      TRY(write(tile_path(folder, std::to_string(level), first / tile_width, width), tile));
    }
  }
  const std::string note = TRY(snapshot.checkpoint());
  // Last, as the specification asks: a checkpoint never points to tiles that are not there yet.
  TRY(write(folder + "/checkpoint", note));
  return size;
}

}  // namespace ambit::log
