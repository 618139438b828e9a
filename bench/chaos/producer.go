package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// Node is one node as producers and clients reach it: through links, perhaps.
type Node struct {
	Name  string
	URL   string // http://host:port
	WSURL string // ws://host:port/ws
}

// Times of producers.
const (
	// answerWithin is longer than a node may take to refuse, so that a slow
	// refusal is seen as one.
	answerWithin = 8 * time.Second
	// Two thousand requests that are all repeated at once would keep the
	// machine, which the nodes share, too busy to heal.
	retryBase = 100 * time.Millisecond
	retryCap  = 4 * time.Second
	// inFlight bounds the requests of one producer. It has to be more than
	// a fault takes: pushes that wait for a turn begin after the fault.
	inFlight = 512
)

// body is a push's data. Filler makes sizes differ.
type body struct {
	Producer int    `json:"producer"`
	N        int    `json:"n"`
	Filler   string `json:"filler"`
	Hash     string `json:"hash"` // of the fields before it
}

// dataOf is the data of push n: the same bytes each time. Some are a number
// alone, which fits the slot of a sealed frame.
func dataOf(seed uint64, producer, n int) []byte {
	if n%shortEvery == 0 {
		return fmt.Appendf(nil, "%d", producer*1_000_000+n)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%d/%d", seed, producer, n))
	filler := hex.EncodeToString(bytes.Repeat(sum[:], 1+n%8))
	b := body{producer, n, filler, hashOf(fmt.Appendf(nil, "%d/%d/%s", producer, n, filler))}
	data, err := json.Marshal(b)
	if err != nil { // numbers and hex always marshal
		panic("chaos: " + err.Error())
	}
	return data
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// topicOf carries a push's identity, since twins have the same data.
func topicOf(producer, n int) string { return fmt.Sprintf("chaos/%d/%d", producer, n) }

func parseTopic(topic string) (producer, n int, err error) {
	_, err = fmt.Sscanf(topic, "chaos/%d/%d", &producer, &n)
	return producer, n, err
}

// producer makes one producer's pushes, each until it is settled.
type producer struct {
	number  int // from 1
	plan    *Plan
	log     *Log
	nodes   []Node
	clients []string // IDs by index
	key     string   // API key
	http    *http.Client
	elapsed func() time.Duration
	slots   chan struct{} // one for each request under way
}

// run begins each push at its time and returns when all are settled or ctx
// has ended.
func (p *producer) run(ctx context.Context) {
	var wg sync.WaitGroup
	p.slots = make(chan struct{}, inFlight)
	for _, push := range p.plan.Pushes[p.number-1] {
		if !sleep(ctx, push.At-p.elapsed()) {
			break
		}
		wg.Go(func() { p.settle(ctx, push) })
	}
	wg.Wait()
}

// settle repeats a push with its key until the outcome is known for good.
func (p *producer) settle(ctx context.Context, push Push) {
	dataOfN := push.N
	if push.Twin > 0 {
		dataOfN = push.Twin
	}
	data := dataOf(p.plan.Seed, p.number, dataOfN)
	to := map[string]any{"all": true}
	client := ""
	if push.Client >= 0 {
		client = p.clients[push.Client]
		to = map[string]any{"client": client}
	}
	fields := map[string]any{"to": to, "topic": topicOf(p.number, push.N), "data": json.RawMessage(data), "store": "always"}
	if push.Seal != "" {
		fields["seal"] = push.Seal
	}
	request, err := json.Marshal(fields)
	if err != nil {
		panic("chaos: " + err.Error()) // strings and checked JSON always marshal
	}
	for try := 0; ctx.Err() == nil; try++ {
		node := p.nodes[(push.Node+try)%len(p.nodes)]
		p.slots <- struct{}{} // requests end in time, so that this does
		p.log.Add(Event{Kind: Attempt, Producer: p.number, Push: push.N, Client: client, Node: node.Name, Hash: hashOf(data), Seal: push.Seal})
		end := p.attempt(ctx, node, p.plan.Key(p.number, push), request)
		<-p.slots
		end.Kind, end.Producer, end.Push = Outcome, p.number, push.N
		p.log.Add(end)
		if end.Result == Accepted || end.Result == Refused && !retryable(end.Code) {
			end.Kind = Settled
			p.log.Add(end)
			return
		}
		sleep(ctx, backoff(try))
	}
}

// backoff is the pause after that many failures before: full jitter.
func backoff(failures int) time.Duration {
	most := min(retryCap, retryBase<<min(failures, 10))
	return time.Duration(rand.Float64() * float64(most)) //nolint:gosec // G404: jitter is no part of the plan
}

// attempt asks once. What is no answer of the API is unknown.
func (p *producer) attempt(ctx context.Context, node Node, key string, request []byte) Event {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, node.URL+"/v1/push", bytes.NewReader(request))
	if err != nil {
		return Event{Result: Unknown, How: err.Error()}
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	// Without it the transport would repeat requests that have a key by
	// itself, and one attempt would be two.
	req.GetBody = nil
	resp, err := p.http.Do(req)
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		return Event{Result: Unsent, How: err.Error()}
	case err != nil:
		return Event{Result: Unknown, How: err.Error()}
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return Event{Result: Unknown, How: err.Error()}
	}
	return judgeAnswer(resp.StatusCode, text)
}

// judgeAnswer reads a receipt or problem (RFC 9457).
func judgeAnswer(status int, text []byte) Event {
	var a struct {
		ID   string `json:"id"`
		Code int    `json:"code"`
	}
	err := json.Unmarshal(text, &a)
	switch {
	case err != nil:
		return Event{Result: Unknown, Code: status, How: "no answer of the API"}
	case status < 300 && a.ID != "":
		return Event{Result: Accepted, ID: a.ID}
	case a.Code == codeInternal || a.Code == codeTimeout || a.Code == 0:
		return Event{Result: Unknown, Code: a.Code}
	}
	return Event{Result: Refused, Code: a.Code}
}

// Codes of api/openapi.yaml that don't say whether the push was accepted.
const (
	codeInternal = 50000
	codeTimeout  = 50400
)

// retryable says that the refusal is of the moment.
func retryable(code int) bool { return code/100 == http.StatusTooManyRequests || code >= 50000 }

// sleep reports whether it slept its time.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
