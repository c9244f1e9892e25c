# SPDX-License-Identifier: BSD-3-Clause
# mutants_rows.sh -- for every row of docs/stream-behaviours.md a fault that its named test must see
# shellcheck shell=bash disable=SC2154 # work and jobs are those of steps.sh
#
# Sourced by full.sh. A line, by @: the row; what is broken; its file; a sed expression, which must change it; the
# program and the suite of the test; the test, which must go red and stand in the row.

row_mutants='
A1@a return path takes the channel with it@stream/in_object.c@s/(\*in_p)->owns_channel = false/(*in_p)->owns_channel = true/@stream@stream/object@return_path__is_the_opposite_direction_of_the_same_channel
A1@a one-way channel has a return path@stream/in_object.c@s/if (!ch || !(ch->flags & RMIG_CHANNEL_READABLE)) {/if (!ch) {/@stream@stream/object@return_path__none_where_the_channel_is_one_way
A2@the copy buffer is half as large@stream/out_object.c@s/out->end = out->buf + sizeof(out->buf)/out->end = out->buf + sizeof(out->buf) \/ 2/@stream@stream/object@sizes__copy_buffer_and_scatter_list
A3@a later error overwrites the first@stream/sticky.c@0,/if (first == 0) {/s//if (1) {/@stream@stream/object@error__first_one_sticks_and_later_ones_are_logged
A3@no default message@stream/sticky.c@s/rmig_err_set(err, code, "stream: error %d: %s", -code, strerror(-code));/rmig_err_set(err, code, " ");/@stream@stream/object@error__default_message_names_the_errno
A4@the second stream answers first@stream/in_object.c@s/return rc == 0 \&\& in ? rmig_in_error(in, err) : rc;/return in \&\& rmig_in_error(in, NULL) ? rmig_in_error(in, err) : rc;/@stream@stream/object@any_error__first_stream_then_second_and_either_may_be_absent
A5@a put goes on after an error@stream/out.c@s/while (len_bytes \&\& !failed(out)) {/while (len_bytes) {/@stream@stream/object@error__puts_do_nothing_after_it
A5@what is buffered is handed out after an error@stream/in.c@s/buffered(in) >= len_bytes \&\& rmig_sticky_code(&in->error) == 0, 1/buffered(in) >= len_bytes, 1/@stream@stream/in@error__no_read_answers_with_data_after_it
A6@shutdown does not fail the stream@stream/in_object.c@s/^    rmig_sticky_set(&in->error, "input stream", -EIO, "input stream: shut down");$//@stream@stream/in@shutdown__short_read_is_not_taken_for_data
A6@a shutdown that fails keeps its errno@stream/mode.c@s/    if (rc != -ENOSYS)/    if (0)/@stream@stream/object@shutdown__that_fails_is_EIO_with_the_cause
A7@close forgets the first error@stream/sticky.c@s/return rc < 0 ? rc : close_rc;/return close_rc;/@stream@stream/object@close__first_error_comes_before_the_close_error
A7@close does not flush@stream/out_object.c@/^int rmig_out_close/,/^}/s/    rmig_out_flush(out);//@stream@stream/object@close__flushes_and_gives_what_the_channel_gave
A8@the blocking mode stays as it was@stream/mode.c@s/return ch->ops->set_blocking(ch, blocking, err);/return 0;/@stream@stream/object@set_blocking__reaches_the_channel
A9@any mode string opens@stream/mode.c@s/if (!mode || strcmp(mode, want) != 0)/if (!mode)/@stream@stream/object@mode_string__wrong_one_is_refused_by_name
B1@a number keeps the order of the host@stream/out.c@s/rmig_store_be16(out->pos, v);/memcpy(out->pos, \&v, sizeof(v));/@stream@stream/out@put_numbers__are_big_endian
B1@what is split begins again@stream/out.c@s/^        src += n;$/        (void)0;/@stream@stream/out@put_buffer__any_size_is_copied_over_the_buffer
B2@bytes put by reference are copied@stream/out.c@s/^    list(out, buf, len_bytes, true, may_free);$/    rmig_out_put_buffer(out, buf, len_bytes);/@stream@stream/out@put_ref__is_borrowed_until_the_flush
B3@entries merge whatever their marks are@stream/out.c@s/ \&\& (out->free_mask >> last & 1) == may_free) {/) {/@stream@stream/out@put_ref__another_may_free_mark_is_another_entry
B3@neighbours do not merge@stream/out.c@s/    if (last >= 0 \&\& (const char/    if (0 \&\& (const char/@stream@stream/out@put_ref__neighbours_become_one_entry
B4@a full list is not written@stream/out.c@/^    list(out, buf, len_bytes, true, may_free);$/,/^}/s/        drain(out);/        (void)0;/@stream@stream/out@put_ref__full_list_is_written
B5@what was not written is released@stream/out.c@s/        rmig_stream_out_fail(out, rc, &err);/        rmig_stream_out_fail(out, rc, \&err), release_ranges(out);/@stream@stream/out@flush__nothing_is_released_that_was_not_written
B5@nothing is released@stream/out.c@s/^        release_ranges(out);$//@stream@stream/out@flush__may_free_ranges_are_released
B5@a short write is no error@stream/channel.c@/^int rmig_stream_write_counted/,/^}/s/        if (n >= 0)/        if (n == 0) return 0;\n        if (n >= 0)/@stream@stream/out@flush__short_write_is_EIO
B6@a counted string may be longer@stream/out.c@s/if (len > UINT8_MAX) {/if (0) {/@stream@stream/out@counted_string__longer_is_refused
B7@any length word is believed@stream/compress.c@s/if (deflated > compressBound(len_bytes)) {/if (0) {/@stream@stream/compress@get_compressed__length_beyond_the_bound_is_refused
B7@no flush makes room@stream/compress.c@s/if (rc == 0 \&\& need > rmig_stream_out_room(out)/if (0 \&\& need > rmig_stream_out_room(out)/@stream@stream/compress@put_compressed__writable_stream_flushes_for_room
B8@the private stream keeps what it gave away@stream/out.c@s/^    empty(from);$//@stream@stream/out@put_stream__moves_all_and_empties
B9@copied bytes are forgotten@stream/out.c@s/return out->niov + out->nstaged == 0 \&\& out->pos == out->mark;/return out->niov + out->nstaged == 0;/@stream@stream/out@buffer_empty__is_about_what_is_queued
B10@a partial write at a position is no error@stream/out_object.c@s/        if ((size_t)n == piece)/        if ((size_t)n != piece) return 0; else/@stream@stream/out@put_buffer_at__partial_write_names_both_figures
B10@a write at a position does not flush@stream/out_object.c@s/    return rmig_out_flush(out);/    return rmig_sticky_code(\&out->error);/@stream@stream/out@put_buffer_at__flushes_then_writes_there
B11@an input that moves keeps its buffer@stream/in_object.c@/SEEK_CUR \&\&/,/seek(in->ch/s/    in->pos = in->end = in->buf;//@stream@stream/in@seek__drops_what_was_buffered
C1@pending bytes stay where they are@stream/in.c@s/^        memmove(in->buf, in->pos, pending);$/        (void)0;/@stream@stream/in@fill__pending_bytes_move_to_the_front
C1@would block sticks@stream/in.c@s/^            return -EAGAIN;$/            return rmig_stream_in_fail(in, -EAGAIN, NULL);/@stream@stream/in@fill__would_block_does_not_stick_if_non_blocking
C2@one read has to do@stream/in.c@s/    while (rc == 0 \&\& buffered(in) < len_bytes)/    if (rc == 0 \&\& buffered(in) < len_bytes)/@stream@stream/in@peek__gathers_over_short_reads
C3@a number keeps the order of the wire@stream/in.c@s/    \*v_p = rmig_load_be16(in->pos);/    memcpy(v_p, in->pos, 2);/@stream@stream/in@get_numbers__are_big_endian
C4@a get in place copies@stream/in.c@s/^    \*buf_p = in->pos;$/    memcpy(fallback, in->pos, len_bytes), *buf_p = fallback;/@stream@stream/in@get_in_place__no_copy_where_it_fits
C5@a partial read at a position is no error@stream/in_object.c@s/        if ((size_t)n == piece)/        if ((size_t)n != piece) return 0; else/@stream@stream/in@get_buffer_at__reads_there_and_stays_here
C6@the same bytes are copied again@stream/copy.c@s/^        in->pos += n;$//@stream@stream/in@copy_to_fd__buffered_bytes_first
C7@an error is answered with success@stream/in.c@/^static .*int get_slowly/,/^}/s/        return rc;/        return 0;/@stream@stream/in@get__error_is_never_data
D1@the exact figure does not flush@stream/rate.c@s/^    rmig_out_flush(out);$//@stream@stream/object@transferred__exact_flushes_and_fast_does_not
D2@what a transport moved is not credited@stream/rate.c@s/^    out->credited_bytes += nbytes;$//@stream@stream/object@credit__bytes_moved_outside_count_as_transferred
D3@the limit itself is too much@stream/rate.c@s/used > out->rate_limit_bytes/used >= out->rate_limit_bytes/@stream@stream/rate@rate__copied_referenced_and_credited_bytes_alike
D3@the bucket lets twice as much pass@stream/rate.c@s/return bytes_per_window \* (1000/return bytes_per_window * (2000/@stream@stream/rate@rate_wait__copied_referenced_and_credited_bytes_alike
E1@a pass has no mark@hooks/guard.c@s/^        rmig_out_put_be64(out, RMIG_RAM_HOOK);$//@hooks@hooks/guard@before_iterate__mark_ends_the_message
E2@what a hook takes counts nothing@hooks/guard.c@s/^        rmig_out_credit_rate(out, .*$/        (void)0;/@hooks@hooks/guard@accounting__delayed_counts_rate_only
E2@a page that a hook declines is lost@hooks/save_pass.c@s/^        defer(pass, &found->run);$/        (void)0;/@hooks@hooks/save@hooks__declined_pages_follow_the_pass
E3@a mark without a hook is passed over@hooks/guard.c@s/        if (flag != RMIG_HOOK_HOOK)/        if (1)/@hooks@hooks/guard@load__mark_without_hook_is_EINVAL
E4@a second set replaces the first@hooks/guard.c@s/    if (rmig_stream_out_guard(out))/    if (0)/@hooks@hooks/guard@attach__second_set_is_EBUSY
F1@what could not grow has grown@stream/buffer.c@s/^    buf->capacity_bytes = old_capacity;$//@stream@stream/buffer@buffer_write__chunks_that_came_before_are_given_back
F1@large buffers grow in small chunks@stream/buffer.c@s/capacity_bytes > RMIG_BUFFER_CHUNK_MAX_BYTES ?/0 ?/@stream@stream/buffer@buffer_write__grows_in_small_then_large_chunks
F2@the length only shrinks@stream/buffer.c@s/size_t length = rmig_min_u64(len_bytes, buf->capacity_bytes);/size_t length = rmig_min_u64(len_bytes, buf->length_bytes);/@stream@stream/buffer@buffer_set_length__truncates_and_stops_at_what_is_allocated
F3@a read goes beyond the length@stream/buffer.c@s/count = rmig_min_u64(count_bytes, buf->length_bytes - start_bytes);/count = rmig_min_u64(count_bytes, buf->capacity_bytes - start_bytes);/@stream@stream/buffer@buffer_read__any_range_is_clipped_at_the_length
F3@a gap keeps what was there@stream/buffer.c@s/^    fill_zero(buf, buf->length_bytes, start_bytes);$//@stream@stream/buffer@buffer_write__at_any_position_with_zero_in_the_gap
F4@the buffer is had without a flush@stream/out_object.c@s/if (!out->ch || rmig_out_flush(out) < 0)/if (!out->ch)/@stream@stream/buffer@buffer_stream__written_handed_out_and_read
'

# row_red PROGRAM SUITE TEST: runs the suite; what it says is in $log. Returns: 0 if that test is red
row_red()
{
    log=$work/rows.log
    (cd "$work/rows" && CK_RUN_SUITE=$2 CK_TAP_LOG_FILE_NAME=- "$work/src/tests/lib/deadline" 60 \
        "./tests/unit/check_$1") >"$log" 2>&1 </dev/null
    grep -E "^not ok .*:$3:" "$log" >/dev/null
}

# The suites are green, or a red test shows nothing.
part_mutants_rows()
{
    local row what file expression program suite test log
    must build_product rows CFLAGS='-O0 -g1'
    must step "the tests are built" make -s -C "$work/rows" "-j$jobs" tests/unit/check_stream tests/unit/check_hooks
    while IFS='@' read -r program suite; do
        row_red "$program" "$suite" '.*'
        must step "$suite is green" [ $? -ne 0 ]
    done < <(cut -s -d@ -f5,6 <<<"$row_mutants" | sort -u)
    while IFS='@' read -r row what file expression program suite test; do
        [ -z "$row" ] || row_mutant
    done <<<"$row_mutants"
    step "every row has a fault" [ "$(cut -s -d@ -f1 <<<"$row_mutants" | sort -u | wc -l)" -eq \
        "$(grep -cE '^\| [A-F][0-9]+ \|' "$work/src/docs/stream-behaviours.md")" ]
}

# row_mutant: of the variables that part_mutants_rows reads
row_mutant()
{
    cp "$work/src/$file" "$work/whole"
    sed -i "$expression" "$work/src/$file"
    if cmp -s "$work/src/$file" "$work/whole"; then
        step "$row: $what: $file has changed, so has the fault to" false
    elif ! grep -qE "^\| $row \|.*\`$test\`" "$work/src/docs/stream-behaviours.md"; then
        step "$row: $what: its row names $test" false
    elif ! make -s -C "$work/rows" "-j$jobs" "tests/unit/check_$program" >"$work/row.build" 2>&1; then
        step "$row: $what: it builds" cat "$work/row.build" /dev/none
    else
        row_red "$program" "$suite" "$test"
        step "$row: $what: $test goes red" [ $? -eq 0 ]
    fi
    # a file that is older than what was made of it would not be made again
    cat "$work/whole" >"$work/src/$file"
}
