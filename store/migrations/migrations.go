// Package migrations holds the schema, one folder an engine, as versioned
// steps that are only ever added to.
package migrations

import "embed"

// SQLite is the folder "sqlite" of steps for the embedded engine.
//
//go:embed sqlite/*.sql
var SQLite embed.FS

// MySQL is the folder "mysql" of steps for MySQL, MariaDB and TiDB.
//
//go:embed mysql/*.sql
var MySQL embed.FS
