# host.sh -- the host lane: runs COMMAND right here, on an RDMA device that is there or on an RXE made for this run
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2154  # job, timeout_s and the like are set by run

# Sets $dev, $netdev, $addr and $addr6 to the first active device with an IPv4 address; fails where there is none.
host_find_device()
{
    local line
    while read -r line; do
        [[ $line =~ ^link\ ([^ /]+)/1\ state\ ACTIVE\ .*netdev\ ([^ ]+) ]] || continue
        dev=${BASH_REMATCH[1]} netdev=${BASH_REMATCH[2]}
        addr=$(host_address -4)
        addr6=$(host_address -6)
        [ -z "$addr" ] || return 0
    done < <(rdma link show 2>/dev/null)
    return 1
}

host_address()
{
    ip -o "$1" addr show dev "$netdev" scope global 2>/dev/null | awk '{ sub("/.*", "", $4); print $4; exit }'
}

host_can_rxe()
{
    [ "$(id -u)" = 0 ] || return 1
    [ -d /sys/module/rdma_rxe ] || modprobe -q rdma_rxe 2>/dev/null || return 1
    [ -c /dev/infiniband/rdma_cm ] || modprobe -q rdma_ucm 2>/dev/null || return 1
}

host_usable()
{
    host_find_device || host_can_rxe
}

# A device of this run's own, so that runs do not meet; host_end removes it.
host_make_rxe()
{
    local tag=$(($$ % 250))
    netdev=softroce$tag dev=rxe$tag addr=10.77.$tag.1 addr6=fd77:6d69:6772:$tag::1
    ip link add "$netdev" type dummy || broken "cannot make the dummy network device $netdev"
    host_netdev=$netdev
    ip link set "$netdev" mtu 9000 up
    if ! ip addr add "$addr/24" dev "$netdev" || ! ip -6 addr add "$addr6/64" dev "$netdev" nodad ||
        ! rdma link add "$dev" type rxe netdev "$netdev"; then
        broken "cannot make an RXE device on $netdev"
    fi
}

# Ends what COMMAND left behind, and the device of this run.
host_end()
{
    if [ -n "$host_pid" ]; then
        {
            pkill -KILL -s "$host_pid"
            wait "$host_pid"
        } 2>/dev/null
        host_pid=
    fi
    if [ -n "$host_netdev" ]; then
        rdma link delete "$dev" 2>/dev/null
        ip link delete "$host_netdev"
        host_netdev=
    fi
}

host_show_hang()
{
    say "COMMAND was stopped at its time limit of $timeout_s s; its processes:"
    ps -o pid,ppid,stat,wchan:24,args -s "$host_pid" >&2
}

run_host()
{
    local since dev='' netdev='' addr='' addr6='' end=0
    since=$(date '+%F %T')
    host_find_device || host_make_rxe
    ulimit -l unlimited 2>/dev/null || say "RLIMIT_MEMLOCK stays at $(ulimit -l) KiB"
    mkdir "$job/scratch"
    export RMIG_RDMA_DEV=$dev RMIG_RDMA_ADDR=$addr RMIG_RDMA_ADDR6=$addr6 RMIG_RDMA_LANE=host RMIG_RDMA_ROLE=0
    export RMIG_RDMA_NETDEV=$netdev TMPDIR=$job/scratch PATH=$PATH:$job SOFTROCE_JOB=$job
    [ -z "$out_dir" ] || export RMIG_OUT=$out_dir
    setsid "${command[@]}" </dev/null &
    host_pid=$!
    [ "$timeout_s" -eq 0 ] || end=$(($(now_ms) + timeout_s * 1000))
    while kill -0 "$host_pid" 2>/dev/null; do
        if [ $end -gt 0 ] && [ "$(now_ms)" -gt $end ]; then
            host_show_hang
            result=$EXIT_TIMEOUT
            break
        fi
        pause 0.05
    done
    if [ "$result" = 0 ]; then
        wait "$host_pid"
        result=$?
    fi
    host_end
    if [ -n "$kernel_log" ]; then
        dmesg >"$kernel_log"
    fi
    if [ "$result" -ne 0 ]; then
        say "kernel log of this host since COMMAND's start:"
        dmesg --since "$since" 2>&1 | sed 's/^/  /' >&2
    fi
    exit "$result"
}
