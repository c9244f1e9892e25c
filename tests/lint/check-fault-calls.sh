#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# check-fault-calls.sh -- each function of libc and zlib that the library calls is known: tests/unit/check_faults
# makes it fail, or it is listed here as one that cannot, or whose failure nobody can do anything about.
set -eu
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need nm

# what fault_wrap.c has
wrapped()
{
    sed -n 's/.*FAULT_WRAP/&/; s/-Wl,--wrap=/\n/gp' "$top/Makefile.am" | sed -n 's/^\([a-zA-Z_0-9]*\) *\\*$/\1/p'
}

# memory and text: they cannot fail
cat >"$scratch/known" <<'END_KNOWN'
compressBound crc32 deflateBound environ gai_strerror geteuid memchr memcmp memcpy memmem memmove memset ntohs qsort qsort_r
sigaddset sigemptyset sigfillset sigismember snprintf strchr strcmp strcspn strerror strlen strncmp strnlen strsignal
strspn strstr strtoul vsnprintf
END_KNOWN
# these fail for a wrong argument alone, or release something
cat >>"$scratch/known" <<'END_KNOWN'
dlclose dlerror gai_cancel inflateEnd posix_spawn_file_actions_destroy posix_spawnattr_destroy posix_spawnattr_setflags
posix_spawnattr_setpgroup posix_spawnattr_setsigdefault posix_spawnattr_setsigmask pthread_mutex_destroy
pthread_mutex_init pthread_mutex_lock pthread_mutex_unlock pthread_sigmask secure_getenv sigpending sysconf
END_KNOWN

# unknown -- of the names that nm prints those of neither list; what begins with _ is the compiler's and libc's own
unknown()
{
    awk 'NF == 2 && $1 == "U" && $2 !~ /^(rmig)?_/ { print $2 }' | LC_ALL=C sort -u |
        LC_ALL=C comm -23 - "$scratch/names"
}

{
    wrapped
    tr ' ' '\n' <"$scratch/known"
} | LC_ALL=C sort -u >"$scratch/names"
[ "$(wrapped | wc -l)" -gt 50 ] || fault "self-test: Makefile.am's list of wrapped calls is not read"
printf '         U close\n         U rmig_err_set\n         U getrandom\n         U __errno_location\n' >"$scratch/planted"
[ "$(unknown <"$scratch/planted")" = getrandom ] || fault "self-test: a call that is not known is not found"

# the kernel's dirty trackers, which are tested by themselves, are left out
found=
for object in "$build"/stream/.libs/*.o "$build"/common/.libs/*.o "$build"/hooks/.libs/*.o; do
    case $object in
    */libcore_la-dirty.o | */libcore_la-dirty_[kpu]*.o) continue ;;
    esac
    [ -f "$object" ] || continue
    found=yes
    for name in $(nm -u "$object" | unknown); do
        fault "${object##*/}: $name is made to fail by no test, and not known here as one that cannot"
    done
done
[ -n "$found" ] || { echo "skipped: the library has not been built in $build" >&2; exit 77; }
verdict "calls of the library that can fail"
