/* SPDX-License-Identifier: MIT
 *
 * The symmetric context switch beneath sched/switch.h, for x86-64 (System V ABI) and aarch64
 * (AAPCS64). Three functions, none of them known outside the library:
 *
 *   void *weft__switch(void **save_sp, void *to_sp, void *value);
 *     Puts what the ABI wants preserved by a call on the stack of the caller, its stack pointer
 *     into *save_sp, and goes on where to_sp was saved, where the call then answers value.
 *   void *weft__switch_prepare(void *top, weft__switch_fn entry, void *argument);
 *     Makes below top what a switch to the answer finds: the first calls entry(argument, value).
 *     The floating point control words are those of the calling thread.
 *   weft__switch_start
 *     The outermost frame of such a stack. entry does not come back.
 *
 * The way back is an indirect jump and no return: it never leads to where the processor's stack of
 * return addresses expects it, and with returns a switch took 12 to 17 ns and not 3 to 4 ns. So
 * neither a shadow stack (CET) nor a guarded control stack (GCS) is supported; this object carries
 * no mark for them, and the linker marks the program accordingly.
 *
 * The control words (mxcsr and the x87 one; fpcr) are saved always and loaded when they differ.
 * Saving and comparing costs at most 1.3 ns (x86-64, Sapphire Rapids); loading always cost 2 ns,
 * and 40 ns in some runs. Status flags are not preserved, as in any other call. Unwinders and
 * debuggers stop at weft__switch_start: the return address there is undefined, and zero for those
 * that walk frame pointers.
 */

#if defined(__x86_64__) && !defined(__ILP32__)

#if defined(__CET__) && (__CET__ & 1)
#define LANDING endbr64
#define JUMP    notrack jmp
#else
#define LANDING
#define JUMP    jmp
#endif

/* The frame, from the stack pointer up. */
#define FRAME_CONTROL 0 /* mxcsr, 4 bytes; then the x87 control word, 2 bytes */
#define FRAME_X87     4
#define FRAME_R12     8
#define FRAME_R13     16
#define FRAME_R14     24
#define FRAME_R15     32
#define FRAME_RBX     40
#define FRAME_RBP     48
#define FRAME_RIP     56
#define FRAME_BYTES   64

#define MXCSR_CONTROL 0xffc0 /* all but the status flags */

        .text

        .globl weft__switch
        .hidden weft__switch
        .type weft__switch, @function
        .p2align 5
weft__switch:
        .cfi_startproc
        LANDING
        pushq %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        pushq %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        pushq %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r15, 0
        pushq %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r14, 0
        pushq %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r13, 0
        pushq %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r12, 0
        subq $FRAME_R12, %rsp
        .cfi_adjust_cfa_offset FRAME_R12
        stmxcsr FRAME_CONTROL(%rsp)
        fnstcw FRAME_X87(%rsp)
        movq %rsp, (%rdi)
        movl FRAME_CONTROL(%rsp), %eax
        movzwl FRAME_X87(%rsp), %ecx
        /* From here on all is read from the other stack, where it lies in the same places. */
        movq %rsi, %rsp
        xorl FRAME_CONTROL(%rsp), %eax
        testl $MXCSR_CONTROL, %eax
        jne 2f
        cmpw FRAME_X87(%rsp), %cx
        jne 2f
1:
        movq %rdx, %rax
        addq $FRAME_R12, %rsp
        .cfi_adjust_cfa_offset -FRAME_R12
        .cfi_remember_state
        popq %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore r12
        popq %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore r13
        popq %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore r14
        popq %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore r15
        popq %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        popq %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbp
        popq %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register rip, rcx
        JUMP *%rcx
2:
        .cfi_restore_state
        .cfi_adjust_cfa_offset FRAME_R12
        ldmxcsr FRAME_CONTROL(%rsp)
        fldcw FRAME_X87(%rsp)
        jmp 1b
        .cfi_endproc
        .size weft__switch, . - weft__switch

        .type weft__switch_start, @function
        .p2align 4
weft__switch_start:
        .cfi_startproc
        .cfi_undefined rip
        nop /* who unwinds a fresh stack looks up the byte before where it begins */
.Lstart:
        LANDING
        movq %rbx, %rdi
        movq %rax, %rsi
        callq *%r12
        ud2
        .cfi_endproc
        .size weft__switch_start, . - weft__switch_start

        .globl weft__switch_prepare
        .hidden weft__switch_prepare
        .type weft__switch_prepare, @function
        .p2align 4
weft__switch_prepare:
        .cfi_startproc
        LANDING
        andq $-16, %rdi
        /* Above the frame a return address of zero; what entry is called with is aligned again. */
        leaq -(FRAME_BYTES + 16)(%rdi), %rax
        movq $0, FRAME_CONTROL(%rax)
        stmxcsr FRAME_CONTROL(%rax)
        fnstcw FRAME_X87(%rax)
        movq %rsi, FRAME_R12(%rax)
        movq $0, FRAME_R13(%rax)
        movq $0, FRAME_R14(%rax)
        movq $0, FRAME_R15(%rax)
        movq %rdx, FRAME_RBX(%rax)
        movq $0, FRAME_RBP(%rax)
        leaq .Lstart(%rip), %rcx
        movq %rcx, FRAME_RIP(%rax)
        movq $0, FRAME_BYTES(%rax)
        movq $0, FRAME_BYTES + 8(%rax)
        retq
        .cfi_endproc
        .size weft__switch_prepare, . - weft__switch_prepare

#if defined(__CET__) && (__CET__ & 1)
        /* Indirect branches land on marks (IBT); no shadow stack. */
        .section .note.gnu.property, "a", @note
        .p2align 3
        .long 4, 16, 5
        .asciz "GNU"
        .long 0xc0000002, 4, 1, 0
#endif

        .section .note.GNU-stack, "", @progbits

#elif defined(__aarch64__) && !defined(__ILP32__)

/* With branch protection an indirect jump may only land on marks, which a place behind a call does
 * not carry; a return may lead anywhere. */
#if defined(__ARM_FEATURE_BTI_DEFAULT)
#define LANDING bti c
#define JUMP    ret
#else
#define LANDING
#define JUMP    br
#endif

/* The frame, from the stack pointer up. */
#define FRAME_X29   0 /* and x30 */
#define FRAME_X19   16
#define FRAME_X21   32
#define FRAME_X23   48
#define FRAME_X25   64
#define FRAME_X27   80
#define FRAME_D8    96
#define FRAME_D10   112
#define FRAME_D12   128
#define FRAME_D14   144
#define FRAME_FPCR  160
#define FRAME_BYTES 176

        .text

        .globl weft__switch
        .hidden weft__switch
        .type weft__switch, %function
        .p2align 5
weft__switch:
        .cfi_startproc
        LANDING
        stp x29, x30, [sp, #-FRAME_BYTES]!
        .cfi_adjust_cfa_offset FRAME_BYTES
        .cfi_rel_offset x29, FRAME_X29
        .cfi_rel_offset x30, FRAME_X29 + 8
        stp x19, x20, [sp, #FRAME_X19]
        .cfi_rel_offset x19, FRAME_X19
        .cfi_rel_offset x20, FRAME_X19 + 8
        stp x21, x22, [sp, #FRAME_X21]
        .cfi_rel_offset x21, FRAME_X21
        .cfi_rel_offset x22, FRAME_X21 + 8
        stp x23, x24, [sp, #FRAME_X23]
        .cfi_rel_offset x23, FRAME_X23
        .cfi_rel_offset x24, FRAME_X23 + 8
        stp x25, x26, [sp, #FRAME_X25]
        .cfi_rel_offset x25, FRAME_X25
        .cfi_rel_offset x26, FRAME_X25 + 8
        stp x27, x28, [sp, #FRAME_X27]
        .cfi_rel_offset x27, FRAME_X27
        .cfi_rel_offset x28, FRAME_X27 + 8
        stp d8, d9, [sp, #FRAME_D8]
        .cfi_rel_offset d8, FRAME_D8
        .cfi_rel_offset d9, FRAME_D8 + 8
        stp d10, d11, [sp, #FRAME_D10]
        .cfi_rel_offset d10, FRAME_D10
        .cfi_rel_offset d11, FRAME_D10 + 8
        stp d12, d13, [sp, #FRAME_D12]
        .cfi_rel_offset d12, FRAME_D12
        .cfi_rel_offset d13, FRAME_D12 + 8
        stp d14, d15, [sp, #FRAME_D14]
        .cfi_rel_offset d14, FRAME_D14
        .cfi_rel_offset d15, FRAME_D14 + 8
        mrs x9, fpcr
        str x9, [sp, #FRAME_FPCR]
        mov x10, sp
        str x10, [x0]
        /* From here on all is read from the other stack, where it lies in the same places. */
        mov sp, x1
        ldr x10, [sp, #FRAME_FPCR]
        mov x0, x2
        ldp d14, d15, [sp, #FRAME_D14]
        ldp d12, d13, [sp, #FRAME_D12]
        ldp d10, d11, [sp, #FRAME_D10]
        ldp d8, d9, [sp, #FRAME_D8]
        ldp x27, x28, [sp, #FRAME_X27]
        ldp x25, x26, [sp, #FRAME_X25]
        ldp x23, x24, [sp, #FRAME_X23]
        ldp x21, x22, [sp, #FRAME_X21]
        ldp x19, x20, [sp, #FRAME_X19]
        cmp x9, x10
        b.eq 1f
        msr fpcr, x10
1:
        ldp x29, x30, [sp], #FRAME_BYTES
        .cfi_def_cfa_offset 0
        .cfi_restore x19
        .cfi_restore x20
        .cfi_restore x21
        .cfi_restore x22
        .cfi_restore x23
        .cfi_restore x24
        .cfi_restore x25
        .cfi_restore x26
        .cfi_restore x27
        .cfi_restore x28
        .cfi_restore x29
        .cfi_restore x30
        .cfi_restore d8
        .cfi_restore d9
        .cfi_restore d10
        .cfi_restore d11
        .cfi_restore d12
        .cfi_restore d13
        .cfi_restore d14
        .cfi_restore d15
        JUMP x30
        .cfi_endproc
        .size weft__switch, . - weft__switch

        .type weft__switch_start, %function
        .p2align 4
weft__switch_start:
        .cfi_startproc
        .cfi_undefined x30
        nop /* who unwinds a fresh stack looks up the byte before where it begins */
.Lstart:
        LANDING
        mov x1, x0
        mov x0, x20
        blr x19
        brk #0
        .cfi_endproc
        .size weft__switch_start, . - weft__switch_start

        .globl weft__switch_prepare
        .hidden weft__switch_prepare
        .type weft__switch_prepare, %function
        .p2align 4
weft__switch_prepare:
        .cfi_startproc
        LANDING
        and x9, x0, #-16
        sub x0, x9, #FRAME_BYTES
        adr x10, .Lstart
        stp xzr, x10, [x0, #FRAME_X29]
        stp x1, x2, [x0, #FRAME_X19]
        stp xzr, xzr, [x0, #FRAME_X21]
        stp xzr, xzr, [x0, #FRAME_X23]
        stp xzr, xzr, [x0, #FRAME_X25]
        stp xzr, xzr, [x0, #FRAME_X27]
        stp xzr, xzr, [x0, #FRAME_D8]
        stp xzr, xzr, [x0, #FRAME_D10]
        stp xzr, xzr, [x0, #FRAME_D12]
        stp xzr, xzr, [x0, #FRAME_D14]
        mrs x9, fpcr
        stp x9, xzr, [x0, #FRAME_FPCR]
        ret
        .cfi_endproc
        .size weft__switch_prepare, . - weft__switch_prepare

#if defined(__ARM_FEATURE_BTI_DEFAULT)
        .section .note.gnu.property, "a", %note
        .p2align 3
        .word 4, 16, 5
        .asciz "GNU"
        .word 0xc0000000, 4, 1, 0
#endif

        .section .note.GNU-stack, "", %progbits

#else
#error "weft switches stacks on x86-64 and aarch64 only"
#endif
