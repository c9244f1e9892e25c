/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_stream.c -- what a hostile source can put in its stream, and sizes that it can claim. */
#include "tests/interop/hostile.h"

#include <stdio.h>

#define PIECE_BYTES (RMIG_WIRE_PAYLOAD_MAX_BYTES)
#define IDLE_PARTS 65537u /* one more than may hold nothing */
#define BLOCKS 16384u     /* one more than there may be */

/* The bytes of the case, in one message. */
static void stream(struct peer *peer)
{
    peer_connect(peer, 0);
    peer_file(peer, peer->hostile->bytes);
}

/* The bytes, and then silence: what was claimed does not come. */
static void stream_and_no_more(struct peer *peer)
{
    stream(peer);
    peer_expect(peer, RMIG_WIRE_READY);
}

/* Sends what is in peer->out, message by message, as long as rmig asks for it. */
static void send_pieces(struct peer *peer)
{
    size_t done = 0;

    while (peer_ok(peer) && done < peer->out.len) {
        size_t n = peer->out.len - done < PIECE_BYTES ? peer->out.len - done : PIECE_BYTES;

        peer_say_on_ready(peer, RMIG_WIRE_QEMU_FILE, 1, peer->out.data + done, (uint32_t)n);
        done += n;
    }
}

static void idle_parts(struct peer *peer)
{
    peer_connect(peer, 0);
    bytes_put(&peer->out, "HEADER START LIST EOS FOOT");
    for (unsigned i = 0; i < IDLE_PARTS; i++)
        bytes_add(&peer->out, "\x02\0\0\0\x02\0\0\0\0\0\0\0\x10\x7e\0\0\0\x02", 18);
    send_pieces(peer);
}

static void many_blocks(struct peer *peer)
{
    peer_connect(peer, 0);
    bytes_put(&peer->out, "HEADER START ::0x4000004");
    for (unsigned i = 0; i < BLOCKS; i++) {
        char text[32];

        snprintf(text, sizeof(text), "=b%u ::0x1000", i);
        bytes_put(&peer->out, text);
    }
    send_pieces(peer);
}

/* The bytes, and then more and more, as long as rmig asks for it, a bytes at most. */
static void stream_without_end(struct peer *peer)
{
    uint64_t sent = 0;

    stream(peer);
    while (peer_ok(peer) && sent < peer->hostile->a) {
        peer->out.len = 0;
        bytes_put(&peer->out, "~500000");
        peer_expect(peer, 0);
        if (peer_ok(peer) && peer->type != RMIG_WIRE_READY)
            break;
        peer_say(peer, RMIG_WIRE_QEMU_FILE, 1, peer->out.data, (uint32_t)peer->out.len);
        sent += peer->out.len;
    }
}

#define RAM_TO_END "HEADER START LIST EOS FOOT END EOS FOOT "
#define IN_LIST "HEADER START "
#define IN_PART "HEADER START LIST EOS FOOT PART "

static const struct hostile_case cases[] = {
    {"R11/mark-with-value", NULL, "HOOK with value 0x1000, 0 is needed", .play = stream,
     .bytes = "HEADER START LIST ::0x1080"},
    {"R11/mark-with-continue", NULL, "CONTINUE on HOOK", .play = stream,
     .bytes = "HEADER START LIST ::0xa0"},
    {"R11/mark-with-other-flag", NULL, "flags 0x090 \\(EOS.HOOK\\) are not one record",
     .play = stream, .bytes = "HEADER START LIST ::0x90"},
    {"R11/mark-before-list", NULL, "HOOK before the block list", .play = stream,
     .bytes = IN_LIST "MARK"},
    {"R11/record-unknown", NULL, "flags 0x000 \\(none\\) are not one record", .play = stream,
     .bytes = IN_PART "::0"},
    {"R12/bytes-behind-mark", NULL, "hook mark: 3 bytes follow it in its message, 0 are allowed",
     .play = stream, .bytes = "HEADER START LIST MARK 00 00 00"},
    {"R13/magic", NULL, "magic 0x5145564e, not 0x5145564d", .play = stream,
     .bytes = "51 45 56 4e :3"},
    {"R13/version", NULL, "stream header: version 4, only 3", .play = stream,
     .bytes = "51 45 56 4d :4"},
    {"R13/machine-none", NULL, "machine name of 0 bytes, 1 to 255", .play = stream,
     .bytes = "51 45 56 4d :3 07 :0"},
    {"R13/machine-long", NULL, "machine name of 256 bytes, 1 to 255", .play = stream,
     .bytes = "51 45 56 4d :3 07 :256 ~256"},
    {"R13/machine-huge", NULL, "machine name of 4294967295 bytes, 1 to 255", .play = stream,
     .bytes = "51 45 56 4d :3 07 :0xffffffff"},
    {"R13/machine-cut", NULL, "byte 0 in the machine name q", .play = stream,
     .bytes = "51 45 56 4d :3 07 :3 71 00 35"},
    {"R13/subsection-unknown", NULL, "subsection configuration/x is not known", .play = stream,
     .bytes = "HEADER 05 =configuration/x :1"},
    {"R13/subsection-twice", NULL, "subsection configuration/uuid comes twice", .play = stream,
     .bytes = "HEADER 05 =configuration/uuid :1 ~16 05 =configuration/uuid :1 ~16"},
    {"R13/subsection-no-name", NULL, "subsection's name: length 0, 1 to 255", .play = stream,
     .bytes = "HEADER 05 00"},
    {"R13/subsection-version", NULL, "configuration/uuid: version 2, only 1", .play = stream,
     .bytes = "HEADER 05 =configuration/uuid :2 ~16"},
    {"R13/capabilities-many", NULL, "configuration: 4294967295 capabilities, at most 64",
     .play = stream, .bytes = "HEADER 05 =configuration/capabilities :1 :0xffffffff"},
    {"R13/capability", "EOPNOTSUPP", "capability x-ignore-shared is on", .play = stream,
     .bytes = "HEADER 05 =configuration/capabilities :1 :1 =x-ignore-shared"},
    {"R13/page-bits", "EOPNOTSUPP", "16 target page bits, only 12", .play = stream,
     .bytes = "HEADER 05 =configuration/target-page-bits :1 :16"},
    {"R14/list-twice", NULL, "ram section: a second block list", .play = stream,
     .bytes = "HEADER START LIST LIST"},
    {"R14/page-first", NULL, "ram section: PAGE before the block list", .play = stream,
     .bytes = IN_LIST "::8 =ram ~4096"},
    {"R14/list-none", NULL, "ram section: EOS before the block list", .play = stream,
     .bytes = "HEADER START EOS FOOT PART LIST"},
    {"R14/total-none", NULL, "ram section: 0 bytes of RAM", .play = stream, .bytes = IN_LIST "::4"},
    {"R14/total-above", NULL, "67112960 bytes of RAM at the source, at most 67108864 are",
     .option = "--max-ram=64M", .relay = true, .play = stream,
     .bytes = IN_LIST "::0x4001004 =ram ::0x4001000"},
    {"R14/total-huge", NULL, "18446744073709547520 bytes of RAM at the source, at most [0-9]+ are",
     .play = stream, .bytes = IN_LIST "::0xfffffffffffff004 =ram ::0xfffffffffffff000"},
    {"R14/total-of-a-terabyte", NULL,
     "1099511627776 bytes of RAM at the source, at most [0-9]+ are", .relay = true, .play = stream,
     .bytes = IN_LIST "::0x10000000004 =ram ::0x10000000000 MARK"},
    {"R14/length-0", NULL, "RAM block ram: length 0 is not a positive multiple of 4096",
     .play = stream, .bytes = IN_LIST "::0x10004 =ram ::0"},
    {"R14/length-no-pages", NULL, "RAM block ram: length 2048 is not a positive multiple",
     .play = stream, .bytes = IN_LIST "::0x10004 =ram ::0x800"},
    {"R14/length-above-total", NULL, "RAM block ram: 131072 bytes, but only 65536 are left",
     .play = stream, .bytes = IN_LIST "::0x10004 =ram ::0x20000"},
    {"R14/length-huge", NULL, "RAM block ram: 18446744073709547520 bytes, but only 65536 are left",
     .play = stream, .bytes = IN_LIST "::0x10004 =ram ::0xfffffffffffff000"},
    {"R14/lengths-above-total", NULL, "RAM block rom: 65536 bytes, but only 4096 are left",
     .play = stream, .bytes = IN_LIST "::0x11004 =ram ::0x10000 =rom ::0x10000"},
    {"R15/name-empty", NULL, "RAM block's name: length 0, 1 to 255", .play = stream,
     .bytes = IN_LIST "::0x10004 00"},
    {"R15/name-unprintable", NULL, "RAM block's name: byte 1 is 0x1b, which is not printable",
     .play = stream, .bytes = IN_LIST "::0x10004 03 72 1b 6d ::0x10000"},
    {"R15/name-with-byte-0", NULL, "RAM block's name: byte 2 is 0x00, which is not printable",
     .play = stream, .bytes = IN_LIST "::0x10004 03 72 61 00 ::0x10000"},
    {"R15/name-twice", NULL, "RAM block ram is listed twice", .relay = true, .play = stream,
     .bytes = IN_LIST "::0x20004 =ram ::0x10000 =ram ::0x10000"},
    {"R15/blocks-many", NULL, "more than 16383 RAM blocks", .play = many_blocks},
    {"R21/page-beyond", NULL, "page record: offset 0x10000 is outside RAM block rom of 0x10000",
     .play = stream, .bytes = IN_PART "::0x10008 =rom ~4096"},
    {"R21/page-huge", NULL, "offset 0xfffffffffffff000 is outside RAM block rom of 0x10000",
     .play = stream, .bytes = IN_PART "::0xfffffffffffff008 =rom ~4096"},
    {"R21/page-of-no-block", NULL, "page record: RAM block bios does not exist here",
     .play = stream, .bytes = IN_PART "::8 =bios ~4096"},
    {"R21/continue-first", NULL, "page record at 0x3000: CONTINUE, but no block came before",
     .play = stream, .bytes = IN_PART "::0x3028 ~4096"},
    {"R21/zero-with-1", NULL, "zero page at 0x2000: fill byte 0x01, 0 is needed", .play = stream,
     .bytes = IN_PART "::0x2002 =ram 01"},
    {"R21/zero-beyond", NULL, "offset 0x400000 is outside RAM block ram of 0x400000",
     .play = stream, .bytes = IN_PART "::0x400002 =ram 00"},
    {"R24/start-twice", NULL, "section START of ram: a second one", .play = stream,
     .bytes = "HEADER START LIST EOS FOOT START"},
    {"R24/start-instance", NULL, "section START of ram: instance 1, version 4; 0 and 4",
     .play = stream, .bytes = "HEADER 01 :2 =ram :1 :4"},
    {"R24/start-version", NULL, "section START of ram: instance 0, version 3; 0 and 4",
     .play = stream, .bytes = "HEADER 01 :2 =ram :0 :3"},
    {"R24/start-of-another", "EOPNOTSUPP", "section START of dirty-bitmap: of what moves in rounds only ram",
     .play = stream, .bytes = "HEADER 01 :2 =dirty-bitmap :0 :1"},
    {"R24/part-of-another-id", NULL, "section PART with id 3: only id 2 was started",
     .play = stream, .bytes = "HEADER START LIST EOS FOOT 02 :3"},
    {"R24/end-of-another-id", NULL, "section END with id 3: only id 2 was started", .play = stream,
     .bytes = "HEADER START LIST EOS FOOT 03 :3"},
    {"R24/footer-byte", NULL, "section 2: ends in byte 0x7f, not in a footer", .play = stream,
     .bytes = "HEADER START LIST EOS 7f :2"},
    {"R24/footer-id", NULL, "section 2: its footer has id 5", .play = stream,
     .bytes = "HEADER START LIST EOS 7e :5"},
    {"R24/part-before-start", NULL, "section PART with id 2: no START came before", .play = stream,
     .bytes = "HEADER PART"},
    {"R24/end-before-start", NULL, "section END with id 2: no START came before", .play = stream,
     .bytes = "HEADER END"},
    {"R24/end-of-sections-first", NULL, "end of sections before the ram section's end",
     .play = stream, .bytes = "HEADER START LIST EOS FOOT 00"},
    {"R24/section-unknown", NULL, "byte 0x42 \\(unknown\\): no section may begin with it",
     .play = stream, .bytes = "HEADER 42"},
    {"R24/command-unknown", "EOPNOTSUPP", "command 99 \\(unknown\\) is not supported",
     .play = stream, .bytes = "HEADER 08 .99 .0"},
    {"R24/command-postcopy", "EOPNOTSUPP", "command 3 \\(POSTCOPY_ADVISE\\) is not supported",
     .play = stream, .bytes = "HEADER 08 .3 .0"},
    {"R24/command-packaged", "EOPNOTSUPP", "command 7 \\(PACKAGED\\) is not supported",
     .play = stream, .bytes = "HEADER 08 .7 .4 :0xffffffff"},
    {"R24/command-return-path", "EOPNOTSUPP", "OPEN_RETURN_PATH: this channel leads one way",
     .play = stream, .bytes = "HEADER 08 .1 .0"},
    {"R24/command-ping", NULL, "command PING: no OPEN_RETURN_PATH came before", .play = stream,
     .bytes = "HEADER 08 .2 .4 :7"},
    {"R24/command-length", NULL, "SWITCHOVER_START\\): length 65535, 0 is needed", .play = stream,
     .bytes = "HEADER 08 .11 .65535"},
    {"R24/switchover-twice", NULL, "command SWITCHOVER_START: a second one", .play = stream,
     .bytes = "HEADER START LIST EOS FOOT 08 .11 .0 08 .11 .0"},
    {"R25/device-before-end", NULL, "device section timer comes before the ram section's end",
     .play = stream, .bytes = "HEADER START LIST EOS FOOT DEVICE"},
    {"R25/ram-after-end", NULL, "tail: begins with byte 0x02 \\(PART\\)", .play = stream,
     .bytes = RAM_TO_END "PART"},
    {"R25/tail-without-end", NULL, "tail: more than 8388608 bytes after the ram section",
     .option = "--max-ram=8M", .relay = true, .play = stream_without_end, .a = 32 << 20,
     .bytes = RAM_TO_END "DEVICE"},
    {"R25/description-huge", NULL, "tail: more than 8388608 bytes after the ram section",
     .option = "--max-ram=8M", .play = stream_without_end, .a = 32 << 20,
     .bytes = RAM_TO_END "DEVICE 00 06 :0xffffffff 7b 22 70 61 67 65 5f 73 69 7a 65 22 3a"},
    {"R25/description-never-comes", "ETIMEDOUT", "timed out while waiting for QEMU_FILE",
     .option = "--progress-deadline=1", .play = stream_and_no_more,
     .bytes = RAM_TO_END "DEVICE 00 06 :0xffffffff 7b 22 70 61 67 65 5f 73 69 7a 65 22 3a"},
    {"R27/parts-without-end", NULL, "more than 65536 parts in a row hold nothing",
     .play = idle_parts},
};

const struct hostile_table hostile_stream = HOSTILE_TABLE(HOSTILE_RECEIVE, cases);
