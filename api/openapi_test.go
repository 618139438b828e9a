package api

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/sunzi-push/sunzi/push"
)

func TestRoutesAreThoseOfTheContract(t *testing.T) {
	doc, _ := contract()
	var want []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			want = append(want, method+" "+path)
		}
	}
	a := &api{deps: Deps{Socket: http.NotFoundHandler()}}
	got := a.routeNames()
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("openapi.yaml (-) and the code (+) differ:\n%s", diff)
	}
}

func TestScopesAreThoseOfTheContract(t *testing.T) {
	doc, _ := contract()
	for _, rt := range routes {
		op := doc.Paths.Value(rt.pattern).GetOperation(rt.method)
		said, _ := op.Extensions["x-scope"].(string)
		if said != string(rt.access.scope) {
			t.Errorf("%s %s needs scope %q, openapi.yaml says %q", rt.method, rt.pattern, rt.access.scope, said)
		}
		open := op.Security != nil && len(*op.Security) == 0
		if open != (rt.access.kind == public) {
			t.Errorf("%s %s: openapi.yaml and the code differ on whether it is public", rt.method, rt.pattern)
		}
	}
}

func TestProblemsAreThoseOfTheContract(t *testing.T) {
	doc, _ := contract()
	type row struct {
		Code      int    `json:"code"`
		Name      string `json:"name"`
		Status    int    `json:"status"`
		Retryable bool   `json:"retryable"`
	}
	raw, err := json.Marshal(doc.Components.Schemas["Problem"].Value.Extensions["x-problems"])
	if err != nil {
		t.Fatal(err)
	}
	var said, names, coded []row
	if err := json.Unmarshal(raw, &said); err != nil {
		t.Fatal(err)
	}
	for _, n := range doc.Components.Schemas["ProblemName"].Value.Enum {
		names = append(names, row{Name: n.(string)})
	}
	var codedNames []row
	for _, c := range push.Codes {
		coded = append(coded, row{int(c.Code), c.Name, c.Code.Status(), c.Retryable})
		codedNames = append(codedNames, row{Name: c.Name})
	}
	if diff := cmp.Diff(said, coded); diff != "" {
		t.Errorf("x-problems (-) and push.Codes (+) differ:\n%s", diff)
	}
	if diff := cmp.Diff(names, codedNames); diff != "" {
		t.Errorf("ProblemName (-) and push.Codes (+) differ:\n%s", diff)
	}
}

func TestEveryProblemHasAdvice(t *testing.T) {
	for _, c := range push.Codes {
		if adv := advices[c.Code]; adv.cause == "" || adv.fix == "" {
			t.Errorf("%s has no cause or no fix", c.Name)
		}
	}
	if len(advices) != len(push.Codes) {
		t.Errorf("%d advices for %d codes", len(advices), len(push.Codes))
	}
}

func TestLimitsOfTheContractAreThoseOfTheDomain(t *testing.T) {
	doc, _ := contract()
	pushes := doc.Paths.Value("/v1/push/batch").Post.RequestBody.Value.Content["application/json"].Schema.Value.Properties["pushes"].Value
	req := doc.Components.Schemas["PushRequest"].Value.Properties
	for name, c := range map[string][2]uint64{
		"MaxBulk":           {*pushes.MaxItems, push.MaxBulk},
		"MaxTargets":        {*doc.Components.Schemas["Target"].Value.Properties["clients"].Value.MaxItems, push.MaxTargets},
		"MaxNameLen":        {*doc.Components.Schemas["Name"].Value.MaxLength, push.MaxNameLen},
		"MaxTopicLen":       {*req["topic"].Value.MaxLength, push.MaxTopicLen},
		"MaxCollapseKeyLen": {*req["collapse_key"].Value.MaxLength, push.MaxCollapseKeyLen},
		"MaxTTL":            {uint64(*req["ttl"].Value.Max), uint64(push.MaxTTL.Seconds())},
		"MaxIdempotencyLen": {*doc.Components.Parameters["IdempotencyKey"].Value.Schema.Value.MaxLength, push.MaxIdempotencyLen},
		"MaxPageLimit":      {uint64(*doc.Components.Parameters["Limit"].Value.Schema.Value.Max), push.MaxPageLimit},
		"MaxURLLen":         {*doc.Components.Schemas["Attachment"].Value.Properties["url"].Value.MaxLength, push.MaxURLLen},
		"MaxFailedPerAck":   {*ackSchema(doc).Properties["failed"].Value.MaxItems, push.MaxFailedPerAck},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: openapi.yaml has %d, the code %d", name, c[0], c[1])
		}
	}
}

func ackSchema(doc *openapi3.T) *openapi3.Schema {
	return doc.Paths.Value("/v1/ack").Post.RequestBody.Value.Content["application/json"].Schema.Value
}

func TestDescriptionNamesNoRetiredRoute(t *testing.T) {
	// Prose in the contract points at routes too.
	known := map[string]bool{}
	for _, rt := range routes {
		known[rt.method+" "+rt.pattern] = true
	}
	found := regexp.MustCompile("(GET|POST|PUT|PATCH|DELETE) (/[a-z0-9/{}_.]+[a-z}])").FindAllString(string(Description), -1)
	for _, adv := range advices {
		found = append(found, regexp.MustCompile("(GET|POST|PUT|PATCH|DELETE) (/[a-z0-9/{}_.]+[a-z}])").FindAllString(adv.fix, -1)...)
	}
	if len(found) == 0 {
		t.Fatal("no route is named: the pattern is wrong")
	}
	for _, f := range found {
		if !known[strings.TrimRight(f, ".")] {
			t.Errorf("%q is no route", f)
		}
	}
}
