package api

import (
	_ "embed"
	"net/http"
)

// Description is openapi.yaml: the contract of this package, which its tests
// hold it to.
//
//go:embed openapi.yaml
var Description []byte

func (a *api) description(w http.ResponseWriter, _ *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "application/yaml")
	h.Set("Cache-Control", "public, max-age=300")
	_, err := w.Write(Description)
	return err
}
