# uml.sh -- the uml lane: user-mode Linux with RXE and siw, built once from Debian's kernel source
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2154  # cache, here, job and the like are set by run and common.sh

readonly uml_source=linux-source-6.12

# Prints the address and the keyring of the machine's main Debian archive (not its security archive).
debian_archive()
{
    local codename=$1 file
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        [ -r "$file" ] || continue
        awk -v suite="$codename" '
            function flush() {
                if (suites ~ "(^| )" suite "( |$)" && uri != "") { print uri, key; found = 1; exit }
                suites = ""; uri = ""; key = ""
            }
            /^[ \t]*#/ { next }
            /^deb / {
                key = ""
                if (match($0, /signed-by=[^] ]*/)) key = substr($0, RSTART + 10, RLENGTH - 10)
                sub(/\[[^]]*\] */, "")
                if ($3 == suite) { print $2, key; found = 1; exit }
            }
            /^URIs:/ { uri = $2 }
            /^Suites:/ { suites = $0; sub(/^Suites:/, "", suites) }
            /^Signed-By:/ { key = $2 }
            /^[ \t]*$/ { flush() }
            END { if (!found) flush() }' "$file"
    done | head -n 1
}

# The source lies in the release itself or in its backports. These are no sources of the machine, so apt gets a private
# configuration with nothing else in it.
uml_find_source()
{
    local codename uri key
    apt_options=()
    if apt-cache policy $uml_source 2>/dev/null | grep -q 'Candidate: [0-9]'; then
        return 0
    fi
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    read -r uri key < <(debian_archive "$codename")
    [ -n "$uri" ] || broken "apt's sources name no Debian archive of $codename"
    mkdir -p "$cache/apt-uml/state/lists/partial" "$cache/apt-uml/cache/archives/partial"
    {
        printf 'Types: deb\nURIs: %s\nSuites: %s-backports\nComponents: main\n' "$uri" "$codename"
        printf 'Signed-By: %s\n' "${key:-/usr/share/keyrings/debian-archive-keyring.gpg}"
    } >"$cache/apt-uml/uml.sources"
    apt_options=(-o "Dir::Etc::SourceList=$cache/apt-uml/uml.sources" -o Dir::Etc::SourceParts=/dev/null
                 -o "Dir::State=$cache/apt-uml/state" -o Dir::State::status=/var/lib/dpkg/status
                 -o "Dir::Cache=$cache/apt-uml/cache" -o APT::Sandbox::User=root)
    apt-get -q "${apt_options[@]}" update >"$cache/apt-uml/update.log" 2>&1 ||
        broken "apt-get update failed; see $cache/apt-uml/update.log"
}

# The words of uml/fragment as a configuration file.
uml_fragment()
{
    sed -e '/^#/d' -e 's/ /\n/g' "$here/uml/fragment" | sed -e '/^$/d' -e '/=/!s/$/=y/' -e 's/^/CONFIG_/'
}

# uml_configure SOURCE: leaves the configuration, and checks that the options that matter came through.
uml_configure()
{
    local source=$1 option
    make -C "$source" -s ARCH=um tinyconfig &&
        uml_fragment >>"$source/.config" &&
        make -C "$source" -s ARCH=um olddefconfig || return 1
    for option in RDMA_RXE RDMA_SIW INFINIBAND_ADDR_TRANS HOSTFS OVERLAY_FS IPV6 DUMMY NET_SCH_NETEM USERFAULTFD \
        UML_NET_VECTOR TMPFS_XATTR; do
        if ! grep -q "^CONFIG_$option=y" "$source/.config"; then
            echo "the configuration lost CONFIG_$option"
            return 1
        fi
    done
}

uml_build()
{
    local sum work deb program
    sum=$(cat "$here/uml/fragment" <(echo $uml_source) | sha256sum)
    uml_kernel=$cache/uml-${sum:0:16}/linux
    [ -e "$uml_kernel" ] && return 0
    for program in gcc make flex bison bc xz; do need $program $program; done
    say "building user-mode Linux in the cache: a download of 140 MB and 3 to 6 minutes"
    rm -rf "$cache"/uml-work.*
    work=$(mktemp -d "$cache/uml-work.XXXXXX")
    uml_find_source
    deb=$(fetch_package $uml_source "$work") || { rm -rf "$work"; exit "$EXIT_HARNESS"; }
    if ! { dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work" --wildcards './usr/src/*.tar.xz' &&
        tar -x -C "$work" -f "$work/usr/src/$uml_source.tar.xz"; }; then
        rm -rf "$work"
        broken "cannot unpack $uml_source"
    fi
    rm -rf "${deb:?}" "${work:?}/usr"
    if ! { uml_configure "$work/$uml_source" &&
        make -C "$work/$uml_source" -s ARCH=um "-j$(nproc)" linux; } </dev/null >"$cache/uml-build.log" 2>&1; then
        rm -rf "$work"
        broken "user-mode Linux does not build: $(tail -n 3 "$cache/uml-build.log") (all of it: $cache/uml-build.log)"
    fi
    strip -o "$work/linux" "$work/$uml_source/linux"
    cp "$work/$uml_source/.config" "$work/config"
    rm -rf "${work:?}/$uml_source"
    mv "$work" "${uml_kernel%/linux}"
}

# Sets $uml_kernel.
uml_prepare()
{
    [ "$(uname -m)" = x86_64 ] || broken "the uml lane runs on x86-64 only, this is $(uname -m)"
    with_lock uml uml_build
}

# UML's memory is an unlinked file that must be mapped executable: a tmpfs where that is allowed and large enough.
uml_memory_folder()
{
    local free_kib
    free_kib=$(df -k --output=avail /dev/shm 2>/dev/null | tail -n 1)
    if [ "${free_kib:-0}" -gt $((mem_mib * hosts * 1024)) ] &&
        ! grep -q '^[^ ]* /dev/shm [^ ]* [^ ]*noexec' /proc/mounts; then
        echo /dev/shm
    else
        echo "$job"
    fi
}

# Each page of a guest's process can be a mapping of its own: Linux's default of 65530 of them is 256 MiB. Raised for the
# machine where we may, once and for all runs, since several can be under way.
uml_allow_mappings()
{
    local most=$((mem_mib * 256))
    [ "$(cat /proc/sys/vm/max_map_count)" -lt "$most" ] || return 0
    say "raising vm.max_map_count to $most for the processes of user-mode Linux"
    echo "$most" 2>/dev/null >/proc/sys/vm/max_map_count ||
        say "that takes root: a process that touches much memory may get a segmentation fault (sysctl vm.max_map_count=$most)"
}

# Sets the array $start: the command that starts host number HOST. Its consoles are the runner's files. A session of its
# own holds the host processes that stand for the guest's.
uml_command()
{
    local host=$1 words
    # shellcheck disable=SC2016  # for the inner shell
    words='dir=$1; shift; exec "$@" 18>>"$dir/out" 19>>"$dir/err" >>"$dir/serial" 2>&1'
    # shellcheck disable=SC2054
    start=(setpriv --pdeathsig KILL setsid env "TMPDIR=$(uml_memory_folder)" bash -c "$words" uml "$job/h$host"
           "$uml_kernel" "mem=${mem_mib}M" rootfstype=hostfs rootflags=/ ro con=null ssl=null con0=null,fd:1
           con1=null,fd:18 con2=null,fd:19 quiet loglevel=4 panic=-1 "init=$job/uml-init" "softroce_job=$job"
           "softroce.host=$host" "uml_dir=$job/uml/" "umid=h$host")
    if [ "$hosts" -gt 1 ]; then
        local -a fds
        read -r -a fds <<<"$SOFTROCE_UML_NET"
        start+=("vec0:transport=fd,fd=${fds[host]},mtu=9000,mac=02:00:00:00:00:0$((host + 1)),depth=128")
    fi
}

# Two hosts are joined by a socket pair, which a shell cannot make: perl makes it and starts this script again.
uml_join_hosts()
{
    if [ "$hosts" -eq 1 ] || [ -n "${SOFTROCE_UML_NET:-}" ]; then
        return 0
    fi
    need perl perl-base
    exec perl -MSocket -e '
        $^F = 1000;
        socketpair(my $a, my $b, AF_UNIX, SOCK_DGRAM, 0) or die "socketpair: $!\n";
        for ($a, $b) { setsockopt($_, SOL_SOCKET, SO_SNDBUF, 4 << 20) }
        $ENV{SOFTROCE_UML_NET} = fileno($a) . " " . fileno($b);
        exec @ARGV or die "$ARGV[0]: $!\n";' "$0" "$@"
}
