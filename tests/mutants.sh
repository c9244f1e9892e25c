# SPDX-License-Identifier: BSD-3-Clause
# mutants.sh -- faults that the gate must see, at least one in each layer: tests that cannot fail show here
# shellcheck shell=bash disable=SC2154 # work and jobs are those of steps.sh
#
# Sourced by full.sh. A line, by @: what is broken; its file; a sed expression, which must change it; a test
# of the gate, which must go red. The softroce one is the smoke.

mutants='
common: a bitmap loses the last bit of a word@common/bitmap.c@s/if (n >= RMIG_BITS_PER_WORD - low)/if (n > RMIG_BITS_PER_WORD - low)/@tests/unit/check_common
common: a range of a block may end a byte behind it@common/blocks.c@s/within(offset_bytes, len_bytes, table/within(offset_bytes, len_bytes - 1, table/@tests/unit/check_common
stream: the list of what is to be written is emptied late@stream/out.c@s/^    out->mark = out->pos;/    (void)0;/@tests/unit/check_stream
stream: version 2 of the format is read@stream/format.c@s/if (version == RMIG_STREAM_VERSION_OBSOLETE)/if (0)/;s/if (version != RMIG_STREAM_VERSION)/if (version > RMIG_STREAM_VERSION)/@tests/unit/check_stream
hooks: a page that has become zero goes unsaid@hooks/save_pass.c@s/ram_is_zero && pass->save->stats.rounds == 0/ram_is_zero/@tests/unit/check_hooks
hooks: the zero test forgets the rest behind the last vector@hooks/zero.c@s/            p = end - 64; .*/            return true;/@tests/unit/check_hooks
rdma: writes of neighbouring runs are not merged@rdma/batch.c@s/last->block_index == run->block_index \&\&/0 \&\&/@tests/unit/check_rdma
rdma: a zero range is believed, not made@rdma/dest.c@s/rc = dest->zero_range(block, offset, step_bytes);/rc = 0;/@tests/unit/check_rdma
rdma: guest RAM is registered for this side only@rdma/verbs.c@s/IBV_ACCESS_LOCAL_WRITE . IBV_ACCESS_REMOTE_WRITE/IBV_ACCESS_LOCAL_WRITE/@tests/tools/test-rdma
migrate: the guest stays paused after a failure@migrate/source.c@s/int rc = s->paused ? rmig_move_resume(&s->move, err) : 0;/int rc = 0; (void)err;/@tests/unit/check_migrate_move
migrate: what a stranger wrote is forgotten@migrate/dest.c@s/if (connected) {/if (d->link.conn) {/@tests/unit/check_migrate_move
tools: a unit that differs is not counted@tools/bench_verify.c@s/r->verified = r->different_units == 0 .*/r->verified = same(\&r->source_stamps, theirs);/@tests/tools/test-corruption.sh
tools: an empty RAM file is taken@tools/bench_ram_content.c@/is empty/s/rmig_err_set(err, -EINVAL, "--ram: %.128s is empty", path)/0/@tests/tools/test-bad-input.sh
fabric: a write is not held against the rights of the region@tests/fabric/device.c@s/ || (e->access \& access) != access//@tests/fabric/semantics
softroce: a work request names no memory@rdma/verbs.c@s/\.lkey = lkey/.lkey = lkey + 1/@softroce
'

# judge TEST: runs a test of the gate on the build; what it says is in $log. Returns: 0 green, 1 red, 77 skipped
judge()
{
    local test=$1
    log=$work/mutants.log
    if [ "$test" = softroce ]; then
        abs_top_builddir=$work/mutants "$work/src/tests/softroce/smoke.sh" >"$log" 2>&1 </dev/null
    else
        make -s -C "$work/mutants" check TESTS="$test" >"$log" 2>&1 </dev/null
    fi
    ! grep -qE '^(FAIL|ERROR|not ok)' "$log" || return 1
    grep -qE '^(PASS|ok [^#]*$)' "$log" || return 77
}

# mutant WHAT FILE EXPRESSION TEST: breaks the file, looks, and mends it
mutant()
{
    local what=$1 file=$work/src/$2 expression=$3 test=$4 log
    cp "$file" "$work/whole"
    sed -i "$expression" "$file"
    if cmp -s "$file" "$work/whole"; then
        step "$what: $2 has changed, so has the fault to" false
    elif ! make -s -C "$work/mutants" "-j$jobs" all >"$work/mutant.build" 2>&1 ||
        ! make -s -C "$work/mutants" "-j$jobs" check TESTS= >>"$work/mutant.build" 2>&1; then
        step "$what: it builds" cat "$work/mutant.build" /dev/none
    else
        judge "$test"
        step "$what: $test goes red" [ $? -eq 1 ]
        grep -E '^(FAIL|ERROR|not ok)' "$log" | sed "s|$work/src/||g; s/^/  | /" | cut -c 1-160 | head -n 3
    fi
    cp "$work/whole" "$file"
}

# What is red on the whole tree shows nothing, and what is skipped sees nothing.
part_mutants()
{
    local what file expression test log rc skipped_tests=' '
    must build mutants CFLAGS='-O0 -g1'
    while read -r test; do
        judge "$test"
        rc=$?
        case $rc in
        77) skip "$test" "it does not run here, so nor do the faults for it"; skipped_tests="$skipped_tests$test " ;;
        *) must step "$test is green on the whole tree" [ "$rc" -eq 0 ] ;;
        esac
    done < <(cut -s -d@ -f4 <<<"$mutants" | sort -u)
    while IFS='@' read -r what file expression test; do
        case "$skipped_tests" in *" $test "*) continue ;; esac
        [ -z "$what" ] || mutant "$what" "$file" "$expression" "$test"
    done <<<"$mutants"
}
