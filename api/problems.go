package api

import (
	"html/template"
	"net/http"
	"strings"

	"github.com/sunzi-push/sunzi/push"
)

// advice is what a problem's page says: why it happens, and what to do.
type advice struct{ cause, fix string }

var advices = map[push.Code]advice{
	push.CodeInvalidRequest:  {"The request could not be read: its body broke off, or contradicts its headers.", "Send it again whole. If it fails again, compare it with /v1/openapi.yaml."},
	push.CodeInvalidJSON:     {"The body is not exactly one JSON value in UTF-8.", "Encode it with a JSON library; the detail says at which byte it broke."},
	push.CodeInvalidTarget:   {"`to` names none, several or badly formed targets.", "Name exactly one of client, clients, group and all; IDs have 1 to 100 characters without slashes."},
	push.CodeInvalidField:    {"A field is unknown, of the wrong type or out of its range. The detail names it.", "Correct that field; unknown ones are refused so that a typing error is not passed over."},
	push.CodeNotSignedIn:     {"The request came without credentials.", "Send an API key (for a client: its token) as Authorization: Bearer."},
	push.CodeBadCredentials:  {"The key or token is not known here, has expired or was revoked.", "Take a valid one; a client gets a new token from its application, which mints it with POST /v1/tokens."},
	push.CodeForbidden:       {"The credentials are good, but not for this: the key lacks the scope, or the token belongs to another client or device.", "Use a key with the scope that the operation names, or the token of that client and device."},
	push.CodeForbiddenOrigin: {"A page of an origin that is not on the server's list made the request.", "Add the origin to the server's CORS origins, or send the request from your own server."},
	push.CodeWrongRealm:      {"The API key or token is bound to another realm.", "Leave the realm out, or use credentials of that realm."},
	push.CodeNotFound:        {"Nothing is served at this address.", "See /v1/openapi.yaml for what there is."},
	push.CodeNoClient:        {"No client of this ID is registered in this realm.", "Register it with POST /v1/clients, or correct ID and realm."},
	push.CodeNoPush:          {"No push of this ID is known: it never was, was store=never, or its retention has ended.", "Correct the ID; keep the receipts of what you may want to ask about."},
	push.CodeNoGroup:         {"No group of this name exists in this realm.", "Make it by adding its first member with PUT /v1/groups/{group}/members/{id}."},
	push.CodeNoToken:         {"No token of this ID was minted here.", "Take the jti from the answer that the token came in, or revoke by client."},
	push.CodeNoKey:           {"No API key of this ID exists.", "GET /v1/keys lists them."},
	push.CodeMethod:          {"The address exists, but not for this method.", "Use one of the methods in the Allow header."},
	push.CodeClientExists:    {"A client of this ID is registered already.", "Mint a token for it with POST /v1/tokens, or choose another ID."},
	push.CodeNotCancellable:  {"Every client has acked the push, or it expired or was cancelled before.", "Nothing is left to cancel; send another push that corrects it."},
	push.CodeTooLarge:        {"The body, or the push's data, is above the server's limit.", "Send the bytes elsewhere and a link as attachment, or split a bulk push."},
	push.CodeMediaType:       {"The body is not declared as application/json.", "Send Content-Type: application/json and no Content-Encoding."},
	push.CodeKeyReused:       {"This Idempotency-Key was sent within a day with another body.", "Repeat a request with the very same bytes; take a new key for a new push."},
	push.CodeUpgrade:         {"A plain HTTP request came to a WebSocket address.", "Open it with a WebSocket client (version 13, HTTP/1.1), or use GET /v1/events."},
	push.CodeNoSealKey:       {"Sealing was required for a client that has no key for it.", "Have the client connect with sealing once; or leave seal out (auto) or use none, where the server does not require sealing (seal.require)."},
	push.CodeRateLimited:     {"The API key has made too many requests, or has too many running.", "Wait for Retry-After; put many pushes into one with POST /v1/push/batch."},
	push.CodeMailboxFull:     {"The client's backlog is at its limit and the server is configured to refuse more.", "Wait until the client has come and acked, cancel what is stale, or use collapse_key or store=never."},
	push.CodeInternal:        {"Something failed in the server that should not.", "Send it again; if it stays, give the operator the request_id, under which the log has the cause."},
	push.CodeNoStore:         {"The store did not answer. Nothing was accepted.", "Send it again after Retry-After, with the same Idempotency-Key."},
	push.CodeNoAuth:          {"The store of credentials did not answer, and nobody is let in unchecked.", "Send it again after Retry-After."},
	push.CodeOverloaded:      {"The server is at a limit of its own.", "Send it again after Retry-After."},
	push.CodeShuttingDown:    {"The server is being stopped or replaced.", "Send it again: another node, or this one after its restart, will take it."},
	push.CodeTimeout:         {"The server did not finish in time. Whether it was accepted is unknown.", "Send it again with the same Idempotency-Key, which makes that safe."},
}

// problemInfo is ProblemInfo of openapi.yaml.
type problemInfo struct {
	Code      int    `json:"code"`
	Name      string `json:"name"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Retryable bool   `json:"retryable"`
	Cause     string `json:"cause"`
	Fix       string `json:"fix"`
}

func infoOf(i push.CodeInfo) problemInfo {
	adv := advices[i.Code]
	return problemInfo{
		Code: int(i.Code), Name: i.Name, Title: i.Title, Status: i.Code.Status(),
		Retryable: i.Retryable, Cause: adv.cause, Fix: adv.fix,
	}
}

func (a *api) problems(w http.ResponseWriter, r *http.Request) error {
	all := make([]problemInfo, len(push.Codes))
	for i, c := range push.Codes {
		all[i] = infoOf(c)
	}
	if wantsHTML(r) {
		return page(w, all)
	}
	return a.answer(w, r, http.StatusOK, map[string]any{"problems": all})
}

func (a *api) problem(w http.ResponseWriter, r *http.Request) error {
	name := param(r, "name")
	for _, c := range push.Codes {
		if c.Name != name {
			continue
		}
		if wantsHTML(r) {
			return page(w, []problemInfo{infoOf(c)})
		}
		return a.answer(w, r, http.StatusOK, infoOf(c))
	}
	return push.Errorf(push.CodeNotFound, "there is no problem of this name; GET /problems lists them")
}

// wantsHTML is true for people: browsers name text/html, programs do not.
func wantsHTML(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

func page(w http.ResponseWriter, list []problemInfo) error {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return pageTemplate.Execute(w, list)
}

var pageTemplate = template.Must(template.New("problems").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sunzi: {{if eq (len .) 1}}{{(index . 0).Name}}{{else}}problems{{end}}</title>
<h1>Problems</h1>
{{range .}}<section id="{{.Name}}"><h2>{{.Title}}</h2>
<p><code>{{.Name}}</code>, code {{.Code}}, HTTP status {{.Status}}{{if .Retryable}}; the same request may succeed later{{end}}</p>
<p>{{.Cause}}</p><p><strong>What to do:</strong> {{.Fix}}</p></section>
{{end}}</html>
`))
