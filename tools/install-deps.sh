#!/bin/sh
# install-deps.sh -- installs with apt-get the Debian packages that the project needs and that are missing
# SPDX-License-Identifier: BSD-3-Clause
set -eu

build='gcc libc6-dev make autoconf automake libtool pkg-config libibverbs-dev librdmacm-dev zlib1g-dev libjansson-dev
    libxxhash-dev check'
gate='procps gdb shellcheck mandoc python3 python3-jsonschema qemu-system-x86 rdma-core ibverbs-providers
    ibverbs-utils rdmacm-utils perftest busybox-static kmod iproute2 cpio xz-utils zstd util-linux'
test='clang clang-format llvm libclang-rt-dev valgrind gdb gcovr shellcheck mandoc python3 python3-jsonschema
    qemu-system-x86 rdma-core ibverbs-providers ibverbs-utils rdmacm-utils perftest busybox-static kmod iproute2
    gnuplot-nox iperf3 iputils-ping cpio xz-utils procps util-linux'
uml='gcc libc6-dev make flex bison bc binutils xz-utils iproute2 rdma-core ibverbs-providers rdmacm-utils perftest
    busybox-static procps util-linux'

usage()
{
    cat <<'EOF'
usage: install-deps.sh [--build|--gate|--test|--uml|--all] [--list]

  --build  what ./configure && make && make check need (the default)
  --gate   what tests/run.sh needs, the build included
  --test   what the analysers, the interop tests and the software RDMA guests need
  --uml    what tests/softroce/run --lane=uml needs
  --all    all of these
  --list   only prints the names of the missing packages

Silent, without the network and without root where nothing is missing.
EOF
}

say()
{
    printf 'install-deps.sh: %s\n' "$*" >&2
}

# Prints the packages of the arguments that are not installed.
missing()
{
    for package in "$@"; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
        [ "$state" = installed ] || printf '%s\n' "$package"
    done | sort -u
}

# known PACKAGE...: whether apt has a candidate for each of them.
known()
{
    for package in "$@"; do
        apt-cache policy "$package" | grep -q '^ *Candidate: [0-9]' || return 1
    done
}

install()
{
    apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install "$@"
}

wanted='' list=0
for option in "$@"; do
    case $option in
    --build) wanted="$wanted $build" ;;
    --gate) wanted="$wanted $build $gate" ;;
    --test) wanted="$wanted $test" ;;
    --uml) wanted="$wanted $uml" ;;
    --all) wanted="$wanted $build $gate $test $uml" ;;
    --list) list=1 ;;
    --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done
[ -n "$wanted" ] || wanted=$build

if ! command -v dpkg-query >/dev/null 2>&1; then
    # shellcheck disable=SC2086  # a list of words
    say "this is no Debian; the packages are called there:" $wanted
    exit 1
fi
# shellcheck disable=SC2086  # a list of words
needed=$(missing $wanted)
[ -n "$needed" ] || exit 0
if [ "$list" = 1 ]; then
    printf '%s\n' "$needed"
    exit 0
fi
needed=$(printf '%s' "$needed" | tr '\n' ' ')
if [ "$(id -u)" != 0 ]; then
    say "root is needed to install: $needed"
    exit 1
fi
say "installing: $needed"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # a list of words
if known $needed && install $needed; then
    exit 0
fi
# The lists are missing or older than the archive, or the archive did not answer.
for try in 1 2 3; do
    say "try $try of 3"
    # shellcheck disable=SC2086  # a list of words
    if apt-get -q update && install $needed; then
        exit 0
    fi
done
say "could not be installed: $needed"
exit 1
