//go:build flint

package flint

/*
#cgo LDFLAGS: -lflint -lgmp
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <flint/flint.h>
#include <flint/fmpz.h>

typedef struct {
	fmpz_multi_CRT_t crt;
	fmpz *residues;
	fmpz_t x;
	slong n;
} problem;

static void set(fmpz_t z, const char *hex) { fmpz_set_str(z, hex, 16); }

static problem *problem_new(slong n) {
	problem *p = malloc(sizeof *p);
	p->n = n;
	p->residues = calloc(n, sizeof(fmpz));
	fmpz_init(p->x);
	fmpz_multi_CRT_init(p->crt);
	return p;
}

static fmpz *numbers(slong n) { return calloc(n, sizeof(fmpz)); }
static void number(fmpz *z, slong i, const char *hex) { set(z + i, hex); }
static int precompute(problem *p, const fmpz *moduli) { return fmpz_multi_CRT_precompute(p->crt, moduli, p->n); }

static int64_t thread_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t run(problem *p, int times) {
	int64_t from = thread_ns();
	for (int i = 0; i < times; i++) fmpz_multi_CRT_precomp(p->x, p->crt, p->residues, 0);
	return thread_ns() - from;
}

static char *result(problem *p) { return fmpz_get_str(NULL, 16, p->x); }
static const char *version(void) { return FLINT_VERSION; }
*/
import "C"

import (
	"errors"
	"math/big"
	"unsafe"
)

// Version is FLINT's.
func Version() string { return C.GoString(C.version()) }

// ThreadTime is the processor time in nanoseconds of this thread, which the
// caller has locked; other processes on the machine don't show in it.
func ThreadTime() int64 { return int64(C.thread_ns()) }

// Problem is a set of moduli with one residue each, as FLINT has it. Its
// memory is never given back.
type Problem struct{ p *C.problem }

// New precomputes for these moduli, which must be coprime.
func New(moduli, residues []*big.Int) (*Problem, error) {
	p := &Problem{C.problem_new(C.slong(len(moduli)))}
	m := C.numbers(C.slong(len(moduli)))
	for i := range moduli {
		number(m, i, moduli[i])
		number(p.p.residues, i, residues[i])
	}
	if C.precompute(p.p, m) == 0 {
		return nil, errors.New("FLINT refuses the moduli")
	}
	return p, nil
}

func number(z *C.fmpz, i int, v *big.Int) {
	s := C.CString(v.Text(16))
	defer C.free(unsafe.Pointer(s))
	C.number(z, C.slong(i), s)
}

// Run solves it times over, and answers what that took of this thread, in
// nanoseconds.
func (p *Problem) Run(times int) int64 { return int64(C.run(p.p, C.int(times))) }

// X is the solution, after Run.
func (p *Problem) X() *big.Int {
	s := C.result(p.p)
	defer C.free(unsafe.Pointer(s))
	x, _ := new(big.Int).SetString(C.GoString(s), 16)
	return x
}
