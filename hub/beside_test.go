package hub

import (
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/push"
)

// What the application does beside a session's own reads and checks.

// heldOffice holds the answers of Fetch back until the test lets them go.
type heldOffice struct {
	*office
	pages chan func()
}

func (o *heldOffice) Fetch(key push.ClientKey, after uint64, room int, alive func() bool, done func(push.Page, error)) {
	o.office.Fetch(key, after, room, alive, func(p push.Page, err error) { o.pages <- func() { done(p, err) } })
}

// A page was read, then one of its messages is cancelled, then the page
// arrives: the cancel was answered, so that the message must not be sent.
func TestAMessageCancelledBesideItsReplayIsNotSent(t *testing.T) {
	r := start(t, testConfig())
	held := &heldOffice{r.office, make(chan func(), 8)}
	r.hub.Serve(held)
	m := r.office.commit(r.hub, "secret", "alice")
	p := r.dial("alice")
	p.say(`{"type":"hello"}`)
	p.next(wire.TypeWelcome)
	page := <-held.pages
	r.office.mu.Lock()
	r.office.box(key("alice")).entries[0] = nil
	r.office.mu.Unlock()
	r.session("alice").Notify(push.Notice{Kind: push.NoticeTombstone, PushID: m.ID, Seq: 1})
	page()
	select { // read again
	case page = <-held.pages:
		page()
	case <-time.After(5 * time.Second):
		t.Fatal("the page was not read again")
	}
	if gap := p.next(wire.TypeGap); gap.From != 1 || gap.To != 1 {
		t.Fatalf("told %+v", gap)
	}
	p.next(wire.TypeReplayComplete)
}

// The token that a session is refreshed to is revoked after its check and
// before the session stands on it: the revocation finds no such session, and
// the session looks again.
func TestARefreshToATokenThatIsRevokedMeanwhileEndsTheSession(t *testing.T) {
	r := start(t, testConfig())
	const next = "EBESExQVFhcYGRobHB0eHw"
	looks := 0
	r.office.refresh = func(id push.Identity, _ string) (push.Identity, error) {
		looks++ // the second look is begun after the first is answered
		on := r.session("alice").Info().TokenID
		if looks == 1 {
			if on == next {
				t.Error("the session stands on the new token before it is checked")
			}
			id.TokenID = next // and now it is revoked
			return id, nil
		}
		if on != next {
			t.Errorf("at the second look the session stands on %s: a revocation after it would not be found", on)
		}
		return push.Identity{}, push.Errorf(push.CodeBadCredentials, push.ReasonBadToken)
	}
	p := r.greet("alice").live()
	p.say(`{"type":"refresh","token":"x"}`)
	p.next(wire.TypeRefreshed)
	p.WantClose(uint16(push.CloseTokenRevoked))
	until(t, "the session is gone", func() bool { return !r.hub.Online(key("alice")) })
}

// A revocation by time closes the sessions of tokens issued before it, to the
// millisecond: those of the same second stay.
func TestATokensTimeOfIssueIsKeptToTheMillisecond(t *testing.T) {
	r := start(t, testConfig())
	issued := time.UnixMilli(1700000000789)
	r.office.admit = func(push.Credentials) (push.Admission, *push.Refusal) {
		return push.Admission{Identity: push.Identity{Client: key("alice"), TokenID: "t", TokenIssued: issued}}, nil
	}
	r.greet("alice").live()
	if got := r.session("alice").Info().TokenIssued; !got.Equal(issued) {
		t.Fatalf("issued %v, want %v", got, issued)
	}
}
