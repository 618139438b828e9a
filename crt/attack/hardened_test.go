package attack_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/big"
)

const (
	slotBits  = 512
	slotBytes = slotBits / 8
	tagBytes  = 16
	blockSize = slotBytes - tagBytes
	overhead  = 1 + 8 + 1 // type, sequence, end of the text
)

var (
	errTooLong  = errors.New("text does not fit its slot")
	errTooLarge = errors.New("residue is not below its modulus")
)

// hardened is the construction, as far as the attacks meet it: a residue is an
// AES-256-GCM ciphertext with its tag, as wide as the modulus, which is a prime
// just below 2^512. It stands in for package crt.
type hardened struct {
	slots  []slot
	primes []*big.Int
	batch  uint64
	period uint32
}

// slot is what one client and the server share.
type slot struct {
	id   [32]byte
	prk  []byte
	aead cipher.AEAD
}

func newHardened(seed string, clients int) *hardened {
	r := randomness(seed)
	v := &hardened{slots: make([]slot, clients)}
	for i := range v.slots {
		v.primes = append(v.primes, slotPrime(randomBits(r, slotBits/2, 1)))
		v.slots[i].id = sha256.Sum256([]byte{byte(i)})
		v.slots[i].prk = randomTexts(r, 1, 32)[0]
		v.derive(i)
	}
	return v
}

// slotPrime is the first prime 2^512 - c with c odd, from that c upwards.
func slotPrime(c *big.Int) *big.Int {
	p := new(big.Int).Lsh(big.NewInt(1), slotBits)
	p.Sub(p, c)
	p.SetBit(p, 0, 1)
	for !p.ProbablyPrime(0) {
		p.Sub(p, big.NewInt(2))
	}
	return p
}

// derive makes a slot's key out of the client's secret; the modulus is part of
// the key, and not all of it.
func (v *hardened) derive(i int) {
	modulus := sha256.Sum256(v.primes[i].Bytes())
	info := "slot" + string(v.slots[i].id[:]) + string(modulus[:])
	key, err := hkdf.Expand(sha256.New, v.slots[i].prk, info, 32)
	if err != nil {
		panic(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	if v.slots[i].aead, err = cipher.NewGCM(block); err != nil {
		panic(err)
	}
}

func (v *hardened) nextPeriod() {
	v.period++
	for i := range v.slots {
		next, err := hkdf.Expand(sha256.New, v.slots[i].prk, "next", 32)
		if err != nil {
			panic(err)
		}
		v.slots[i].prk = next
		v.derive(i)
	}
}

func (v *hardened) seal(texts [][]byte) (frame, error) {
	for _, text := range texts {
		if len(text) > blockSize-overhead {
			return frame{}, errTooLong
		}
	}
	for {
		v.batch++
		f := frame{header: v.header()}
		residues := make([]*big.Int, len(texts))
		for i, text := range texts {
			residues[i] = new(big.Int).SetBytes(v.slots[i].aead.Seal(nil, nonce(f.header), block(text, v.batch), v.aad(i, f.header)))
		}
		x, err := v.combine(residues)
		if errors.Is(err, errTooLarge) { // once in 2^256: again under the next number
			continue
		}
		f.x = x
		return f, err
	}
}

// open does not compare the key period: a thief of the keys would not either.
// That a frame of another period stays shut must come from its keys.
func (v *hardened) open(i int, f frame) (opened, bool) {
	if len(f.header) != 76 || f.x.Sign() < 0 || f.x.BitLen() > slotBits*len(v.slots) {
		return opened{}, false
	}
	sealed := new(big.Int).Mod(f.x, v.primes[i]).FillBytes(make([]byte, slotBytes))
	plain, err := v.slots[i].aead.Open(nil, nonce(f.header), sealed, v.aad(i, f.header))
	if err != nil {
		return opened{}, false
	}
	end := bytes.LastIndexByte(plain, 0x80)
	if end < 9 {
		return opened{}, false
	}
	return opened{text: plain[9:end], sequence: binary.BigEndian.Uint64(plain[1:])}, true
}

func (v *hardened) combine(residues []*big.Int) (*big.Int, error) {
	for i, b := range residues {
		if b.Sign() < 0 || b.Cmp(v.primes[i]) >= 0 {
			return nil, errTooLarge
		}
	}
	return solve(v.primes, residues), nil
}

func (v *hardened) moduli() []*big.Int { return v.primes }

// guess is 2^512 less the middle of what c may be.
func (v *hardened) guess() *big.Int {
	g := new(big.Int).Lsh(big.NewInt(1), slotBits)
	return g.Sub(g, new(big.Int).Lsh(big.NewInt(3), slotBits/2-2))
}

// encodings are the text alone, the block that it is sealed in, and that block
// with room for a tag.
func (v *hardened) encodings(text []byte, sequence uint64) []*big.Int {
	full := new(big.Int).SetBytes(block(text, sequence))
	return []*big.Int{new(big.Int).SetBytes(text), full, new(big.Int).Lsh(full, 8*tagBytes)}
}

// block pads a text: type, sequence, text, 0x80, zeros.
func block(text []byte, sequence uint64) []byte {
	b := make([]byte, 9, blockSize)
	if len(text) > 0 {
		b[0] = 1
	}
	binary.BigEndian.PutUint64(b[1:], sequence)
	b = append(append(b, text...), 0x80)
	return b[:blockSize]
}

func (v *hardened) header() []byte {
	h := make([]byte, 76)
	copy(h, "CB\x01\x01")
	binary.BigEndian.PutUint32(h[12:], v.period)
	binary.BigEndian.PutUint64(h[16:], v.batch)
	binary.BigEndian.PutUint16(h[32:], uint16(len(v.slots)))
	binary.BigEndian.PutUint16(h[34:], slotBytes)
	body := sha256.Sum256(nil)
	copy(h[44:], body[:])
	return h
}

func (v *hardened) aad(i int, header []byte) []byte {
	return append(bytes.Clone(header), v.slots[i].id[:]...)
}

// nonce is the batch number and four zero bytes: lane and domain.
func nonce(header []byte) []byte {
	return append(bytes.Clone(header[16:24]), 0, 0, 0, 0)
}
