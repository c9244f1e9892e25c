# SPDX-License-Identifier: BSD-3-Clause
# assets.sh -- what a guest is booted from, cached: an uncompressed kernel (PVH entry), an initramfs
# Sourced by run, which has say and lane_failed, and removes the folder $making.
# shellcheck shell=bash
# shellcheck disable=SC2154 # run is set there
cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/rmig-softroce
# loaded at boot, in this order; dependencies are added
lane_modules='virtio_pci virtio_console 9p 9pnet_virtio overlay dummy virtio_net crc32_generic rdma_rxe rdma_ucm'
# there for modprobe in the guest
lane_more='veth sch_netem sch_tbf sch_prio act_mirred cls_u32 kvm_amd nf_tables ip_tables iptable_filter
    xt_statistic tun vhost_net ib_umad'
lane_format=3 # part of the key: another one when what is made below changes
lane_packages='qemu-system-x86 busybox-static cpio kmod xz-utils zstd iproute2 ibverbs-providers'

lane_setup()
{
    local options=(-qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3) packages
    read -ra packages <<<"$lane_packages"
    [ "$(id -u)" = 0 ] ||
        lane_failed "--setup must be root; or: sudo apt-get install --no-install-recommends $lane_packages"
    if ! { apt-get "${options[@]}" update && DEBIAN_FRONTEND=noninteractive \
        apt-get "${options[@]}" install -y --no-install-recommends "${packages[@]}"; } >&2; then
        lane_failed "apt-get failed"
    fi
}

lane_check_programs()
{
    local p missing=
    [ "$(uname -m)" = x86_64 ] || lane_failed "guests are x86-64 only, this is $(uname -m)"
    for p in qemu-system-x86_64 busybox cpio depmod modprobe xz rdma flock setpriv sha256sum; do
        command -v "$p" >/dev/null || missing+=" $p"
    done
    [ -z "$missing" ] ||
        lane_failed "missing:$missing; install with: apt-get install --no-install-recommends $lane_packages"
}

# lane_valid DIR: CRC and size, 10 ms; sha256 would take 0.5 s at each run
lane_valid()
{
    [ -f "$1/CKSUMS" ] && (cd "$1" && cksum vmlinux initramfs version 2>/dev/null | cmp -s - CKSUMS)
}

# Sets $vmlinux and $base, and makes them where there are none or they are damaged.
lane_assets()
{
    local d lock
    d=$(readlink -f "$cache/current" 2>/dev/null || :)
    if [ -z "$d" ] || ! lane_valid "$d" || [ "${d##*-}" != "$lane_format" ]; then
        mkdir -p "$cache" 2>/dev/null || lane_failed "cannot make the cache $cache (set XDG_CACHE_HOME)"
        exec {lock}>"$cache/lock"
        flock -w 900 "$lock" || lane_failed "another run has been making the assets for 15 minutes"
        d=$(readlink -f "$cache/current" 2>/dev/null || :)
        # another run may have made them meanwhile
        if [ -z "$d" ] || ! lane_valid "$d" || [ "${d##*-}" != "$lane_format" ]; then
            lane_make
            d=$(readlink -f "$cache/current")
        fi
        exec {lock}>&-
    fi
    # shellcheck disable=SC2034 # run has them
    vmlinux=$d/vmlinux base=$d/initramfs
}

# In a directory of its own, then renamed: a run that is killed leaves nothing that counts.
lane_make()
{
    local rc
    making=$(mktemp -d "$cache/making.XXXXXX")
    # of runs that were killed: the lock is ours
    find "$cache" -maxdepth 1 -name 'making.*' ! -path "$making" -exec rm -rf {} +
    set +e # not in a condition: there set -e means nothing
    (
        set -e
        cd "$making"
        lane_fetch
        lane_make_steps
    )
    rc=$?
    set -e
    rm -rf "$making"
    making=
    case $rc in
    0) ;;
    125) exit 125 ;;
    *) lane_failed "cannot make the kernel and initramfs in $cache" ;;
    esac
}

# Leaves kernel.deb in the current directory.
lane_fetch()
{
    local said apt=(-o Acquire::Retries=2 -o Acquire::http::Timeout=30)
    if [ -n "${SOFTROCE_KERNEL_DEB:-}" ]; then
        [ -r "$SOFTROCE_KERNEL_DEB" ] || lane_failed "cannot read SOFTROCE_KERNEL_DEB=$SOFTROCE_KERNEL_DEB"
        ln -s "$(readlink -f "$SOFTROCE_KERNEL_DEB")" kernel.deb
        return
    fi
    say "downloading a Debian kernel (70 MB) for $cache"
    [ "$(id -u)" != 0 ] || apt+=(-o APT::Sandbox::User=root)
    ! said=$(lane_download 2>&1) || return 0
    # the machine's package lists are empty or older than the archive: lists of our own, no root needed
    mkdir -p apt/state/lists/partial apt/cache/archives/partial
    apt+=(-o "Dir::State=$PWD/apt/state" -o Dir::State::status=/var/lib/dpkg/status -o "Dir::Cache=$PWD/apt/cache")
    said=$(timeout 300 apt-get -qq "${apt[@]}" -o APT::Update::Error-Mode=any update 2>&1) ||
        lane_failed "the Debian kernel cannot be downloaded: $(lane_reason "$said")"
    said=$(lane_download 2>&1) || lane_failed "the Debian kernel cannot be downloaded: $(lane_reason "$said")"
}

# lane_reason TEXT: the first error in what apt said, on one line
lane_reason()
{
    printf '%s\n' "$1" | awk '/^[EW]: / && !n { sub(/^[EW]: /, ""); print; n = 1 }
        NF { last = $0 } END { if (!n) print last ? last : "apt-get said nothing" }'
}

lane_download()
{
    local package
    package=$(apt-cache "${apt[@]}" depends linux-image-amd64 2>/dev/null | awk '/Depends: / && !n++ { print $2 }')
    [ -n "$package" ] || { echo "E: apt knows no package linux-image-amd64"; return 1; }
    timeout 600 apt-get -qq "${apt[@]}" download "$package" || return 1
    mv ./*.deb kernel.deb
}

lane_make_steps()
{
    local kver dir
    dpkg-deb --fsys-tarfile kernel.deb | tar -x --wildcards './boot/vmlinuz-*' '*/lib/modules/*'
    [ -d lib ] || ln -s usr/lib lib
    kver=$(basename lib/modules/*)
    depmod -b . "$kver"
    mkdir a
    lane_vmlinux "boot/vmlinuz-$kver" a/vmlinux
    lane_initramfs "$kver" "$PWD/a/initramfs"
    echo "$kver" >a/version
    (
        cd a
        sha256sum vmlinux initramfs version >SHA256SUMS
        cksum vmlinux initramfs version >CKSUMS
    )
    dir=$kver-$lane_format
    rm -rf "$cache/$dir.old"
    [ ! -e "$cache/$dir" ] || mv "$cache/$dir" "$cache/$dir.old"
    mv a "$cache/$dir"
    ln -sfn "$dir" link
    mv -T link "$cache/current"
}

# lane_number BZIMAGE TYPE BYTES OFFSET
lane_number()
{
    od -An "-t$2" "-j$(($4))" "-N$3" "$1"
}

# lane_vmlinux BZIMAGE OUT: the kernel proper, so that the guest need not decompress it, 6 s under TCG.
# Offsets are those of the x86 boot protocol: setup_sects, payload_offset, payload_length.
lane_vmlinux()
{
    local offset length
    offset=$((($(lane_number "$1" u1 1 0x1f1) + 1) * 512 + $(lane_number "$1" u4 4 0x248)))
    length=$(lane_number "$1" u4 4 0x24c)
    # its last 4 bytes are a length
    dd if="$1" of=payload bs=1M iflag=skip_bytes,count_bytes skip="$offset" count=$((length - 4)) status=none
    case $(od -An -tx1 -N4 payload) in
    *'fd 37 7a 58') xz -dc payload ;;
    *'28 b5 2f fd') zstd -dcq payload ;;
    *) gzip -dc payload ;;
    esac >"$2"
}

# lane_module FILE OUT: uncompressed, and without its signature, the check of which costs the guest time
lane_module()
{
    local size
    case $1 in
    *.xz) xz -dc "$1" ;;
    *.zst) zstd -dcq "$1" ;;
    *) cat "$1" ;;
    esac >"$2"
    if tail -c 28 "$2" | grep -qa 'Module signature appended'; then
        size=$(tail -c 32 "$2" | od -An -tu1 -N4 | awk '{ print (($1 * 256 + $2) * 256 + $3) * 256 + $4 }')
        truncate -s "-$((size + 40))" "$2"
    fi
}

# lane_depends KVER MODULE: the files to load for it, in order
lane_depends()
{
    modprobe -S "$1" -d . --show-depends "$2" | awk '$1 == "insmod" { print $2 }'
}

# lane_initramfs KVER OUT: busybox and modules, uncompressed
lane_initramfs()
{
    local kver=$1 m file name to=r/modules/lib/modules/$1
    mkdir -p r/bin r/proc r/sys r/dev r/modules "$to"
    cp "$(command -v busybox)" r/bin/busybox
    for m in $lane_modules; do
        lane_depends "$kver" "$m"
    done | awk '!seen[$0]++' >boot.list
    for m in $lane_more; do
        lane_depends "$kver" "$m" 2>/dev/null || say "this kernel has no module $m"
    done | awk '!seen[$0]++' | cat boot.list - | awk '!seen[$0]++' | while read -r file; do
        name=$(basename "$file")
        name=${name%.xz}
        name=${name%.zst}
        lane_module "$file" "r/modules/$name"
        if grep -qxF "$file" boot.list; then
            echo "$name" >>r/modules/load
        else
            mv "r/modules/$name" "$to"
        fi
    done
    while read -r name; do
        ln "r/modules/$name" "$to/$name"
    done <r/modules/load
    cp lib/modules/"$kver"/modules.{builtin,order} "$to/" 2>/dev/null || :
    depmod -b r/modules "$kver" 2>/dev/null
    (cd r && find . | LC_ALL=C sort | cpio -o -H newc --quiet) >"$2"
}

# Sets $accel: kvm only if a guest really starts under it, within a deadline; known until the host reboots.
lane_probe_kvm()
{
    local key answer=tcg
    key=$cache/kvm-$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo once)
    if [ ! -s "$key" ]; then
        if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
            timeout --foreground -s KILL 10 qemu-system-x86_64 -nodefaults -no-user-config -display none \
                -no-reboot -accel kvm -cpu host -m 512M -kernel "$vmlinux" -append "console=ttyS0 panic=-1" \
                -serial "file:$run/probe" </dev/null >/dev/null 2>&1 || :
            # no root file system: a kernel that ran says so
            ! grep -qa 'Kernel panic' "$run/probe" 2>/dev/null || answer=kvm
        fi
        rm -f "$cache"/kvm-*
        echo "$answer" >"$key.$$"
        mv "$key.$$" "$key"
    fi
    # shellcheck disable=SC2034 # run has it
    accel=$(<"$key")
}
