package residue

import (
	"bytes"
	"errors"
	"io"
	"math/big"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func TestNewModulusRefuses(t *testing.T) {
	good := bytes.Repeat([]byte{0xff}, 32)
	even := append([]byte(nil), good...)
	even[31] = 0xfe
	low := append([]byte(nil), good...)
	low[0] = 0x7f
	for _, c := range []struct {
		name  string
		width int
		c     []byte
	}{
		{"an odd width", 513, good}, {"zero", 0, nil}, {"too wide", 4096, make([]byte, 256)}, {"negative", -512, good},
		{"too short", 512, good[1:]}, {"too long", 512, append([]byte{1}, good...)}, {"of another width", 1024, good},
		{"even", 512, even}, {"no top bit", 512, low},
	} {
		if m, err := NewModulus(c.width, c.c); m != nil || !errors.Is(err, ErrModulus) {
			t.Errorf("%s: %v, %v", c.name, m, err)
		}
	}
	if _, err := NewModulus(512, good); err != nil {
		t.Error(err)
	}
}

func TestModulusGoesThroughItsBytes(t *testing.T) {
	for _, width := range []int{256, 512, 1024, 2048} {
		for _, m := range testPrimes(t, width, 3) {
			c := m.AppendC([]byte("before"))
			if string(c[:6]) != "before" {
				t.Fatal("AppendC overwrote what was there")
			}
			again, err := NewModulus(width, c[6:])
			if err != nil || !again.Equal(m) || m.Width() != width {
				t.Fatalf("%x: %v", c, err)
			}
			if c[len(c)-1] ^= 2; again.Int().Cmp(m.Int()) != 0 {
				t.Fatal("NewModulus kept its argument")
			}
		}
	}
	p := testPrimes(t, 256, 2)
	if p[0].Equal(p[1]) || p[0].Equal(testPrimes(t, 512, 1)[0]) {
		t.Error("different moduli are equal")
	}
}

func TestContains(t *testing.T) {
	for _, width := range []int{256, 512, 1024, 2048} {
		m := testPrimes(t, width, 1)[0]
		size := width / 8
		for d := int64(-2); d <= 2; d++ {
			r := new(big.Int).Add(m.Int(), big.NewInt(d))
			if got := m.Contains(r.FillBytes(make([]byte, size))); got != (d < 0) {
				t.Errorf("%d bits: contains m%+d: %v", width, d, got)
			}
		}
		if m.Contains(bytes.Repeat([]byte{0xff}, size)) || !m.Contains(make([]byte, size)) {
			t.Error("an end of the range")
		}
		if m.Contains(make([]byte, size-1)) || m.Contains(make([]byte, size+1)) || m.Contains(nil) {
			t.Error("a residue of another length")
		}
	}
}

func checkReduce(t rapid.TB, m *Modulus, x []byte) {
	t.Helper()
	size := m.width / 8
	got, portable, want := make([]byte, size), make([]byte, size), make([]byte, size)
	m.Reduce(got, x)
	withoutADX(func() { m.Reduce(portable, x) })
	r := new(big.Int).SetBytes(x)
	r.Mod(r, m.Int()).FillBytes(want)
	if !bytes.Equal(got, want) || !bytes.Equal(portable, want) {
		t.Fatalf("%x mod %x = %x and %x, not %x", x, m.Int(), got, portable, want)
	}
}

func TestReduceIsTheRemainder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.SampledFrom([]int{256, 512, 1024, 2048}).Draw(t, "width")
		c := rapid.SliceOfN(rapid.Byte(), width/16, width/16).Draw(t, "c")
		c[0] |= 0x80
		c[len(c)-1] |= 1
		m, err := NewModulus(width, c)
		if err != nil {
			t.Fatal(err)
		}
		size := width / 8 * rapid.IntRange(1, 20).Draw(t, "blocks")
		checkReduce(t, m, rapid.SliceOfN(rapid.SampledFrom([]byte{0, 0xff, 0xff, 0x80, 1, 0x5a}), size, size).Draw(t, "x"))
	})
}

// TestReduceAtTheEdges: the carries that random numbers meet once in 2^128.
func TestReduceAtTheEdges(t *testing.T) {
	for _, width := range []int{256, 512, 1024, 2048} {
		size := width / 8
		largest, smallest := bytes.Repeat([]byte{0xff}, size/2), make([]byte, size/2)
		smallest[0], smallest[size/2-1] = 0x80, 1
		for _, c := range [][]byte{largest, smallest, testPrimes(t, width, 1)[0].AppendC(nil)} {
			m, err := NewModulus(width, c)
			if err != nil {
				t.Fatal(err)
			}
			for blocks := range 5 {
				for _, k := range []int64{0, 1, 2, 3} { // k·m + d, and all ones
					for d := int64(-2); d <= 2; d++ {
						x := new(big.Int).Lsh(big.NewInt(k), uint(blocks*width))
						x.Mul(x, m.Int()).Add(x, big.NewInt(d)).Abs(x)
						checkReduce(t, m, x.FillBytes(make([]byte, (blocks+2)*size)))
					}
				}
				checkReduce(t, m, bytes.Repeat([]byte{0xff}, (blocks+1)*size))
			}
		}
	}
}

func TestReduceInPlaceAndWithoutAllocating(t *testing.T) {
	m := testPrimes(t, 512, 1)[0]
	x := make([]byte, 1024)
	_, _ = (&stream{}).Read(x)
	want := make([]byte, 64)
	m.Reduce(want, x)
	if n := testing.AllocsPerRun(20, func() { m.Reduce(want, x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if m.Reduce(x[:64], x); !bytes.Equal(x[:64], want) {
		t.Error("another remainder where dst is a part of x")
	}
}

func TestReduceOfLengthsThatDoNotFitPanics(t *testing.T) {
	m := testPrimes(t, 512, 1)[0]
	for _, c := range []struct{ dst, x int }{{64, 0}, {64, 63}, {64, 65}, {63, 64}, {65, 64}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d bytes into %d: no panic", c.x, c.dst)
				}
			}()
			m.Reduce(make([]byte, c.dst), make([]byte, c.x))
		}()
	}
}

func FuzzReduce(f *testing.F) {
	f.Add(byte(1), []byte("c"), []byte("x"))
	f.Add(byte(2), bytes.Repeat([]byte{0xff}, 64), bytes.Repeat([]byte{0xff}, 1024))
	f.Fuzz(func(t *testing.T, w byte, rawC, rawX []byte) {
		width := 256 << (w % 4)
		c := make([]byte, width/16)
		copy(c, rawC)
		c[0] |= 0x80
		c[len(c)-1] |= 1
		m, err := NewModulus(width, c)
		if err != nil {
			t.Fatal(err)
		}
		x := make([]byte, (len(rawX)/(width/8)+1)*width/8)
		copy(x, rawX)
		checkReduce(t, m, x)
	})
}

func TestPrimeIsPrime(t *testing.T) {
	seen := map[string]bool{}
	for _, width := range []int{256, 512, 1024} {
		for _, m := range testPrimes(t, width, 4) {
			if !m.Int().ProbablyPrime(20) {
				t.Errorf("%x is composite", m.Int())
			}
			if m.Int().BitLen() != width || seen[m.Int().String()] {
				t.Errorf("%x", m.Int())
			}
			seen[m.Int().String()] = true
		}
	}
}

func TestPrimeTellsItsReadersError(t *testing.T) {
	want := errors.New("no entropy")
	if m, err := Prime(512, iotest.ErrReader(want)); m != nil || !errors.Is(err, want) {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := Prime(512, bytes.NewReader(make([]byte, 20))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if _, err := Prime(500, &stream{}); !errors.Is(err, ErrModulus) {
		t.Error(err)
	}
}

func TestSieveDividesByAllSmallPrimes(t *testing.T) {
	count := 0
	for _, g := range sieve {
		count += len(g.primes)
	}
	if count != 563 { // π(4096) − 1
		t.Errorf("%d primes", count)
	}
	for i := range uint64(500) {
		c := make([]byte, 32)
		_, _ = (&stream{seed: i}).Read(c)
		c[0] |= 0x80
		c[31] |= 1
		m, _ := NewModulus(512, c)
		divided := false
		for _, g := range sieve {
			for _, p := range g.primes {
				divided = divided || new(big.Int).Mod(m.Int(), new(big.Int).SetUint64(p)).Sign() == 0
			}
		}
		if got := hasSmallFactor(512, c); got != divided {
			t.Fatalf("%x: has a small factor: %v", m.Int(), got)
		}
	}
}
