//go:build amd64 && !purego

#include "textflag.h"

// One limb of x in DX times the four of y in R8-R11, onto the column sums S0 …
// S3 and z[AT]; S4 is the column above, and S0 is done with. Lower halves are
// carried by CF, upper ones by OF.
#define LIMB(AT, S0, S1, S2, S3, S4) \
	MOVQ  AT(SI), DX   \
	XORQ  R15, R15     \
	ADOXQ AT(DI), S0   \
	MULXQ R8, R15, R14 \
	ADCXQ R15, S0      \
	ADOXQ R14, S1      \
	MULXQ R9, R15, R14 \
	ADCXQ R15, S1      \
	ADOXQ R14, S2      \
	MULXQ R10, R15, R14 \
	ADCXQ R15, S2      \
	ADOXQ R14, S3      \
	MULXQ R11, R15, S4 \
	ADCXQ R15, S3      \
	MOVL  $0, R15      \
	ADCXQ R15, S4      \
	ADOXQ R15, S4      \
	MOVQ  S0, AT(DI)

// func addMul4ADX(z, x *word, fours int, y *[4]word, carry word) word
TEXT ·addMul4ADX(SB), NOSPLIT, $8-48
	MOVQ z+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ fours+16(FP), AX
	MOVQ AX, left-8(SP)
	MOVQ y+24(FP), DX
	MOVQ 0(DX), R8
	MOVQ 8(DX), R9
	MOVQ 16(DX), R10
	MOVQ 24(DX), R11
	XORL AX, AX
	XORL BX, BX
	XORL CX, CX
	XORL R12, R12

four:
	LIMB(0, AX, BX, CX, R12, R13)
	LIMB(8, BX, CX, R12, R13, AX)
	LIMB(16, CX, R12, R13, AX, BX)
	LIMB(24, R12, R13, AX, BX, CX)
	MOVQ CX, R12
	MOVQ BX, CX
	MOVQ AX, BX
	MOVQ R13, AX
	ADDQ $32, SI
	ADDQ $32, DI
	DECQ left-8(SP)
	JNZ  four

	MOVQ carry+32(FP), R15
	NEGQ R15
	ADCQ AX, 0(DI)
	ADCQ BX, 8(DI)
	ADCQ CX, 16(DI)
	ADCQ R12, 24(DI)
	SBBQ R15, R15
	NEGQ R15
	MOVQ R15, ret+40(FP)
	RET
