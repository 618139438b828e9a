package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/store"
)

// storeFile compares the schema with what this binary knows.
func storeFile(ctx context.Context, c *config.Config) Finding {
	path := c.StorePath()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return good("%s is not there yet; the server makes it", path)
	} else if err != nil {
		return Finding{Grade: Bad, Text: err.Error(), Remedy: "give the user that runs the server the right to read and write it"}
	}
	have, known, err := store.Version(ctx, store.Config{Path: path, Limits: c.PushConfig()})
	switch {
	case err != nil:
		return Finding{Grade: Bad, Text: err.Error(), Remedy: "restore a backup, or move the file away to start empty"}
	case have > known:
		return Finding{Grade: Bad, Text: fmt.Sprintf("the schema is at version %d, this binary knows %d", have, known), Remedy: "run a newer sunzi"}
	case have < known:
		return Finding{Grade: Doubt, Text: fmt.Sprintf("the schema is at version %d, this binary's is %d", have, known), Remedy: "nothing, or ahead of the start: sunzi migrate"}
	}
	return good("the schema is at version %d, up to date", have)
}

// durability looks whether an answered push is on the disk.
func durability(_ context.Context, c *config.Config) Finding {
	if c.Store.Sync != string(store.SyncFull) {
		return Finding{Grade: Doubt, Text: "store.sync is " + c.Store.Sync + ": a power cut may lose pushes that were answered", Remedy: "store.sync: full"}
	}
	return good("each commit is flushed before it is answered")
}
