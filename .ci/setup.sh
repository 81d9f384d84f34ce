# Sourced by ./demo and ./check: installs what is missing (Debian packages, nothing else) and says what it does.
# Works as root and as a user who can sudo.

build_packages="g++ make cmake ninja-build pkg-config libuv1-dev nlohmann-json3-dev libcurl4-openssl-dev
  libseccomp-dev liblmdb-dev libssl-dev libexpected-dev libcpp-jwt-dev"
check_packages="$build_packages catch2 clang-19 clang-format-19 clang-tidy-19 libclang-rt-19-dev ccache
  json-schema-test-suite zlib1g-dev libgrpc++-dev libprotobuf-dev protobuf-compiler
  g++-aarch64-linux-gnu qemu-user-static"

step() { printf '\n==> %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# install PACKAGE...: only what is not there yet.
install() {
  missing=
  for package in "$@"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
    [ "$state" = installed ] || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  step "installing:$missing"
  command -v apt-get >/dev/null || die "these packages are missing and there is no apt-get:$missing"
  as_root=
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "run as root, or install sudo: packages are missing:$missing"
    as_root=sudo
  fi
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  # shellcheck disable=SC2086
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# launcher: ccache for configure, where it is installed.
launcher() {
  if command -v ccache >/dev/null; then
    echo "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_C_COMPILER_LAUNCHER=ccache"
  fi
}
