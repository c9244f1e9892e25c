# common.sh -- messages, the cache folder and its lock; sourced by every script here
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash

softroce_name=${0##*/}

# Exit codes of the contract (README.md).
# shellcheck disable=SC2034
readonly EXIT_USAGE=2 EXIT_SKIP=77 EXIT_TIMEOUT=124 EXIT_HARNESS=125

say()
{
    printf '%s: %s\n' "$softroce_name" "$*" >&2
}

# die STATUS MESSAGE...: says it and ends the script.
die()
{
    local status=$1
    shift
    say "$*"
    exit "$status"
}

broken()
{
    die "$EXIT_HARNESS" "$*"
}

# need PROGRAM PACKAGE: a program that must be there, and the Debian package to get it from.
need()
{
    command -v "$1" >/dev/null 2>&1 || broken "$1 is not installed (Debian package $2)"
}

# The system's sbin folders are not on every user's PATH; kmod, iproute2 and busybox live there.
add_sbin()
{
    case :$PATH: in
    *:/usr/sbin:*) ;;
    *) PATH=$PATH:/usr/sbin:/sbin ;;
    esac
}

# Sets $cache, and makes it.
find_cache()
{
    cache=${SOFTROCE_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/rmig/softroce}
    mkdir -p "$cache" || broken "cannot make the cache folder $cache (set SOFTROCE_CACHE)"
    cache=$(cd "$cache" && pwd -P)
}

# with_lock NAME COMMAND...: runs COMMAND with the cache's lock NAME held; the lock goes with the file descriptor.
with_lock()
{
    local lock=$cache/lock-$1 fd status
    shift
    exec {fd}>"$lock"
    if ! flock -n "$fd"; then
        say "waiting for another run that prepares the cache"
        flock -w 1800 "$fd" || broken "the lock $lock was not released within 1800 s"
    fi
    status=0
    "$@" || status=$?
    exec {fd}>&-
    return $status
}

# Waits SECONDS (a fraction is fine) without a child process, so that a signal is handled at once after it.
if [ -z "${tick_fd:-}" ]; then
    exec {tick_fd}<> <(:)
fi
pause()
{
    read -r -t "$1" -u "$tick_fd" || true
}

now_ms()
{
    local us=${EPOCHREALTIME/[.,]/}
    printf '%s' "${us%???}"
}

# apt_get ARG...: apt with the machine's lists, or, where those are empty, with lists of our own (no root needed).
# $apt_options is what `apt_prepare` found out.
apt_prepare()
{
    local package=$1
    apt_options=()
    if apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [0-9]'; then
        return 0
    fi
    mkdir -p "$cache/apt/state/lists/partial" "$cache/apt/cache/archives/partial"
    apt_options=(-o "Dir::State=$cache/apt/state" -o "Dir::State::status=/var/lib/dpkg/status"
                 -o "Dir::Cache=$cache/apt/cache")
    apt-get -q "${apt_options[@]}" update >"$cache/apt/update.log" 2>&1 ||
        broken "apt-get update failed; see $cache/apt/update.log"
    apt-cache "${apt_options[@]}" policy "$package" 2>/dev/null | grep -q 'Candidate: [0-9]' ||
        broken "apt knows no package $package"
}

# fetch_package PACKAGE FOLDER: leaves one checked .deb in FOLDER and prints its path. apt checks it against the signed
# index while it downloads; the sum of that index is checked again here and kept beside the file.
fetch_package()
{
    local package=$1 folder=$2 want got deb
    mkdir -p "$folder"
    (cd "$folder" && apt-get -q "${apt_options[@]}" -o APT::Sandbox::User=root download "$package") \
        >"$folder/download.log" 2>&1 || broken "cannot download $package: $(tail -n 1 "$folder/download.log")"
    deb=$(find "$folder" -maxdepth 1 -name "${package}_*.deb" | head -n 1)
    [ -n "$deb" ] || broken "apt-get download $package left no file"
    want=$(apt-cache "${apt_options[@]}" show --no-all-versions "$package" | sed -n 's/^SHA256: //p' | head -n 1)
    got=$(sha256sum "$deb")
    got=${got%% *}
    [ "$want" = "$got" ] || broken "$package: sha256 is $got, apt's index says $want"
    printf '%s  %s\n' "$got" "${deb##*/}" >"$folder/SHA256SUMS"
    printf '%s\n' "$deb"
}
