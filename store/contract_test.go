package store_test

import (
	"testing"

	"github.com/sunzi-push/sunzi/push/pushtest"
	"github.com/sunzi-push/sunzi/store"
)

func TestContract(t *testing.T) { pushtest.All(t, openContract) }

func openContract(t *testing.T, o pushtest.Options) (pushtest.Store, func() pushtest.Store) {
	cfg := store.Config{Path: t.TempDir() + "/sunzi.db", Limits: o.Config, Clock: o.Now, Listener: o.Listener}
	var s *store.Store
	closeIt := func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	open := func() pushtest.Store {
		var err error
		if s, err = store.Open(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		return s
	}
	open()
	t.Cleanup(func() { closeIt() })
	return s, func() pushtest.Store {
		closeIt()
		return open()
	}
}
