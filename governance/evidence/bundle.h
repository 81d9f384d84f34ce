#pragma once

// An evidence bundle: a folder with chosen records, the proof of each, the checkpoint, the key, the
// schema, the policies' texts and a plan of how to check all of it with tools of others. It needs
// nothing else, and nobody's word.

#include "log/reader.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ambit::evidence {

struct BundleOptions {
  std::string folder;  // made; must not exist
  log::Filter filter;
  bool payloads = false;                  // with what the commitments commit to
  std::vector<std::string> policies;      // files to go along, by their hash
  std::vector<std::string> cosignatures;  // lines of witnesses, checked by who reads the bundle
};

struct BundleReport {
  std::uint64_t records = 0;
  std::uint64_t payloads = 0;
  std::uint64_t withheld = 0;  // payloads that are not in it: erased, expired, or not asked for
};

// Errors: the folder is there already, nothing fits the filter, the disk is full.
Result<BundleReport> write_bundle(const log::LogReader& reader, const log::VerifierKey& key,
                                  const BundleOptions& options);

}  // namespace ambit::evidence
