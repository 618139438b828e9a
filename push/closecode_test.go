package push

import (
	"errors"
	"testing"
)

// TestTroubleBringsSessionsBackButNotTheGone: who comes back is decided by the
// code's range alone.
func TestTroubleBringsSessionsBackButNotTheGone(t *testing.T) {
	for _, c := range []struct {
		err    error
		code   CloseCode
		advice Reconnect
	}{
		{Errorf(CodeNoClient, "gone"), CloseDeleted, ReconnectNever},
		{Errorf(CodeBadCredentials, "revoked"), CloseTokenRevoked, ReconnectNever},
		{Errorf(CodeNoStore, "down"), CloseTryLater, ReconnectBackoff},
		{errors.New("unknown"), CloseTryLater, ReconnectBackoff},
	} {
		code, reason := CloseFor(c.err)
		if code != c.code || code.Advice() != c.advice || reason == "" {
			t.Errorf("%v: %d %q, which means %d; want %d and %d", c.err, code, reason, code.Advice(), c.code, c.advice)
		}
	}
}
