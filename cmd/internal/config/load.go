package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
)

// maxFile bounds the configuration file, in bytes.
const maxFile = 1 << 20

// Sources are where a configuration is read from, weakest first.
type Sources struct {
	Base    Config            // the defaults
	File    string            // YAML; empty: none
	Environ []string          // as os.Environ gives it
	Flags   map[string]string // by key, those that were set
}

// Loaded is a configuration with the origin of each value.
type Loaded struct {
	Config   Config
	Warnings []string // variables that look like ours and are not
	origins  map[string]string
}

// Origin says where the key's value comes from: "default", "file PATH", "env
// SUNZI_…" or "flag".
func (l Loaded) Origin(key string) string {
	if o, ok := l.origins[key]; ok {
		return o
	}
	return "default"
}

// Load reads the sources and checks the result. The error joins all problems,
// each naming its key and the remedy.
func Load(s Sources) (Loaded, error) {
	l := Loaded{Config: s.Base, origins: map[string]string{}}
	layers, problems := l.layers(s)
	for _, layer := range layers {
		problems = append(problems, l.apply(layer)...)
	}
	if len(problems) == 0 {
		return l, l.Config.Validate()
	}
	return l, errors.Join(problems...)
}

// layer is one source with what it says.
type layer struct {
	values *koanf.Koanf
	origin func(Field) string
}

func (l *Loaded) layers(s Sources) (layers []layer, problems []error) {
	if s.File != "" {
		ko, err := readFile(s.File)
		if err != nil {
			return nil, []error{err}
		}
		layers = append(layers, layer{ko, func(Field) string { return "file " + s.File }})
	}
	ko := koanf.New(".")
	err := ko.Load(env.Provider(".", env.Opt{
		Prefix:      Prefix,
		EnvironFunc: func() []string { return s.Environ },
		TransformFunc: func(name, value string) (string, any) {
			f, ok := fieldBy(func(f Field) bool { return f.Env == name })
			if !ok {
				l.warn(name)
				return "", nil
			}
			return f.Key, listOr(f, value)
		},
	}), nil)
	if err != nil {
		problems = append(problems, fmt.Errorf("the environment can't be read: %w", err))
	}
	layers = append(layers, layer{ko, func(f Field) string { return "env " + f.Env }})

	flags := map[string]any{}
	for key, value := range s.Flags {
		f, _ := fieldBy(func(f Field) bool { return f.Key == key })
		flags[key] = listOr(f, value)
	}
	ko = koanf.New(".")
	if err := ko.Load(confmap.Provider(flags, "."), nil); err != nil {
		problems = append(problems, fmt.Errorf("the flags can't be read: %w", err))
	}
	return append(layers, layer{ko, func(Field) string { return "flag" }}), problems
}

// notOurs are variables of the prefix that other parts of the tool read.
var notOurs = []string{"SUNZI_URL", "SUNZI_KEY", "SUNZI_TOKEN", "SUNZI_BIN", "SUNZI_CONFIG"}

func (l *Loaded) warn(name string) {
	if !slices.Contains(notOurs, name) {
		l.Warnings = append(l.Warnings, fmt.Sprintf("the variable %s is no key of the configuration and is ignored", name))
	}
}

// listOr splits text at commas where the field is a list.
func listOr(f Field, text string) any {
	if f.typ == nil || !f.isList() {
		return text
	}
	list := []string{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func readFile(path string) (*koanf.Koanf, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the configuration file can't be read: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("the configuration file can't be read: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("the configuration file %s is larger than 1 MiB", path)
	}
	m, err := yaml.Parser().Unmarshal(b)
	if err != nil {
		return nil, fmt.Errorf("the configuration file %s is no valid YAML: %w", path, err)
	}
	ko := koanf.New(".")
	if err := ko.Load(confmap.Provider(m, "."), nil); err != nil {
		return nil, fmt.Errorf("the configuration file %s can't be read: %w", path, err)
	}
	return ko, nil
}

// apply sets what the layer says and answers its problems.
func (l *Loaded) apply(from layer) (problems []error) {
	keys := from.values.Keys()
	slices.Sort(keys)
	for _, key := range keys {
		f, ok := fieldBy(func(f Field) bool { return f.Key == key })
		switch {
		case !ok && from.values.Get(key) == nil && isSection(key): // "hub:" with nothing in it
		case !ok:
			problems = append(problems, unknownKey(key))
		default:
			if err := f.set(&l.Config, from.values); err != nil {
				problems = append(problems, fmt.Errorf("%s (%s): %w", key, from.origin(f), err))
				continue
			}
			l.origins[key] = from.origin(f)
		}
	}
	return problems
}

// set decodes the key's value of ko into c.
func (f Field) set(c *Config, ko *koanf.Koanf) error {
	raw := ko.Get(f.Key)
	if raw == nil {
		return errors.New("has no value; leave the key out, or write \"\" for none")
	}
	if f.typ == reflect.TypeFor[time.Duration]() {
		// A bare number would be read as nanoseconds.
		if text := fmt.Sprint(raw); strings.Trim(text, "0123456789.") == "" && text != "0" {
			return fmt.Errorf("%s has no unit; write 90s, 5m, 12h or 7d", text)
		}
	}
	if _, ok := raw.(string); !ok && f.typ == reflect.TypeFor[Secret]() {
		return errors.New("is no text; put it in quotes, or YAML changes it")
	}
	if b, ok := raw.(bool); ok && f.typ.Kind() == reflect.String { // the decoder makes a number of it
		f.value(c).SetString(strconv.FormatBool(b))
		return nil
	}
	if t, ok := raw.(time.Time); ok && f.typ == reflect.TypeFor[time.Time]() { // YAML has times of its own
		f.value(c).Set(reflect.ValueOf(t))
		return nil
	}
	// Into a new value: the decoder writes into a list that is there, which is
	// the base's as well.
	v := reflect.New(f.typ)
	if err := ko.Unmarshal(f.Key, v.Interface()); err != nil {
		if f.typ == reflect.TypeFor[Secret]() {
			return errors.New("is no text")
		}
		return fmt.Errorf("%q is not %s", fmt.Sprint(raw), kind(f.typ))
	}
	f.value(c).Set(v.Elem())
	return nil
}

// kind names what a value must be, for people.
func kind(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration, as in 90s, 5m, 12h or 7d"
	case reflect.TypeFor[time.Time]():
		return "a time, as in 2026-01-01T00:00:00Z"
	case reflect.TypeFor[Bytes]():
		return "a number of bytes, as in 65536, 64KiB or 1MiB"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	default:
		return "text"
	}
}

func isSection(key string) bool {
	_, ok := fieldBy(func(f Field) bool { return strings.HasPrefix(f.Key, key+".") })
	return ok
}

// unknownKey names the key, and the one that was probably meant.
func unknownKey(key string) error {
	if isSection(key) {
		return fmt.Errorf("%s: is a section, not a value; write its keys below it", key)
	}
	best, at := "", 4
	for _, f := range fields {
		if len(key) > len(f.Key)+at {
			continue // no typing error is that long
		}
		if d := distance(key, f.Key); d < at {
			best, at = f.Key, d
		}
	}
	if best != "" {
		return fmt.Errorf("%s: there is no such key; did you mean %s?", key, best)
	}
	return fmt.Errorf("%s: there is no such key; sunzi config show --docs lists all", key)
}

// distance is how many letters must change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
