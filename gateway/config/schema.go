package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"
)

// schema is the list of settings that exist, read once from the fields of Config: a field's koanf tag
// is its name, its min, max, oneof and auto tags its bounds. There is no second list to forget.
type schema struct {
	root     *block
	settings []*setting // in the order of the fields
}

// block is a level of the file: the top, a section, or the inside of a labelled block, which stands at the top or in a
// section.
type block struct {
	name     string // its path: "" at the top, "ledger", "ledger.witness"
	word     string // how it is written: "witness"
	labelled bool   // server "name" { }
	settings map[string]*setting
	blocks   map[string]*block
	index    []int        // field below Config
	elem     reflect.Type // of a labelled block: what each one decodes into
}

// setting is one field.
type setting struct {
	section  string // "" at the top
	labelled bool
	name     string
	index    []int // below Config, or below the element of a labelled block
	kind     kind
	min, max string
	oneof    []string
	auto     bool // the text "auto" stands for the zero value, which settle fills in
}

func newSchema() *schema {
	s := &schema{root: &block{settings: map[string]*setting{}, blocks: map[string]*block{}}}
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("koanf")
		switch {
		case name == "-":
		case f.Type.Kind() == reflect.Struct:
			s.addBlock(s.root, &block{name: name, word: name, index: []int{i}}, f.Type, []int{i})
		case f.Type.Kind() == reflect.Map:
			s.addBlock(s.root, &block{name: name, word: name, index: []int{i}, labelled: true, elem: f.Type.Elem()}, f.Type.Elem(), nil)
		default:
			s.add(s.root, newSetting(s.root, f, []int{i}))
		}
	}
	return s
}

func (s *schema) addBlock(parent, b *block, t reflect.Type, index []int) {
	b.settings, b.blocks = map[string]*setting{}, map[string]*block{}
	parent.blocks[b.word] = b
	for i := range t.NumField() {
		f := t.Field(i)
		name, at := f.Tag.Get("koanf"), append(slices.Clone(index), i)
		switch {
		case name == "-":
		case f.Type.Kind() == reflect.Map && !b.labelled:
			s.addBlock(b, &block{name: b.name + "." + name, word: name, index: at, labelled: true, elem: f.Type.Elem()}, f.Type.Elem(), nil)
		default:
			s.add(b, newSetting(b, f, at))
		}
	}
}

// groups lists the labelled blocks of the top and of the sections, in the order of their paths.
func (s *schema) groups() []*block {
	all := map[string]*block{}
	for _, b := range s.root.blocks {
		for _, sub := range b.blocks {
			all[sub.name] = sub
		}
		if b.labelled {
			all[b.name] = b
		}
	}
	list := make([]*block, 0, len(all))
	for _, name := range keys(all) {
		list = append(list, all[name])
	}
	return list
}

func (s *schema) add(b *block, set *setting) {
	b.settings[set.name] = set
	s.settings = append(s.settings, set)
}

func newSetting(b *block, f reflect.StructField, index []int) *setting {
	k, ok := kindOf(f.Type)
	if !ok {
		panic("config: field " + f.Name + " has a type no setting can have") // a slip in sections.go, met by every test
	}
	set := &setting{section: b.name, labelled: b.labelled, name: f.Tag.Get("koanf"), index: index, kind: k,
		min: f.Tag.Get("min"), max: f.Tag.Get("max"), auto: f.Tag.Get("auto") == "true"}
	if one := f.Tag.Get("oneof"); one != "" {
		set.oneof = strings.Split(one, ",")
	}
	return set
}

// label names the setting in an error: "sync in ledger".
func (s *setting) label() string {
	if s.section == "" {
		return s.name
	}
	return s.name + " in " + s.section
}

// path is the setting's key in the merged settings; label is used for labelled blocks only.
func (s *setting) path(label string) string {
	switch {
	case s.section == "":
		return s.name
	case s.labelled:
		return s.section + "." + label + "." + s.name
	default:
		return s.section + "." + s.name
	}
}

// find returns the setting at a path such as "ledger.sync" or "server.files.url".
func (s *schema) find(path string) (*setting, error) {
	parts := strings.Split(path, ".")
	if len(parts) == 1 {
		if _, ok := s.root.blocks[parts[0]]; ok {
			return nil, fmt.Errorf("%q is a section, name one of its settings", parts[0])
		}
		return s.setting(s.root, parts[0])
	}
	b, ok := s.root.blocks[parts[0]]
	if !ok {
		return nil, s.unknownBlock(parts[0])
	}
	rest := parts[1:]
	if sub := b.blocks[rest[0]]; sub != nil && len(rest) > 1 {
		b, rest = sub, rest[1:]
	}
	if !b.labelled && len(rest) == 1 {
		return s.setting(b, rest[0])
	}
	if !b.labelled || len(rest) != 2 {
		return nil, fmt.Errorf("there is no setting %q: sections are one level deep, %s blocks carry a name", path, labelledNames(s))
	}
	if err := checkLabel(b.word, rest[0]); err != nil {
		return nil, err
	}
	return s.setting(b, rest[1])
}

func (s *schema) setting(b *block, name string) (*setting, error) {
	if set, ok := b.settings[name]; ok {
		return set, nil
	}
	return nil, s.unknownSetting(b, name)
}

// unknownSetting is the error for a name that is no setting of b, with the likeliest one meant.
func (s *schema) unknownSetting(b *block, name string) error {
	text := fmt.Sprintf("unknown setting %q", name)
	if b.name != "" {
		text += " in " + b.name
	}
	if c := closest(name, keys(b.settings)); c != "" {
		return fmt.Errorf("%s; did you mean %q?", text, c)
	}
	if _, ok := s.root.blocks[name]; ok && b.name == "" {
		return fmt.Errorf("%s; %s is a section: write %s { ... }", text, name, name)
	}
	if sub := b.blocks[name]; sub != nil && sub.labelled && b.name != "" {
		return fmt.Errorf("%s; %s is a block: write %s \"name\" { ... }", text, name, name)
	}
	for _, set := range s.settings {
		if set.name == name && set.section != b.name {
			if set.section == "" {
				return fmt.Errorf("%s; %q stands at the top of the file", text, name)
			}
			return fmt.Errorf("%s; %q stands in %s", text, name, set.section)
		}
	}
	if c := closest(name, keys(s.root.blocks)); c != "" && b.name == "" {
		return fmt.Errorf("%s; did you mean the section %q?", text, c)
	}
	return errors.New(text)
}

func (s *schema) unknownBlock(name string) error {
	text := fmt.Sprintf("unknown section %q", name)
	if c := closest(name, keys(s.root.blocks)); c != "" {
		return fmt.Errorf("%s; did you mean %q?", text, c)
	}
	if _, ok := s.root.settings[name]; ok {
		return fmt.Errorf("%s; %s is a setting: write %s = VALUE", text, name, name)
	}
	return errors.New(text)
}

// strayBlock is the error for a block that does not belong into b.
func (s *schema) strayBlock(b *block, word string) error {
	if b.name == "" {
		return s.unknownBlock(word)
	}
	if _, ok := b.settings[word]; ok {
		return fmt.Errorf("%s in %s is a setting: write %s = VALUE", word, b.name, word)
	}
	if _, ok := s.root.blocks[word]; ok {
		return fmt.Errorf("%s stands at the top of the file, not in %s", word, b.name)
	}
	if len(b.blocks) > 0 {
		return fmt.Errorf("unknown section %q in %s: it has settings and %s blocks", word, b.name, strings.Join(keys(b.blocks), ", "))
	}
	return fmt.Errorf("unknown section %q in %s: it has only settings", word, b.name)
}

// decode copies the merged settings over the defaults.
func (s *schema) decode(k *koanf.Koanf) Config {
	c := unsettled()
	root := reflect.ValueOf(&c).Elem()
	for _, set := range s.settings {
		if path := set.path(""); !set.labelled && k.Exists(path) {
			assign(root.FieldByIndex(set.index), k.Get(path))
		}
	}
	for _, b := range s.groups() {
		field := root.FieldByIndex(b.index)
		m := reflect.MakeMap(field.Type())
		for _, label := range k.MapKeys(b.name) {
			elem := reflect.New(b.elem).Elem()
			elem.Set(defaultElement(b.elem))
			for _, set := range b.settings {
				if path := set.path(label); k.Exists(path) {
					assign(elem.FieldByIndex(set.index), k.Get(path))
				}
			}
			m.SetMapIndex(reflect.ValueOf(label), elem)
		}
		if m.Len() > 0 {
			field.Set(m)
		}
	}
	return c
}

// assign sets a field to a value one of the layers has already brought to the field's type.
func assign(field reflect.Value, v any) {
	if list, ok := v.([]string); ok {
		field.Set(reflect.ValueOf(slices.Clone(list)))
		return
	}
	field.Set(reflect.ValueOf(v).Convert(field.Type()))
}

// checkLabel refuses names of labelled blocks that could not be a part of a route, a tool name or a
// setting's path.
func checkLabel(block, label string) error {
	ok := label != "" && len(label) <= 63 && label[0] != '-'
	for _, c := range []byte(label) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%s name %q: want 1 to 63 of a-z, 0-9 and -, not starting with -", block, label)
	}
	return nil
}

func labelledNames(s *schema) string {
	var names []string
	for _, n := range keys(s.root.blocks) {
		if s.root.blocks[n].labelled {
			names = append(names, n)
		}
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// keys returns the sorted keys of a map, so that the same mistake always gets the same suggestion.
func keys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}
