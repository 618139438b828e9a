package residue

import (
	"crypto/rand"
	"sync"
)

// Pool keeps primes of one width ready, made by one goroutine of its own, so
// that a join never waits for one. All methods may be called at once from any
// goroutine.
type Pool struct {
	width int
	ready chan *Modulus // never closed
	stop  chan struct{} // closed by Close
	once  sync.Once
	done  sync.WaitGroup
}

// NewPool starts to make primes of width bits until target of them are ready,
// and whenever some were taken. A target of zero starts nothing. The pool's
// owner must Close it. It panics at a width that [NewModulus] doesn't know.
//
// A prime of 512 bits waiting here takes about 100 bytes.
func NewPool(width, target int) *Pool {
	if !validWidth(width) {
		panic("residue: NewPool of an unknown width")
	}
	p := &Pool{width: width, ready: make(chan *Modulus, max(target, 0)), stop: make(chan struct{})}
	if target > 0 {
		p.done.Go(p.fill)
	}
	return p
}

func (p *Pool) fill() {
	for {
		m, err := prime(p.width, rand.Reader, p.stop)
		if err != nil || m == nil { // crypto/rand never fails; nil: stopped
			return
		}
		select {
		case p.ready <- m:
		case <-p.stop:
			return
		}
	}
}

// Take answers a prime that nobody else gets. It doesn't wait while one is
// ready; where none is, it makes one itself, which takes what [Prime] takes,
// instead of queueing behind others. It works after Close too.
func (p *Pool) Take() *Modulus {
	select {
	case m := <-p.ready:
		return m
	default:
	}
	m, err := Prime(p.width, rand.Reader)
	if err != nil {
		panic(err) // the width is known, and crypto/rand never fails
	}
	return m
}

// Ready is how many primes wait to be taken: a gauge.
func (p *Pool) Ready() int { return len(p.ready) }

// Close stops the goroutine and waits for it, at most one primality test
// long. It may be called again.
func (p *Pool) Close() {
	p.once.Do(func() { close(p.stop) })
	p.done.Wait()
}
