//go:build amd64 && !purego

package residue

import "golang.org/x/sys/cpu"

// haveFMA says that fmaGroup runs here.
var haveFMA = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// fmaGroup adds to acc the products of k multiples, groupLanes digits of each
// at e, with rows digits of the residues: digits[j·k+i] is digit j of residue
// i, and its products weigh from acc[j] on. It writes groupLanes+rows lanes.
//
//go:noescape
func fmaGroup(acc *int64, e, digits *float64, k, rows int)
