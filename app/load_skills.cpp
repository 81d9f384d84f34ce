#include "app/load_skills.h"

#include "io/descriptor.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <map>
#include <unistd.h>
#include <utility>

namespace ambit::app {
namespace {

constexpr int folders_deep_max = 16;
constexpr std::size_t names_max = 4096;  // in one folder
constexpr std::size_t fleet_bytes_max = 256 << 20;

Error failed(const std::string& path) {
  return Error{Code::unavailable, path + ": " + std::strerror(errno)};
}

using io::Descriptor;

// What lies in a folder, by name; every step is taken from an open folder, so that none of them can
// lead elsewhere.
class FolderReader {
 public:
  explicit FolderReader(std::string root) : root_(std::move(root)) {}

  Result<std::map<std::string, std::string>> read() {
    const Descriptor root(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (root.get() < 0) return Err(failed(root_));
    TRY(folder(root.get(), "", 0));
    return std::move(files_);
  }

 private:
  static Result<std::vector<std::string>> names_in(int folder, const std::string& where) {
    const int copy = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* open = copy < 0 ? nullptr : ::fdopendir(copy);
    if (open == nullptr) {
      if (copy >= 0) ::close(copy);
      return Err(failed(where));
    }
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(open)) {
      if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
      if (names.size() > names_max) break;
    }
    ::closedir(open);
    if (names.size() > names_max) {
      return Err(Code::exhausted, where + ": more than " + std::to_string(names_max) + " names");
    }
    return names;
  }

  Result<void> folder(int folder_number, const std::string& below, int depth) {
    const std::string where = root_ + "/" + below;
    if (depth > folders_deep_max) {
      return Err(Code::exhausted,
                 where + ": more than " + std::to_string(folders_deep_max) + " folders deep");
    }
    for (const std::string& name : TRY(names_in(folder_number, where))) {
      const std::string path = below + name;
      const Descriptor one(
          ::openat(folder_number, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
      struct stat found{};
      if (one.get() < 0 && errno == ELOOP) {
        return Err(Code::invalid, root_ + "/" + path +
                                      ": is a link; a skill holds its files itself, copy it there");
      }
      if (one.get() < 0 || ::fstat(one.get(), &found) != 0) return Err(failed(root_ + "/" + path));
      if (S_ISDIR(found.st_mode)) {
        TRY(folder(one.get(), path + "/", depth + 1));
      } else if (S_ISREG(found.st_mode)) {
        TRY(file(one.get(), path));
      } else {
        return Err(Code::invalid, root_ + "/" + path + ": is neither a file nor a folder");
      }
    }
    return {};
  }

  Result<void> file(int number, const std::string& path) {
    std::string bytes;
    char piece[64 * 1024];
    while (true) {
      const ssize_t got = ::read(number, piece, sizeof piece);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return Err(failed(root_ + "/" + path));
      if (got == 0) break;
      bytes.append(piece, static_cast<std::size_t>(got));
      bytes_ += static_cast<std::int64_t>(got);
      if (bytes_ > mcp::skill_bytes_max) {
        return Err(Code::exhausted, root_ + ": more than " + std::to_string(mcp::skill_bytes_max) +
                                        " bytes; hosts take no larger skill");
      }
    }
    if (files_.size() >= mcp::skill_files_max) {
      return Err(Code::exhausted, root_ + ": more than " + std::to_string(mcp::skill_files_max) +
                                      " files; hosts take no larger skill");
    }
    files_.emplace(path, std::move(bytes));
    return {};
  }

  std::string root_;
  std::map<std::string, std::string> files_;
  std::int64_t bytes_ = 0;
};

}  // namespace

Result<mcp::Skills> load_skills(const agents::Fleet& fleet) {
  mcp::Skills skills;
  std::size_t bytes = 0;
  for (const agents::SkillSpec& spec : fleet.skills) {
    auto files = TRY(FolderReader(spec.directory).read());
    auto made = mcp::make_skill(std::move(files));
    if (!made) return Err(std::move(made).error().context(spec.directory));
    if (made->entry.name != spec.name) {
      return Err(Code::invalid, spec.directory + ": its SKILL.md is called \"" + made->entry.name +
                                    "\"; folder and skill have one name");
    }
    for (const auto& [uri, content] : made->files) bytes += content.size();
    if (bytes > fleet_bytes_max) {
      return Err(Code::exhausted, spec.directory + ": the fleet's skills have more than " +
                                      std::to_string(fleet_bytes_max) + " bytes together");
    }
    skills.push_back(std::make_shared<const mcp::Skill>(std::move(*made)));
  }
  return skills;
}

}  // namespace ambit::app
