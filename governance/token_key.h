#pragma once

// What tokens and keys need of OpenSSL and of base64url; inside of governance only.

#include "async/result.h"

#include <memory>
#include <string>
#include <string_view>

namespace ambit::governance {

// Without padding. Refuses what to_base64url would not write: other characters, bits left over.
std::string to_base64url(std::string_view bytes);
Result<std::string> from_base64url(std::string_view text);

// A P-256 key that lives in memory alone and is never written. Reading a key from PEM takes longer
// than fifty signatures, and there is one of these for every session.
class LiveKey {
 public:
  static Result<LiveKey> make();

  // ES256 as JWS has it: r and s, 32 bytes each.
  [[nodiscard]] Result<std::string> sign(const std::string& text) const;
  // The public half: as the members of RFC 7638, their thumbprint, and PEM.
  [[nodiscard]] const std::string& jwk() const { return jwk_; }
  [[nodiscard]] const std::string& thumbprint() const { return thumbprint_; }
  [[nodiscard]] Result<std::string> public_pem() const;

 private:
  LiveKey() = default;
  std::shared_ptr<void> key_;  // EVP_PKEY
  std::string jwk_;
  std::string thumbprint_;
};

}  // namespace ambit::governance
