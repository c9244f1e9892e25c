# SPDX-License-Identifier: BSD-3-Clause
# man3.awk -- section 3 of the manual, from the doc comments of the public headers.
#
#   awk -v out=FOLDER -v date='Month D, YYYY' -f man3.awk include/rmig/*.h
#
# A page for each doc comment of functions, and for each struct, enum and function type; the other
# names of a page become pages that include it. With -v names=1 no page is written, but
# "NAME PAGE HEADER" said for each. What is missing in a comment goes to the standard error.
#
# A doc comment of functions is: NAME [/ NAME]... - what it does; "@PARAMETER[, @PARAMETER]...: text";
# paragraphs; "Ownership:", "Blocks:", "Threads:", "Returns:", "Source:". Where it says nothing of
# ownership, blocking, threads and errors, the header does, in its first comment, under "Where a comment
# below does not say otherwise". An "@PARAMETER:" or "-ERRNO:" there holds for all headers.

BEGIN {
    labels = "Ownership|Blocks|Threads|Returns|Errors|Source"
    label_at = "(^|[.?)] +)(" labels ")(, (" labels "))*: "
    name_re = "rmig_[a-z0-9_]+"
}

# --- reading: what is declared, with its comment ------------------------------------------------

FNR == 1 {
    end_group()
    header = FILENAME
    sub(/.*\/rmig\//, "rmig/", header)
    section = header
    in_top = in_doc = in_comment = depth = 0
    statement = raw = ""
}
FNR == 2 && /^\/\*$/ { in_top = 1; label = ""; next }
in_top {
    if (/\*\//) { in_top = 0; next }
    if (/^ \* Where a comment.* does not say otherwise/) label = "none"
    else if (/^ \*$/) label = ""
    else if (label != "") {
        text = $0
        sub(/^ \* */, "", text)
        if (match(text, "^(" labels "|@[a-z_]+|-E[A-Z0-9]+):")) {
            label = substr(text, 1, RLENGTH - 1)
            text = substr(text, RLENGTH + 1)
            if (label ~ /^@/) common_params = common_params " " substr(label, 2)
        }
        if (label ~ /^[@-]/) common[label] = common[label] " " text
        else defaults[header, label] = defaults[header, label] " " text
    }
    next
}
depth == 0 && /^\/\* --- / { end_group(); section = header " " FNR; next }
depth == 0 && /^\/\*\*[^<]|^\/\*\*$/ { end_group(); doc = ""; doc_line = FNR; in_doc = 1 }
in_doc {
    text = $0
    sub(/^\/\*\*/, "", text)
    if (text ~ /\*\//) { in_doc = 0; sub(/ *\*\/.*/, "", text) }
    sub(/^ \* ?/, "", text)
    sub(/^ +@/, "@", text)
    doc = doc text "\n"
    next
}
depth == 0 && /^\/\*/ { in_comment = 1 }
in_comment { if (/\*\//) in_comment = 0; next }
depth == 0 && /^[ \t]*$/ { if (statement == "") end_group(); next }
/^#define RMIG_/ && $2 !~ /\(|_H$/ {
    text = $0
    sub(/^#define +[A-Z0-9_]+ */, "", text)
    if (text ~ /^\(?-?[0-9]+u?\)?$/) gsub(/[()u]/, "", text)
    macro[$2] = text
    macro_doc[$2] = doc
    macros = macros " " $2
}
/^#/ || /^extern "C"/ || /^}$/ { next }
{
    raw = raw $0 "\n"
    text = code($0)
    statement = statement " " text
    depth += gsub(/[{]/, "{", text) - gsub(/[}]/, "}", text)
    if (depth == 0 && text ~ /;[ \t]*$/) {
        declare(statement)
        statement = raw = ""
    }
}

# code LINE -- without comments; one that goes on with the next line is cut off, too
function code(line) {
    gsub(/\/\*([^*]|\*[^\/])*\*\//, "", line)
    sub(/\/\*.*/, "", line)
    if (line ~ /^ *\*|\*\/$/) line = ""
    sub(/[ \t]+$/, "", line)
    return line
}

function clear(array,    key) {
    for (key in array) delete array[key]
}

function fault(text) {
    print where ": " text >"/dev/stderr"
}

function end_group() {
    doc = ""
    page = 0
}

function declare(s,    name, kind, word) {
    where = FILENAME ":" FNR
    gsub(/[ \t]+/, " ", s)
    sub(/^ /, "", s)
    if (s ~ /^typedef /) {
        if (!match(s, "\\(\\*" name_re "\\)")) return
        name = substr(s, RSTART + 2, RLENGTH - 3)
        kind = "typedef"
    } else if (s ~ ("^(struct|enum) " name_re " [{]")) {
        split(s, word, " ")
        name = word[2]
        kind = word[1]
    } else if (s !~ /^(struct|enum|union)[^(]*;/ && match(s, name_re " ?\\(")) {
        declare_function(s)
        return
    } else
        return
    if (doc == "") fault(kind " " name ": no doc comment")
    types[++ntypes] = name
    type_kind[name] = kind
    type_doc[name] = doc
    type_raw[name] = raw
    type_header[name] = header
    type_where[name] = FILENAME ":" doc_line
    doc = ""
}

function declare_function(s,    name) {
    name = substr(s, RSTART, RLENGTH)
    sub(/ ?\($/, "", name)
    gsub(/RMIG_MUST_CHECK|RMIG_PRINTF\([^)]*\)|^ *extern/, "", s)
    sub(/^ +/, "", s)
    sub(/ *;$/, "", s)
    if (doc == "") { fault(name ": no doc comment"); return }
    if (!page) {
        page = ++npages
        page_doc[page] = doc
        page_header[page] = header
        page_section[page] = section
        page_where[page] = FILENAME ":" doc_line
    }
    page_names[page] = page_names[page] (page_names[page] == "" ? "" : " ") name
    page_of[name] = page
    prototype[name] = s
}

# --- a doc comment, taken apart -----------------------------------------------------------------

# parse DOC -- part["what"], part["text"] with \n between paragraphs, part[LABEL]; parameters
function parse(text,    n, i, line, field) {
    clear(part)
    nparams = 0
    state = "what"
    n = split(text, field, "\n")
    for (i = 1; i <= n; i++) {
        line = field[i]
        if (line ~ /^ *$/) {
            if (state == "text") part["text"] = part["text"] "\n"
            else if (state != "what" || part["what"] != "") state = "text"
            continue
        }
        if (match(line, /^@[a-z0-9_]+(, @[a-z0-9_]+)*:/) && state ~ /what|text|@/) {
            state = "@"
            params[++nparams] = substr(line, 1, RLENGTH - 1)
            gsub(/[@,]/, "", params[nparams])
            param_text[nparams] = ""
            line = substr(line, RLENGTH + 1)
        }
        feed(line " ")
    }
}

# feed TEXT -- to the part that is open; labels open others
function feed(line,    head) {
    while (match(line, label_at)) {
        head = substr(line, RSTART, RLENGTH)
        add(substr(line, 1, RSTART - 1) (head ~ /^[.?)]/ ? substr(head, 1, 1) : ""))
        line = substr(line, RSTART + RLENGTH)
        gsub(/^[.?)] +|[:,]/, "", head)
        state = head
    }
    add(line)
}

function add(text,    n, i, open) {
    if (state == "@") { param_text[nparams] = param_text[nparams] " " text; return }
    n = split(state, open, " ")
    for (i = 1; i <= n; i++) part[open[i]] = part[open[i]] " " text
}

function trim(text) {
    gsub(/[ \t]+/, " ", text)
    sub(/^[ \n]+/, "", text)
    sub(/[ \n]+$/, "", text)
    return text
}

# cut_sentence TEXT -- its first sentence; rest_of_text is what follows
function cut_sentence(text) {
    if (match(text, /[.?] +[A-Z@]/)) {
        rest_of_text = trim(substr(text, RSTART + 1))
        return substr(text, 1, RSTART)
    }
    rest_of_text = ""
    return text
}

# begin_sentence TEXT -- with a capital, where that is a word; and with a full stop
function begin_sentence(text) {
    text = trim(text)
    if (text ~ /^[a-z][a-z'-]*([ ,;:.?]|$)/ && text !~ /^(tcp|unix|fd|file|exec|rdma)[,:]/)
        text = toupper(substr(text, 1, 1)) substr(text, 2)
    return text == "" || text ~ /[.?:!]$/ ? text : text "."
}

# phrase TEXT -- without capital and full stop, as NAME wants it
function phrase(text) {
    if (text ~ /^[A-Z][a-z]* /) text = tolower(substr(text, 1, 1)) substr(text, 2)
    sub(/\.$/, "", text)
    return text
}

# --- mdoc ---------------------------------------------------------------------------------------

function emit(line) { body = body line "\n" }

function flush_line() {
    if (pending != "") emit((pending ~ /^[.']/ ? "\\&" : "") pending)
    pending = ""
}

# quoted TEXT -- as one argument of a macro, which it is not to be
function quoted(text) {
    gsub(/\\/, "\\e", text)
    gsub(/"/, "\\(dq", text)
    if (text ~ /^[A-Z][a-z0-9]?[a-z]?$/) text = "\\&" text
    return text ~ / / ? "\"" text "\"" : text
}

# marked TOKEN -- the macro for the name in it, else ""; name_start and name_len say where it is
function marked(token,    name) {
    if (match(token, /@[a-z][a-z0-9_]*/)) return found("Fa " substr(token, RSTART + 1, RLENGTH - 1))
    if (match(token, "(struct|enum) " name_re)) return found("Vt \"" substr(token, RSTART, RLENGTH) "\"")
    if (match(token, name_re "(\\(\\))?")) {
        name = substr(token, RSTART, RLENGTH)
        found("")
        sub(/\(\)$/, "", name)
        if (name in page_of) return page_of[name] == this_page ? "Fn " name : refer(name)
        if (name in type_kind) return name == this_type ? "Vt " name : refer(name)
        if (token ~ /\(\)/) fault("names " name "(), which is not declared")
        return token ~ /rmig_[a-z_]*[\/*.]/ ? "" : "Vt " name
    }
    if (match(token, /RMIG_[A-Z0-9_]+\*?/)) {
        used[substr(token, RSTART, RLENGTH)] = 1
        return found("Dv " substr(token, RSTART, RLENGTH))
    }
    if (match(token, /-E[A-Z0-9]+/) && RLENGTH > 3) return found("Er " substr(token, RSTART + 1, RLENGTH - 1))
    if (match(token, /[a-z_]+\([1-8]\)/)) {
        name = substr(token, RSTART, RLENGTH)
        return found("Xr " substr(name, 1, RLENGTH - 3) " " substr(name, RLENGTH - 1, 1))
    }
    if (match(token, /[a-z_]+\(\)/)) return found("Fn " substr(token, RSTART, RLENGTH - 2))
    if (match(token, /NULL/)) return found("Dv NULL")
    return ""
}

function found(macro) {
    name_start = RSTART
    name_len = RLENGTH
    return macro
}

function refer(name) {
    also[name] = 1
    return "Xr " name " 3"
}

# arguments TOKEN -- TOKEN as a macro with what stands around its name, or ""
function arguments(token,    macro, before, after, ends) {
    macro = marked(token)
    if (macro == "") return ""
    before = substr(token, 1, name_start - 1)
    after = substr(token, name_start + name_len)
    if (macro ~ /^Er/) before = before "-"
    ends = ""
    while (after ~ /[.,;:?!)]$/) {
        ends = " " substr(after, length(after)) ends
        after = substr(after, 1, length(after) - 1)
    }
    return (before == "" ? "" : "Pf " quoted(before) " ") macro (after == "" ? "" : " Ns " quoted(after)) ends
}

# prose TEXT -- a paragraph: names as macros, a line a sentence
function prose(text,    n, i, word, token, macro) {
    n = split(trim(text), word, /[ \n]+/)
    for (i = 1; i <= n; i++) {
        token = word[i]
        if (token ~ /(^|[("])(struct|enum)$/ && i < n && word[i + 1] ~ /^rmig_/) token = token " " word[++i]
        macro = arguments(token)
        if (macro != "") {
            flush_line()
            emit("." macro)
            continue
        }
        gsub(/\\/, "\\e", token)
        if (length(pending) + length(token) > 78) flush_line()
        pending = pending (pending == "" ? "" : " ") token
        if (token ~ /[A-Za-z0-9)][.?!]["')]*$/) flush_line()
    }
    flush_line()
}

# paragraphs TEXT -- split at \n
function paragraphs(text,    n, i, field) {
    n = split(text, field, "\n")
    for (i = 1; i <= n; i++) {
        if (trim(field[i]) == "") continue
        emit(".Pp")
        prose(field[i])
    }
}

# tagged TEXT -- ".It" with TEXT as its tag
function tagged(text,    n, i, word, macro, line, after) {
    n = split(text, word, " ")
    for (i = 1; i <= n; i++) {
        macro = arguments(word[i])
        # after a macro "No" begins plain text
        line = line (macro == "" && after ? " No " : " ") (macro == "" ? quoted(word[i]) : macro)
        after = macro != ""
    }
    emit(".It" line)
}

# --- what a function returns --------------------------------------------------------------------

# pieces TEXT, MARK, ARRAY -- split where MARK and a blank are outside of parentheses; an ellipsis is none
function pieces(text, mark, array,    n, i, level, c, from) {
    n = level = 0
    from = 1
    for (i = 1; i < length(text); i++) {
        c = substr(text, i, 1)
        if (c == "(") level++
        else if (c == ")") level--
        else if (level == 0 && c == mark && substr(text, i + 1, 1) == " " && substr(text, i - 1, 1) != ".") {
            array[++n] = substr(text, from, i - from)
            from = i + 2
        }
    }
    array[++n] = substr(text, from)
    return n
}

function open_list() {
    if (!listing) emit(".Bl -tag -width \"-ENOTSUP\"")
    listing = 1
}

function close_list() {
    if (listing) emit(".El")
    listing = 0
}

# outcome TEXT -- an item: errnos, or a value, and what they mean
function outcome(text,    tag) {
    text = trim(text)
    if (match(text, /^-E[A-Z0-9]+((,| or|,? and) -E[A-Z0-9]+)*/)) tag = substr(text, 1, RLENGTH)
    else if (text ~ /^-?[01]( |$)/ && text !~ /^0 or more/) tag = substr(text, 1, match(text " ", " ") - 1)
    else if (text ~ /^else /) tag = "else"
    else if (match(text, /, | \(|: | where | naming /)) tag = substr(text, 1, RSTART - 1)
    else tag = text
    text = substr(text, length(tag) + 1)
    sub(/^[,:]? +(\.\.\. )?/, "", text)
    tagged(tag)
    if (tag == "0" && text == "") text = "success"
    if (text == "" && tag in common) text = common[tag]
    if (text != "") prose(text)
}

function returns(text,    n, i, j, m, sentence, piece, lead) {
    text = trim(text)
    sub(/\.$/, "", text)
    n = pieces(text, ".", sentence)
    listing = 0
    if (text !~ /(^|[.;:] |also )-E[A-Z]/) {
        prose(begin_sentence(text))
        return
    }
    for (i = 1; i <= n; i++) {
        lead = ""
        if (match(sentence[i], /^[^;]*(: |also )-E/)) {
            lead = substr(sentence[i], 1, RLENGTH - 3)
            sentence[i] = substr(sentence[i], RLENGTH - 1)
            if (lead ~ /^-E/) { sentence[i] = lead " " sentence[i]; lead = "" }
        }
        if (lead == "" && i > 1 && (" " sentence[i]) !~ /^ (-E|.*; -E|0 )/) {
            close_list()
            emit(".Pp")
            prose(begin_sentence(sentence[i]))
            continue
        }
        if (lead != "") {
            close_list()
            sub(/^New:$/, "New errors of the stream:", lead)
            if (i > 1) emit(".Pp")
            prose(lead ~ /:$/ ? lead : lead ":")
        }
        open_list()
        m = pieces(sentence[i], ";", piece)
        for (j = 1; j <= m; j++) outcome(piece[j])
    }
    close_list()
}

# --- pages --------------------------------------------------------------------------------------

function begin_page(name, from) {
    body = ""
    clear(used)
    clear(also)
    emit(".\\\" SPDX-License-Identifier: BSD-3-Clause")
    emit(".\\\" Made by docs/man3.awk of the comments in include/" from ": change those.")
    emit(".Dd " date)
    emit(".Dt " toupper(name) " 3")
    emit(".Os")
    emit(".Sh NAME")
}

function library(from) {
    emit(".Sh LIBRARY")
    emit("librmig, with the flags of")
    emit(".Ql pkg-config --cflags --libs rmig")
    emit(".Sh SYNOPSIS")
    emit(".In " from)
}

# synopsis NAME -- its prototype
function synopsis(name,    s, at, n, i, param) {
    s = prototype[name]
    at = match(s, name " *\\(")
    emit(".Ft " trim(substr(s, 1, at - 1)))
    emit(".Fo " name)
    s = substr(s, at + length(name))
    sub(/^ *\(/, "", s)
    sub(/\) *$/, "", s)
    n = split(s, param, / *, */)
    for (i = 1; i <= n; i++) {
        emit(".Fa \"" trim(param[i]) "\"")
        mention_types(param[i])
    }
    emit(".Fc")
    mention_types(substr(prototype[name], 1, at))
}

# mention_types TEXT -- types in TEXT are worth to be looked up
function mention_types(text,    name) {
    while (match(text, name_re)) {
        name = substr(text, RSTART, RLENGTH)
        text = substr(text, RSTART + RLENGTH)
        if (name in type_kind) also[name] = 1
    }
}

function has_param(name, param) {
    return prototype[name] ~ ("[ *(]" param "(\\[[0-9]*\\])?[,)]")
}

# parameters NAMES -- those of the comment, and those that are the same everywhere
function parameters(names,    n, i, j, m, name, one, one_of, line, wide, known) {
    split(names, name, " ")
    m = split(common_params, one, " ")
    for (j = 1; j <= m; j++) {
        known = !has_param(name[1], one[j])
        for (i = 1; i <= nparams; i++) if ((" " params[i] " ") ~ (" " one[j] " ")) known = 1
        if (known) continue
        params[++nparams] = one[j]
        param_text[nparams] = common["@" one[j]]
    }
    if (nparams == 0) return
    wide = "Ds"
    for (i = 1; i <= nparams; i++)
        if (length(params[i]) > length(wide) && length(params[i]) <= 12) wide = params[i]
    sub(/ /, ", ", wide)
    emit(".Bl -tag -width \"" wide "\"")
    for (i = 1; i <= nparams; i++) {
        m = split(params[i], one_of, " ")
        line = ".It"
        for (j = 1; j <= m; j++) {
            line = line (j > 1 ? " , " : " ") "Fa " one_of[j]
            known = 0
            for (n in name) if (has_param(name[n], one_of[j])) known = 1
            if (!known) fault("@" one_of[j] " is no parameter of " names)
        }
        emit(line)
        prose(begin_sentence(param_text[i]))
    }
    emit(".El")
}

# behaviour PAGE, LABEL, TITLE -- a section, of the comment or of its header
function behaviour(p, label, title,    text) {
    text = trim(part[label])
    if (text == "") text = trim(defaults[page_header[p], label])
    if (text == "") {
        if (label != "Errors") fault(page_names[p] ": no " label)
        return
    }
    emit(".Sh " title)
    prose(begin_sentence(text))
}

function function_page(p,    n, i, name, what, text, first) {
    n = split(page_names[p], name, " ")
    first = name[1]
    this_page = p
    this_type = first in type_kind ? first : ""
    where = page_where[p]
    parse(page_doc[p])
    what = trim(part["what"])
    if (index(what, first) != 1 || !match(what, / - /))
        fault(first ": its comment does not begin with its name and what it does")
    what = trim(substr(what, match(what, / - /) ? RSTART + 3 : 1))
    begin_page(first, page_header[p])
    for (i = 1; i <= n; i++) emit(".Nm " name[i] (i < n ? " ," : ""))
    what = cut_sentence(what)
    text = rest_of_text
    emit(".Nd " phrase(what))
    library(page_header[p])
    for (i = 1; i <= n; i++) synopsis(name[i])
    if (this_type != "") type_synopsis(first)
    emit(".Sh DESCRIPTION")
    prose(begin_sentence(what) " " begin_sentence(text))
    paragraphs(part["text"])
    parameters(page_names[p])
    if (this_type != "") {
        emit(".Ss Members of struct " first)
        type_body(first)
        where = page_where[p]
        parse(page_doc[p])
    }
    behaviour(p, "Ownership", "OWNERSHIP")
    behaviour(p, "Blocks", "BLOCKING")
    behaviour(p, "Threads", "THREADS")
    if (trim(part["Returns"]) != "") {
        emit(".Sh RETURN VALUES")
        returns(part["Returns"])
    } else
        for (i = 1; i <= n; i++)
            if (prototype[name[i]] !~ /^void [^*]/) fault(name[i] ": no Returns")
    behaviour(p, "Errors", "ERRORS")
    end_page(first, page_section[p], page_names[p], page_header[p])
    for (i = 2; i <= n; i++) {
        body = ".so man3/" first ".3\n"
        write_page(name[i])
    }
}

# end_page NAME, ITS SECTION, THE PAGE'S NAMES, ITS HEADER -- what stands at the end of every page
function end_page(name, its_section, names, from,    n, i, list, other) {
    constants()
    for (i = 1; i <= npages; i++) {
        split(page_names[i], other, " ")
        if (page_section[i] == its_section) also[other[1]] = 1
    }
    n = split(names, list, " ")
    for (i = 1; i <= n; i++) delete also[list[i]]
    emit(".Sh SEE ALSO")
    n = sorted(also, list)
    for (i = 1; i <= n; i++) emit(".Xr " list[i] " 3 ,")
    emit(".Xr rmig 7" (from ~ /transport|hooks/ ? " ," : ""))
    if (from ~ /transport|hooks/) emit(".Xr rmig-transport 7")
    if (trim(part["Source"]) != "") {
        emit(".Sh STANDARDS")
        prose(begin_sentence(part["Source"]))
    }
    write_page(name)
}

function sorted(set, list,    n, i, key) {
    n = 0
    for (key in set) {
        for (i = n++; i > 0 && list[i] > key; i--) list[i + 1] = list[i]
        list[i + 1] = key
    }
    return n
}

# constants -- what the page names of them; NAME_* stands for all that begin so
function constants(    n, i, m, name, key, value, any) {
    m = split(macros, name, " ")
    any = 0
    for (i = 1; i <= m; i++) {
        key = ""
        for (n in used)
            if (n == name[i] || (n ~ /\*$/ && index(name[i], substr(n, 1, length(n) - 1)) == 1)) key = name[i]
        if (key == "" || macro_doc[key] == "") continue
        if (!any++) {
            emit(".Sh CONSTANTS")
            emit(".Bl -tag -width Ds")
        }
        value = macro[key]
        emit(".It Dv " key (value ~ /^-?[0-9]+$/ ? " No = " value : ""))
        prose(macro_doc[key])
    }
    if (any) emit(".El")
}

function type_synopsis(name,    n, i, line, field) {
    emit(".Bd -literal")
    n = split(type_raw[name], field, "\n")
    for (i = 1; i <= n; i++) {
        line = code(field[i])
        if (line ~ /^ *$/) continue
        gsub(/\\/, "\\e", line)
        emit(line)
    }
    emit(".Ed")
}

# type_body NAME -- its comment, and its members with theirs
function type_body(name,    n, i, field, line, comment, said, statement, any) {
    where = type_where[name]
    parse(type_doc[name])
    prose(begin_sentence(part["what"]))
    paragraphs(part["text"])
    mention_types(code_of(type_raw[name]))
    delete also[name]
    if (type_kind[name] == "typedef") return
    n = split(type_raw[name], field, "\n")
    comment = statement = ""
    any = said = 0
    for (i = 1; i <= n; i++) {
        line = field[i]
        if (said) {
            if (line ~ /\*\//) said = 0
            sub(/^ *\* ?/, "", line)
            comment = comment " " line
            continue
        }
        if (line ~ /^ *\/\*\*/ && statement == "" && line !~ /\/\*\*</) {
            comment = line
            said = line !~ /\*\//
            continue
        }
        if (match(line, /\/\*\*<.*/)) comment = substr(line, RSTART)
        line = code(line)
        if (type_kind[name] == "enum") sub(/^(struct|enum) [a-z_]+ [{]/, "", line)
        else if (line ~ /^struct/ && line ~ /[{]$/) continue
        if (line ~ /^ *$/ || line ~ /^};/) continue
        statement = statement " " line
        if (line !~ (type_kind[name] == "enum" ? "^ .*[A-Z0-9],?$" : ";$")) continue
        if (!any++) emit(".Bl -tag -width Ds")
        member(name, statement, comment)
        statement = comment = ""
    }
    if (any) emit(".El")
}

function code_of(text,    n, i, field, all) {
    n = split(text, field, "\n")
    for (i = 1; i <= n; i++) all = all " " code(field[i])
    return all
}

# member TYPE, STATEMENT, COMMENT -- an item
function member(type, s, comment,    name) {
    s = trim(s)
    sub(/\/\*\*<?/, "", comment)
    sub(/\*?\/$/, "", comment)
    comment = trim(comment)
    if (type_kind[type] == "enum") {
        name = s
        gsub(/[ =].*|,$/, "", name)
        emit(".It Dv " name)
    } else {
        name = s
        if (match(s, /\(\*[a-z_0-9]+\)/)) name = substr(s, RSTART + 2, RLENGTH - 3)
        else {
            gsub(/\[[A-Za-z0-9_]*\]|;$/, "", name)
            sub(/.*[ *]/, "", name)
        }
        emit(".It Va " name)
    }
    if (comment == "") fault(type ": " name " has no comment")
    prose(begin_sentence(comment))
}

# takers NAME, HEADER -- the functions of HEADER, or of any, that take the type are worth to be looked up
function takers(name, from,    i, n, first) {
    n = 0
    for (i = 1; i <= npages; i++) {
        split(page_names[i], first, " ")
        if ((from == "" || page_header[i] == from) && prototype[first[1]] ~ (name "[^a-z_]")) {
            also[first[1]] = 1
            n++
        }
    }
    return n
}

function type_page(name,    what, i) {
    this_page = 0
    this_type = name
    where = type_where[name]
    parse(type_doc[name])
    what = cut_sentence(trim(part["what"]))
    begin_page(name, type_header[name])
    emit(".Nm " name)
    emit(".Nd " phrase(what))
    library(type_header[name])
    type_synopsis(name)
    emit(".Sh DESCRIPTION")
    type_body(name)
    if (takers(name, type_header[name]) == 0) takers(name, "")
    for (i = 1; i <= ntypes; i++)
        if (code_of(type_raw[types[i]]) ~ (" " name "[^a-z_]")) also[types[i]] = 1
    end_page(name, "", name, type_header[name])
}

function write_page(name,    file) {
    file = out "/" name ".3"
    printf "%s", body >file
    close(file)
}

END {
    if (names) {
        for (i = 1; i <= npages; i++) {
            n = split(page_names[i], list, " ")
            for (j = 1; j <= n; j++) print list[j], list[1], page_header[i]
        }
        for (i = 1; i <= ntypes; i++) if (!(types[i] in page_of)) print types[i], types[i], type_header[types[i]]
        exit
    }
    for (i = 1; i <= npages; i++) function_page(i)
    for (i = 1; i <= ntypes; i++) if (!(types[i] in page_of)) type_page(types[i])
}
