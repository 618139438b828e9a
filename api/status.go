package api

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/sunzi-push/sunzi/push"
)

// What became of a push, and what a mailbox holds.

type clientStateBody struct {
	Client string     `json:"client"`
	Realm  string     `json:"realm,omitempty"`
	Seq    string     `json:"seq"`
	State  push.State `json:"state"`
	Reason string     `json:"reason,omitempty"`
	At     *int64     `json:"at,omitempty"`
}

func (a *api) pushStatus(w http.ResponseWriter, r *http.Request) error {
	id, err := pushID(r)
	if err != nil {
		return err
	}
	page, err := pageQuery(r)
	if err != nil {
		return err
	}
	st, err := a.deps.Pusher.Status(r.Context(), caller(r.Context()).Realm, id, page)
	if err != nil {
		return err
	}
	clients := make([]clientStateBody, len(st.Clients))
	for i, c := range st.Clients {
		clients[i] = clientStateBody{
			Client: c.Client.ID, Realm: c.Client.Realm, Seq: formatSeq(c.Seq),
			State: c.State, Reason: c.Reason, At: optionalMilli(c.At),
		}
	}
	counts := st.Counts
	if counts == nil {
		counts = map[push.State]int{}
	}
	return a.answer(w, r, http.StatusOK, struct {
		ID       string             `json:"id"`
		Accepted int64              `json:"accepted"`
		State    push.State         `json:"state"`
		Counts   map[push.State]int `json:"counts"`
		Clients  []clientStateBody  `json:"clients"`
		Next     string             `json:"next,omitempty"`
	}{push.FormatID(st.ID), milli(st.Accepted), st.State, counts, clients, st.Next})
}

func (a *api) cancelPush(w http.ResponseWriter, r *http.Request) error {
	id, err := pushID(r)
	if err != nil {
		return err
	}
	n, err := a.deps.Pusher.Cancel(r.Context(), caller(r.Context()).Realm, id)
	if err != nil {
		return err
	}
	return a.answer(w, r, http.StatusOK, struct {
		ID        string `json:"id"`
		Cancelled int    `json:"cancelled"`
	}{push.FormatID(id), n})
}

type historyEntryBody struct {
	Seq     string          `json:"seq"`
	ID      string          `json:"id"`
	State   push.State      `json:"state"`
	Reason  string          `json:"reason,omitempty"`
	Sent    int64           `json:"sent"`
	Message json.RawMessage `json:"message,omitempty"`
}

func (a *api) history(w http.ResponseWriter, r *http.Request) error {
	key, err := clientParam(r)
	if err != nil {
		return err
	}
	q, err := historyQuery(r)
	if err != nil {
		return err
	}
	page, err := a.deps.Pusher.History(r.Context(), key, q)
	if err != nil {
		return err
	}
	out := make([]historyEntryBody, len(page.Entries))
	for i, e := range page.Entries {
		out[i] = historyEntryBody{
			Seq: formatSeq(e.Seq), ID: push.FormatID(e.ID), State: e.State, Reason: e.Reason,
			Sent: milli(e.Sent), Message: e.Body,
		}
	}
	return a.answer(w, r, http.StatusOK, struct {
		Messages []historyEntryBody `json:"messages"`
		Next     string             `json:"next,omitempty"`
	}{out, page.Next})
}

func historyQuery(r *http.Request) (push.HistoryQuery, error) {
	var q push.HistoryQuery
	var err error
	if q.PageQuery, err = pageQuery(r); err != nil {
		return q, err
	}
	v := r.URL.Query()
	for name, to := range map[string]*uint64{"after": &q.After, "before": &q.Before} {
		if s := v.Get(name); s != "" {
			if *to, err = strconv.ParseUint(s, 10, 64); err != nil {
				return q, push.Errorf(push.CodeInvalidField, "%s: must be a sequence, as in 7", name)
			}
		}
	}
	if s := v.Get("from"); s != "" {
		var ok bool
		if q.From, ok = parseInstant(s); !ok {
			return q, push.Errorf(push.CodeInvalidField, "from: must be milliseconds since 1970, or RFC 3339")
		}
	}
	if s := v.Get("to"); s != "" {
		var ok bool
		if q.To, ok = parseInstant(s); !ok {
			return q, push.Errorf(push.CodeInvalidField, "to: must be milliseconds since 1970, or RFC 3339")
		}
	}
	q.Status = push.State(v.Get("status"))
	switch q.Status {
	case "", push.StateAccepted, push.StateStored, push.StateAcked, push.StateRead,
		push.StateExpired, push.StateCancelled, push.StateDropped, push.StateFailed:
		return q, nil
	}
	return q, push.Errorf(push.CodeInvalidField, "status: must be accepted, stored, acked, read, expired, cancelled, dropped or failed")
}

func (a *api) redrive(w http.ResponseWriter, r *http.Request) error {
	key, err := clientParam(r)
	if err != nil {
		return err
	}
	var b struct {
		Seqs sequences `json:"seqs"`
	}
	if r.ContentLength != 0 {
		if err := a.decode(w, r, &b); err != nil {
			return err
		}
	}
	if b.Seqs != nil && len(b.Seqs) == 0 {
		return push.Errorf(push.CodeInvalidField, "seqs: is empty; leave it out for all")
	}
	seqs := make([]uint64, len(b.Seqs))
	for i, s := range b.Seqs {
		seqs[i] = uint64(s)
	}
	n, err := a.deps.Pusher.Redrive(r.Context(), key, seqs)
	if err != nil {
		return err
	}
	return a.answer(w, r, http.StatusOK, map[string]int{"redriven": n})
}
