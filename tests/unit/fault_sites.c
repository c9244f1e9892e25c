/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_sites.c -- finds the library's functions and their calls in the program's symbols and code.
 */
#include "tests/unit/fault_calls.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Functions of the library, by address. */
struct function {
    uintptr_t start, end; /* less the program's base */
    const char *name;
};

struct fault_sites *fault_sites;
static struct function *functions;
static size_t nfunctions;
static const char **files; /* that the program is made of, without folders */
static size_t nfiles;
static uintptr_t base;

static void give_up(const char *what)
{
    fprintf(stderr, "fault_sites: %s\n", what);
    exit(EXIT_FAILURE);
}

static int note_base(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    base = info->dlpi_addr;
    return 1; /* the first one is the program */
}

/* Is it a file of the library? sources: "stream/in.c stream/in.h ..." */
static bool is_source(const char *sources, const char *file)
{
    size_t len = strlen(file);

    for (const char *at = sources; len && (at = strstr(at, file)); at++)
        if (at > sources && at[-1] == '/' && (at[len] == ' ' || !at[len]))
            return true;
    return false;
}

static int by_start(const void *a, const void *b)
{
    const struct function *x = a, *y = b;

    return x->start < y->start ? -1 : x->start > y->start;
}

/* Local functions stand behind their file's name; of global ones the library's begin with rmig_. */
static void keep_functions(const Elf64_Sym *symbols, size_t count, const char *names,
                           const char *sources)
{
    bool ours = false;

    functions = calloc(count, sizeof(*functions));
    files = calloc(count, sizeof(*files));
    if (!functions || !files)
        give_up("out of memory");
    for (size_t i = 0; i < count; i++) {
        const Elf64_Sym *s = &symbols[i];
        const char *name = names + s->st_name;
        bool local = ELF64_ST_BIND(s->st_info) == STB_LOCAL;

        if (ELF64_ST_TYPE(s->st_info) == STT_FILE) {
            ours = is_source(sources, name);
            files[nfiles++] = name;
        }
        if (ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_size &&
            (local ? ours : strncmp(name, "rmig_", 5) == 0))
            functions[nfunctions++] =
                (struct function){s->st_value, s->st_value + s->st_size, name};
    }
    qsort(functions, nfunctions, sizeof(*functions), by_start);
}

/* The program's file stays mapped: the names are in it. */
static void read_symbols(const char *sources)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    const Elf64_Shdr *sections;
    const Elf64_Ehdr *head;
    const char *file;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        give_up("cannot open the program's file");
    file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (file == MAP_FAILED)
        give_up("cannot map the program's file");
    head = (const void *)file;
    if (memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_ident[EI_CLASS] != ELFCLASS64)
        give_up("the program's file is no ELF file of 64 bits");
    sections = (const void *)(file + head->e_shoff);
    for (unsigned i = 0; i < head->e_shnum; i++)
        if (sections[i].sh_type == SHT_SYMTAB)
            keep_functions((const void *)(file + sections[i].sh_offset),
                           sections[i].sh_size / sizeof(Elf64_Sym),
                           file + sections[sections[i].sh_link].sh_offset, sources);
    if (nfunctions == 0)
        give_up("the program has no symbols of the library");
}

static const struct function *function_at(uintptr_t address)
{
    size_t low = 0, high = nfunctions;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (functions[mid].end <= address)
            low = mid + 1;
        else
            high = mid;
    }
    return low < nfunctions && functions[low].start <= address ? &functions[low] : NULL;
}

static int enter_site(enum fault_call call, uintptr_t returns_to, const struct function *f,
                      bool in_list)
{
    struct fault_site *site = &fault_sites->site[fault_sites->count];

    if (fault_sites->count == FAULT_SITES_MAX)
        give_up("too many call sites");
    *site = (struct fault_site){.returns_to = returns_to, .call = call, .in_list = in_list};
    /* gcc's names of parts of functions: name.cold, name.part.0, name.constprop.0 */
    snprintf(site->function, sizeof(site->function), "%.*s", (int)strcspn(f->name, "."), f->name);
    return (int)fault_sites->count++;
}

#ifdef __x86_64__
#define CALL_REL32 0xe8
#define JUMP_REL32 0xe9
#define BRANCH_BYTES 5 /* opcode, distance */

/* Which call does code that branches from here make? That any other bytes look so is not to be
 * expected. */
static int landing(const uint8_t *opcode)
{
    int32_t distance;
    const uint8_t *to;

    memcpy(&distance, opcode + 1, sizeof(distance));
    to = opcode + BRANCH_BYTES + distance;
    for (int call = 0; call < CALL_COUNT; call++)
        if (to == fault_landings[call])
            return call;
    return -1;
}

static void list_calls(const struct function *f)
{
    const uint8_t *code = (const uint8_t *)(base + f->start);

    for (size_t i = 0; i + BRANCH_BYTES <= f->end - f->start; i++) {
        /* also what is behind a condition, 0f 8x */
        bool jump = code[i] == JUMP_REL32 || (i && code[i - 1] == 0x0f && (code[i] & 0xf0) == 0x80);
        int call = jump || code[i] == CALL_REL32 ? landing(code + i) : -1;

        if (call >= 0 && jump)
            fault_sites->jumps++;
        else if (call >= 0)
            enter_site((enum fault_call)call, f->start + i + BRANCH_BYTES, f, true);
    }
}
#else
static void list_calls(const struct function *f)
{
    (void)f;
}
#endif

void fault_sites_read(const char *sources)
{
    fault_sites =
        mmap(NULL, sizeof(*fault_sites), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fault_sites == MAP_FAILED)
        give_up("no memory");
    dl_iterate_phdr(note_base, NULL);
    read_symbols(sources);
    for (size_t i = 0; i < nfunctions; i++)
        if (i == 0 || functions[i].start >= functions[i - 1].end) /* not a second name of one */
            list_calls(&functions[i]);
    fault_sites->listed = fault_sites->count;
}

bool fault_sites_linked(const char *source)
{
    const char *slash = strrchr(source, '/');

    for (size_t i = 0; i < nfiles; i++)
        if (strcmp(files[i], slash ? slash + 1 : source) == 0)
            return true;
    return false;
}

int fault_site_find(enum fault_call call, const void *returns_to)
{
    uintptr_t address = (uintptr_t)returns_to - base;
    size_t low = 0, high = fault_sites->listed;
    const struct function *f;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (fault_sites->site[mid].returns_to < address)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < fault_sites->listed && fault_sites->site[low].returns_to == address)
        return (int)low;
    for (unsigned i = fault_sites->listed; i < fault_sites->count; i++)
        if (fault_sites->site[i].returns_to == address)
            return (int)i;
    /* where a function ends in a call that does not return, the address is behind it */
    f = function_at(address - 1);
    return f ? enter_site(call, address, f, false) : -1;
}
