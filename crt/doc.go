// Package crt seals messages for many receivers at once: each takes its own
// out of one number x, the same bytes for all, with one remainder. It is
// CRT-BE/1 as SPEC.md beside it says; comments name its sections.
//
// Read first: [Sealer] and [Shard] on the server's side, [Ring] on the
// client's, [Identity] and [ClientHandshake] for how both come to their keys.
// The arithmetic is in crt/residue, the attacks that shaped the construction
// in crt/attack.
//
// The package does no I/O, knows no clock, and logs nothing. Errors never hold
// a secret. Unless said otherwise values are not safe for concurrent use; a
// [Shard] is immutable, so that a join or a leave, which answers another one,
// never holds up a seal.
//
// What it does not do: it does not decide who shares a shard, when a key
// period ends, or what is sealed at all; and it keeps nothing.
package crt
