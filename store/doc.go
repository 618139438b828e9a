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
// that see what is committed and nothing else; so do leases (lease.go), which
// must not wait for pushes.
//
// An answer is given only after COMMIT returned. Conditions (unknown client,
// full mailbox, a reused key) are answers; they leave nothing behind and fail
// nobody else in the commit group. An unexpected SQL error rolls the group
// back, and each of its operations is tried again on its own.
//
// Two engines serve it. SQLite is a file of one server's own. MySQL, MariaDB or
// TiDB are shared by any number of servers: there a commit group locks the
// counter rows that it needs up front, in the order of their keys (ahead.go), so that
// groups wait for each other rather than deadlock; one that lost against another
// is made afresh; and where COMMIT is not answered, the transaction's token
// tells what became of it (outcome.go). A server's view of the rows ends with
// its transaction. Lock order: client, grp, store, then entries, bodies, the
// rest; whoever takes them otherwise (periodic work) may lose, and tries again.
//
// The package does not validate pushes, mint tokens, or know who is connected.
//
// What is peculiar to an engine is in engine.go, sqlite.go and mysql.go, in
// mark.go (SQLite alone), and in migrations/. Queries elsewhere run on all of
// them: no RETURNING, no SKIP LOCKED, a column named cursor is always qualified
// (MySQL reserves the word). Each names the index that it uses by SQLite's
// name; where MySQL's differs, 00001 of its migrations says so.
package store
