//go:build flint

package flint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/crt/residue"
)

var (
	save   = flag.String("save", "", "append the result to this file, a JSON line")
	rounds = flag.Int("rounds", 31, "how often each is measured, in turn")
	small  = flag.Bool("shards", false, "shards alone, no large batches")
	large  = flag.Bool("large", false, "16384 moduli of 2048 bits instead of 1024 (minutes, 2 GB)")
)

type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Times float64 `json:"times,omitempty"`
}

type result struct {
	Scenario string    `json:"scenario"`
	When     time.Time `json:"when"`
	Commit   string    `json:"commit"`
	Command  string    `json:"command"`
	Machine  string    `json:"machine"`
	Figures  []figure  `json:"figures"`
	Notes    []string  `json:"notes,omitempty"`
}

// side is one of those that are compared: run does the work so often, and
// answers the time it took; x is what came out, or nil of another work.
type side struct {
	name string
	run  func(times int) int64
	x    func() *big.Int
}

func ours(f func()) func(int) int64 {
	return func(times int) int64 {
		from := ThreadTime()
		for range times {
			f()
		}
		return ThreadTime() - from
	}
}

// compare measures all in turn, the first of them FLINT, and answers medians,
// and the median of the ratios in one round.
func compare(t *testing.T, what string, sides []side) (figures []figure) {
	want := new(big.Int)
	times := make([]int, len(sides))
	for i, s := range sides {
		s.run(1)
		if i == 0 {
			want = s.x()
		} else if s.x != nil && s.x().Cmp(want) != 0 {
			t.Fatalf("%s: %s has another x than FLINT", what, s.name)
		}
		once := max(s.run(1), 100)
		times[i] = int(max(1, 2_000_000/once))
	}
	took, ratio := make([][]float64, len(sides)), make([][]float64, len(sides))
	for range *rounds {
		for i, s := range sides {
			ns := float64(s.run(times[i])) / float64(times[i])
			took[i], ratio[i] = append(took[i], ns), append(ratio[i], ns/append(took[0], ns)[len(took[i])])
		}
	}
	for i, s := range sides {
		f := figure{Name: what + ", " + s.name, Value: median(took[i]) / 1000, Unit: "us"}
		if i > 0 {
			f.Times = median(ratio[i])
		}
		t.Logf("%-34s %12.2f us  %.2f times FLINT's", f.Name, f.Value, f.Times)
		figures = append(figures, f)
	}
	return figures
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

type stream struct{ n uint64 }

func (s *stream) Read(p []byte) (int, error) {
	for n := 0; n < len(p); s.n++ {
		h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, s.n))
		n += copy(p[n:], h[:])
	}
	return len(p), nil
}

func primes(t *testing.T, k, width int, from *stream) []*residue.Modulus {
	m := make([]*residue.Modulus, k)
	for i := range m {
		var err error
		if m[i], err = residue.Prime(width, from); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// coprime answers k coprime numbers of width bits sooner than primes can be
// found: products of the primes below 2^64.
func coprime(k, width int) []*big.Int {
	m, p, two := make([]*big.Int, k), new(big.Int).SetUint64(1<<64-1), big.NewInt(2)
	for i := range m {
		m[i] = big.NewInt(1)
		for range width / 64 {
			for p.Sub(p, two); !p.ProbablyPrime(0); p.Sub(p, two) {
			}
			m[i].Mul(m[i], p)
		}
	}
	return m
}

func below(moduli []*big.Int, from *stream) []*big.Int {
	b := make([]*big.Int, len(moduli))
	for i, m := range moduli {
		raw := make([]byte, (m.BitLen()+7)/8)
		_, _ = from.Read(raw)
		b[i] = new(big.Int).SetBytes(raw)
		b[i].Mod(b[i], m)
	}
	return b
}

// basis is how Basis.Combine does it, from bytes to bytes.
func basis(t *testing.T, name string, moduli []*residue.Modulus, residues []*big.Int) side {
	b, err := residue.NewBasis(moduli)
	if err != nil {
		t.Fatal(err)
	}
	in, x, s := []byte{}, make([]byte, b.Size()), new(residue.Scratch)
	for _, r := range residues {
		in = append(in, r.FillBytes(make([]byte, b.Width()/8))...)
	}
	return side{name, ours(func() {
		if err := b.Combine(x, in, s); err != nil {
			t.Error(err)
		}
	}), func() *big.Int { return new(big.Int).SetBytes(x) }}
}

func tree(t *testing.T, moduli, residues []*big.Int) side {
	from := ThreadTime()
	r, err := residue.NewTree(moduli)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("NewTree: %v", time.Duration(ThreadTime()-from))
	x, a := new(big.Int), new(residue.Arena)
	return side{"Tree", ours(func() {
		if err := r.Combine(x, residues, a); err != nil {
			t.Error(err)
		}
	}), func() *big.Int { return x }}
}

func flint(t *testing.T, moduli, residues []*big.Int) side {
	from := ThreadTime()
	p, err := New(moduli, residues)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("FLINT's precomputation: %v", time.Duration(ThreadTime()-from))
	return side{"FLINT " + Version(), p.Run, p.X}
}

// aside is what a shard's member and its server do besides: measured in turn
// with FLINT's combination, for a yardstick.
func aside(t *testing.T, moduli []*residue.Modulus, from *stream) []side {
	b, err := residue.NewBasis(moduli)
	if err != nil {
		t.Fatal(err)
	}
	x, r := make([]byte, b.Size()), make([]byte, b.Width()/8)
	_, _ = from.Read(x)
	other := primes(t, 1, b.Width(), from)[0]
	return []side{
		{"Reduce", ours(func() { moduli[0].Reduce(r, x) }), nil},
		{"Replace", ours(func() {
			if _, err := b.Replace(1, other); err != nil {
				t.Error(err)
			}
		}), nil},
	}
}

func TestAgainstFLINT(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := result{
		Scenario: "crt", When: time.Now().UTC().Truncate(time.Second), Commit: commit(), Machine: machine(),
		Command: "go test -tags flint ./crt/residue/flint " + strings.Join(os.Args[1:], " "),
	}
	from := &stream{}
	for _, c := range []struct{ k, width int }{{4, 512}, {16, 512}, {8, 1024}, {4, 2048}, {64, 512}} {
		moduli := primes(t, c.k, c.width, from)
		m := make([]*big.Int, c.k)
		for i := range m {
			m[i] = moduli[i].Int()
		}
		b := below(m, from)
		r.Figures = append(r.Figures, compare(t, fmt.Sprintf("%d×%d", c.k, c.width), append([]side{flint(t, m, b), basis(t, "Basis", moduli, b)}, aside(t, moduli, from)...))...)
	}
	for _, c := range []struct{ k, width int }{{1024, 512}, {1024, 2048}, {16384, 2048}} {
		if *small || (c.k > 1024) != *large {
			continue
		}
		m := coprime(c.k, c.width)
		b := below(m, from)
		r.Figures = append(r.Figures, compare(t, fmt.Sprintf("%d×%d", c.k, c.width), []side{flint(t, m, b), tree(t, m, b)})...)
	}
	r.Notes = append(r.Notes, fmt.Sprintf("processor time of one thread; medians of %d rounds, times: of the ratios within a round", *rounds))
	write(t, r)
}

func write(t *testing.T, r result) {
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if *save == "" {
		t.Log(string(line))
		return
	}
	f, err := os.OpenFile(*save, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.Write(append(line, '\n'))
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func machine() string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range bytes.Lines(info) {
			if name, v, ok := bytes.Cut(line, []byte(":")); ok && strings.TrimSpace(string(name)) == "model name" {
				model = strings.TrimSpace(string(v))
				break
			}
		}
	}
	return fmt.Sprintf("%d x %s, %s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.Version())
}
