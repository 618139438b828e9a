// Package faultproxy stands between the parts of a system under test and spoils
// their TCP connections as told: the links of the chaos run.
//
// Read first: [Fault], which is what can be wrong, and [Link], one listening
// port in front of one server. [Proxy] is only a set of links by name.
//
// Everything may be called from several goroutines at once, and what Set
// changes holds at once for connections that exist as well. A link owns its
// accepting goroutine and five for each connection; Close ends them and waits.
//
// What a fault holds back is late, not lost, as it is in a network whose ends
// send again: bytes that were on their way when a blackhole began arrive, in
// order, when it ends, unless an end gave up meanwhile. Only a reset loses.
//
// It is not Shopify's toxiproxy, whose toxics these faults resemble: that one
// throws away what its timeout toxic swallows, resets only when the next byte
// comes, dials without a time limit in the loop that accepts, and does not wait
// for its goroutines when it is stopped; and it brings an HTTP server and a
// logger that nothing here needs.
//
// It knows nothing of the protocols on top, delays no connection's set-up, and
// does not drop packets: to the ends it is always a healthy loopback with an
// odd peer.
package faultproxy
