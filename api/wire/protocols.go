package wire

import "strings"

// ParseProtocols reads the values of Sec-WebSocket-Protocol (RFC 6455 section
// 11.3.4): which encoding to speak, which sub-protocol to answer with (empty:
// none was offered, so that none may be answered), and the bearer token that
// was handed over beside it. The client's first choice counts. A client that
// offers only a bearer is answered with that and speaks JSON, since a browser
// fails a handshake that picks none of its offers. ok is false where something
// was offered and nothing of it is ours: answer 400.
func ParseProtocols(header []string) (codec Codec, name string, token string, ok bool) {
	others, bearer := false, ""
	for _, line := range header {
		for p := range strings.SplitSeq(line, ",") {
			p = strings.Trim(p, " \t")
			switch {
			case p == "":
			case name == "" && p == ProtocolJSON:
				codec, name = JSON, p
			case name == "" && p == ProtocolMsgpack:
				codec, name = Msgpack, p
			case bearer == "" && len(p) > len(BearerPrefix) && strings.HasPrefix(p, BearerPrefix):
				bearer = p
			case p != ProtocolJSON && p != ProtocolMsgpack && !strings.HasPrefix(p, BearerPrefix):
				others = true
			}
		}
	}
	if bearer != "" {
		token = bearer[len(BearerPrefix):]
	}
	if name == "" && !others { // a later version's client would get what it did not ask for
		name = bearer
	}
	return codec, name, token, name != "" || !others && len(strings.Join(header, "")) == 0
}
