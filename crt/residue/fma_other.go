//go:build !amd64 || purego

package residue

// haveFMA says that fmaGroup runs here.
const haveFMA = false

func fmaGroup(*int64, *float64, *float64, int, int) { panic("residue: no vector kernel") }
