// Package config is the configuration of a Sunzi server: one struct, read
// from defaults, a YAML file, the environment and flags, in that order.
//
// Read first: [Config], whose tags are the documentation of every key, and
// [Load]. The packages of the server have plain structs of their own; what
// joins them copies from here, so that files, variables and flags are known
// in cmd alone.
//
// Nothing here is safe for concurrent use or needs to be: a Config is read at
// the start and not changed after. The package opens no database and no
// socket; it reads the configuration file and the files that it names.
package config

import (
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/snowflake"
	"github.com/sunzi-push/sunzi/push/token"
)

// Config is everything that an operator may set. The tag koanf is the key in
// the file; SUNZI_ and the key in capitals, with _ for each dot, is the
// variable. The tag doc says unit, meaning of zero and trade-off.
type Config struct {
	Listen    string `koanf:"listen" doc:"Address of the public listener (HTTP, WebSocket, SSE), host:port. Port 0 takes a free one. An empty host listens on every interface."`
	PublicURL string `koanf:"public_url" doc:"URL under which clients reach this server, as in https://push.example.com. Stands in front of problem types. Empty: addresses relative to the server."`
	Data      string `koanf:"data" doc:"Folder of everything that is kept, made with mode 0700 where missing."`

	Admin     Admin     `koanf:"admin"`
	HTTP      HTTP      `koanf:"http"`
	TLS       TLS       `koanf:"tls"`
	CORS      CORS      `koanf:"cors"`
	SSE       SSE       `koanf:"sse"`
	Hub       Hub       `koanf:"hub"`
	Push      Push      `koanf:"push"`
	Tokens    Tokens    `koanf:"tokens"`
	Seal      Seal      `koanf:"seal"`
	Store     Store     `koanf:"store"`
	Cluster   Cluster   `koanf:"cluster"`
	Snowflake Snowflake `koanf:"snowflake"`
	Log       Log       `koanf:"log"`

	// Dev is set by sunzi dev alone: secrets are kept in Data and made where
	// missing, the live page is served, loopback origins are allowed.
	Dev bool
}

// Admin is the operator's listener: /livez, /readyz, /metrics, /version.
type Admin struct {
	Pprof  bool   `koanf:"pprof" doc:"Serve /debug/pprof/ on the operator's listener, for profiles. A profile slows the server while it is taken."`
	Listen string `koanf:"listen" doc:"Address of the operator's listener, host:port. It knows no credentials: keep it off public networks. Empty: none."`
}

// HTTP bounds requests of the open API.
type HTTP struct {
	RequestTimeout   time.Duration `koanf:"request_timeout" doc:"Longest time for one request, its body included. A push that was cut off by it may have been accepted. Sockets and event streams are not bounded by it."`
	HeaderTimeout    time.Duration `koanf:"header_timeout" doc:"Longest time for the headers of a request, upgrades included. Shorter frees what slow peers hold sooner."`
	IdleTimeout      time.Duration `koanf:"idle_timeout" doc:"How long an unused keep-alive connection of an application server stays open."`
	MaxPending       int           `koanf:"max_pending" doc:"Connections that are no sessions: half-done requests and upgrades, idle keep-alives. Each costs a goroutine and its buffers. Zero: no limit."`
	MaxHeader        Bytes         `koanf:"max_header" doc:"Largest headers of a request, in bytes."`
	MaxBody          Bytes         `koanf:"max_body" doc:"Largest body of a request, in bytes. It is memory for as long as the request runs."`
	MaxBatchBody     Bytes         `koanf:"max_batch_body" doc:"Largest body of a bulk push, in bytes; not below max_body."`
	Rate             float64       `koanf:"rate" doc:"Requests per second that one API key may make; a bulk push counts as one. A client's acks over HTTP are held to the same, each client on its own. Zero: no limit."`
	Burst            int           `koanf:"burst" doc:"Requests that one API key may make at once beyond its rate. Needed where rate is set."`
	PerKey           int           `koanf:"per_key" doc:"Requests of one API key that may run at once. Zero: no limit."`
	TrustedProxies   []string      `koanf:"trusted_proxies" doc:"Address prefixes (10.0.0.0/8) whose X-Forwarded-For is believed. Empty: the peer is the client."`
	ProxyProtocol    bool          `koanf:"proxy_protocol" doc:"Take the client's address from a PROXY header (v1 or v2), which every connection of the public listener must begin with. It is believed from trusted_proxies alone: others are refused."`
	ShutdownTimeout  time.Duration `koanf:"shutdown_timeout" doc:"How long requests and connections may take to end after a signal, draining included. What is left is cut off; nothing acknowledged is lost."`
	WebSocketOrigins []string      `koanf:"websocket_origins" doc:"Origins whose pages may open sockets: https://app.example.com, https://*.example.com, or *. The server's own is always allowed. Empty: no other."`
	QueryToken       bool          `koanf:"query_token" doc:"Take a client token from ?token= as well. Off: addresses end up in the logs of proxies."`
	Echo             bool          `koanf:"echo" doc:"Serve /echo, a socket that sends back what it gets, for conformance suites. Off in production."`
}

// CORS says what pages of other origins may do with the open API.
type CORS struct {
	Origins     []string      `koanf:"origins" doc:"Origins allowed to call the API, as in http.websocket_origins. Empty: none but the server's own."`
	Methods     []string      `koanf:"methods" doc:"Methods that such pages may use."`
	Headers     []string      `koanf:"headers" doc:"Headers that such pages may send."`
	Credentials bool          `koanf:"credentials" doc:"Let such pages send cookies. Nothing here reads any; it is for proxies that do. Refused together with the origin *."`
	MaxAge      time.Duration `koanf:"max_age" doc:"How long a browser may keep the answer to a preflight. Zero: it asks each time."`
}

// SSE bounds event streams.
type SSE struct {
	Heartbeat    time.Duration `koanf:"heartbeat" doc:"Pause after which an idle stream gets a comment. It keeps proxies from closing it and finds dead peers."`
	WriteTimeout time.Duration `koanf:"write_timeout" doc:"How long a client may take to read what was sent. Then the stream ends; the mailbox keeps the rest."`
	Queue        int           `koanf:"queue" doc:"Offers and notices that may wait for one stream; beyond it they are read from the mailbox later."`
	MaxStreams   int           `koanf:"max_streams" doc:"Event streams of this node. Each costs a goroutine and some tens of KiB. Zero: no limit."`
}

// Hub bounds connections.
type Hub struct {
	Loops          int           `koanf:"loops" doc:"Event loops. Zero: one for each processor that Go may use."`
	Heartbeat      time.Duration `koanf:"heartbeat" doc:"Interval of WebSocket pings, spread over all connections. Shorter finds dead peers sooner and costs processor and radio time."`
	PongTimeout    time.Duration `koanf:"pong_timeout" doc:"How long a peer may stay silent after a ping before it is closed with 4104."`
	HelloWait      time.Duration `koanf:"hello_wait" doc:"How long a client may take to say hello. After it, it is served from the server's cursor, or closed with 4106 where it has sealing keys or seal.require is set."`
	IdleTimeout    time.Duration `koanf:"idle_timeout" doc:"Close a connection on which nothing but heartbeats passed for so long, with 4105. Zero: never."`
	UpgradeTimeout time.Duration `koanf:"upgrade_timeout" doc:"Longest time for checking credentials and answering an upgrade. Its headers are bounded by http.header_timeout."`
	MessageTimeout time.Duration `koanf:"message_timeout" doc:"How long a started frame or message may take to arrive, over all its frames, before it is closed with 4107."`
	WriteTimeout   time.Duration `koanf:"write_timeout" doc:"How long a peer may read nothing of what waits for it before it is closed with 4102."`
	CloseTimeout   time.Duration `koanf:"close_timeout" doc:"How long the closing handshake may take before the socket is closed without it."`
	Drain          time.Duration `koanf:"drain" doc:"Over how long connections are closed at a shutdown, with 4200 and a delay. Longer spares the other nodes a rush. Below http.shutdown_timeout."`
	ComeBack       time.Duration `koanf:"come_back" doc:"Longest delay that a shutdown suggests to a client; each is told a random part of it."`
	LogConnections bool          `koanf:"log_connections" doc:"Log each connect and disconnect at level info. Off, they are logged at debug. A log that blocks stops the event loops."`
	MaxFrame       Bytes         `koanf:"max_frame" doc:"Largest frame from a client, in bytes."`
	MaxMessage     Bytes         `koanf:"max_message" doc:"Largest message from a client, in bytes; not below max_frame."`
	MaxConnections int           `koanf:"max_connections" doc:"Connections of this node. Zero: no limit but the open files of the process."`
	PerClient      int           `koanf:"per_client" doc:"Connections of one client. At 1 the newest wins and the older is closed with 4007; above, the oldest beyond it is."`
	PerAddress     int           `koanf:"per_address" doc:"Connections of one address. Zero: no limit, as is right behind a proxy or a carrier's NAT."`
	ConnectRate    float64       `koanf:"connect_rate" doc:"Connections per second that this node takes; others are told to come back. Zero: no limit."`
	ConnectBurst   int           `koanf:"connect_burst" doc:"Connections taken at once beyond the rate. Needed where connect_rate is set."`
	MessageRate    float64       `koanf:"message_rate" doc:"Messages per second that one client may send, acks included. Zero: no limit."`
	MessageBurst   int           `koanf:"message_burst" doc:"Messages that one client may send at once beyond its rate. Needed where message_rate is set."`
	Outbound       Bytes         `koanf:"outbound" doc:"Bytes that may wait for one connection. Beyond it live pushes stay in the mailbox and are replayed. Memory of a slow reader, at most."`
	ExpiryWarning  time.Duration `koanf:"expiry_warning" doc:"How long before its token ends a session is told. Zero: never."`
}

// Push is what is kept of pushes, and for how long.
type Push struct {
	DefaultTTL        time.Duration `koanf:"default_ttl" doc:"How long a push waits for its client where it names no ttl. Up to 30d."`
	HistoryRetention  time.Duration `koanf:"history_retention" doc:"How long an acked push of store=always stays readable as history. Zero keeps none. It is disk."`
	MaxPayload        Bytes         `koanf:"max_payload" doc:"Largest data of one push, in bytes after base64."`
	MailboxEntries    int           `koanf:"mailbox_entries" doc:"Pushes that may wait for one client. Zero: no bound."`
	MailboxBytes      Bytes         `koanf:"mailbox_bytes" doc:"Bytes of data that may wait for one client. Zero: no bound."`
	Overflow          string        `koanf:"overflow" doc:"What a full mailbox does: reject answers mailbox_full, drop loses the entry of lowest priority, the oldest first, and tells both sides."`
	IdempotencyWindow time.Duration `koanf:"idempotency_window" doc:"How long an Idempotency-Key is remembered."`
	AckFlush          time.Duration `koanf:"ack_flush" doc:"How long acks are gathered and written together. Longer saves writes, and redelivers more after a crash of the server."`
	Readers           int           `koanf:"readers" doc:"Goroutines that read mailboxes for replay."`
}

// Tokens is how clients are let in.
type Tokens struct {
	Secret     Secret        `koanf:"secret" doc:"Signs client tokens, at least 32 bytes of text, best from the environment. Another one makes every token invalid at once. sunzi dev makes its own."`
	SecretFile string        `koanf:"secret_file" doc:"File that holds the secret instead, space at its ends cut off. One of both is needed."`
	Issuer     string        `koanf:"issuer" doc:"The iss that tokens carry and must have."`
	Audience   string        `koanf:"audience" doc:"The aud that tokens carry and must have."`
	TTL        time.Duration `koanf:"ttl" doc:"How long a token lives where the request names no ttl. Shorter limits what a stolen one is good for."`
	MaxTTL     time.Duration `koanf:"max_ttl" doc:"Longest life that a token may be minted with."`
	RefreshAge time.Duration `koanf:"refresh_age" doc:"Age from which a token that is used is answered with a new one. Below ttl."`
	Grace      time.Duration `koanf:"grace" doc:"How long parallel users of one old token get the same new one. Zero: each gets its own."`
	Leeway     time.Duration `koanf:"leeway" doc:"Difference of clocks that a token's times may have, up to 1m."`
	Outside    []string      `koanf:"outside" doc:"Outside issuers of EdDSA tokens, each 'kid issuer public-key', the key as base64 of its 32 bytes. Empty: none."`
}

// Seal is how messages are sealed for clients that ask for it.
type Seal struct {
	KeyFile string   `koanf:"key_file" doc:"File of the sealing keys, mode 0600: the identity that clients pin, and what wraps clients' keys in the database. Every node needs the same, and none starts without it once something is sealed: keep a copy. Empty: seal.keys in the data folder, made at the first start; with store.dsn: no sealing."`
	Keys    Secret   `koanf:"keys" doc:"The text of such a file instead, best from the environment."`
	Modes   []string `koanf:"modes" doc:"What clients may ask for: crt (one x for all of a shard), aead (each client's own). Empty: nothing is offered; what waits sealed is still delivered."`
	Require bool     `koanf:"require" doc:"Nothing goes to a client in clear: a session that does not ask for one of seal.modes is closed with 4009, a push to a client without sealing keys is refused (no_key), and one that says seal=none as well. What was accepted before is delivered as it was accepted. The same on every node."`
	Bits    int      `koanf:"bits" doc:"Width of a slot of crt: 512, 1024 or 2048. Wider holds longer messages without a body of their own (38, 102, 230 bytes) and makes frames longer. The same on every node; keys of another width have to be made anew."`
	Cover   string   `koanf:"cover" doc:"Which frames of crt go to all connected clients of their shard, so that the frame does not tell whom it is for: direct, those that are all slots, of the same size whatever is in them; all, also those with a body, which then goes to all of the shard: slots times the bytes; none, which saves them."`
	Slots   int      `koanf:"slots" doc:"Clients that share one x, 1 to 1024, bits times slots up to 524288. More hide among more, and each gets longer frames."`
}

// Store is where everything is kept.
type Store struct {
	Path        string        `koanf:"path" doc:"The SQLite file. Empty: sunzi.db in the data folder."`
	DSN         Secret        `koanf:"dsn" doc:"MySQL, MariaDB or TiDB instead of the file: user:password@tcp(host:3306)/sunzi, best from the environment. Any number of nodes may share it; each leases its node number there."`
	Sync        string        `koanf:"sync" doc:"When a commit is durable: full flushes before each answer; normal may lose the last answers at a power cut; off may lose the file."`
	Timeout     time.Duration `koanf:"timeout" doc:"Longest time for one call to the store, waiting included. Beyond it a push is answered with 503 or 504. On MySQL it is also how long the locks of a node that stands still hold up others."`
	Queue       int           `koanf:"queue" doc:"Writes that may wait for the next commit group; more wait at the door."`
	Window      time.Duration `koanf:"window" doc:"How long the first push of a commit group waits for others to join it, up to 1s and half of store.timeout: fewer commits and larger sealing batches, for answers that come so much later. A group that is full goes at once; acks and handshakes alone do not wait. Zero: no waiting, the group is what came while the last one was written."`
	Connections int           `koanf:"connections" doc:"Connections that read. More serve more replays at once and cost a few MiB each."`
	OfflineKeep time.Duration `koanf:"offline_keep" doc:"How long an acked push of store=offline stays, unseen by history, so that its status can be asked for."`
}

// Cluster is how nodes that share a database find each other.
type Cluster struct {
	Redis       Secret        `koanf:"redis" doc:"Redis that joins the nodes: redis://:password@host:6379/0, redis+sentinel://host:26379,host:26379/mymaster, redis+cluster://host:6379,host:6379; rediss for TLS. Empty: one node alone. Without it nodes that share a database deliver at the next head_sweep only."`
	Prefix      string        `koanf:"prefix" doc:"Begins every key in Redis, so that several clusters may share one."`
	Lease       time.Duration `koanf:"lease" doc:"How long a node that says nothing counts as living: the time after which a crashed node's clients are offline. Shorter notices sooner, and lets a slow network take living nodes for dead."`
	NumberLease time.Duration `koanf:"number_lease" doc:"How long a node may issue IDs under its number after it last reached the database, which live-only pushes need: for so long they go on while the database takes no writes, and a crashed node's number, one of 1024, is taken."`
	Timeout     time.Duration `koanf:"timeout" doc:"Longest time for one call to Redis. Pushes do not wait for it."`
	HeadSweep   time.Duration `koanf:"head_sweep" doc:"How often the mailboxes of connected clients are looked at where several nodes share a database: how late a push may be whose hint was lost. Shorter costs reads."`
}

// Snowflake is how IDs are made.
type Snowflake struct {
	Node   int64     `koanf:"node" doc:"Number of this node, 0 to 1023. With store.dsn it is leased in the database and this is not used."`
	Origin time.Time `koanf:"origin" doc:"The time that IDs count from, RFC 3339. IDs last 69 years from it. It must never change once IDs were issued."`
}

// Log is where the log goes.
type Log struct {
	Level    string        `koanf:"level" doc:"Least level that is logged: debug, info, warn or error. Debug is for finding a fault, and costs."`
	Format   string        `koanf:"format" doc:"text for people, json for machines."`
	Dir      string        `koanf:"dir" doc:"Folder of log files (server, api, store and hub .log), rotated. Empty: stderr."`
	MaxSize  Bytes         `koanf:"max_size" doc:"Size at which a log file is rotated, in whole MiB."`
	MaxAge   time.Duration `koanf:"max_age" doc:"How long rotated files stay, in whole days. Zero: for ever."`
	MaxFiles int           `koanf:"max_files" doc:"How many rotated files of each log stay. Zero: all."`
	Every    time.Duration `koanf:"every" doc:"Rotate after so long as well. Zero: by size alone."`
}

// Default is what runs when nothing is configured.
func Default() Config {
	p, a := push.DefaultConfig(), token.DefaultAuthorityConfig()
	return Config{
		Listen: "127.0.0.1:8080",
		Data:   "data",
		Admin:  Admin{Listen: "127.0.0.1:8081"},
		HTTP: HTTP{
			RequestTimeout: 15 * time.Second, HeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxPending: 8192,
			MaxHeader: 16 << 10, MaxBody: 2 << 20, MaxBatchBody: 32 << 20, ShutdownTimeout: 20 * time.Second,
		},
		TLS: defaultTLS(),
		CORS: CORS{
			Methods: []string{"GET", "POST", "PUT", "PATCH", "DELETE"},
			Headers: []string{"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-ID"},
			MaxAge:  10 * time.Minute,
		},
		SSE: SSE{Heartbeat: 25 * time.Second, WriteTimeout: 20 * time.Second, Queue: 256, MaxStreams: 10_000},
		Hub: Hub{
			Heartbeat: 25 * time.Second, PongTimeout: 20 * time.Second, HelloWait: time.Second,
			UpgradeTimeout: 5 * time.Second, ComeBack: 3 * time.Second, MessageTimeout: 30 * time.Second, WriteTimeout: 20 * time.Second,
			CloseTimeout: 3 * time.Second, Drain: 5 * time.Second,
			MaxFrame: 64 << 10, MaxMessage: 64 << 10, PerClient: 1,
			MessageRate: 200, MessageBurst: 1000, Outbound: 512 << 10, ExpiryWarning: 5 * time.Minute,
		},
		Push: Push{
			DefaultTTL: p.DefaultTTL, HistoryRetention: p.HistoryRetention, MaxPayload: Bytes(p.MaxPayload),
			MailboxEntries: p.MailboxEntries, MailboxBytes: Bytes(p.MailboxBytes), Overflow: string(p.Overflow),
			IdempotencyWindow: p.IdempotencyWindow, AckFlush: p.AckFlush, Readers: p.Readers,
		},
		Tokens: Tokens{
			Issuer: a.Issuer, Audience: a.Audience, TTL: a.TTL, MaxTTL: 366 * 24 * time.Hour,
			RefreshAge: a.RefreshAge, Grace: a.Grace, Leeway: a.Leeway,
		},
		Seal: Seal{Modes: []string{"crt", "aead"}, Cover: "direct", Bits: 512, Slots: 16},
		Store: Store{
			Sync: "full", Timeout: 4 * time.Second, Queue: 4096, Connections: 4, OfflineKeep: time.Hour,
		},
		Cluster: Cluster{
			Prefix: "sunzi", Lease: 10 * time.Second, NumberLease: 10 * time.Minute, Timeout: 500 * time.Millisecond, HeadSweep: 10 * time.Second,
		},
		Snowflake: Snowflake{Origin: snowflake.DefaultOrigin},
		Log:       Log{Level: "info", Format: "text", MaxSize: 100 << 20, MaxAge: 14 * 24 * time.Hour, MaxFiles: 20},
	}
}

// DevDefault is what sunzi dev runs with: the default, nothing beside the one
// listener, and no waiting at its end: there is no other node to spare a rush.
func DevDefault() Config {
	c := Default()
	c.Dev = true
	c.Admin.Listen = ""
	c.Hub.Drain = 0
	return c
}
