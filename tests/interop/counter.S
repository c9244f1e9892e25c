/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * counter.S -- firmware of 64 KiB that counts over all of its memory. Each pass writes the counter
 * to the first and the last word of every page from 1 MiB to END, after it has looked whether the
 * number of the pass before is there, and prints it: eight hexadecimal digits and a line feed, or,
 * where a page was not as it was left, "BAD " with its address before them.
 *
 * Assemble with --defsym END=BYTES --defsym DELAY=LOOPS_A_PAGE; link at address 0, take .text as a raw binary.
 */
        .code16
        .text
        .globl _start
_start:
real:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        lgdtl   %cs:gdt_descriptor
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $8, $(0xffff0000 + protected)

        .code32
protected:
        movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movl    $1, %ebx                /* the counter */
pass:
        xorl    %ebp, %ebp              /* address of a bad page, 0 for none */
        movl    $0x100000, %edi
page:
        leal    -1(%ebx), %eax
        cmpl    %eax, (%edi)
        jne     bad
        cmpl    %eax, 4092(%edi)
        je      write
bad:
        movl    %edi, %ebp
write:
        movl    %ebx, (%edi)
        movl    %ebx, 4092(%edi)
        movl    $DELAY, %ecx            /* not too fast */
delay:
        loop    delay                   /* without a port, which would take a lock in QEMU */
        addl    $4096, %edi
        cmpl    $END, %edi
        jb      page

        testl   %ebp, %ebp
        jz      number
        movb    $'B', %al
        movl    $1f, %esi
        jmp     putc
1:      movb    $'A', %al
        movl    $1f, %esi
        jmp     putc
1:      movb    $'D', %al
        movl    $1f, %esi
        jmp     putc
1:      movb    $' ', %al
        movl    $1f, %esi
        jmp     putc
1:      movl    %ebp, %edi
        movl    $number, %ebp
        jmp     put32
number:
        movl    %ebx, %edi
        movl    $next, %ebp
        jmp     put32
next:
        incl    %ebx
        jmp     pass

/* Print %edi and a line feed, go on at %ebp. There is no stack: addresses are those of the ROM. */
put32:
        movl    $8, %ecx
digit:
        roll    $4, %edi
        movl    %edi, %eax
        andb    $15, %al
        cmpb    $10, %al
        jb      1f
        addb    $('a' - '0' - 10), %al
1:      addb    $'0', %al
        movl    $2f, %esi
        jmp     putc
2:      loop    digit
        movb    $'\n', %al
        movl    $3f, %esi
        jmp     putc
3:      addl    $0xffff0000, %ebp
        jmp     *%ebp

/* Send %al when the serial port takes it, go on at %esi. */
putc:
        movb    %al, %ah
        movw    $0x3fd, %dx
wait:
        inb     %dx, %al
        testb   $0x20, %al
        jz      wait
        movb    %ah, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        addl    $0xffff0000, %esi
        jmp     *%esi

        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9a000000ffff      /* code, flat */
        .quad   0x00cf92000000ffff      /* data, flat */
gdt_descriptor:
        .word   . - gdt - 1
        .long   0xffff0000 + gdt

        .org    0xfff0                  /* where the processor begins */
        .code16
        jmp     real
        .org    0xffff
        .byte   0
