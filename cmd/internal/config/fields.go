package config

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Field is one key of the configuration.
type Field struct {
	Key   string // dotted, as in hub.heartbeat
	Env   string // the variable: SUNZI_HUB_HEARTBEAT
	Doc   string
	index []int
	typ   reflect.Type
}

// Prefix is in front of every variable of the environment.
const Prefix = "SUNZI_"

// fields is the table of all keys, in the order of the struct.
var fields = fieldsOf(reflect.TypeFor[Config](), "", nil)

// Fields is the table of all keys. The slice is a copy.
func Fields() []Field { return append([]Field(nil), fields...) }

func fieldsOf(t reflect.Type, prefix string, index []int) (all []Field) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, ok := f.Tag.Lookup("koanf")
		if !ok {
			continue
		}
		key, at := prefix+name, slices.Concat(index, []int{i})
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]() {
			all = append(all, fieldsOf(f.Type, key+".", at)...)
			continue
		}
		all = append(all, Field{
			Key: key, Env: Prefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_")),
			Doc: f.Tag.Get("doc"), index: at, typ: f.Type,
		})
	}
	return all
}

func fieldBy(match func(Field) bool) (Field, bool) {
	for _, f := range fields {
		if match(f) {
			return f, true
		}
	}
	return Field{}, false
}

func (f Field) isList() bool { return f.typ.Kind() == reflect.Slice }

// value is the field's place in c.
func (f Field) value(c *Config) reflect.Value { return reflect.ValueOf(c).Elem().FieldByIndex(f.index) }

// Text is the field's value in c as YAML, a secret masked.
func (f Field) Text(c Config) string {
	switch v := f.value(&c).Interface().(type) {
	case time.Duration:
		return duration(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case Bytes:
		return v.String()
	case []string:
		if len(v) == 0 {
			return "[]"
		}
		return quote(v)
	case string:
		return quote(v)
	case Secret:
		return quote(v.String())
	default:
		return fmt.Sprint(v)
	}
}

// quote writes JSON, which is YAML.
func quote(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // strings and lists of them always marshal
		panic("config: " + err.Error())
	}
	return string(b)
}

// Details is what [Write] writes beside keys and values.
type Details uint8

// Details that can be written.
const (
	WithOrigins Details = iota // where each value comes from
	WithDocs                   // what each key means: a file to start from
)

// Write writes the effective configuration as YAML that [Load] reads, secrets
// apart.
func Write(w io.Writer, l Loaded, details Details) error {
	var b strings.Builder
	section := ""
	for _, f := range fields {
		sec, name, nested := strings.Cut(f.Key, ".")
		indent := ""
		if !nested {
			sec, name = "", f.Key
		} else {
			indent = "  "
		}
		if sec != section {
			section = sec
			fmt.Fprintf(&b, "\n%s:\n", sec)
		}
		line := fmt.Sprintf("%s%s: %s", indent, name, f.Text(l.Config))
		if details == WithDocs {
			for _, text := range wrap(f.Doc, 76-len(indent)) {
				fmt.Fprintf(&b, "%s# %s\n", indent, text)
			}
			fmt.Fprintf(&b, "%s# (%s)\n%s\n", indent, f.Env, line)
			continue
		}
		fmt.Fprintf(&b, "%-46s # %s\n", line, l.Origin(f.Key))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap breaks text into lines of at most width characters, words whole.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
