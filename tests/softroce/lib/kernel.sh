# kernel.sh -- caches a stock Debian kernel, its modules and an initramfs that boots into the host's files
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2154  # cache, here and apt_options are set by run and common.sh

# In the initramfs, in this order: reading modules over 9p is slow. The rest stays in the cache, for modprobe.
# Of the checksums RXE takes the one with the highest priority that is loaded.
readonly boot_modules='virtio_pci 9p 9pnet_virtio overlay virtio_rng crc32_generic crc32_pclmul
    rdma_rxe rdma_ucm dummy virtio_net'

# What is kept of the package's modules: 60 MB instead of 390 MB.
kernel_unpack()
{
    local deb=$1 to=$2
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$to" --wildcards \
        --exclude='*/kernel/sound/*' --exclude='*/drivers/net/*/*' --exclude='*/infiniband/hw/*' \
        './boot/vmlinuz-*' './lib/modules/*/modules.*' './lib/modules/*/kernel/arch/*' \
        './lib/modules/*/kernel/block/*' './lib/modules/*/kernel/crypto/*' './lib/modules/*/kernel/fs/*' \
        './lib/modules/*/kernel/lib/*' './lib/modules/*/kernel/mm/*' './lib/modules/*/kernel/net/*' \
        './lib/modules/*/kernel/virt/*' './lib/modules/*/kernel/drivers/block/*' \
        './lib/modules/*/kernel/drivers/char/*' './lib/modules/*/kernel/drivers/crypto/ccp/*' \
        './lib/modules/*/kernel/drivers/infiniband/*' './lib/modules/*/kernel/drivers/net/*' \
        './lib/modules/*/kernel/drivers/virtio/*'
}

# The ELF image inside a bzImage, which QEMU starts by the PVH entry: no decompression under emulation, 4 s less.
# Offsets are those of the x86 boot protocol (setup_sects, payload_offset, payload_length).
kernel_extract()
{
    local image=$1 to=$2 sects offset length
    sects=$(od -An -tu1 -j 497 -N 1 "$image")
    offset=$(od -An -tu4 -j 584 -N 4 "$image")
    length=$(od -An -tu4 -j 588 -N 4 "$image")
    tail -c +$(((sects + 1) * 512 + offset + 1)) "$image" | head -c $((length - 4)) | xz -dc >"$to" 2>/dev/null &&
        [ "$(head -c 4 "$to" | tail -c 3)" = ELF ]
}

kernel_build()
{
    local package deb work release
    [ -e "$cache/kernel/SHA256SUMS" ] && return 0
    need apt-get apt
    need dpkg-deb dpkg
    need depmod kmod
    say "preparing the cache in $cache: downloading a Debian kernel (70 MB)"
    apt_prepare linux-image-amd64
    package=$(apt-cache "${apt_options[@]}" depends linux-image-amd64 |
        sed -n 's/^ *Depends: \(linux-image-[0-9].*-amd64\)$/\1/p' | head -n 1)
    [ -n "$package" ] || broken "linux-image-amd64 names no kernel package"
    # What an interrupted run left.
    rm -rf "$cache"/kernel.?????? "$cache"/initramfs.??????
    work=$(mktemp -d "$cache/kernel.XXXXXX")
    deb=$(fetch_package "$package" "$work") || { rm -rf "$work"; exit "$EXIT_HARNESS"; }
    kernel_unpack "$deb" "$work" || broken "cannot unpack $deb"
    release=${package#linux-image-}
    mv "$work/boot/vmlinuz-$release" "$work/vmlinuz"
    kernel_extract "$work/vmlinuz" "$work/vmlinux" || ln -sf vmlinuz "$work/vmlinux"
    depmod -b "$work" "$release" || broken "depmod failed"
    printf '%s\n' "$release" >"$work/release"
    rm -rf "${deb:?}" "${work:?}/boot"
    rm -rf "$cache/kernel"
    mv "$work" "$cache/kernel"
}

# The initramfs is named by what it is made of, so that a change of guest/init makes a new one.
initramfs_build()
{
    local release sum work modules module list
    release=$(cat "$cache/kernel/release")
    sum=$(cat "$here/guest/init" "$cache/kernel/SHA256SUMS" "$busybox" | sha256sum)
    initramfs=$cache/initramfs-${sum:0:16}.gz
    [ -e "$initramfs" ] && return 0
    need cpio cpio
    work=$(mktemp -d "$cache/initramfs.XXXXXX")
    mkdir -p "$work"/{bin,dev,proc,sys,run,root,modules}
    cp "$busybox" "$work/bin/busybox"
    install -m 755 "$here/guest/init" "$work/init"
    list=
    for module in $boot_modules; do
        modules=$(modprobe -d "$cache/kernel" -S "$release" --show-depends "$module") ||
            broken "the kernel has no module $module"
        list+=$(printf '%s\n' "$modules" | sed -n 's/^insmod \([^ ]*\).*/\1/p')$'\n'
    done
    printf '%s' "$list" | awk '!seen[$0]++' | while read -r module; do
        cp "$module" "$work/modules/"
        printf '%s\n' "${module##*/}" >>"$work/modules/order"
    done
    (cd "$work" && find . | LC_ALL=C sort | cpio -o -H newc --quiet -R 0:0 | gzip -9n) >"$work.gz" ||
        broken "cannot make the initramfs"
    rm -rf "$work"
    mv "$work.gz" "$initramfs"
}

# A busybox that runs in an initramfs must be static.
find_busybox()
{
    local b
    for b in /bin/busybox /usr/bin/busybox; do
        if [ -x "$b" ] && ! ldd "$b" >/dev/null 2>&1; then
            busybox=$b
            return 0
        fi
    done
    broken "no static busybox (Debian package busybox-static)"
}

accel_probe()
{
    local out
    [ -r /dev/kvm ] && [ -w /dev/kvm ] || return 1
    out=$(timeout -k 1 10 qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -serial stdio \
        -machine q35 -accel kvm -cpu host -m 512 -kernel "$cache/kernel/vmlinux" -initrd "$initramfs" \
        -append 'console=ttyS0 quiet softroce.probe' </dev/null 2>/dev/null) || return 1
    case $out in
    *softroce-probe-ok*) return 0 ;;
    esac
    return 1
}

# Sets $accel: kvm only where a stock kernel was seen to run under it since this machine was booted.
find_accel()
{
    local file
    file=$cache/accel-$(cat /proc/sys/kernel/random/boot_id)
    if [ ! -e "$file" ]; then
        rm -f "$cache"/accel-*
        if accel_probe; then echo kvm; else echo tcg; fi >"$file.new"
        mv "$file.new" "$file"
    fi
    accel=$(cat "$file")
}

guest_prepare_locked()
{
    kernel_build
    initramfs_build
    find_accel
}

# Sets $kernel_dir, $initramfs and $accel.
guest_prepare()
{
    [ "$(uname -m)" = x86_64 ] || broken "the guest lane runs on x86-64 only, this is $(uname -m)"
    need qemu-system-x86_64 qemu-system-x86
    find_busybox
    with_lock guest guest_prepare_locked
    # shellcheck disable=SC2034
    kernel_dir=$cache/kernel
}

# Sets the array $qemu: the machine, without memory, network, shared folders and kernel arguments.
qemu_base()
{
    # shellcheck disable=SC2054
    qemu=(qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -device virtio-rng-pci)
    # shellcheck disable=SC2054
    if [ "$accel" = kvm ]; then
        qemu+=(-accel kvm -cpu host)
    else
        qemu+=(-accel tcg,thread=multi -cpu max,pclmulqdq=off)
    fi
}
