// Package hubtest is what tests need to talk to a WebSocket server from the
// outside: a raw client that can also break every rule of RFC 6455, and the
// case list of the public conformance suite with the outcome of each case.
//
// Read [Client] for a test of one's own, [Case] and [Conformance] for the
// suite. A [Conn] and a [Client] belong to one goroutine; the package starts
// none. It knows no protocol above frames and messages, and imports nothing of
// ours but hub/frame.
//
// The cases keep the suite's numbers. Of its kinds, 1 to 7, 9 and 10 are here;
// 12 and 13 test compression, which is never negotiated: [DeclinesCompression]
// holds that. Cases of kind S are our own, for what the suite leaves out.
package hubtest
