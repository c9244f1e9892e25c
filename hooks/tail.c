/* SPDX-License-Identifier: BSD-3-Clause */
/* tail.c -- finds the end of a tail: device sections whose lengths only their hypervisor knows. */
#include "hooks/tail.h"

#include <errno.h>
#include <string.h>

#include "common/bytes.h"
#include "stream/format.h"

/* Every description begins so. */
static const char json_head[] = "{\"page_size\":";
#define JSON_HEAD_BYTES (sizeof(json_head) - 1)

/* A device may hold such text too, so the last one counts; inside a description there is no byte 0.
 */
static void note_frame(struct rmig_tail_scan *scan, const uint8_t *data, size_t json)
{
    const uint8_t *frame;

    if (json < RMIG_TAIL_FRAME_BYTES)
        return;
    frame = data + json - RMIG_TAIL_FRAME_BYTES;
    if (frame[0] != RMIG_SECTION_EOF || frame[1] != RMIG_SECTION_VMDESCRIPTION)
        return;
    scan->frame = json - RMIG_TAIL_FRAME_BYTES;
    scan->end_bytes = (uint64_t)json + rmig_load_be32(frame + 2);
}

bool rmig_tail_complete(struct rmig_tail_scan *scan, const uint8_t *data, size_t len_bytes)
{
    const uint8_t *json;

    while ((json = memmem(data + scan->next_byte, len_bytes - scan->next_byte, json_head,
                          JSON_HEAD_BYTES))) {
        note_frame(scan, data, (size_t)(json - data));
        scan->next_byte = (size_t)(json - data) + 1;
    }
    /* the text may be cut off here, so look at its possible beginning again */
    if (len_bytes >= scan->next_byte + JSON_HEAD_BYTES)
        scan->next_byte = len_bytes - JSON_HEAD_BYTES + 1;
    return scan->end_bytes != 0 && scan->end_bytes == len_bytes;
}

int rmig_tail_check_first(uint8_t first, struct rmig_err *err)
{
    if (first != RMIG_SECTION_FULL && first != RMIG_SECTION_EOF)
        return rmig_err_set(err, -EPROTO,
                            "tail: begins with byte 0x%02x (%s), not with a device section", first,
                            rmig_format_section_name(first));
    return 0;
}
