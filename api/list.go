package api

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/sunzi-push/sunzi/push"
)

// Lists of requests. Their bounds are held while they are read: an element of
// two bytes costs up to forty in memory, and a body may be made of them.

// bulk is the items of a bulk push.
type bulk []json.RawMessage

// UnmarshalJSON takes at most [push.MaxBulk].
func (b *bulk) UnmarshalJSON(p []byte) error {
	var err error
	*b, err = boundedList[json.RawMessage](p, "pushes", push.MaxBulk, push.CodeInvalidField)
	return err
}

// targetIDs are the clients of a push's target.
type targetIDs []string

// UnmarshalJSON takes at most [push.MaxTargets].
func (t *targetIDs) UnmarshalJSON(p []byte) error {
	var err error
	*t, err = boundedList[string](p, "to.clients", push.MaxTargets, push.CodeInvalidTarget)
	return err
}

// clientIDs are the clients that a status is asked of.
type clientIDs []string

// UnmarshalJSON takes at most [push.MaxTargets].
func (c *clientIDs) UnmarshalJSON(p []byte) error {
	var err error
	*c, err = boundedList[string](p, "clients", push.MaxTargets, push.CodeInvalidField)
	return err
}

// failedList is what an ack says could not be handled.
type failedList []failedBody

type failedBody struct {
	Seq  sequence `json:"seq"`
	Code int      `json:"code"`
}

// UnmarshalJSON takes at most [push.MaxFailedPerAck].
func (f *failedList) UnmarshalJSON(p []byte) error {
	var err error
	*f, err = boundedList[failedBody](p, "failed", push.MaxFailedPerAck, push.CodeInvalidField)
	return err
}

// sequences are dead letters to be redriven.
type sequences []sequence

// UnmarshalJSON takes at most [push.MaxPageLimit].
func (q *sequences) UnmarshalJSON(p []byte) error {
	var err error
	*q, err = boundedList[sequence](p, "seqs", push.MaxPageLimit, push.CodeInvalidField)
	return err
}

// boundedList decodes a list of no more than most elements; code is the error for
// more. With an error it answers what it had read by then. null is no list.
func boundedList[T any](p []byte, field string, most int, code push.Code) ([]T, error) {
	if string(p) == "null" {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(p))
	dec.DisallowUnknownFields()
	if open, err := dec.Token(); err != nil || open != json.Delim('[') {
		return nil, push.Errorf(push.CodeInvalidField, "%s: must be a list", field)
	}
	out := []T{} // an empty list is not none
	for dec.More() {
		if len(out) == most {
			return out, push.Errorf(code, "%s: must be at most %d, these are more", field, most)
		}
		var one T
		if err := dec.Decode(&one); err != nil {
			return out, elementError(err, field, len(out))
		}
		out = append(out, one)
	}
	return out, nil
}

// elementError names the element, where the decoder knows nothing of the list.
func elementError(err error, field string, i int) error {
	var kind *json.UnmarshalTypeError
	if !errors.As(err, &kind) {
		return err
	}
	if kind.Field == "" {
		return push.Errorf(push.CodeInvalidField, "%s[%d]: must not be a %s", field, i, kind.Value)
	}
	return push.Errorf(push.CodeInvalidField, "%s[%d].%s: must not be a %s", field, i, kind.Field, kind.Value)
}
