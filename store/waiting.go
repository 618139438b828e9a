package store

// Pushes as they wait: for their time (table envelope), or for the job that
// expands them (tables job and body). Where the server seals, all their content is
// wrapped, since it is not known yet for whom it is, and how it is to be sealed:
// the body, which has topic, data and attachment, and the collapse key. Whom
// they are for, when, and how large they are stays in clear.

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sunzi-push/sunzi/push"
)

// wrap is the envelope's content, wrapped: u8 the length of the collapse key,
// that, and the body. Nil where this server does not seal.
func (t *tx) wrap(e *push.Envelope) ([]byte, error) {
	if t.cfg.Sealer == nil {
		return nil, nil
	}
	if err := t.useWrapKey(); err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, 1+len(e.CollapseKey)+len(e.Body)), byte(len(e.CollapseKey)))
	b = append(append(b, e.CollapseKey...), e.Body...)
	defer clear(b)
	return t.cfg.Sealer.Wrap(e.ID, b), nil
}

// unwrap fills in what wrap has taken.
func (t *tx) unwrap(e *push.Envelope, wrapped []byte) error {
	if t.cfg.Sealer == nil {
		return errNoSealer
	}
	b, err := t.cfg.Sealer.Unwrap(e.ID, wrapped)
	if err != nil {
		return err
	}
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return fmt.Errorf("store: what waits of push %d is cut short", e.ID)
	}
	key := 1 + int(b[0])
	e.CollapseKey, e.Body = string(b[1:key]), b[key:]
	return nil
}

// keptEnvelope is an envelope as it waits in SQL. Fields are only added. Wrapped
// stands in the place of Body and Collapse, and comes first (see
// [Store.HoldsWrapped]).
type keptEnvelope struct {
	Wrapped   []byte   `json:"wrapped,omitempty"` // base64
	ID        int64    `json:"id"`
	Accepted  int64    `json:"accepted"`
	Realm     string   `json:"realm,omitempty"`
	Clients   []string `json:"clients,omitempty"`
	Group     string   `json:"group,omitempty"`
	All       bool     `json:"all,omitempty"`
	Body      []byte   `json:"body,omitempty"` // base64: kept to the byte; it has the topic
	Size      int      `json:"size"`
	Expires   int64    `json:"expires,omitempty"`
	Priority  int      `json:"priority"`
	Collapse  string   `json:"collapse,omitempty"`
	Store     string   `json:"store"`
	Seal      string   `json:"seal,omitempty"`
	NotBefore int64    `json:"not_before,omitempty"`
}

// encodeEnvelope leaves the content out where it is wrapped, which may be nil.
func encodeEnvelope(e *push.Envelope, wrapped []byte) (string, error) {
	k := keptEnvelope{
		ID: e.ID, Accepted: unixMS(e.Accepted), Realm: e.Target.Realm, Clients: e.Target.Clients,
		Group: e.Target.Group, All: e.Target.All, Size: e.Size,
		Priority: e.Priority, Store: string(e.Store), Seal: string(e.Seal), Wrapped: wrapped,
	}
	if wrapped == nil {
		k.Body, k.Collapse = e.Body, e.CollapseKey
	}
	if !e.Expires.IsZero() {
		k.Expires = unixMS(e.Expires)
	}
	if !e.NotBefore.IsZero() {
		k.NotBefore = unixMS(e.NotBefore)
	}
	b, err := json.Marshal(k)
	return string(b), err
}

// decodeEnvelope answers what is wrapped of it beside it.
func decodeEnvelope(b []byte) (e *push.Envelope, wrapped []byte, err error) {
	var k keptEnvelope
	if err := json.Unmarshal(b, &k); err != nil {
		return nil, nil, err
	}
	e = &push.Envelope{
		ID: k.ID, Accepted: fromMS(k.Accepted), Body: k.Body, Size: k.Size,
		Target:   push.Target{Realm: k.Realm, Clients: k.Clients, Group: k.Group, All: k.All},
		Priority: k.Priority, CollapseKey: k.Collapse, Store: push.StoreMode(k.Store), Seal: push.SealMode(k.Seal),
	}
	if k.Expires != 0 {
		e.Expires = fromMS(k.Expires)
	}
	if k.NotBefore != 0 {
		e.NotBefore = fromMS(k.NotBefore)
	}
	return e, k.Wrapped, nil
}

// wrappedMark begins the row of a job's body that is wrapped, and then is in
// base64: bodies in clear are JSON objects.
const wrappedMark = "wrapped:"

func markWrapped(b []byte) string { return wrappedMark + base64.StdEncoding.EncodeToString(b) }

// unmark answers nil for what is in clear.
func unmark(row []byte) ([]byte, error) {
	if len(row) < len(wrappedMark) || string(row[:len(wrappedMark)]) != wrappedMark {
		return nil, nil
	}
	return base64.StdEncoding.AppendDecode(nil, row[len(wrappedMark):])
}

// keepApart is an envelope as a job keeps it: its row, and that in table body,
// which members who get it in clear share.
func (t *tx) keepApart(e *push.Envelope) (content, body string, err error) {
	kept := *e
	kept.Body = nil
	wrapped, err := t.wrap(e)
	if err != nil {
		return "", "", err
	}
	if wrapped != nil {
		kept.CollapseKey = ""
		body = markWrapped(wrapped)
	} else {
		body = string(e.Body)
	}
	content, err = encodeEnvelope(&kept, nil)
	return content, body, err
}

// apart is the reverse. Index: body's primary key.
func (t *tx) apart(j *job) (e *push.Envelope, wrapped bool, err error) {
	if e, _, err = decodeEnvelope(j.content); err != nil {
		return nil, false, err
	}
	there, err := t.row(`SELECT msg FROM body WHERE id = ?`, []any{j.id}, &e.Body)
	if err == nil && !there {
		err = errors.New("store: a job's body is gone")
	}
	if err != nil {
		return nil, false, err
	}
	b, err := unmark(e.Body)
	if err != nil || b == nil {
		return e, false, err
	}
	return e, true, t.unwrap(e, b)
}

// bare keeps in clear what was wrapped: members get it in clear, who read the
// body there. Indexes: primary keys.
func (t *tx) bare(j *job, e *push.Envelope) error {
	kept := *e
	kept.Body = nil
	content, err := encodeEnvelope(&kept, nil)
	if err != nil {
		return err
	}
	return firstError(t.exec(`UPDATE body SET msg = ? WHERE id = ?`, string(e.Body), j.id), t.exec(`UPDATE job SET content = ? WHERE id = ?`, content, j.id))
}

// forgetWrapped deletes the body of a push that nothing waits for any more, where
// nobody got it in clear: what was made of it has frames of its own. Index:
// body's primary key.
func (t *tx) forgetWrapped(id int64) error {
	return t.exec(`DELETE FROM body WHERE id = ? AND msg LIKE ?`, id, wrappedMark+"%")
}
