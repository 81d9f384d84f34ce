#include "io/file.h"

#include "temporary_folder.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <filesystem>

namespace ambit::io {

TEST_CASE("what was written to a file is read from it", "[io]") {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/a";
  const std::string bytes = std::string("zero \0 inside", 13) + std::string(100'000, 'x');
  REQUIRE(write_file(path, bytes).has_value());
  CHECK(read_file(path, 1 << 20).value() == bytes);
  REQUIRE(write_file(path, "").has_value());
  CHECK(read_file(path, 0).value().empty());
}

TEST_CASE("a file of exactly the bound is read, one byte more is refused", "[io]") {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/a";
  REQUIRE(write_file(path, "12345").has_value());
  CHECK(read_file(path, 5).value() == "12345");
  const Error error = read_file(path, 4).error();
  CHECK(error.code == Code::exhausted);
  CHECK(error.message == "read " + path + ": longer than 4 bytes");
}

TEST_CASE("a file without a size is bounded too", "[io]") {
  CHECK(read_file("/proc/self/status", 100'000).value().starts_with("Name:"));
  CHECK(read_file("/proc/self/status", 10).error().code == Code::exhausted);
}

TEST_CASE("reading what is no regular file is an error", "[io]") {
  const TemporaryFolder folder;
  const std::string pipe = folder.path() + "/pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(read_file(pipe, 10).error().message == "read " + pipe + ": not a regular file");
  CHECK(read_file(folder.path(), 10).error().message ==
        "read " + folder.path() + ": Is a directory");
  const Error missing = read_file(folder.path() + "/none", 10).error();
  CHECK(missing.code == Code::not_found);
  CHECK(missing.message == "read " + folder.path() + "/none: No such file or directory");
}

TEST_CASE("a file that cannot take its place leaves nothing behind", "[io]") {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/taken";
  std::filesystem::create_directory(path);
  CHECK(write_file(path, "x").error().message == "write " + path + ": Is a directory");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  CHECK(write_file(folder.path() + "/none/a", "x").error().code == Code::not_found);
}

}  // namespace ambit::io
