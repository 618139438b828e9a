// Package chaos tries to break the promises of GUARANTEES.md: it pushes to
// clients that come and go while nodes, database and links fail, writes down
// what each party saw, and judges from these logs alone whether anything was
// lost, invented, reordered or handled twice.
//
// Read first: [Event] (what is written down), [Judge] (a pure function from
// logs to violations, one rule each), [NewPlan] (who pushes what to whom and
// how clients live, from a seed), then [Run], which puts a plan and a fault
// schedule together against nodes that somebody else started.
//
// A [Journal] may be used from any goroutine. A [Log] has one writer, but its
// methods lock, since one client may hold two sockets. Judge and NewPlan keep
// no state. Run owns every goroutine that it starts and returns after they
// have ended.
//
// A third of the clients seal where the plan says so. They open what they get
// with package crt, and keep keys as api/wsclient does; the judge holds sealed
// pushes to the same rules, and to a few of their own.
//
// Run starts no process and knows no fault's means: executors are handed in
// ([Executor]): package stage has those of a cluster, made of [Process],
// bench/faultproxy and push/pushtest/daemons. The seed fixes workload and
// faults, not the interleaving.
package chaos
