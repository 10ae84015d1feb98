// Package config turns gateway.hcl, the environment and the command line into one checked Config.
//
// Four layers, each winning over the one before: the defaults of Default, the file (gateway.hcl in the
// working directory, or the one named), variables GATEWRIGHT_CFG_*, and flags. Whatever the layer, a
// setting that does not exist, has the wrong type or unit, is given twice or lies out of range is an
// error that names its place (gateway.hcl:12:3, the variable or the flag): a setting that is silently
// ignored is a gate believed shut. The file is data, not a program: only literals are accepted.
//
// The package is the only door to koanf and HCL; the other packages have their own Config and never
// see this one: the wiring copies.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
)

const (
	// DefaultFile is read from the working directory when no file is named; it may be absent.
	DefaultFile = "gateway.hcl"
	// EnvPrefix starts the name of every variable that holds a setting: the rest is the setting's
	// path in capitals, levels separated by two underscores (GATEWRIGHT_CFG_LEDGER__SYNC).
	EnvPrefix = "GATEWRIGHT_CFG_"
	// maxFile bounds a configuration file in bytes: the shipped one, with every comment, is under
	// 40 KiB, and the parser's work and memory grow with the input.
	maxFile = 256 << 10
)

// Source says where settings are read from. The zero Source reads nothing: its Config is Default.
type Source struct {
	// File is the configuration file. Empty means none.
	File string
	// Optional makes a missing File no error (the default file of the working directory).
	Optional bool
	// Environ is the environment as os.Environ gives it; nil is an empty environment.
	Environ []string
	// Flags are settings given on the command line.
	Flags []Flag
}

// Flag is one setting from the command line.
type Flag struct {
	// Name is how the user wrote it, for errors: "--listen".
	Name string
	// Path is the setting it stands for: "proxy.listen".
	Path string
	// Value is its text, read like an environment variable's.
	Value string
}

// Problem is a setting that cannot be accepted. Its text is one line.
type Problem struct {
	// Where names the place: "gateway.hcl:12:3", "GATEWRIGHT_CFG_LEDGER__SYNC" or "--listen"; empty
	// when the setting stands at its default.
	Where string
	// Path is the setting's path, "ledger.sync"; empty when the file itself is at fault.
	Path string
	// Text says what is wrong and, where it can, what would be right.
	Text string
}

func (p *Problem) Error() string {
	if p.Where == "" {
		return p.Text
	}
	return p.Where + ": " + p.Text
}

// Load reads every layer of src and returns the checked settings. Its error is a *Problem, or says
// which file could not be read.
func Load(src Source) (Config, error) {
	var doc []byte
	if src.File != "" {
		b, err := readFile(src.File)
		switch {
		case err == nil:
			doc = b
		case src.Optional && errors.Is(err, fs.ErrNotExist):
			src.File = ""
		default:
			return Config{}, err
		}
	}
	return merge(src, doc)
}

// Parse is Load for a file already read: name is used in errors only.
func Parse(name string, doc []byte) (Config, error) {
	if len(doc) > maxFile {
		return Config{}, tooLarge(name)
	}
	return merge(Source{File: name}, doc)
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(b) > maxFile {
		return nil, tooLarge(name)
	}
	return b, nil
}

func tooLarge(name string) error {
	return &Problem{Where: name, Text: fmt.Sprintf("the file is larger than %s, the most a configuration may be", Size(maxFile))}
}

// merge lays the layers over each other in a koanf and decodes the result.
func merge(src Source, doc []byte) (Config, error) {
	s := newSchema()
	origin := map[string]string{}
	k := koanf.New(".")
	if src.File != "" {
		if err := k.Load(document(doc), &parser{name: src.File, schema: s, origin: origin}); err != nil {
			return Config{}, problemOf(err)
		}
	}
	e := &environment{schema: s, origin: origin}
	if err := k.Load(env.Provider(".", env.Opt{Prefix: EnvPrefix, TransformFunc: e.take, EnvironFunc: func() []string { return src.Environ }}), nil); err != nil {
		return Config{}, problemOf(err)
	}
	if e.err != nil {
		return Config{}, e.err
	}
	for _, f := range src.Flags {
		if err := setFlag(k, s, origin, f); err != nil {
			return Config{}, err
		}
	}
	c := s.decode(k)
	c.File = src.File
	c.settle()
	if err := c.Validate(); err != nil {
		return Config{}, placed(err, origin)
	}
	return c, nil
}

func setFlag(k *koanf.Koanf, s *schema, origin map[string]string, f Flag) error {
	set, err := s.find(f.Path)
	if err != nil {
		return &Problem{Where: f.Name, Path: f.Path, Text: err.Error()}
	}
	v, err := set.parseText(f.Value)
	if err != nil {
		return &Problem{Where: f.Name, Path: f.Path, Text: err.Error()}
	}
	origin[f.Path] = f.Name
	if err := k.Set(f.Path, v); err != nil {
		return &Problem{Where: f.Name, Path: f.Path, Text: err.Error()}
	}
	return nil
}

// placed adds to a Problem found by Validate the place where the setting was given.
func placed(err error, origin map[string]string) error {
	var p *Problem
	if errors.As(err, &p) && p.Where == "" {
		return &Problem{Where: origin[p.Path], Path: p.Path, Text: p.Text}
	}
	return err
}

// problemOf takes a Problem out of whatever koanf wrapped it in.
func problemOf(err error) error {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	return fmt.Errorf("read configuration: %w", err)
}

// document is a koanf provider over bytes already read under a bound.
type document []byte

func (d document) ReadBytes() ([]byte, error) { return d, nil }

func (d document) Read() (map[string]any, error) {
	return nil, errors.New("a document is read through its parser")
}
