//go:build !amd64 || purego

package residue

func withoutADX(f func()) { f() }
