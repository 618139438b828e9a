package store

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestSettingsThatLosePushesAreNamedWithTheirRemedy(t *testing.T) {
	var log bytes.Buffer
	cfg := Config{DSN: server.dsn(t), Log: slog.New(slog.NewTextHandler(&log, nil))}
	found, err := Durability(t.Context(), cfg)
	if err != nil || len(found) != 0 {
		t.Fatalf("of a durable database %q, %v", found, err)
	}
	set := func(value string) {
		t.Helper()
		if _, err := server.get(t).Exec(contextOf(t), "", "SET GLOBAL innodb_flush_log_at_trx_commit = "+value); err != nil {
			t.Fatal(err)
		}
	}
	set("2")
	defer set("1")
	found, err = Durability(t.Context(), cfg)
	if err != nil || len(found) != 1 || !strings.Contains(found[0], "innodb_flush_log_at_trx_commit is 2") || !strings.Contains(found[0], "set it to 1") {
		t.Fatalf("of one that flushes each second %q, %v", found, err)
	}
	openMore(t, cfg)
	if !strings.Contains(log.String(), "innodb_flush_log_at_trx_commit is 2") {
		t.Fatalf("Open logs %q", log.String())
	}
}

func TestAFileThatIsNotFlushedIsNamed(t *testing.T) {
	cfg := Config{Path: t.TempDir() + "/sunzi.db", Sync: SyncNormal}
	if found, err := Durability(t.Context(), cfg); err != nil || len(found) != 1 {
		t.Fatalf("of sync=normal %q, %v", found, err)
	}
}
