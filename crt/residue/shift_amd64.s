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

// func shiftIn8ADX(r *[8]word, x, c *[4]word)
TEXT ·shiftIn8ADX(SB), NOSPLIT, $0-24
	MOVQ r+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ c+16(FP), CX
	MOVQ 0(SI), R8
	MOVQ 8(SI), R9
	MOVQ 16(SI), R10
	MOVQ 24(SI), R11
	SHIFT(0, DI)
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
