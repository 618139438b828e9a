package store

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/sunzi-push/sunzi/push"
)

// place is where a listing goes on: after this sequence, or this client.
type place struct {
	seq    uint64
	client string
}

// encode makes the page token. Callers must not read it; it says nothing that
// the page did not.
func (p place) encode() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatUint(p.seq, 10) + ":" + p.client))
}

// decodePage reads a page token; the empty one is the beginning.
func decodePage(token string) (place, error) {
	if token == "" {
		return place{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		seq, client, ok := strings.Cut(string(raw), ":")
		if n, err := strconv.ParseUint(seq, 10, 63); err == nil && ok {
			return place{n, client}, nil
		}
	}
	return place{}, push.Errorf(push.CodeInvalidField, "page: this is not a page token from an earlier answer")
}

// pageLimit is the asked one within its bounds; none asked is 100.
func pageLimit(limit int) int {
	if limit <= 0 {
		return 100
	}
	return min(limit, push.MaxPageLimit)
}
