package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// Keyring: a name of its own, since Check means two things.

type keyring struct{ *world }

func (k keyring) Check(ctx context.Context, raw string) (token.Key, error) {
	if err := k.enter(ctx, "Keys.Check"); err != nil {
		return token.Key{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.keys[raw]
	if !ok || key.Revoked {
		return token.Key{}, token.ErrInvalid
	}
	return key, nil
}

func (k keyring) Create(ctx context.Context, name string, scopes []token.Scope, realm *string) (string, token.Key, error) {
	if err := k.enter(ctx, "Keys.Create"); err != nil {
		return "", token.Key{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	key := token.Key{ID: fmt.Sprintf("key%09d", k.id()), Name: name, Scopes: scopes, Realm: realm, Created: k.now}
	raw := "sk_" + key.ID + "_secret"
	k.keys[raw] = key
	return raw, key, nil
}

func (k keyring) List(ctx context.Context) ([]token.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []token.Key
	for _, key := range k.keys {
		out = append(out, key)
	}
	return out, nil
}

func (k keyring) Revoke(ctx context.Context, id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for raw, key := range k.keys {
		if key.ID == id {
			key.Revoked = true
			k.keys[raw] = key
			return nil
		}
	}
	return token.ErrNotFound
}

// Authority and TokenRecords.

func (w *world) Mint(ctx context.Context, m token.MintRequest) (string, token.Record, error) {
	if err := w.enter(ctx, "Mint"); err != nil {
		return "", token.Record{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.TTL == 0 {
		m.TTL = time.Hour
	}
	rec := token.Record{ID: fmt.Sprint("jti", w.id()), Realm: m.Realm, Client: m.Client, Device: m.Device, Issued: w.now, Expires: w.now.Add(m.TTL)}
	raw := "jwt." + rec.ID + ".sig"
	w.tokens[raw] = rec
	return raw, rec, nil
}

func (w *world) Token(ctx context.Context, jti string) (token.Record, error) {
	if err := w.enter(ctx, "Token"); err != nil {
		return token.Record{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, rec := range w.tokens {
		if rec.ID == jti {
			return rec, nil
		}
	}
	return token.Record{}, token.ErrNotFound
}

// RevokeID revokes the token and those that it was refreshed to: here, the
// ones of its device.
func (w *world) RevokeID(ctx context.Context, jti string) (token.Record, error) {
	if err := w.enter(ctx, "RevokeID"); err != nil {
		return token.Record{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, rec := range w.tokens {
		if rec.ID == jti {
			for raw, next := range w.tokens {
				if next.ID == jti || rec.Device != "" && next.Device == rec.Device {
					next.Revoked = true
					w.tokens[raw] = next
				}
			}
			return rec, nil
		}
	}
	return token.Record{}, token.ErrNotFound
}

func (w *world) RevokeClient(ctx context.Context, realm, client string, before time.Time) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, rec := range w.tokens {
		if rec.Realm == realm && rec.Client == client && rec.Issued.Before(before) {
			n++
		}
	}
	return n, nil
}

// Backend.

type backend struct{ *world }

func (b backend) Check(ctx context.Context, raw string) (push.Identity, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rec, ok := b.tokens[raw]
	switch {
	case raw == "":
		return push.Identity{}, push.Errorf(push.CodeNotSignedIn, push.ReasonMissingToken)
	case !ok:
		return push.Identity{}, push.Errorf(push.CodeBadCredentials, push.ReasonBadToken)
	}
	return push.Identity{
		Client:  push.ClientKey{Realm: rec.Realm, ID: rec.Client},
		TokenID: rec.ID, Device: rec.Device, TokenIssued: rec.Issued, Expires: rec.Expires,
	}, nil
}

func (b backend) Admit(ctx context.Context, c push.Credentials) (push.Admission, *push.Refusal) {
	if err := b.enter(ctx, "Admit"); err != nil {
		return push.Admission{}, &push.Refusal{Code: push.CloseAuthDown, Reason: "credentials can't be checked now", Cause: err}
	}
	if strings.HasPrefix(c.Token, "ck_") {
		raw, rec, _ := b.Mint(ctx, token.MintRequest{Client: "new"})
		b.Register(ctx, push.ClientKey{ID: "new"})
		return push.Admission{Identity: push.Identity{Client: push.ClientKey{ID: "new"}, TokenID: rec.ID, Expires: rec.Expires}, Minted: raw}, nil
	}
	id, err := b.Check(ctx, c.Token)
	if push.HasCode(err, push.CodeNotSignedIn) {
		return push.Admission{}, &push.Refusal{Code: push.CloseUnauthorized, Reason: push.ReasonMissingToken}
	}
	if err != nil {
		return push.Admission{}, &push.Refusal{Code: push.CloseUnauthorized, Reason: push.ReasonBadToken}
	}
	return push.Admission{Identity: id, Refreshed: "fresh"}, nil
}

func (b backend) Open(id push.Identity, h push.Hello, done func(push.Opened, error)) {
	b.work.Go(func() {
		m := b.mailbox(id.Client)
		if m == nil {
			done(push.Opened{}, push.Errorf(push.CodeNoClient, "gone"))
			return
		}
		o := push.Opened{Mailbox: *m, Start: m.Cursor}
		if h.Cursor != nil && (h.Incarnation == "" || h.Incarnation == m.Incarnation) && *h.Cursor <= m.Head {
			o.Start = *h.Cursor
			b.Ack(id.Client, *h.Cursor, nil)
		}
		if b.public != nil && h.Seal == "" {
			o.Refusal = &push.Refusal{Code: push.CloseHelloTimeout, Reason: push.ReasonSaySeal}
		}
		if b.public != nil && h.Seal == push.SealCRT {
			o.Public, o.SealGeneration = b.public, uint32(len(h.Held))
			if len(h.Held) > 0 {
				o.Session = &fakeSealer{}
			}
		}
		done(o, nil)
	})
}

func (b backend) Fetch(key push.ClientKey, after uint64, room int, alive func() bool, done func(push.Page, error)) {
	b.work.Go(func() {
		b.mu.Lock()
		silent := b.silent
		b.mu.Unlock()
		if !alive() || silent {
			return
		}
		if err := b.enter(context.Background(), "Fetch"); err != nil {
			done(push.Page{}, err)
			return
		}
		b.mu.Lock()
		items := b.boxes[key].items
		p := push.Page{Through: after, Head: uint64(len(items))}
		for _, it := range items[min(after, p.Head):] {
			p.Items = append(p.Items, it)
			p.Through++
			if it.Message != nil {
				room -= len(it.Message.Body)
			}
			if room <= 0 {
				break
			}
		}
		b.mu.Unlock()
		done(p, b.enter(context.Background(), "Fetched")) // the page is read, not yet told
	})
}

func (b backend) Ack(key push.ClientKey, seq uint64, failed []push.FailedEntry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acks = append(b.acks, push.Ack{Client: key, Seq: seq, Failed: failed})
	if m := b.boxes[key]; m != nil {
		m.cursor = max(m.cursor, seq)
	}
}

func (b backend) Read(key push.ClientKey, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acks = append(b.acks, push.Ack{Client: key, Read: seq})
}

// fakeSealer seals as "CBs" and a number that counts from 0, before the text.
type fakeSealer struct{ next byte }

func (s *fakeSealer) Seal(text []byte, _ bool) ([]byte, error) {
	s.next++
	return append([]byte{'C', 'B', 's', '0' + s.next - 1}, text...), nil
}

// commit places a message in the mailbox and offers it, as the service does.
func (w *world) commit(key push.ClientKey, data string) uint64 {
	w.mu.Lock()
	id := w.id()
	m := &push.Message{ID: id, Sealed: w.sealed, Sent: w.now, Body: push.BuildBody(push.BodyFields{ID: id, Sent: w.now, Topic: "t", Data: []byte(data)})}
	b := w.boxes[key]
	seq := uint64(len(b.items)) + 1
	b.items = append(b.items, push.Item{Seq: seq, Message: m})
	w.mu.Unlock()
	for _, s := range w.Of(key) {
		s.Offer(m, seq)
	}
	return seq
}
