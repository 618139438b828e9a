// Package residue is the arithmetic of CRT sealing: it packs one number a
// member into the one x that leaves each of them as the remainder by the
// member's prime, as formula (1) of the paper says:
//
//	x = Σ b_i · M_i · (M_i⁻¹ mod m_i)  mod M,   M = Π m_i,  M_i = M / m_i
//
// Read first: [Modulus], a prime m = 2^L − c that [Modulus.Reduce] folds by
// instead of dividing; [Basis], the moduli of one shard, whose
// [Basis.Combine] is the formula; then [Tree], the same for any moduli, in
// any number, for audits and for the paper's one x over everybody. [Pool]
// keeps primes ready, so that a join never waits for one.
//
// Numbers cross the package's border as big-endian bytes of fixed length (a
// residue: L/8, x: the number of moduli times that), and in [Tree] as
// [big.Int]. A Modulus, Basis or Tree never changes once made, and any number
// of goroutines may use it at once; a [Scratch] or an [Arena] belongs to one
// goroutine at a time. Only Pool starts a goroutine.
//
// Nothing here encrypts, authenticates or keeps a secret, and only Reduce and
// Contains take the same time whatever they are given. What makes a residue
// safe to pack is the AEAD of package crt.
package residue
