package wire

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// A message inside a seal (crt/SPEC.md section 6) is a MessagePack array: what
// a client can work out itself, and every name, is left out, since a slot has
// room for 38 bytes.

// sealedEpoch is 2026-01-01T00:00Z in unix milliseconds: where the time inside
// IDs begins.
const sealedEpoch = 1767225600000

// Elements of the array, in order. The first four always stand.
const (
	sealedID = iota
	sealedTS
	sealedTopic
	sealedData
	sealedTTL
	sealedPriority
	sealedCollapseKey
	sealedAttachment
	sealedCount
)

const (
	sealedLeast     = sealedData + 1
	defaultPriority = 3
	maxPriority     = 5
)

// AppendSealed appends the message inside a seal of a push's body, the JSON
// object that push.BuildBody writes. It has one form: equal bodies have equal
// bytes. [ErrBody] where body is not such an object; then dst is answered as it
// was.
func AppendSealed(dst, body []byte) ([]byte, error) {
	var f fields
	if len(body) > 1<<30 || !utf8.Valid(body) {
		return dst, ErrBody
	}
	// data lies one level down in the body.
	if err := f.object(value{JSON, body}, MaxDataDepth+1); err != nil {
		return dst, fmt.Errorf("%w: %w", ErrBody, err)
	}
	r := reader{f: &f}
	r.need(fID, fTS)
	id, ok := f.get(fID).uint()
	if !ok {
		r.fail(fID, faultSeq)
	}
	ts, expires, priority := r.int(fTS), r.int(fExpires), r.int(fPriority)
	if !isMillis(ts) {
		r.fail(fTS, faultRange)
	}
	if !isMillis(expires) {
		r.fail(fExpires, faultRange)
	}
	if priority < 0 || priority > maxPriority {
		r.fail(fPriority, faultRange)
	}
	topic, collapseKey := r.text(fTopic), r.text(fCollapseKey)
	if r.fault != faultNone {
		return dst, fmt.Errorf("%w: %w", ErrBody, r.err())
	}
	start, out := len(dst), dst
	out = append(out, 0x90)
	out = appendMpUint(out, id)
	out = appendMpInt(out, ts-timeOf(id))
	out = appendMpText(out, topic)
	out, err := appendSealedData(out, &f)
	if err != nil {
		return dst, err
	}
	last := sealedData
	optional := func(at int, there bool, put func()) {
		if !there {
			return
		}
		for last++; last < at; last++ {
			out = append(out, 0xc0)
		}
		put()
	}
	optional(sealedTTL, expires != 0, func() { out = appendMpInt(out, expires-ts) })
	optional(sealedPriority, priority != 0 && priority != defaultPriority, func() { out = appendMpInt(out, priority) })
	optional(sealedCollapseKey, collapseKey != "", func() { out = appendMpText(out, collapseKey) })
	optional(sealedAttachment, !f.get(fAttachment).absent(), func() { out, err = appendSealedAttachment(out, f.get(fAttachment)) })
	if err != nil {
		return dst, err
	}
	out[start] |= byte(last + 1)
	return out, nil
}

// timeOf is the time inside an ID, in unix milliseconds.
func timeOf(id uint64) int64 { return int64(id>>22) + sealedEpoch }

// isMillis bounds times to what JavaScript's numbers hold, far from where sums
// overflow.
func isMillis(ms int64) bool { return ms > -1<<53 && ms < 1<<53 }

func appendSealedData(dst []byte, f *fields) ([]byte, error) {
	if v := f.get(fDataBase64); !v.absent() {
		b, ok := v.base64()
		if !ok {
			return nil, fmt.Errorf("%w: data_base64", ErrBody)
		}
		return appendMpBin(dst, b), nil
	}
	v := f.get(fData)
	if len(v.raw) == 0 {
		return nil, fmt.Errorf("%w: no data", ErrBody)
	}
	return appendMpJSON(dst, &jsonScan{p: v.raw}, MaxDataDepth)
}

func appendSealedAttachment(dst []byte, v value) ([]byte, error) {
	if _, ok := attachment(v); !ok {
		return nil, fmt.Errorf("%w: attachment", ErrBody)
	}
	return appendMpJSON(dst, &jsonScan{p: v.raw}, MaxDepth)
}

// DecodeSealed reads the message inside a seal; its head is empty. It keeps no
// part of p. Anything that is not one is an error that wraps [ErrMalformed].
// Time and memory are bounded by len(p).
func DecodeSealed(p []byte) (Delivery, error) {
	if len(p) > 1<<30 {
		return Delivery{}, malformed("too long")
	}
	s := mpScan{p: p}
	if err := s.skip(MaxDataDepth + 1); err != nil {
		return Delivery{}, err
	}
	if s.i != len(p) {
		return Delivery{}, malformed("bytes after the message")
	}
	l, ok := value{Msgpack, p}.list()
	if !ok || l.n < sealedLeast || l.n > sealedCount {
		return Delivery{}, malformed("no list of four to eight elements")
	}
	var at [sealedCount]value
	for i := range l.n {
		at[i], _ = l.next()
	}
	return sealedDelivery(&at)
}

func sealedDelivery(at *[sealedCount]value) (d Delivery, err error) {
	var all [sealedCount]bool
	id, neg, isID := at[sealedID].mpInteger()
	all[sealedID] = isID && !neg
	d.ID = strconv.FormatUint(id, 10)
	var offset, ttl int64
	offset, all[sealedTS] = at[sealedTS].int()
	d.SentMS = timeOf(id) + offset
	all[sealedTS] = all[sealedTS] && isMillis(offset/2) && isMillis(d.SentMS)
	d.Topic, all[sealedTopic] = at[sealedTopic].short()
	all[sealedData] = sealedValue(at[sealedData], &d)
	all[sealedTTL] = at[sealedTTL].absent()
	if !all[sealedTTL] {
		ttl, all[sealedTTL] = at[sealedTTL].int()
		d.ExpiresMS = d.SentMS + ttl
		// Zero would be never.
		all[sealedTTL] = all[sealedTTL] && isMillis(ttl/2) && isMillis(d.ExpiresMS) && d.ExpiresMS != 0
	}
	all[sealedPriority] = at[sealedPriority].absent()
	if !all[sealedPriority] {
		n, ok := at[sealedPriority].int()
		all[sealedPriority] = ok && n >= 1 && n <= maxPriority
		d.Priority = int(n)
	}
	all[sealedCollapseKey] = at[sealedCollapseKey].absent()
	if !all[sealedCollapseKey] {
		d.CollapseKey, all[sealedCollapseKey] = at[sealedCollapseKey].short()
	}
	all[sealedAttachment] = at[sealedAttachment].absent()
	if !all[sealedAttachment] {
		d.Attachment, all[sealedAttachment] = attachment(at[sealedAttachment])
	}
	for i, ok := range all {
		if !ok {
			return Delivery{}, malformed("element " + strconv.Itoa(i) + " is not what it has to be")
		}
	}
	return d, nil
}

// short is a text outside data.
func (v value) short() (string, bool) {
	text, ok := v.bytes()
	if !ok || len(text) > MaxStringLen {
		return "", false
	}
	return string(text), true
}

func sealedValue(v value, d *Delivery) (ok bool) {
	if d.Bytes, ok = v.bin(); ok {
		return true
	}
	d.Data, ok = appendJSONMp(make(json.RawMessage, 0, len(v.raw)+16), &mpScan{p: v.raw})
	return ok
}

// attachment reads one in either encoding.
func attachment(v value) (*Attachment, bool) {
	var f fields
	if f.object(v, MaxDepth) != nil {
		return nil, false
	}
	a := reader{f: &f}
	out := &Attachment{URL: a.text(fURL), Type: a.text(fType), Size: a.int(fSize), Name: a.text(fName)}
	return out, a.fault == faultNone
}
