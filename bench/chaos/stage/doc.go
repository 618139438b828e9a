// Package stage is what a chaos run plays on: nodes in processes of their own,
// MariaDB and Redis, a link before each of them, and the means to break any of
// it. Everything is on the loopback interface and ends with the process.
//
// Read first: [Run], which does one whole run and judges it; then [Services]
// (the database and Redis, which several runs may share) and [Stage] (nodes
// and links of one run). faults.go lists every kind of fault; the files named
// after what they break have the means.
//
// A Stage and its Services may be used from any goroutine: faults begin and
// end in goroutines of the run's. Two faults never strike one target at the
// same time; the later waits until the earlier is healed.
//
// The disk of the database can only be filled where this process may mount a
// file system for it, which is root's right; elsewhere [Stage.Kinds] goes
// without that fault, and a run says so.
package stage
