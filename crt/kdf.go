package crt

import (
	"crypto/sha256"

	"github.com/sunzi-push/sunzi/crt/residue"
)

// derive is KDF of section 1, HKDF-SHA-256 of one block; info is the
// concatenation of its parts. It is written out, over hashes of whole strings
// that stay on the stack: crypto/hkdf, which tests hold it to, takes about twice
// as long, for what it allocates.
func derive(secret, salt []byte, info string, more ...[]byte) [KeySize]byte {
	var buf [256]byte
	text := append(buf[:0], info...)
	for _, m := range more {
		text = append(text, m...)
	}
	prk := mac(salt, secret)
	defer clear(prk[:])
	return mac(prk[:], append(text, 1))
}

// mac is HMAC-SHA-256 of RFC 2104; the key is of at most one block.
func mac(key, text []byte) [sha256.Size]byte {
	var inner [sha256.BlockSize + 256]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	defer clear(outer[:sha256.BlockSize])
	if copy(outer[:sha256.BlockSize], key) < len(key) {
		panic("crt: an HMAC key of more than a block")
	}
	for i, k := range outer[:sha256.BlockSize] {
		inner[i], outer[i] = k^0x36, k^0x5c
	}
	sum := sha256.Sum256(append(inner[:sha256.BlockSize], text...))
	clear(inner[:])
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}

// slotKey is k of section 4.
func (c *Chain) slotKey(sealer [8]byte, who Who, m *residue.Modulus) [KeySize]byte {
	var buf [residue.MaxWidth / 8]byte
	sum := sha256.Sum256(m.AppendBytes(buf[:0]))
	clear(buf[:])
	return derive(c.Key[:], nil, "CRT-BE/1 slot", sealer[:], who[:], sum[:])
}
