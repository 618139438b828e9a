package crt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// xNonce is the length of a nonce of XAES-256-GCM, in bytes.
const xNonce = 24

// xaes is XAES-256-GCM (C2SP, https://c2sp.org/XAES-256-GCM): a key of
// AES-256-GCM is derived from the first half of the nonce. So nonces may be
// random, for 2^80 texts under one key, where those of AES-GCM itself may be for
// 2^32. Immutable, and safe for concurrent use.
type xaes struct {
	block cipher.Block
	k1    [aes.BlockSize]byte // the subkey of CMAC for whole blocks
}

func newXAES(key [KeySize]byte) *xaes {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("crt: " + err.Error()) // the length is right
	}
	x := &xaes{block: block}
	block.Encrypt(x.k1[:], x.k1[:])
	msb := 0
	for i := len(x.k1) - 1; i >= 0; i-- { // doubled in GF(2^128)
		next := int(x.k1[i] >> 7)
		x.k1[i] = x.k1[i]<<1 | byte(msb)
		msb = next
	}
	x.k1[len(x.k1)-1] ^= byte(subtle.ConstantTimeSelect(msb, 0b10000111, 0))
	return x
}

// derive answers the key for nonces that begin with these 12 bytes.
func (x *xaes) derive(nonce []byte) (key [KeySize]byte) {
	for i := range 2 {
		m := key[i*aes.BlockSize:][:aes.BlockSize]
		m[1], m[2] = byte(i+1), 'X'
		copy(m[4:], nonce)
		subtle.XORBytes(m, m, x.k1[:])
		x.block.Encrypt(m, m)
	}
	return key
}

func (x *xaes) seal(dst, nonce, text, aad []byte) []byte {
	key := x.derive(nonce[:12])
	defer clear(key[:])
	return aead(key).Seal(dst, nonce[12:], text, aad)
}

func (x *xaes) open(nonce, box, aad []byte) ([]byte, error) {
	key := x.derive(nonce[:12])
	defer clear(key[:])
	return aead(key).Open(nil, nonce[12:], box, aad)
}
