// The tree, the proofs and the notes against published vectors: a part of them in tests/data/tlog,
// all of them from the shared folder where there is one.

#include "log/merkle.h"

#include "log/note.h"
#include "log/reader.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

namespace fs = std::filesystem;
using namespace ambit::log;
using ambit::Result;
using nlohmann::json;

namespace {

fs::path shared_folder() {
  const char* given = std::getenv("AMBIT_SHARED");
  return given != nullptr ? fs::path(given) : fs::path(PROJECT_ROOT) / ".." / "shared";
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// All the hashes of a vector, or nothing where one has a wrong length: then no proof can hold.
std::optional<std::vector<Hash>> hashes(const json& list) {
  std::vector<Hash> made;
  for (const json& item : list) {
    const auto bytes = from_base64(item.get<std::string>());
    const auto hash = bytes ? hash_from(*bytes) : Result<Hash>(ambit::Err(bytes.error()));
    if (!hash) return std::nullopt;
    made.push_back(*hash);
  }
  return made;
}

bool inclusion_holds(const json& vector) {
  const auto ends = hashes(json::array({vector["leafHash"], vector["root"]}));
  const auto proof = hashes(vector["proof"]);
  return ends && proof &&
         verify_inclusion(vector["leafIdx"], vector["treeSize"], (*ends)[0], *proof, (*ends)[1])
             .has_value();
}

// A root that is no hash (some vectors have a word there) stands for itself by its own hash: what
// was equal stays equal.
Hash root_or_stand_in(const json& root) {
  const auto bytes = from_base64(root.get<std::string>());
  REQUIRE(bytes);
  const auto hash = hash_from(*bytes);
  return hash ? *hash : sha256(*bytes);
}

bool consistency_holds(const json& vector) {
  const auto proof = hashes(vector["proof"]);
  return proof &&
         verify_consistency(vector["size1"], vector["size2"], root_or_stand_in(vector["root1"]),
                            root_or_stand_in(vector["root2"]), *proof)
             .has_value();
}

struct Count {
  std::size_t total = 0;
  std::vector<std::string> wrong;
};

void run_vectors(const fs::path& folder, bool (*holds)(const json&), Count& count) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    const json vector = json::parse(read_file(entry.path()));
    // A proof given as null is an empty one.
    json full = vector;
    if (full["proof"].is_null()) full["proof"] = json::array();
    ++count.total;
    if (holds(full) == vector["wantErr"].get<bool>()) count.wrong.push_back(entry.path());
  }
}

// A tree whose nodes can all be asked for.
class Nodes {
 public:
  explicit Nodes(std::uint64_t size) {
    for (std::uint64_t i = 0; i < size; ++i) {
      tree_.append(leaf_hash("leaf " + std::to_string(i)),
                   [this](unsigned level, std::uint64_t at, const Hash& hash) {
                     nodes_[{level, at}] = hash;
                   });
      roots_.push_back(tree_.root());
    }
  }
  [[nodiscard]] NodeReader reader() const {
    return
        [this](unsigned level, std::uint64_t at) -> Result<Hash> { return nodes_.at({level, at}); };
  }
  [[nodiscard]] Hash root(std::uint64_t size) const {
    return size == 0 ? empty_root() : roots_[size - 1];
  }
  [[nodiscard]] Hash leaf(std::uint64_t index) const { return nodes_.at({0, index}); }

 private:
  Tree tree_;
  std::map<std::pair<unsigned, std::uint64_t>, Hash> nodes_;
  std::vector<Hash> roots_;
};

}  // namespace

TEST_CASE("the roots of the reference tree of RFC 6962 come out", "[merkle]") {
  const std::vector<std::string> leaves = {
      "",
      std::string(1, '\0'),
      "\x10",
      "\x20\x21",
      "\x30\x31",
      "\x40\x41\x42\x43",
      "\x50\x51\x52\x53\x54\x55\x56\x57",
      "\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f"};
  const std::vector<std::string> roots = {
      "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
      "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
      "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
      "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
      "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
      "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
      "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
  Tree tree;
  CHECK(to_hex(tree.root()) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    tree.append(leaf_hash(leaves[i]));
    CHECK(to_hex(tree.root()) == roots[i]);
  }
}

TEST_CASE("every inclusion proof holds, and for no other leaf", "[merkle]") {
  const Nodes nodes(70);
  for (std::uint64_t size = 1; size <= 70; ++size) {
    for (std::uint64_t index = 0; index < size; ++index) {
      const auto proof = inclusion_proof(index, size, nodes.reader());
      REQUIRE(proof);
      REQUIRE(verify_inclusion(index, size, nodes.leaf(index), *proof, nodes.root(size)));
      if (size > 1) {
        const std::uint64_t other = (index + 1) % size;
        REQUIRE_FALSE(verify_inclusion(index, size, nodes.leaf(other), *proof, nodes.root(size)));
      }
    }
  }
  CHECK_FALSE(inclusion_proof(5, 5, nodes.reader()));
}

TEST_CASE("every consistency proof holds, and for no other old root", "[merkle]") {
  const Nodes nodes(40);
  for (std::uint64_t size = 1; size <= 40; ++size) {
    REQUIRE_FALSE(verify_consistency(0, size, empty_root(), nodes.root(size), {}));
    for (std::uint64_t old = 1; old <= size; ++old) {
      const auto proof = consistency_proof(old, size, nodes.reader());
      REQUIRE(proof);
      REQUIRE(verify_consistency(old, size, nodes.root(old), nodes.root(size), *proof));
      REQUIRE_FALSE(verify_consistency(old, size, leaf_hash("x"), nodes.root(size), *proof));
    }
  }
  CHECK_FALSE(consistency_proof(6, 5, nodes.reader()));
}

TEST_CASE("the sample of published proof vectors holds or fails as it should", "[merkle]") {
  Count count;
  run_vectors(fs::path(TEST_DATA) / "tlog" / "inclusion", inclusion_holds, count);
  run_vectors(fs::path(TEST_DATA) / "tlog" / "consistency", consistency_holds, count);
  CAPTURE(count.wrong);
  CHECK(count.total >= 30);
  CHECK(count.wrong.empty());
}

TEST_CASE("all published proof vectors hold or fail as they should", "[merkle]") {
  const fs::path root = shared_folder() / "data" / "tlog" / "merkle-testdata" / "testdata";
  if (!fs::exists(root)) {
    WARN("SKIPPED: no vectors in " << root
                                   << "; set AMBIT_SHARED to the folder that holds data/tlog");
    return;
  }
  Count count;
  run_vectors(root / "inclusion", inclusion_holds, count);
  run_vectors(root / "consistency", consistency_holds, count);
  std::cout << "tlog proof vectors: " << count.total - count.wrong.size() << " of " << count.total
            << "\n";
  CAPTURE(count.wrong);
  CHECK(count.total > 150);
  CHECK(count.wrong.empty());
}

TEST_CASE("a published log is rebuilt byte for byte: 15 entries, 16 checkpoints", "[merkle]") {
  const fs::path root = fs::path(TEST_DATA) / "tlog" / "tessera";
  const auto signer = SignerKey::parse(
      "PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg");
  REQUIRE(signer);
  CHECK(signer->verifier().text() ==
        "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx");
  const std::vector<std::string> entries = {"one",    "two",   "three",    "four",    "five",
                                            "six",    "seven", "eit",      "nain",    "ten",
                                            "ileven", "twelf", "threeten", "fourten", "fivten"};
  Tree tree;
  for (std::size_t size = 0; size <= entries.size(); ++size) {
    const Checkpoint checkpoint{"example.com/log/testdata", size, tree.root()};
    CHECK(signer->sign(checkpoint.text()) ==
          read_file(root / ("checkpoint." + std::to_string(size))));
    if (size < entries.size()) tree.append(leaf_hash(entries[size]));
  }
}

TEST_CASE("a note of the specification opens with its key alone", "[note]") {
  const auto key =
      VerifierKey::parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
  REQUIRE(key);
  CHECK(key->text() == "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
  std::array<std::uint8_t, 32> seed{};
  const auto signer = SignerKey::from_seed("log", seed);
  REQUIRE(signer);
  const std::string note = signer->sign("hello\n");
  CHECK(open_note(note, signer->verifier()) == Result<std::string>("hello\n"));
  CHECK_FALSE(open_note(note, *key));
  for (std::size_t i = 0; i < note.size(); ++i) {
    std::string altered = note;
    altered[i] = static_cast<char>(altered[i] ^ 1);
    REQUIRE_FALSE(open_note(altered, signer->verifier()));
  }
}

TEST_CASE("keys that are damaged or of another kind are refused", "[note]") {
  CHECK_FALSE(
      VerifierKey::parse("example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"));
  CHECK_FALSE(
      VerifierKey::parse("example.com/foo+530d903a+BekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"));
  CHECK_FALSE(VerifierKey::parse("example.com/foo"));
  CHECK_FALSE(VerifierKey::parse(""));
  CHECK_FALSE(SignerKey::parse("PRIVATE+KEY+x+00000000+AAAA"));
  std::array<std::uint8_t, 32> seed{};
  CHECK_FALSE(SignerKey::from_seed("a b", seed));
  CHECK_FALSE(SignerKey::from_seed("", seed));
  CHECK_FALSE(SignerKey::from_seed("a+b", seed));
}

TEST_CASE("texts that are no checkpoints are refused", "[note]") {
  const std::string root = to_base64(bytes_of(empty_root()));
  CHECK(Checkpoint::parse("log\n0\n" + root + "\n").has_value());
  for (const std::string& text :
       {std::string(), std::string("log\n"), "log\n00\n" + root + "\n", "log\n-1\n" + root + "\n",
        "log\n1\n" + root, std::string("log\n1\nAAAA\n"), "\n1\n" + root + "\n"}) {
    CAPTURE(text);
    CHECK_FALSE(Checkpoint::parse(text).has_value());
  }
}

TEST_CASE("a proof bundle is refused once anything in it is altered", "[note]") {
  const Nodes nodes(20);
  std::array<std::uint8_t, 32> seed{};
  const auto signer = SignerKey::from_seed("log", seed);
  const auto proof = inclusion_proof(7, 20, nodes.reader());
  const std::string note = signer->sign(Checkpoint{"log", 20, nodes.root(20)}.text());
  const std::string bundle = tlog_proof(7, *proof, note);
  REQUIRE(verify_tlog_proof(bundle, "leaf 7", signer->verifier()));
  CHECK_FALSE(verify_tlog_proof(bundle, "leaf 8", signer->verifier()));
  for (std::size_t i = 0; i < bundle.size(); ++i) {
    std::string altered = bundle;
    altered[i] = static_cast<char>(altered[i] ^ 1);
    REQUIRE_FALSE(verify_tlog_proof(altered, "leaf 7", signer->verifier()));
  }
}

TEST_CASE("tiles are numbered in groups of three digits", "[note]") {
  CHECK(tile_number(0) == "000");
  CHECK(tile_number(67) == "067");
  CHECK(tile_number(1'234'067) == "x001/x234/067");
}
