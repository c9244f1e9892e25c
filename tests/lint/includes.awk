# SPDX-License-Identifier: BSD-3-Clause
# includes.awk -- who may include whom; see ARCHITECTURE.md. Input: the tree's C files, by name
# relative to the top. Output: one line per fault. -v files= all names, one a line.

BEGIN {
    n = split(files, list, "\n")
    for (i = 1; i <= n; i++) exists[list[i]] = 1
    libc = "^<(assert|ctype|dirent|dlfcn|endian|errno|fcntl|float|inttypes|limits|math|netdb|poll|" \
           "pthread|sched|signal|spawn|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|" \
           "stdlib|string|strings|time|unistd|(arpa|bits|linux|net|netinet|sys)/[a-z0-9_]+)\\.h>$"
    # folder -> what it may have between quotes, besides config.h
    quoted["common"] = "^\"common/"
    quoted["stream"] = "^\"(common|stream)/"
    quoted["hooks"] = "^\"(common/|hooks/|stream/(format|stream_internal)\\.h\")"
    quoted["migrate"] = "^\"(common|migrate)/"
    quoted["rdma"] = "^\"(common|rdma)/"
    quoted["tools"] = "^\"tools/"
}

FNR == 1 {
    seen = 0
    folder = FILENAME
    sub(/\/.*/, "", folder)
    own = own_header(FILENAME)
}

/^[ \t]*#[ \t]*include[ \t]/ {
    what = $0
    sub(/^[ \t]*#[ \t]*include[ \t]*/, "", what)
    sub(/[ \t]*(\/\*.*)?$/, "", what)
    if (what == "\"config.h\"" && folder != "include") next
    seen++
    if (seen == 1 && own != "" && what != own)
        fault("its own header " own " must be the first it includes")
    if (what ~ /^</) check_angle(what)
    else check_quoted(what)
}

function fault(text)
{
    print FILENAME ":" FNR ": " what ": " text
}

# The header that belongs to a .c file: of its folder, or the public one of the same name.
function own_header(file,    base)
{
    if (file !~ /\.c$/) return ""
    base = file
    sub(/\.c$/, ".h", base)
    if (exists[base]) return "\"" base "\""
    sub(/.*\//, "", base)
    if (folder != "tools" && exists["include/rmig/" base]) return "<rmig/" base ">"
    return ""
}

function check_angle(what)
{
    if (what ~ /^<rmig\//) {
        if (!exists["include/" substr(what, 2, length(what) - 2)]) fault("no such public header")
        return
    }
    if (what ~ /^<(infiniband|rdma)\// && FILENAME !~ /^rdma\/verbs(_device)?\.c$/)
        fault("only rdma/verbs.c and verbs_device.c include the verbs headers")
    if ((folder == "common" || folder == "include") && what !~ libc)
        fault("only libc may be used here")
}

function check_quoted(what)
{
    if (folder == "include") fault("a public header includes <rmig/...> and libc only")
    else if (what !~ /\//) fault("write the folder: \"folder/file.h\"")
    else if (what !~ quoted[folder]) fault("not for " folder "/: see the table in ARCHITECTURE.md")
    else if (!exists[substr(what, 2, length(what) - 2)]) fault("no such file")
    else if (what == "\"" FILENAME "\"") fault("a header that includes itself")
}
