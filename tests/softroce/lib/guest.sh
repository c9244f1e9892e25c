# guest.sh -- the guest lane: one or two QEMU guests with a stock kernel and RXE
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2154  # job, hosts, mem_mib and the like are set by run

# Sets the array $start: the command that starts guest number HOST.
guest_command()
{
    local host=$1
    # A comma ends an option's value for QEMU unless it is doubled.
    local shared=${job//,/,,}
    # Under emulation the kernel distrusts the TSC for no reason and reads the slow HPET instead.
    local append="console=ttyS0 quiet loglevel=4 mitigations=off tsc=reliable audit=0 panic=-1 oops=panic"
    append+=" softroce.host=$host"
    qemu_base
    # The process must not outlive the runner, whatever ends that.
    start=(setpriv --pdeathsig KILL "${qemu[@]}")
    # shellcheck disable=SC2054
    start+=(-name "softroce$host" -machine q35 -smp "$smp" -m "$mem_mib"
            -kernel "$kernel_dir/vmlinux" -initrd "$initramfs" -append "$append"
            -serial "file:$shared/h$host/serial"
            -fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap
            -device virtio-9p-pci,fsdev=root,mount_tag=host
            -fsdev "local,id=job,path=$shared,security_model=none"
            -device virtio-9p-pci,fsdev=job,mount_tag=job)
    if [ -n "$out_dir" ]; then
        # shellcheck disable=SC2054
        start+=(-fsdev "local,id=out,path=${out_dir//,/,,},security_model=none"
                -device virtio-9p-pci,fsdev=out,mount_tag=out)
    fi
    if [ "$hosts" -gt 1 ]; then
        start+=(-netdev "dgram,id=net0,local.type=unix,local.path=$shared/net-$host,remote.type=unix,remote.path=$shared/net-$((1 - host))"
                -device "virtio-net-pci,netdev=net0,host_mtu=9000,mac=02:00:00:00:00:0$((host + 1))")
    fi
}
