package push

import "context"

// Sealed is a message sealed for its client (crt/SPEC.md, section 5). It is
// immutable, and its bytes are shared: by the members of a shard, or of a
// channel.
type Sealed struct {
	Head []byte // the frame up to its body
	Body []byte // nil: none
	// Channel says that the sequence goes before the frame.
	Channel bool
}

// Sealing makes clients' sealing keys. Its errors are [CodeInvalidField] where
// this kind is not offered or a handshake fails, and the store's.
type Sealing interface {
	// Public is the server's identity key, which clients pin: 32 bytes.
	Public() []byte
	// Offers reports whether clients may ask for that kind.
	Offers(mode SealMode) bool
	// Begin takes SEAL_HELLO. It answers SEAL_WELCOME, and what Complete needs.
	// The keys are kept, but nothing is sealed for them yet.
	Begin(ctx context.Context, key ClientKey, hello []byte) (welcome []byte, h Handshake, err error)
	// Complete takes SEAL_CONFIRM: what is committed from its return on is
	// sealed for the new keys. It answers their generation.
	Complete(ctx context.Context, key ClientKey, h Handshake, confirm []byte) (generation uint32, err error)
}

// Handshake is one that was begun, opaque but to its [Sealing].
type Handshake any

// SealHello begins a handshake of the session's client.
func (d *Desk) SealHello(id Identity, hello []byte, done func(welcome []byte, h Handshake, err error)) {
	d.enqueue(errand{tries: lastTry, run: func(ctx context.Context) bool {
		if d.sealing == nil {
			done(nil, nil, Errorf(CodeInvalidField, "this server does not seal"))
			return true
		}
		welcome, h, err := d.sealing.Begin(ctx, id.Client, hello)
		done(welcome, h, err)
		return true
	}})
}

// SealConfirm completes it.
func (d *Desk) SealConfirm(id Identity, h Handshake, confirm []byte, done func(generation uint32, err error)) {
	d.enqueue(errand{tries: lastTry, run: func(ctx context.Context) bool {
		generation, err := d.sealing.Complete(ctx, id.Client, h, confirm)
		done(generation, err)
		return true
	}})
}
