#include "builtin.h"

#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace ambit::sandbox::builtin {

void Text::add(std::string_view text) {
  const std::size_t kept = std::min(text.size(), room - used);
  std::memcpy(bytes + used, text.data(), kept);
  used += kept;
  cut = cut || kept < text.size();
}

void Text::add(unsigned long long number) {
  char digits[24];
  std::size_t at = sizeof digits;
  do {
    digits[--at] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  add(std::string_view(digits + at, sizeof digits - at));
}

int Said::fail(const char* what, const char* path, int error) {
  errors.add(what);
  errors.add(" '");
  errors.add(path);
  errors.add("': ");
  // The library's other one may translate, and allocate.
  const char* reason = strerrordesc_np(error);
  errors.add(reason == nullptr ? "unknown error" : reason);
  errors.add("\n");
  return 3;
}

int Said::usage(const char* how) {
  errors.add("usage: ");
  errors.add(how);
  errors.add("\n");
  return 2;
}

namespace {

using Words = std::span<char* const>;

// Closes itself; -1: there is none.
class File {
 public:
  File(int folder, const char* path, int flags, unsigned mode = 0)
      : number_(openat(folder, path, flags | O_CLOEXEC | O_NOCTTY, mode)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (number_ >= 0) close(number_);
  }
  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] bool is_open() const { return number_ >= 0; }

 private:
  int number_;
};

bool parse_number(const char* text, std::uint64_t& value) {
  value = 0;
  if (*text == '\0') return false;
  for (; *text != '\0'; ++text) {
    if (*text < '0' || *text > '9' || value > (~std::uint64_t{0} >> 8)) return false;
    value = value * 10 + static_cast<std::uint64_t>(*text - '0');
  }
  return true;
}

// A file that is no file would make us wait, or never end.
bool is_plain(const File& file) {
  struct stat kind{};
  return fstat(file.number(), &kind) == 0 && S_ISREG(kind.st_mode);
}

int open_failed(Said& said, const File& file, const char* path, int error) {
  if (!file.is_open()) return said.fail("open", path, error);
  return said.fail("open", path, EINVAL);
}

int read_file(Words words, Said& said) {
  std::uint64_t from = 0;
  std::uint64_t bytes = ~std::uint64_t{0};
  const bool good = words.size() >= 2 && words.size() <= 4 &&
                    (words.size() < 3 || parse_number(words[2], from)) &&
                    (words.size() < 4 || parse_number(words[3], bytes));
  if (!good) return said.usage("@read FILE [FROM [BYTES]]");
  const File file(AT_FDCWD, words[1], O_RDONLY | O_NONBLOCK);
  const int error = errno;
  if (!file.is_open() || !is_plain(file)) return open_failed(said, file, words[1], error);
  if (from != 0 && lseek(file.number(), static_cast<off_t>(from), SEEK_SET) < 0)
    return said.fail("read", words[1], errno);
  while (bytes > 0) {
    Text& out = said.output;
    if (out.used == out.room) {
      char more = 0;
      out.cut = out.cut || read(file.number(), &more, 1) == 1;
      return 0;
    }
    const std::size_t part = std::min<std::uint64_t>(bytes, out.room - out.used);
    const ssize_t count = read(file.number(), out.bytes + out.used, part);
    if (count < 0) return said.fail("read", words[1], errno);
    if (count == 0) break;
    out.used += static_cast<std::size_t>(count);
    bytes -= static_cast<std::uint64_t>(count);
  }
  return 0;
}

bool write_text(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(file, text.data(), text.size());
    if (count <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

int write_file(Words words, std::string_view input, bool appends, Said& said) {
  if (words.size() != 2) return said.usage("@write FILE, @append FILE: the input goes into it");
  const int how = O_WRONLY | O_CREAT | O_NONBLOCK | O_NOFOLLOW | (appends ? O_APPEND : 0);
  const File file(AT_FDCWD, words[1], how, 0644);
  const int error = errno;
  if (!file.is_open() || !is_plain(file)) return open_failed(said, file, words[1], error);
  if (!appends && ftruncate(file.number(), 0) != 0) return said.fail("write", words[1], errno);
  if (!write_text(file.number(), input)) return said.fail("write", words[1], errno);
  said.output.add(static_cast<unsigned long long>(input.size()));
  said.output.add(" bytes\n");
  return 0;
}

int replace_text(Words words, Said& said) {
  static char text[edit_bytes_max + 1];
  if (words.size() != 4 || *words[2] == '\0') return said.usage("@replace FILE OLD NEW");
  const File file(AT_FDCWD, words[1], O_RDWR | O_NONBLOCK | O_NOFOLLOW);
  const int error = errno;
  if (!file.is_open() || !is_plain(file)) return open_failed(said, file, words[1], error);
  std::size_t bytes = 0;
  ssize_t count = 0;
  while (bytes < sizeof text &&
         (count = read(file.number(), text + bytes, sizeof text - bytes)) > 0)
    bytes += static_cast<std::size_t>(count);
  if (count < 0) return said.fail("read", words[1], errno);
  if (bytes > edit_bytes_max) return said.fail("edit", words[1], EFBIG);
  const std::string_view all(text, bytes);
  const std::string_view old(words[2]);
  const std::size_t at = all.find(old);
  if (at == std::string_view::npos) return 1;
  if (all.find(old, at + 1) != std::string_view::npos) {
    said.errors.add("the text stands there more than once: give more of what is around it\n");
    return 2;
  }
  const std::string_view rest = all.substr(at + old.size());
  const bool written = lseek(file.number(), static_cast<off_t>(at), SEEK_SET) >= 0 &&
                       write_text(file.number(), words[3]) && write_text(file.number(), rest);
  const auto size = static_cast<off_t>(bytes - old.size() + std::strlen(words[3]));
  if (!written || ftruncate(file.number(), size) != 0) return said.fail("write", words[1], errno);
  said.output.add("replaced\n");
  return 0;
}

// ---- folders
// ----------------------------------------------------------------------------------------

struct Entry {
  const char* name;
  bool is_folder;
  bool is_file;
};

// The entries of a folder, one after the other, as the kernel gives them.
template <class Visit>
int for_each_entry(int folder, char* buffer, std::size_t bytes, Visit visit) {
  constexpr unsigned char folder_type = 4;
  constexpr unsigned char file_type = 8;
  long count = 0;
  while ((count = syscall(SYS_getdents64, folder, buffer, bytes)) > 0) {
    for (long at = 0; at < count;) {
      std::uint16_t length = 0;
      std::memcpy(&length, buffer + at + 16, sizeof length);
      const auto type = static_cast<unsigned char>(buffer[at + 18]);
      const char* name = buffer + at + 19;
      at += length;
      if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0) continue;
      if (!visit(Entry{name, type == folder_type, type == file_type})) return 0;
    }
  }
  return count < 0 ? errno : 0;
}

int list_folder(Words words, Said& said) {
  static char texts[names_max * 64];
  static const char* names[names_max];
  if (words.size() > 2) return said.usage("@list [FOLDER]");
  const char* path = words.size() == 2 ? words[1] : ".";
  const File folder(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
  if (!folder.is_open()) return said.fail("list", path, errno);
  alignas(8) char buffer[8192];
  std::size_t used = 0;
  std::size_t count = 0;
  const int error = for_each_entry(folder.number(), buffer, sizeof buffer, [&](const Entry& entry) {
    const std::size_t length = std::strlen(entry.name);
    if (count == names_max || used + length + 2 > sizeof texts) {
      said.output.cut = true;
      return false;
    }
    names[count++] = texts + used;
    std::memcpy(texts + used, entry.name, length);
    used += length;
    if (entry.is_folder) texts[used++] = '/';
    texts[used++] = '\0';
    return true;
  });
  if (error != 0) return said.fail("list", path, error);
  std::sort(names, names + count,
            [](const char* a, const char* b) { return std::strcmp(a, b) < 0; });
  for (std::size_t i = 0; i < count; ++i) {
    said.output.add(names[i]);
    said.output.add("\n");
  }
  return 0;
}

// '*' stands for any bytes, '?' for one. Linear: only the last star is tried again.
bool matches(const char* pattern, const char* name) {
  const char* star = nullptr;
  const char* again = nullptr;
  while (*name != '\0') {
    if (*pattern == '*') {
      star = pattern++;
      again = name;
    } else if (*pattern == '?' || *pattern == *name) {
      ++pattern;
      ++name;
    } else if (star != nullptr) {
      pattern = star + 1;
      name = ++again;
    } else {
      return false;
    }
  }
  while (*pattern == '*') ++pattern;
  return *pattern == '\0';
}

// What walks through folders in folders, and what it does with each file.
struct Walk {
  Said& said;
  char path[PATH_MAX];
  std::size_t length = 0;
  std::size_t entries_left = entries_max;
  bool found = false;
  virtual void visit(int folder, const Entry& entry) = 0;

  explicit Walk(Said& to) : said(to) {}
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;
  virtual ~Walk() = default;

  // Never through a link: what is not a folder itself is not entered.
  void enter(int folder, std::size_t depth) {
    alignas(8) char buffer[4096];
    const std::size_t before = length;
    (void)for_each_entry(folder, buffer, sizeof buffer, [&](const Entry& entry) {
      const std::size_t bytes = std::strlen(entry.name);
      if (entries_left == 0 || said.output.cut || before + bytes + 2 > sizeof path) {
        said.output.cut = true;
        return false;
      }
      --entries_left;
      if (before != 0 && path[before - 1] != '/') path[length++] = '/';
      std::memcpy(path + length, entry.name, bytes + 1);
      length += bytes;
      visit(folder, entry);
      if (entry.is_folder && depth < depth_max) {
        const File next(folder, entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (next.is_open()) enter(next.number(), depth + 1);
      }
      length = before;
      path[length] = '\0';
      return true;
    });
  }
  void start(const char* at) {
    length = std::min(std::strlen(at), sizeof path - 1);
    std::memcpy(path, at, length);
    path[length] = '\0';
  }
};

struct Find final : Walk {
  const char* pattern;
  Find(Said& to, const char* what) : Walk(to), pattern(what) {}
  void visit(int /*folder*/, const Entry& entry) override {
    if (!matches(pattern, entry.name)) return;
    found = true;
    said.output.add(path);
    said.output.add(entry.is_folder ? "/\n" : "\n");
  }
};

int find_names(Words words, Said& said) {
  if (words.size() != 3) return said.usage("@find FOLDER PATTERN");
  const File folder(AT_FDCWD, words[1], O_RDONLY | O_DIRECTORY);
  if (!folder.is_open()) return said.fail("find", words[1], errno);
  Find walk(said, words[2]);
  walk.start(words[1]);
  walk.enter(folder.number(), 0);
  return walk.found ? 0 : 1;
}

// Lines with a text in it, a block at a time; a line longer than the block is cut to it.
struct Grep final : Walk {
  std::string_view wanted;
  bool names_files = false;
  Grep(Said& to, const char* what) : Walk(to), wanted(what) {}

  void line(std::string_view text, unsigned long long number) {
    if (text.find(wanted) == std::string_view::npos) return;
    found = true;
    if (names_files) {
      said.output.add(path);
      said.output.add(":");
    }
    said.output.add(number);
    said.output.add(":");
    said.output.add(text);
    said.output.add("\n");
  }
  void search(int file) {
    static char block[64 << 10];
    std::size_t held = 0;
    unsigned long long number = 1;
    for (;;) {
      const ssize_t count = read(file, block + held, sizeof block - held);
      if (count <= 0) break;
      const std::size_t end = held + static_cast<std::size_t>(count);
      // A file with zero bytes in its beginning is no text.
      if (number == 1 && std::memchr(block, 0, end) != nullptr) return;
      std::size_t begin = 0;
      while (const void* newline = std::memchr(block + begin, '\n', end - begin)) {
        const auto at = static_cast<std::size_t>(static_cast<const char*>(newline) - block);
        line({block + begin, at - begin}, number++);
        begin = at + 1;
        if (said.output.cut) return;
      }
      if (begin == 0 && end == sizeof block) {
        line({block, end}, number);
        begin = end;
      }
      held = end - begin;
      std::memmove(block, block + begin, held);
    }
    if (held != 0) line({block, held}, number);
  }
  void visit(int folder, const Entry& entry) override {
    if (!entry.is_file) return;
    const File file(folder, entry.name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
    if (file.is_open() && is_plain(file)) search(file.number());
  }
};

int grep_text(Words words, Said& said) {
  if (words.size() != 3 || *words[1] == '\0') return said.usage("@grep TEXT FILE_OR_FOLDER");
  const File place(AT_FDCWD, words[2], O_RDONLY | O_NONBLOCK);
  if (!place.is_open()) return said.fail("grep", words[2], errno);
  Grep walk(said, words[1]);
  walk.start(words[2]);
  if (is_plain(place)) {
    walk.search(place.number());
  } else {
    walk.names_files = true;
    walk.enter(place.number(), 0);
  }
  return walk.found ? 0 : 1;
}

int describe(Words words, Said& said) {
  struct stat kind{};
  if (words.size() != 2) return said.usage("@stat PATH");
  if (fstatat(AT_FDCWD, words[1], &kind, AT_SYMLINK_NOFOLLOW) != 0)
    return said.fail("stat", words[1], errno);
  said.output.add(S_ISDIR(kind.st_mode)   ? "folder "
                  : S_ISREG(kind.st_mode) ? "file "
                  : S_ISLNK(kind.st_mode) ? "link "
                                          : "other ");
  said.output.add(static_cast<unsigned long long>(kind.st_size));
  said.output.add(" bytes, changed ");
  said.output.add(static_cast<unsigned long long>(std::max<std::int64_t>(kind.st_mtime, 0)));
  said.output.add("\n");
  return 0;
}

int say(Words words, Said& said) {
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (i > 1) said.output.add(" ");
    said.output.add(words[i]);
  }
  said.output.add("\n");
  return 0;
}

constexpr std::string_view names[] = {"@read", "@write", "@append", "@replace", "@list",
                                      "@find", "@grep",  "@stat",   "@echo"};

}  // namespace

bool exists(std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

std::string_view help() {
  return "@read FILE [FROM [BYTES]]\n@write FILE\n@append FILE\n@replace FILE OLD NEW\n"
         "@list [FOLDER]\n@find FOLDER PATTERN\n@grep TEXT FILE_OR_FOLDER\n@stat PATH\n"
         "@echo WORDS...\n";
}

int run(std::span<char* const> words, std::string_view input, Said& said) {
  const std::string_view name(words[0]);
  if (name == "@read") return read_file(words, said);
  if (name == "@write") return write_file(words, input, false, said);
  if (name == "@append") return write_file(words, input, true, said);
  if (name == "@replace") return replace_text(words, said);
  if (name == "@list") return list_folder(words, said);
  if (name == "@find") return find_names(words, said);
  if (name == "@grep") return grep_text(words, said);
  if (name == "@stat") return describe(words, said);
  if (name == "@echo") return say(words, said);
  said.errors.add("there is no built-in tool of this name\n");
  return 2;
}

}  // namespace ambit::sandbox::builtin
