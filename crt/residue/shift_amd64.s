//go:build amd64 && !purego

#include "textflag.h"

// DX times c, whose limbs are at CX, onto T0 … T3; the carry is T4.
#define ROW(T0, T1, T2, T3, T4) \
	XORQ  AX, AX         \
	MULXQ 0(CX), AX, BX  \
	ADCXQ AX, T0         \
	ADOXQ BX, T1         \
	MULXQ 8(CX), AX, BX  \
	ADCXQ AX, T1         \
	ADOXQ BX, T2         \
	MULXQ 16(CX), AX, BX \
	ADCXQ AX, T2         \
	ADOXQ BX, T3         \
	MULXQ 24(CX), AX, T4 \
	ADCXQ AX, T3         \
	MOVL  $0, AX         \
	ADOXQ AX, T4         \
	ADCXQ AX, T4

// R8-R15 are r·2^256 + x, folded: r is AT(BASE), x in R8-R11. What carries out
// weighs c.
#define SHIFT(AT, BASE) \
	MOVQ (AT+32)(BASE), DX               \
	ROW(R8, R9, R10, R11, R12)    \
	MOVQ (AT+40)(BASE), DX               \
	ROW(R9, R10, R11, R12, R13)   \
	MOVQ (AT+48)(BASE), DX               \
	ROW(R10, R11, R12, R13, R14)  \
	MOVQ (AT+56)(BASE), DX               \
	ROW(R11, R12, R13, R14, R15)  \
	ADDQ (AT+0)(BASE), R12               \
	ADCQ (AT+8)(BASE), R13               \
	ADCQ (AT+16)(BASE), R14              \
	ADCQ (AT+24)(BASE), R15              \
	SBBQ AX, AX

// It is added after the last use of BASE, which may be DI.
#define CARRY \
	MOVQ 0(CX), BX  \
	MOVQ 8(CX), DX  \
	MOVQ 16(CX), DI \
	ANDQ AX, BX     \
	ANDQ AX, DX     \
	ANDQ AX, DI     \
	ANDQ 24(CX), AX \
	ADDQ BX, R8     \
	ADCQ DX, R9     \
	ADCQ DI, R10    \
	ADCQ AX, R11    \
	ADCQ $0, R12    \
	ADCQ $0, R13    \
	ADCQ $0, R14    \
	ADCQ $0, R15

#define STORE(AT, BASE) \
	MOVQ R8, (AT+0)(BASE)   \
	MOVQ R9, (AT+8)(BASE)   \
	MOVQ R10, (AT+16)(BASE) \
	MOVQ R11, (AT+24)(BASE) \
	MOVQ R12, (AT+32)(BASE) \
	MOVQ R13, (AT+40)(BASE) \
	MOVQ R14, (AT+48)(BASE) \
	MOVQ R15, (AT+56)(BASE)

// func shiftIn8ADX(r *[8]word, x, c *[4]word) (carry word)
TEXT ·shiftIn8ADX(SB), NOSPLIT, $0-32
	MOVQ r+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ c+16(FP), CX
	MOVQ 0(SI), R8
	MOVQ 8(SI), R9
	MOVQ 16(SI), R10
	MOVQ 24(SI), R11
	SHIFT(0, DI)
	NEGQ AX
	MOVQ AX, carry+24(FP)
	NEGQ AX
	CARRY
	MOVQ r+0(FP), DI
	STORE(0, DI)
	RET

// func reduce8ADX(r *[8]word, x *byte, halves int, c *[4]word)
TEXT ·reduce8ADX(SB), NOSPLIT, $72-32
	MOVQ r+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ halves+16(FP), AX
	MOVQ AX, 64(SP)
	MOVQ c+24(FP), CX
	MOVQ 0(DI), R8
	MOVQ 8(DI), R9
	MOVQ 16(DI), R10
	MOVQ 24(DI), R11
	MOVQ 32(DI), R12
	MOVQ 40(DI), R13
	MOVQ 48(DI), R14
	MOVQ 56(DI), R15

half:
	STORE(0, SP)
	MOVQ   24(SI), R8
	MOVQ   16(SI), R9
	MOVQ   8(SI), R10
	MOVQ   0(SI), R11
	BSWAPQ R8
	BSWAPQ R9
	BSWAPQ R10
	BSWAPQ R11
	ADDQ   $32, SI
	SHIFT(0, SP)
	CARRY
	DECQ   64(SP)
	JNZ    half

	MOVQ r+0(FP), DI
	STORE(0, DI)
	RET

// func mulHalf8ADX(r *[8]word, x, c *[4]word)
TEXT ·mulHalf8ADX(SB), NOSPLIT, $96-24
	MOVQ r+0(FP), SI
	MOVQ x+8(FP), CX
	XORL R8, R8
	XORL R9, R9
	XORL R10, R10
	XORL R11, R11
	MOVQ 0(SI), DX
	ROW(R8, R9, R10, R11, R12)
	MOVQ R8, 0(SP)
	MOVQ 8(SI), DX
	ROW(R9, R10, R11, R12, R13)
	MOVQ R9, 8(SP)
	MOVQ 16(SI), DX
	ROW(R10, R11, R12, R13, R14)
	MOVQ R10, 16(SP)
	MOVQ 24(SI), DX
	ROW(R11, R12, R13, R14, R15)
	MOVQ R11, 24(SP)
	MOVQ 32(SI), DX
	ROW(R12, R13, R14, R15, R8)
	MOVQ R12, 32(SP)
	MOVQ 40(SI), DX
	ROW(R13, R14, R15, R8, R9)
	MOVQ R13, 40(SP)
	MOVQ 48(SI), DX
	ROW(R14, R15, R8, R9, R10)
	MOVQ R14, 48(SP)
	MOVQ 56(SI), DX
	ROW(R15, R8, R9, R10, R11)
	MOVQ R15, 56(SP)
	MOVQ R8, 64(SP)
	MOVQ R9, 72(SP)
	MOVQ R10, 80(SP)
	MOVQ R11, 88(SP)
	MOVQ c+16(FP), CX
	MOVQ 0(SP), R8
	MOVQ 8(SP), R9
	MOVQ 16(SP), R10
	MOVQ 24(SP), R11
	SHIFT(32, SP)
	CARRY
	MOVQ r+0(FP), DI
	STORE(0, DI)
	RET

// DX times r, whose eight limbs are at CX, onto T0 … T7; the carry is T8. T0 is
// done with, and goes to AT(SP).
#define ROW8(AT, T0, T1, T2, T3, T4, T5, T6, T7, T8) \
	MOVQ  AT(SI), DX     \
	XORQ  AX, AX         \
	MULXQ 0(CX), AX, BX \
	ADCXQ AX, T0         \
	ADOXQ BX, T1         \
	MULXQ 8(CX), AX, BX \
	ADCXQ AX, T1         \
	ADOXQ BX, T2         \
	MULXQ 16(CX), AX, BX \
	ADCXQ AX, T2         \
	ADOXQ BX, T3         \
	MULXQ 24(CX), AX, BX \
	ADCXQ AX, T3         \
	ADOXQ BX, T4         \
	MULXQ 32(CX), AX, BX \
	ADCXQ AX, T4         \
	ADOXQ BX, T5         \
	MULXQ 40(CX), AX, BX \
	ADCXQ AX, T5         \
	ADOXQ BX, T6         \
	MULXQ 48(CX), AX, BX \
	ADCXQ AX, T6         \
	ADOXQ BX, T7         \
	MULXQ 56(CX), AX, T8 \
	ADCXQ AX, T7         \
	MOVL  $0, AX         \
	ADOXQ AX, T8         \
	ADCXQ AX, T8         \
	MOVQ  T0, AT(SP)

// func mul8ADX(r, x *[8]word, c *[4]word)
TEXT ·mul8ADX(SB), NOSPLIT, $128-24
	MOVQ r+0(FP), CX
	MOVQ x+8(FP), SI
	XORL R8, R8
	XORL R9, R9
	XORL R10, R10
	XORL R11, R11
	XORL R12, R12
	XORL R13, R13
	XORL R14, R14
	XORL R15, R15
	ROW8(0, R8, R9, R10, R11, R12, R13, R14, R15, DI)
	ROW8(8, R9, R10, R11, R12, R13, R14, R15, DI, R8)
	ROW8(16, R10, R11, R12, R13, R14, R15, DI, R8, R9)
	ROW8(24, R11, R12, R13, R14, R15, DI, R8, R9, R10)
	ROW8(32, R12, R13, R14, R15, DI, R8, R9, R10, R11)
	ROW8(40, R13, R14, R15, DI, R8, R9, R10, R11, R12)
	ROW8(48, R14, R15, DI, R8, R9, R10, R11, R12, R13)
	ROW8(56, R15, DI, R8, R9, R10, R11, R12, R13, R14)
	MOVQ DI, 64(SP)
	MOVQ R8, 72(SP)
	MOVQ R9, 80(SP)
	MOVQ R10, 88(SP)
	MOVQ R11, 96(SP)
	MOVQ R12, 104(SP)
	MOVQ R13, 112(SP)
	MOVQ R14, 120(SP)
	MOVQ c+16(FP), CX
	MOVQ 32(SP), R8
	MOVQ 40(SP), R9
	MOVQ 48(SP), R10
	MOVQ 56(SP), R11
	SHIFT(64, SP)
	CARRY
	STORE(64, SP)
	MOVQ 0(SP), R8
	MOVQ 8(SP), R9
	MOVQ 16(SP), R10
	MOVQ 24(SP), R11
	SHIFT(64, SP)
	CARRY
	MOVQ r+0(FP), DI
	STORE(0, DI)
	RET
