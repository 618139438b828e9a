//go:build amd64 && !purego

package residue

import "golang.org/x/sys/cpu"

// haveFMA says that fmaGroup runs here, haveADX that those named ADX do. They are
// variables for the tests, which go both ways.
var (
	haveFMA = cpu.X86.HasAVX2 && cpu.X86.HasFMA
	haveADX = cpu.X86.HasADX && cpu.X86.HasBMI2
)

// fmaGroup adds to acc the products of k multiples, groupLanes digits of each
// at e, with rows digits of the residues: digits[j·k+i] is digit j of residue
// i, and its products weigh from acc[j] on. It writes groupLanes+rows lanes.
//
//go:noescape
func fmaGroup(acc *int64, e, digits *float64, k, rows int)

// addMul4ADX is addMul4 of 4·fours limbs at x, at least four.
//
//go:noescape
func addMul4ADX(z, x *word, fours int, y *[4]word, carry word) word

// shiftIn8ADX is shiftIn8.
//
//go:noescape
func shiftIn8ADX(r *[8]word, x, c *[4]word) (carry word)

// reduce8ADX is shiftIn8 by so many numbers of 32 bytes, big endian, one after
// another.
//
//go:noescape
func reduce8ADX(r *[8]word, x *byte, halves int, c *[4]word)

// mulHalf8ADX sets r to r·x modulo m, below 2^L.
//
//go:noescape
func mulHalf8ADX(r *[8]word, x, c *[4]word)

// mul8ADX sets r to r·x modulo m, below 2^L.
//
//go:noescape
func mul8ADX(r, x *[8]word, c *[4]word)
