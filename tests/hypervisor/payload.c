/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * payload.c -- a guest without an operating system: counts on its serial port, writes pages that prove
 * themselves, and checks them. Entered as tools/kvm_boot.h says, one vCPU. Its command line:
 *
 *   PAGES RATE KHZ    pages to write to, from 16 MiB on; pages a second, after each was written once;
 *                     ticks of the time stamp counter in a millisecond
 *
 * A page holds its number, a sequence number, and words that follow from both. Over the serial port:
 * a line "N MILLISECONDS" ten times a second; "c" checks all pages and says "checked SUM of PAGES, BAD
 * bad, stood still US us", the last being the longest time, since it was said before, in which the guest
 * did nothing, by its own clock.
 */
typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned char u8;

#define SERIAL 0x3f8
#define FIRST_PAGE 0x1000000ul
#define PAGE_BYTES 4096ul
#define PAGE_WORDS (PAGE_BYTES / 8)

static void out(unsigned short port, u8 value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static u8 in(unsigned short port)
{
    u8 value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static u64 tsc(void)
{
    u32 low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}

static void say(const char *text)
{
    while (*text)
        out(SERIAL, (u8)*text++);
}

static void say_number(u64 n)
{
    char digits[24];
    int i = 23;

    digits[i] = 0;
    do
        digits[--i] = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    say(digits + i);
}

static u64 read_number(const char **text)
{
    u64 n = 0;

    while (**text == ' ')
        ++*text;
    while (**text >= '0' && **text <= '9')
        n = n * 10 + (u64)(*(*text)++ - '0');
    return n;
}

static u64 mix(u64 page, u64 sequence, u64 word)
{
    u64 x = page * 0x9e3779b97f4a7c15ul + sequence * 0xbf58476d1ce4e5b9ul + word;

    return x ^ x >> 29;
}

/* Each word follows from the sequence number, so that a page that is torn shows. */
static void write_page(u64 page, u64 sequence)
{
    volatile u64 *p = (volatile u64 *)(FIRST_PAGE + page * PAGE_BYTES);

    p[0] = page + 1;
    p[1] = sequence;
    for (u64 i = 2; i < PAGE_WORDS; i += 16) /* a word in each 128 bytes */
        p[i] = mix(page, sequence, i);
}

static int page_is_good(u64 page, u64 sequence)
{
    volatile u64 *p = (volatile u64 *)(FIRST_PAGE + page * PAGE_BYTES);

    if (sequence == 0)
        return p[0] == 0;
    if (p[0] != page + 1 || p[1] != sequence)
        return 0;
    for (u64 i = 2; i < PAGE_WORDS; i += 16)
        if (p[i] != mix(page, sequence, i))
            return 0;
    return 1;
}

/* The n-th write goes to page n % pages: so what each page must hold is known. */
static void check(u64 pages, u64 written, u64 still_us)
{
    u64 bad = 0, sum = 0;

    for (u64 page = 0; page < pages; page++) {
        u64 sequence = 0;

        if (written > page) {
            u64 last = (written - 1 - page) / pages; /* times round */

            sequence = last * pages + page + 1;
        }
        bad += !page_is_good(page, sequence);
        sum += sequence;
    }
    say("checked ");
    say_number(sum);
    say(" of ");
    say_number(pages);
    say(", ");
    say_number(bad);
    say(" bad, stood still ");
    say_number(still_us);
    say(" us\n");
}

void payload_main(const char *text)
{
    u64 pages = read_number(&text), rate = read_number(&text), khz = read_number(&text);
    u64 began, last, before, still = 0, written = 0, lines = 0;

    khz = khz ? khz : 1000000;
    while (written < pages) {
        write_page(written, written + 1);
        written++;
    }
    began = last = before = tsc();
    for (;;) {
        u64 now = tsc(), due;

        if (now - before > still)
            still = now - before;
        before = now;
        if (now - last >= 100 * khz) {
            last = now;
            say_number(++lines);
            say(" ");
            say_number(now / khz);
            say("\n");
        }
        due = pages + (pages && rate ? (now - began) / khz * rate / 1000 : 0);
        for (u64 batch = 0; written < due && batch < 64; batch++) {
            write_page(written % pages, written + 1);
            written++;
        }
        if (written < due && due - written > rate) /* it cannot keep up: no debt is kept */
            began += (due - written) * 1000 / rate * khz;
        if (in(SERIAL + 5) & 1 && in(SERIAL) == 'c') {
            check(pages, written, still * 1000 / khz);
            still = 0;
            before = tsc(); /* the check itself was no standing still */
        }
        __asm__ volatile("pause");
    }
}

/* rdi is the command line already; the stack lies below 1 MiB. */
__asm__(".section .text.entry, \"ax\"\n"
        ".globl _start\n"
        "_start: mov $0x90000, %rsp\n"
        "        call payload_main\n"
        "        hlt\n"
        ".text\n");
