// Package store is the durable truth about clients, mailboxes, pushes, groups
// and credentials: the ports of package push and push/token over SQL.
//
// Read first: [Store] and [Open]; then accept.go, which follows one push into
// its mailboxes, and writer.go, which commits it together with everything else
// that waits (the commit group). Reading a mailbox is in mailbox.go. The
// schema, with what each column means, is in migrations/.
//
// A [Store] may be used from any goroutine. Everything that changes the
// database runs on one goroutine, the writer, which [Open] starts and
// [Store.Close] waits for; it alone owns the write connection and the cache of
// counter rows. Reads run on the caller's goroutine, on a pool of connections
// that see what is committed and nothing else.
//
// An answer is given only after COMMIT returned. Conditions (unknown client,
// full mailbox, a reused key) are answers; they leave nothing behind and fail
// nobody else in the commit group. An unexpected SQL error rolls the group
// back, and each of its operations is tried again on its own.
//
// The package does not validate pushes, mint tokens, or know who is connected.
//
// The engine is SQLite; what is peculiar to it is in sqlite.go and in
// migrations/sqlite. Queries elsewhere are such that MySQL 8 and TiDB have
// them, and each names the index that it uses.
package store
