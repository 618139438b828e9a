package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/crt"
	"github.com/sunzi-push/sunzi/crt/residue"
)

func inspectCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "inspect FRAME",
		Short: "Explain a sealed frame, and open it with a client's keys",
		Long: `Explain a sealed frame (crt/SPEC.md): its header, its sizes, whose it is. FRAME is
in hex or base64; - reads it from standard input, as bytes or as text. With --keys
it is opened: a JSON file with keys and channels as crt/testdata/vectors has them.
Nothing is sent anywhere. Keys are secrets: keep that file to yourself.`,
		Example: "  sunzi inspect 43420101…\n  sunzi inspect - --keys keys.json < frame.bin",
		Args:    takes("one FRAME", cobra.ExactArgs(1)),
	}
	keys := c.Flags().String("keys", "", "JSON file with the client's keys")
	c.RunE = func(c *cobra.Command, args []string) error {
		b, err := readFrame(args[0], c.InOrStdin())
		if err != nil {
			return err
		}
		if err := explainFrame(c.OutOrStdout(), b); err != nil || *keys == "" {
			return err
		}
		ring, err := readRing(*keys)
		if err != nil {
			return err
		}
		return openFrame(c.OutOrStdout(), ring, b)
	}
	return c
}

// readFrame takes bytes, hex, or base64.
func readFrame(arg string, in io.Reader) ([]byte, error) {
	text := []byte(arg)
	if arg == "-" {
		var err error
		if text, err = io.ReadAll(io.LimitReader(in, 2*(crt.MaxX+crt.MaxBody))); err != nil {
			return nil, err
		}
		if _, f := crt.CutPrefix(text); len(f) > 2 && f[0] == 'C' && f[1] == 'B' {
			return text, nil
		}
	}
	clean := strings.Join(strings.Fields(string(text)), "")
	if b, err := hex.DecodeString(clean); err == nil {
		return b, nil
	}
	b, err := crt.DecodeText([]byte(clean))
	if err != nil {
		return nil, errors.New("this is neither hex nor base64")
	}
	return b, nil
}

func explainFrame(out io.Writer, b []byte) error {
	seq, frame := crt.CutPrefix(b)
	f, err := crt.ParseFrame(frame)
	if err != nil {
		return err
	}
	var rows [][2]string
	row := func(name, format string, args ...any) {
		rows = append(rows, [2]string{name, fmt.Sprintf(format, args...)})
	}
	row("mode", "%v", f.Mode)
	if seq > 0 {
		row("sequence", "%d (in the prefix)", seq)
	}
	switch f.Mode {
	case crt.Channel:
		row("channel", "%d", f.Shard)
		row("epoch", "%d", f.Period)
	case crt.Session:
		row("generation", "%d", f.Period)
	case crt.Down, crt.Up:
		row("key period", "%d", f.Period)
	default:
		row("shard", "%d", f.Shard)
		row("key period", "%d", f.Period)
	}
	if f.Mode == crt.Up || f.Mode == crt.Session {
		row("sender", "%x", f.Sealer)
	} else {
		row("sealer", "%x", f.Sealer)
	}
	row("batch", "%d, lane %d", f.Batch, f.Lane)
	if n := f.XSize(); n > 0 {
		row("x", "%d bytes: %d slots of %d bits", n, f.Slots, 8*int(f.SlotBytes))
	}
	row("body", "%d bytes, SHA-256 %x", f.BodyLen, f.BodyHash[:8])
	row("total", "%d bytes", len(b))
	for _, r := range rows {
		if _, err := fmt.Fprintf(out, "%-11s %s\n", r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

// ringFile is what --keys reads, as in crt/testdata/vectors.
type ringFile struct {
	Keys []struct {
		Who                string
		Generation, Period uint32
		Chain              string
		Shard              string
		Slot, Slots        int
		SlotBytes          int `json:"slot_bytes"`
		C                  string
	}
	Channels []struct {
		Channel string
		Epoch   uint32
		Name    string
		Secret  string
	}
}

const maxRingFile = 1 << 20

func readRing(path string) (*crt.Ring, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	var r ringFile
	if err := json.NewDecoder(io.LimitReader(f, maxRingFile)).Decode(&r); err != nil {
		return nil, fmt.Errorf("%s is no valid JSON", path)
	}
	ring := new(crt.Ring)
	for i := len(r.Keys) - 1; i >= 0; i-- {
		k := &r.Keys[i]
		who, chain, c := unhexed(k.Who), unhexed(k.Chain), unhexed(k.C)
		shard, err := strconv.ParseUint(k.Shard, 10, 64)
		if err != nil || len(who) != len(crt.Who{}) || len(chain) != crt.KeySize {
			return nil, fmt.Errorf("%s: keys[%d] is not complete", path, i)
		}
		g := crt.Grant{Generation: k.Generation, Period: k.Period, Shard: shard, Slot: k.Slot, Slots: k.Slots}
		if len(c) > 0 {
			if g.Modulus, err = residue.NewModulus(8*k.SlotBytes, c); err != nil {
				return nil, fmt.Errorf("%s: keys[%d]: %w", path, i, err)
			}
		}
		ring.Add(crt.RestoreKeys(crt.Who(who), g, crt.Chain{Period: k.Period, Key: [crt.KeySize]byte(chain)}))
	}
	for i, k := range r.Channels {
		id, err := strconv.ParseUint(k.Channel, 10, 64)
		secret := unhexed(k.Secret)
		if err != nil || len(secret) != crt.KeySize {
			return nil, fmt.Errorf("%s: channels[%d] is not complete", path, i)
		}
		ring.AddChannel(&crt.ChannelKey{Channel: id, Epoch: k.Epoch, Name: k.Name, Secret: [crt.KeySize]byte(secret)})
	}
	return ring, nil
}

func unhexed(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

func openFrame(out io.Writer, ring *crt.Ring, b []byte) error {
	if f, err := crt.ParseFrame(b); err == nil && (f.Mode == crt.Session || f.Mode == crt.Up) {
		return errors.New("what goes on one connection is opened there, in order (crt/SPEC.md, sections 5.6 and 5.7), and not here")
	}
	o, err := ring.Open(b)
	if err != nil {
		return errors.New("these keys do not open it")
	}
	text := "a cover: nothing for this client"
	switch {
	case o.Channel != nil:
		text = fmt.Sprintf("the secret of channel %d, epoch %d, group %q", o.Channel.Channel, o.Channel.Epoch, o.Channel.Name)
	case o.Message != nil:
		text = base64.StdEncoding.EncodeToString(o.Message)
		if d, err := wire.DecodeSealed(o.Message); err == nil {
			if data, err := json.Marshal(map[string]any{"id": d.ID, "ts": d.SentMS, "topic": d.Topic, "data": d.Data, "data_base64": d.Bytes}); err == nil {
				text = string(data)
			}
		}
		text = fmt.Sprintf("at %d: %s", o.Seq, text)
	}
	_, err = fmt.Fprintf(out, "%-11s %s\n", "opened", text)
	return err
}
