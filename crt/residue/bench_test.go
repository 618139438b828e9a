package residue

import (
	"fmt"
	"math/big"
	"testing"
)

func BenchmarkCombine(b *testing.B) {
	for _, c := range []struct{ k, width int }{{4, 512}, {16, 512}, {64, 512}, {8, 1024}, {4, 2048}} {
		basis := mustBasis(b, testPrimes(b, c.width, c.k))
		for name, path := range paths(basis) {
			b.Run(fmt.Sprintf("%dx%d/%s", c.k, c.width, name), func(b *testing.B) {
				x, in, s := make([]byte, basis.Size()), randomResidues(basis, 0), new(Scratch)
				b.ReportAllocs()
				for b.Loop() {
					if err := path(x, in, s); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkReduce(b *testing.B) {
	for _, c := range []struct{ k, width int }{{16, 512}, {8, 1024}, {4, 2048}, {64, 512}} {
		b.Run(fmt.Sprintf("%dx%d", c.k, c.width), func(b *testing.B) {
			m := testPrimes(b, c.width, 1)[0]
			x, r := make([]byte, c.k*c.width/8), make([]byte, c.width/8)
			_, _ = (&stream{}).Read(x)
			b.ReportAllocs()
			for b.Loop() {
				m.Reduce(r, x)
			}
		})
	}
}

func BenchmarkReplace(b *testing.B) {
	for _, k := range []int{16, 64} {
		b.Run(fmt.Sprintf("%dx512", k), func(b *testing.B) {
			p := testPrimes(b, 512, k+1)
			basis := mustBasis(b, p[:k])
			b.ReportAllocs()
			for b.Loop() {
				if _, err := basis.Replace(k/2, p[k]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNewBasis(b *testing.B) {
	p := testPrimes(b, 512, 16)
	for b.Loop() {
		if _, err := NewBasis(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPrime(b *testing.B) {
	for _, width := range []int{512, 1024, 2048} {
		b.Run(fmt.Sprint(width), func(b *testing.B) {
			rand := &stream{}
			for b.Loop() {
				if _, err := Prime(width, rand); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTree(b *testing.B) {
	for _, c := range []struct{ k, width int }{{1024, 512}} {
		b.Run(fmt.Sprintf("%dx%d", c.k, c.width), func(b *testing.B) {
			m := largeModuli(b, c.k, c.width)
			tree, x, a := mustTree(b, m), new(big.Int), new(Arena)
			residues := make([]*big.Int, len(m))
			for i := range m {
				residues[i] = new(big.Int).Rsh(m[(i+1)%len(m)], 1)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := tree.Combine(x, residues, a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
