package api

import (
	"context"
	"net/http"

	"github.com/sunzi-push/sunzi/push"
)

// groupBody is Group of openapi.yaml.
type groupBody struct {
	Group   string   `json:"group"`
	Realm   string   `json:"realm"`
	Epoch   string   `json:"epoch"`
	Members int      `json:"members"`
	Events  bool     `json:"events"`
	Clients []string `json:"clients,omitempty"`
	Next    string   `json:"next,omitempty"`
}

func groupOf(g push.Group) groupBody {
	return groupBody{Group: g.Name, Realm: g.Realm, Epoch: formatSeq(g.Epoch), Members: g.Members, Events: g.Events}
}

// groupParam is the group that the path names, and the realm of the query.
func groupParam(r *http.Request) (rm, group string, err error) {
	if group, err = nameParam(r, "group"); err != nil {
		return "", "", err
	}
	rm, err = realmParam(r)
	return rm, group, err
}

func (a *api) group(w http.ResponseWriter, r *http.Request) error {
	rm, name, err := groupParam(r)
	if err != nil {
		return err
	}
	page, err := pageQuery(r)
	if err != nil {
		return err
	}
	g, err := a.deps.Groups.Group(r.Context(), rm, name)
	if err != nil {
		return err
	}
	out := groupOf(g)
	if out.Clients, out.Next, err = a.deps.Groups.Members(r.Context(), rm, name, page); err != nil {
		return err
	}
	return a.answer(w, r, http.StatusOK, out)
}

func (a *api) setGroup(w http.ResponseWriter, r *http.Request) error {
	rm, name, err := groupParam(r)
	if err != nil {
		return err
	}
	var b struct {
		Events *bool `json:"events"`
	}
	if err := a.decode(w, r, &b); err != nil {
		return err
	}
	if b.Events == nil {
		return push.Errorf(push.CodeInvalidField, "events: is missing; it is all that can be set")
	}
	g, err := a.deps.Groups.SetEvents(r.Context(), rm, name, *b.Events)
	if err != nil {
		return err
	}
	return a.answer(w, r, http.StatusOK, groupOf(g))
}

func (a *api) joinGroup(w http.ResponseWriter, r *http.Request) error {
	return a.changeMember(w, r, a.deps.Groups.Join)
}

func (a *api) leaveGroup(w http.ResponseWriter, r *http.Request) error {
	return a.changeMember(w, r, a.deps.Groups.Leave)
}

type memberChange func(ctx context.Context, realm, group, client string) (push.Group, error)

func (a *api) changeMember(w http.ResponseWriter, r *http.Request, change memberChange) error {
	rm, name, err := groupParam(r)
	if err != nil {
		return err
	}
	client, err := nameParam(r, "id")
	if err != nil {
		return err
	}
	g, err := change(r.Context(), rm, name, client)
	if err != nil {
		return err
	}
	return a.answer(w, r, http.StatusOK, groupOf(g))
}
