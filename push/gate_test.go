package push

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push/token"
)

func TestAdmitRefusesWithACodeThatTellsWhatToDo(t *testing.T) {
	rec := token.Record{ID: "j", Realm: "r", Client: "alice"}
	for name, tc := range map[string]struct {
		c      Credentials
		err    error
		code   CloseCode
		reason string
	}{
		"none sent":        {Credentials{}, nil, CloseUnauthorized, ReasonMissingToken},
		"invalid":          {Credentials{Token: "x"}, token.ErrInvalid, CloseUnauthorized, ReasonBadToken},
		"another client's": {Credentials{Token: "x", Path: &ClientKey{"r", "bob"}}, nil, CloseUnauthorized, ReasonMismatch},
		"another realm":    {Credentials{Token: "x", Path: &ClientKey{"", "alice"}}, nil, CloseUnauthorized, ReasonWrongRealm},
		"records away":     {Credentials{Token: "x"}, token.ErrUnavailable, CloseAuthDown, "credentials can't be checked now"},
		"unknown trouble":  {Credentials{Token: "x"}, errors.New("odd"), CloseAuthDown, "credentials can't be checked now"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newRig(t)
			b.authority.rec, b.authority.err = rec, tc.err
			_, refusal := b.Gate.Admit(t.Context(), tc.c)
			if refusal == nil || refusal.Code != tc.code || refusal.Reason != tc.reason {
				t.Fatalf("got %+v", refusal)
			}
		})
	}
}

func TestAdmitTakesTheClientOfTheToken(t *testing.T) {
	b := newRig(t)
	b.authority.rec = token.Record{ID: "j", Realm: "r", Client: "alice", Device: "d"}
	for _, path := range []*ClientKey{nil, {"r", "alice"}} {
		a, refusal := b.Gate.Admit(t.Context(), Credentials{Token: "x", Path: path})
		if refusal != nil || a.Client != (ClientKey{"r", "alice"}) || a.Device != "d" || a.TokenID != "j" {
			t.Fatalf("%+v, %+v", a, refusal)
		}
	}
}

func TestAConnectKeyRegistersNewClientsOnly(t *testing.T) {
	b := newRig(t)
	realm := "shop"
	b.keys.key = token.Key{ID: "k", Scopes: []token.Scope{token.ScopeConnect}, Realm: &realm}
	admit := func(path *ClientKey) (Admission, *Refusal) {
		return b.Gate.Admit(t.Context(), Credentials{Token: "ck_k_secret", Path: path, Remote: netip.MustParseAddr("127.0.0.1")})
	}
	a, refusal := admit(nil)
	if refusal != nil || a.Client != (ClientKey{"shop", "1001"}) || a.Minted != "minted" {
		t.Fatalf("a new client: %+v, %+v", a, refusal)
	}
	if a, refusal = admit(&ClientKey{ID: "own"}); refusal != nil || a.Client != (ClientKey{"shop", "own"}) {
		t.Fatalf("its own ID: %+v, %+v", a, refusal)
	}
	if _, refusal = admit(&ClientKey{ID: "own"}); refusal == nil || refusal.Reason != ReasonMismatch {
		t.Fatalf("an ID in use: %+v", refusal)
	}
	if _, refusal = admit(&ClientKey{Realm: "bank", ID: "x"}); refusal == nil || refusal.Reason != ReasonWrongRealm {
		t.Fatalf("another realm: %+v", refusal)
	}
	b.noIDs = true
	if _, refusal = admit(nil); refusal == nil || refusal.Code != CloseTryLater {
		t.Fatalf("without an ID to give: %+v", refusal)
	}
	b.noIDs = false
	b.keys.key.Scopes = []token.Scope{token.ScopePush}
	if _, refusal = admit(nil); refusal == nil || refusal.Code != CloseForbidden {
		t.Fatalf("a key of another scope: %+v", refusal)
	}
}

func TestRegistrationsByConnectKeyAreLimited(t *testing.T) {
	b := newRig(t)
	at := time.Unix(1_800_000_000, 0)
	b.Gate.now = func() time.Time { return at }
	b.keys.key = token.Key{ID: "k", Scopes: []token.Scope{token.ScopeConnect}}
	refused := 0
	for range addrBurst + 5 {
		_, refusal := b.Gate.Admit(t.Context(), Credentials{Token: "ck_k_secret", Remote: netip.MustParseAddr("127.0.0.1")})
		if refusal != nil {
			if refusal.Code != CloseTooMany {
				t.Fatalf("%+v", refusal)
			}
			refused++
		}
	}
	if refused != 5 {
		t.Fatalf("%d were refused, want 5", refused)
	}
	at = at.Add(time.Second)
	if _, refusal := b.Gate.Admit(t.Context(), Credentials{Token: "ck_k_secret", Remote: netip.MustParseAddr("127.0.0.1")}); refusal != nil {
		t.Fatalf("a second later: %+v", refusal)
	}
}

func TestChoreNamesAreTheTable(t *testing.T) {
	b := newRig(t)
	b.cfg.HeadSweep = time.Second
	table := b.chores()
	if len(table) != len(choreNames) {
		t.Fatalf("%d chores, %d names", len(table), len(choreNames))
	}
	for i, c := range table {
		if c.name != choreNames[i] {
			t.Errorf("chore %d is %q, named %q", i, c.name, choreNames[i])
		}
	}
}

func TestASubscribersAddressesShareOneRateOfRegistrations(t *testing.T) {
	b := newRig(t)
	allowed := 0
	for addr, i := netip.MustParseAddr("2001:db8::1"), 0; i < 300; addr, i = addr.Next(), i+1 {
		if b.Gate.allow("key", addr) {
			allowed++
		}
	}
	if allowed > addrBurst+5 { // what refills meanwhile
		t.Fatalf("%d registrations from one /64", allowed)
	}
	for _, other := range []string{"2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"} {
		if !b.Gate.allow("key", netip.MustParseAddr(other)) {
			t.Errorf("%s pays for others", other)
		}
	}
	if b.Gate.allow("key", netip.MustParseAddr("2001:db8::ffff")) {
		t.Error("the /64 has room again at once")
	}
}
