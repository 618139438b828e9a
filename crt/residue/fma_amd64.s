//go:build amd64 && !purego

#include "textflag.h"

// 3·2^102 and 3·2^102 + 3·2^51, whose lowest bits weigh 2^51.
DATA residueUpper<>+0(SB)/8, $0x4668000000000000
GLOBL residueUpper<>(SB), RODATA, $8
DATA residueBoth<>+0(SB)/8, $0x4668000000000003
GLOBL residueBoth<>(SB), RODATA, $8

// One vector of four products: the upper halves, as multiples of 2^51 above
// those of residueUpper, into HI; the lower ones, above 3·2^51, into LO.
#define PRODUCTS(AT, LO, HI) \
	VMOVAPD     Y13, Y15         \
	VFMADD231PD AT(R11), Y12, Y15 \
	VPADDQ      Y15, HI, HI      \
	VSUBPD      Y15, Y14, Y15    \
	VFMADD231PD AT(R11), Y12, Y15 \
	VPADDQ      Y15, LO, LO

// The lower halves go to acc, the upper ones are the first summand of the lower
// halves of the digit above; both start at what the k constants in them add up
// to, taken away.
#define STORE(AT, LO, HI) \
	VPADDQ  AT(DI), LO, LO \
	VMOVDQU LO, AT(DI)     \
	VPADDQ  HI, Y15, LO    \
	VMOVDQA Y12, HI

// func fmaGroup(acc *int64, e, digits *float64, k, rows int)
// LO: Y0-Y5, HI: Y6-Y11.
TEXT ·fmaGroup(SB), NOSPLIT, $0-40
	MOVQ acc+0(FP), DI
	MOVQ e+8(FP), SI
	MOVQ digits+16(FP), DX
	MOVQ k+24(FP), CX
	MOVQ rows+32(FP), R8
	VBROADCASTSD residueUpper<>(SB), Y13
	VBROADCASTSD residueBoth<>(SB), Y14

	// Minus k times the bits of 3·2^51, and of 3·2^102.
	MOVQ  $0x4338000000000000, R9
	IMULQ CX, R9
	NEGQ  R9
	MOVQ  $0x4668000000000000, R10
	IMULQ CX, R10
	NEGQ  R10
	VMOVQ R9, X0
	VPBROADCASTQ X0, Y0
	VMOVDQA Y0, Y1
	VMOVDQA Y0, Y2
	VMOVDQA Y0, Y3
	VMOVDQA Y0, Y4
	VMOVDQA Y0, Y5
	VMOVQ R10, X6
	VPBROADCASTQ X6, Y6
	VMOVDQA Y6, Y7
	VMOVDQA Y6, Y8
	VMOVDQA Y6, Y9
	VMOVDQA Y6, Y10
	VMOVDQA Y6, Y11

digit:
	MOVQ SI, R11
	MOVQ CX, R12

residue:
	VBROADCASTSD (DX), Y12
	PRODUCTS(0, Y0, Y6)
	PRODUCTS(32, Y1, Y7)
	PRODUCTS(64, Y2, Y8)
	PRODUCTS(96, Y3, Y9)
	PRODUCTS(128, Y4, Y10)
	PRODUCTS(160, Y5, Y11)
	ADDQ $8, DX
	ADDQ $192, R11
	DECQ R12
	JNZ  residue

	VMOVQ R9, X15
	VPBROADCASTQ X15, Y15
	VMOVQ R10, X12
	VPBROADCASTQ X12, Y12
	STORE(0, Y0, Y6)
	STORE(32, Y1, Y7)
	STORE(64, Y2, Y8)
	STORE(96, Y3, Y9)
	STORE(128, Y4, Y10)
	STORE(160, Y5, Y11)
	ADDQ $8, DI
	DECQ R8
	JNZ  digit

	// The upper halves of the last digit lie in LO, with the constants of one
	// digit too many taken away.
	VPSUBQ Y15, Y0, Y0
	VPADDQ 0(DI), Y0, Y0
	VMOVDQU Y0, 0(DI)
	VPSUBQ Y15, Y1, Y1
	VPADDQ 32(DI), Y1, Y1
	VMOVDQU Y1, 32(DI)
	VPSUBQ Y15, Y2, Y2
	VPADDQ 64(DI), Y2, Y2
	VMOVDQU Y2, 64(DI)
	VPSUBQ Y15, Y3, Y3
	VPADDQ 96(DI), Y3, Y3
	VMOVDQU Y3, 96(DI)
	VPSUBQ Y15, Y4, Y4
	VPADDQ 128(DI), Y4, Y4
	VMOVDQU Y4, 128(DI)
	VPSUBQ Y15, Y5, Y5
	VPADDQ 160(DI), Y5, Y5
	VMOVDQU Y5, 160(DI)
	VZEROUPPER
	RET
