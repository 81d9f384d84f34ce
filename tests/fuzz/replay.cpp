// The main of a fuzz target without libFuzzer: `fuzz_x CORPUS_FOLDER MUTATIONS`. Runs every file of
// the corpus, then mutations of them from a fixed seed. What makes it abort is printed, escaped, on
// stderr.

#include "sim/random.h"

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using ambit::sim::Random;

constexpr std::size_t input_bytes_max = 64 << 10;

const std::string* current_input = nullptr;

void print_input(int /*signal*/) {
  std::fputs("aborted on the input: \"", stderr);
  for (const char c : *current_input) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte >= 0x20 && byte < 0x7F && c != '"' && c != '\\';
    std::fprintf(stderr, plain ? "%c" : "\\x%02x", byte);
  }
  std::fputs("\"\n", stderr);
  std::signal(SIGABRT, SIG_DFL);
}

void try_input(const std::string& input) {
  current_input = &input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

std::vector<std::string> read_corpus(const std::string& folder) {
  std::vector<std::filesystem::path> paths;
  if (std::filesystem::is_directory(folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> corpus;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return corpus;
}

std::size_t place(Random& random, const std::string& input) {
  return static_cast<std::size_t>(random.below(input.size() + 1));
}

void mutate_once(Random& random, std::string& input, const std::vector<std::string>& corpus) {
  constexpr std::string_view telling("\0\n\r\t\"\\{}[]:,%#@?/.-0129eE\xFF\xC0\xEF\xBB\xBF", 30);
  const std::size_t at = place(random, input);
  const std::size_t count = static_cast<std::size_t>(random.below(32));
  switch (random.below(6)) {
    case 0:
      if (at < input.size()) input[at] = static_cast<char>(random.next());
      break;
    case 1:
      input.insert(at, 1, telling[random.below(telling.size())]);
      break;
    case 2:
      input.erase(at, count);
      break;
    case 3:
      input.insert(place(random, input), input.substr(at, count));
      break;
    case 4: {
      const std::string& other = corpus[random.below(corpus.size())];
      input = input.substr(0, at) + other.substr(place(random, other));
      break;
    }
    default:
      input.resize(at);
      break;
  }
  if (input.size() > input_bytes_max) input.resize(input_bytes_max);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::fputs("usage: fuzz_<name> CORPUS_FOLDER MUTATIONS\n", stderr);
    return 2;
  }
  std::signal(SIGABRT, print_input);
  std::vector<std::string> corpus = read_corpus(arguments[1]);
  const std::size_t files = corpus.size();
  if (corpus.empty()) {
    std::fprintf(stderr, "%s holds no inputs\n", arguments[1]);
    return 1;
  }
  for (const std::string& input : corpus) try_input(input);
  Random random(2026);
  const unsigned long mutations = std::stoul(arguments[2]);
  for (unsigned long n = 0; n < mutations; ++n) {
    std::string input = corpus[random.below(corpus.size())];
    for (std::uint64_t times = 1 + random.below(8); times > 0; --times)
      mutate_once(random, input, corpus);
    try_input(input);
  }
  std::printf("%zu inputs and %lu mutations\n", files, mutations);
  return 0;
}
