package push

import (
	"strings"
	"unicode/utf8"
)

// ClientKey is the identity of a client: one installation, one mailbox, one
// cursor. Both parts are compared as bytes. The empty realm is the default one.
type ClientKey struct {
	Realm string
	ID    string
}

// String is for logs: "id" or "realm/id".
func (k ClientKey) String() string {
	if k.Realm == "" {
		return k.ID
	}
	return k.Realm + "/" + k.ID
}

// ValidName reports whether s may name a client, realm or group: 1 to
// [MaxNameLen] characters of UTF-8, no control characters, no slash (it
// separates path segments) and no space at either end.
func ValidName(s string) bool {
	if s == "" || utf8.RuneCountInString(s) > MaxNameLen || !utf8.ValidString(s) {
		return false
	}
	if strings.TrimSpace(s) != s {
		return false
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == '/' {
			return false
		}
	}
	return true
}

// ValidRealm is [ValidName], or empty for the default realm.
func ValidRealm(s string) bool { return s == "" || ValidName(s) }
