package cluster

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"github.com/sunzi-push/sunzi/push"
)

// The registry: which clients this node has, here and in Redis. Came and Went
// only change the table and mark the client as unsynced; one goroutine then
// writes what the table says by that time. So an outage costs no queue of
// events, and nothing arrives out of order.

// batch is how many clients are written in one pipeline.
const batch = 512

// registers keeps Redis at what the table says, until ctx ends.
func (c *Cluster) registers(ctx context.Context) {
	again := time.NewTicker(max(c.cfg.Registered/3/slots, time.Millisecond))
	defer again.Stop()
	limit := rate.NewLimiter(rate.Limit(c.cfg.ResyncRate), batch)
	var todo []push.ClientKey // to be written again
	next, left := 0, 0        // slot whose turn it is, slots that a resync has left
	for ctx.Err() == nil {
		keys, all := c.unsynced.take()
		if all {
			left = slots
			c.met.resyncs.Inc()
		}
		if len(todo) == 0 && left > 0 {
			todo, next, left = c.inSlot(next), (next+1)%slots, left-1
		}
		if n := min(batch-len(keys), len(todo)); n > 0 && limit.WaitN(ctx, n) == nil {
			// Not twice in one batch: both would count as just come, and the
			// second would win over whoever took over in between.
			keys, todo = union(keys, todo[:n]), todo[n:]
		}
		if len(keys) > 0 && !c.sync(ctx, keys) {
			for _, k := range keys {
				c.unsynced.add(k)
			}
			wait(ctx, c.cfg.Timeout)
		}
		if len(keys) > 0 || len(todo) > 0 || left > 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-c.unsynced.wake:
		case <-again.C:
			left = max(left, 1)
		}
	}
}

func union(keys, more []push.ClientKey) []push.ClientKey {
	known := make(map[push.ClientKey]bool, len(keys))
	for _, k := range keys {
		known[k] = true
	}
	for _, k := range more {
		if !known[k] {
			keys = append(keys, k)
		}
	}
	return keys
}

func (c *Cluster) inSlot(i int) (keys []push.ClientKey) {
	sl := &c.held[i]
	sl.mu.Lock()
	defer sl.mu.Unlock()
	for k := range sl.of {
		keys = append(keys, k)
	}
	return keys
}

// register writes one client's entry. A session that came just now wins over
// all others; one that is written again never beats a higher generation of a
// living node, since who is newer is then not known. The deadline is Redis'
// time: a call that was held up counts as written again. The field ":", which
// no node is called, is the generation of the last session that came just now:
// those below it are older for certain. A session that the registry has not
// numbered yet is numbered above it, else a letter about that one, held up on
// its way to a node that was cut off, would end it. Answers {given, highest, certain,
// node…}: given 0 where another node keeps the client; certain 1 where it is
// known who is newer; the nodes are those whose entry was removed.
// KEYS: client. ARGV: node, proposed, deadline (0: again), ttl, settle,
// given before (else a clock chose it, and says nothing of who is newer), living….
//
//nolint:dupword // Lua ends two blocks
const register = `
local t = redis.call('TIME')
local fresh = t[1] * 1000 + math.floor(t[2] / 1000) < tonumber(ARGV[3])
local settle = ARGV[5] == '1'
local living = {}
for i = 7, #ARGV do living[ARGV[i]] = true end
local all = redis.call('HGETALL', KEYS[1])
local gen = tonumber(ARGV[2])
local highest, rival, mark = 0, 0, 0
for i = 1, #all, 2 do
  local g = tonumber(all[i + 1])
  if g > highest then highest = g end
  if all[i] == ':' then
    mark = g
  elseif all[i] ~= ARGV[1] and living[all[i]] and g > rival then
    rival = g
  end
end
if settle and not fresh and rival > gen then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return {'0', string.format('%.0f', rival), ARGV[6] == '1' and gen < mark and '1' or '0'}
end
if settle and fresh and gen <= highest then gen = highest + 1 end
if settle and ARGV[6] == '0' and gen <= mark then gen = mark + 1 end
local told = {string.format('%.0f', gen), string.format('%.0f', highest), fresh and '1' or '0'}
for i = 1, #all, 2 do
  if settle and all[i] ~= ARGV[1] and all[i] ~= ':' and tonumber(all[i + 1]) < gen then
    redis.call('HDEL', KEYS[1], all[i])
    told[#told + 1] = all[i]
  end
end
redis.call('HSET', KEYS[1], ARGV[1], told[1])
if settle and fresh then redis.call('HSET', KEYS[1], ':', told[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return told`

// unregister removes a node's entry. What is known of generations stays for as
// long as letters about them may be under way.
// KEYS: client. ARGV: node, for how long in ms.
const unregister = `
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('HLEN', KEYS[1]) == 1 and redis.call('HEXISTS', KEYS[1], ':') == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {}`

var registerScript, unregisterScript = redis.NewScript(register), redis.NewScript(unregister)

// mark is the field of a client's hash that is no node.
const mark = ":"

// entry is one client's turn in a pipeline.
type entry struct {
	key  push.ClientKey
	held *held // nil: it went
	copy held
	cmd  *redis.Cmd
}

// sync brings Redis to what the table says of the clients. False where Redis
// failed: then some may have been written, and all are to be tried again.
func (c *Cluster) sync(ctx context.Context, keys []push.ClientKey) bool {
	entries := make([]entry, len(keys))
	for i, k := range keys {
		sl := c.slot(k)
		sl.mu.Lock()
		entries[i] = entry{key: k, held: sl.of[k]}
		if entries[i].held != nil {
			entries[i].copy = *entries[i].held
			entries[i].held.tried = true
		}
		sl.mu.Unlock()
	}
	err := c.write(ctx, entries, (*redis.Script).EvalSha)
	if slices.ContainsFunc(entries, func(e entry) bool { return e.cmd != nil && redis.HasErrorPrefix(e.cmd.Err(), "NOSCRIPT") }) {
		err = c.write(ctx, entries, (*redis.Script).Eval)
	}
	if err != nil && ctx.Err() == nil {
		c.met.errors.WithLabelValues("register").Inc()
	}
	// What was written is acted on, whatever became of the rest.
	var fresh []push.ClientKey
	told := tellings{}
	for i := range entries {
		if c.settle(&entries[i], told) {
			fresh = append(fresh, entries[i].key)
		}
	}
	for to, places := range told {
		c.post(parcel{node: to.node, letter: letter{
			Kind: kindBelow, Keys: places, Closing: &push.Closing{Code: to.code, Reason: to.reason},
		}})
	}
	if len(fresh) > 0 && c.deps.Registered != nil {
		c.deps.Registered(fresh)
	}
	return err == nil
}

// tellings are the generations below which other nodes are to close.
type tellings map[telling][]place

type telling struct {
	node   string
	code   push.CloseCode
	reason string
}

type eval func(s *redis.Script, ctx context.Context, r redis.Scripter, keys []string, args ...any) *redis.Cmd

func (c *Cluster) write(ctx context.Context, entries []entry, run eval) error {
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	pipe := c.rdb.Pipeline()
	living := *c.nodes.living.Load()
	for i := range entries {
		e := &entries[i]
		if e.cmd != nil && e.cmd.Err() == nil {
			continue // written in the first go
		}
		if e.held == nil {
			e.cmd = run(unregisterScript, ctx, pipe, []string{c.clientKey(e.key)}, c.cfg.Node, 3*c.cfg.Lease.Milliseconds())
			continue
		}
		args := append(make([]any, 0, 6+len(living)), c.cfg.Node, max(e.copy.given, e.copy.proposed), c.deadline(e.copy),
			c.cfg.Registered.Milliseconds(), flag(c.cfg.PerClient == 1), flag(e.copy.given != 0))
		for _, n := range living {
			args = append(args, n)
		}
		e.cmd = run(registerScript, ctx, pipe, []string{c.clientKey(e.key)}, args...)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// deadline is until when the session counts as one that came just now, by
// Redis' clock in ms; 0 for one that is written again.
func (c *Cluster) deadline(h held) int64 {
	until := h.came.Add(2 * c.cfg.Timeout)
	if h.given != 0 || h.came.IsZero() || !c.deps.Now().Before(until) {
		return 0
	}
	return until.UnixMilli() + c.nodes.offset.Load()
}

// settle acts on what the registry said of one client, and reports whether it
// was registered for the first time.
func (c *Cluster) settle(e *entry, told tellings) bool {
	if e.held == nil || e.cmd == nil {
		return false
	}
	got, err := e.cmd.StringSlice()
	if err != nil || len(got) < 3 {
		return false
	}
	gen, highest := number(got[0]), number(got[1])
	code, reason, why := closeUnsettled, unsettledDelay, "unsettled"
	if got[2] == "1" {
		code, reason, why = push.CloseReplaced, "a newer connection of this client took over", "replaced"
	}
	if gen == 0 {
		c.met.closed.WithLabelValues(why).Inc()
		c.deps.Log.Info("another node has a later session of this client", "client", e.key.String(), "generation", highest, "order", why)
		e.copy.session.Close(code, reason)
		return false
	}
	sl := c.slot(e.key)
	sl.mu.Lock()
	first := e.held.given == 0
	e.held.given = gen
	went := sl.of[e.key] == nil
	sl.mu.Unlock()
	if went {
		// The write was held up, and the client may have gone where the others
		// would be told to close it. Its entry goes; theirs is found by a look.
		return false
	}
	losers := got[3:]
	if c.cfg.PerClient == 1 && first && e.copy.tried {
		losers = c.others() // an earlier try may have removed entries unheard
	}
	for _, node := range losers {
		to := telling{node, code, reason}
		told[to] = append(told[to], place{Realm: e.key.Realm, ID: e.key.ID, Seq: gen})
	}
	return first
}

// closeUnsettled ends a session of which it is not known whether it is the
// client's newest: the client comes back, and then it is. The reason of that
// code is a delay in ms.
const (
	closeUnsettled = push.CloseDraining
	unsettledDelay = "500"
)

// below ends this node's session of the client if its generation is lower.
// One that is not registered yet has its turn to come.
func (c *Cluster) below(key push.ClientKey, gen uint64, how push.Closing) {
	h, ok := c.holds(key)
	if !ok || h.given == 0 || h.given >= gen {
		return
	}
	why := "replaced"
	if how.Code != push.CloseReplaced {
		why = "unsettled"
	}
	c.met.closed.WithLabelValues(why).Inc()
	h.session.Close(how.Code, how.Reason)
}

// number reads what only we write; anything else is 0.
func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
