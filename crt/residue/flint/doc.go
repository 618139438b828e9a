// Package flint measures crt/residue beside FLINT, which solves the same
// congruences by fmpz_multi_CRT_precomp: the same moduli and residues, in the
// same run and in turn, each x compared. It is built with the tag flint alone,
// for it needs cgo and Debian's libflint-dev (LGPL, so nothing of it is in
// what we ship):
//
//	go test -tags flint -run AgainstFLINT -v ./crt/residue/flint -save bench/results/crt.jsonl
package flint
