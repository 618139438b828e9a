package push

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"sync/atomic"
	"time"
)

// Message is one push as its clients are told of it. It is immutable and
// shared by all sessions that send it; what differs per client (sequence,
// replayed) is not in it.
type Message struct {
	ID   int64
	Sent time.Time
	Body []byte // JSON object from [BuildBody]; nil where it is sealed

	// Sealed is the message as its client gets it, in Body's place.
	Sealed *Sealed

	// Require is how sessions have to seal that get a store=never message:
	// [SealRequired], [SealCRT] or [SealAEAD]; empty: as each does, if at all.
	Require SealMode

	// Encoded holds what a codec made of Body, one slot a codec, filled by
	// whoever needs it first. Owned by the encoder (hub), opaque here.
	Encoded [2]atomic.Pointer[[]byte]
}

// BodyFields are the parts of a message's body.
type BodyFields struct {
	ID          int64
	Sent        time.Time
	Topic       string
	Data        json.RawMessage // any JSON value; nil when Bytes is set
	Bytes       []byte          // raw data, written as data_base64
	Priority    int
	CollapseKey string
	Attachment  *Attachment
	Expires     time.Time
}

// BuildBody writes the JSON object that is stored, sent and shown as history:
// {"id","ts","topic","data"|"data_base64","priority"?,"collapse_key"?,
// "attachment"?,"expires"}. Priority is left out at its default; times are
// milliseconds since 1970. It does not check its input, and never fails on
// valid JSON.
func BuildBody(f BodyFields) []byte {
	b := make([]byte, 0, 160+len(f.Data)+len(f.Bytes)*4/3)
	b = append(b, `{"id":"`...)
	b = strconv.AppendInt(b, f.ID, 10)
	b = append(b, `","ts":`...)
	b = strconv.AppendInt(b, f.Sent.UnixMilli(), 10)
	b = append(b, `,"topic":`...)
	b = appendJSON(b, f.Topic)
	if f.Bytes != nil {
		b = append(b, `,"data_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, f.Bytes)
		b = append(b, '"')
	} else {
		b = append(b, `,"data":`...)
		if len(f.Data) == 0 {
			b = append(b, "null"...)
		} else {
			b = append(b, f.Data...)
		}
	}
	if f.Priority != 0 && f.Priority != DefaultPriority {
		b = append(b, `,"priority":`...)
		b = strconv.AppendInt(b, int64(f.Priority), 10)
	}
	if f.CollapseKey != "" {
		b = append(b, `,"collapse_key":`...)
		b = appendJSON(b, f.CollapseKey)
	}
	if f.Attachment != nil {
		b = append(b, `,"attachment":`...)
		b = appendJSON(b, f.Attachment)
	}
	if !f.Expires.IsZero() {
		b = append(b, `,"expires":`...)
		b = strconv.AppendInt(b, f.Expires.UnixMilli(), 10)
	}
	return append(b, '}')
}

func appendJSON(b []byte, v any) []byte {
	j, err := json.Marshal(v)
	if err != nil { // strings and plain structs always marshal
		panic("push: " + err.Error())
	}
	return append(b, j...)
}
