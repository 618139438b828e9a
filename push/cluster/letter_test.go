package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sunzi-push/sunzi/push"
)

func letters() []letter {
	at := time.UnixMilli(1_700_000_000_123).UTC()
	return []letter{
		{Kind: kindHint, From: "a", Keys: []place{{Realm: "r", ID: "x", Seq: 1 << 60}, {ID: "y"}}},
		{Kind: kindLive, From: "a", Realm: "r", Message: &message{ID: 1, Sent: at, Body: []byte(`{}`)}},
		{Kind: kindNotify, Notice: &push.Notice{Kind: push.NoticeTyping, Group: "g", SenderName: "n"}},
		{Kind: kindClose, Ask: 9, Closing: &push.Closing{Client: push.ClientKey{ID: "x"}, Code: 4004, TokenID: "t", IssuedBefore: at}},
		{Kind: kindAnswer, Ask: 9, Count: 2, Sessions: []answered{{Index: 3, Info: push.SessionInfo{ID: "s", Connected: at}}}},
		{Kind: kindGroup, Realm: "r", Group: "g"},
	}
}

func TestLettersComeBackAsTheyWere(t *testing.T) {
	for _, l := range letters() {
		b, err := l.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(string(b))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(l, got, cmp.AllowUnexported(letter{}, place{})); d != "" {
			t.Error(d)
		}
	}
}

func TestWhatIsNoLetterIsRefused(t *testing.T) {
	whole, err := (&letter{Kind: kindGroup}).encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"nothing":          "",
		"another version":  "\x02" + string(whole[1:]),
		"cut":              string(whole[:len(whole)-1]),
		"no message pack":  "\x01\xc1",
		"unknown kind":     "\x01\x81\xa1k\x63",
		"live and nothing": "\x01\x81\xa1k\x02",
		"too long":         "\x01" + strings.Repeat("x", maxLetter),
	} {
		if l, err := decode(raw); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
	if _, err := (&letter{Kind: kindLive, Message: &message{Body: make([]byte, maxLetter)}}).encode(); err == nil {
		t.Error("a letter that nobody would take was made")
	}
}

func FuzzDecode(f *testing.F) {
	for _, l := range letters() {
		b, err := l.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, raw string) {
		l, err := decode(raw)
		if err != nil {
			return
		}
		if _, err := l.encode(); err != nil {
			t.Errorf("was read and can't be written: %v", err)
		}
	})
}
