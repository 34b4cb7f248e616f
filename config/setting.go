package config

import (
	"reflect"
	"strings"
)

// setting holds the tags of one field of Config.
type setting struct {
	name     string   // canonical variable
	alias    string   // other spelling; empty for most
	field    string   // name of the field in Config
	def      string   // default; empty for none
	values   []string // allowed values; nil for any
	path     string   // "file", "file or folder" or empty
	doc      string   // meaning
	group    string   // heading of the table that begins here; mostly empty
	common   bool     // listed in README.md
	required bool     // must be set and not empty
	secret   bool     // never printed
	file     bool     // may come from a file named by NAME_FILE
}

// settings lists the fields of Config in order.
var settings = readSettings(reflect.TypeFor[Config]())

// readSettings reads the tags of the fields of t.
func readSettings(t reflect.Type) []setting {
	list := make([]setting, 0, t.NumField())
	for field := range t.Fields() {
		name, option, _ := strings.Cut(field.Tag.Get("env"), ",")
		s := setting{
			name:     name,
			alias:    field.Tag.Get("alias"),
			field:    field.Name,
			def:      field.Tag.Get("envDefault"),
			path:     field.Tag.Get("path"),
			doc:      field.Tag.Get("doc"),
			group:    field.Tag.Get("group"),
			common:   field.Tag.Get("common") == "true",
			required: option == "notEmpty",
			secret:   field.Type == reflect.TypeFor[Secret](),
		}
		s.file = s.secret || field.Tag.Get("file") == "true"
		if values := field.Tag.Get("values"); values != "" {
			s.values = strings.Split(values, ",")
		}
		list = append(list, s)
	}
	return list
}

// spellings returns the variables that hold the value itself.
func (s setting) spellings() []string {
	if s.alias == "" {
		return []string{s.name}
	}
	return []string{s.name, s.alias}
}

// variables returns every variable that sets s, including the NAME_FILE ones.
func (s setting) variables() []string {
	names := s.spellings()
	if s.file {
		for _, name := range s.spellings() {
			names = append(names, name+fileSuffix)
		}
	}
	return names
}

// groupOf returns the group of a setting. It returns "" for other variables.
func groupOf(variable string) string {
	group := ""
	for _, s := range settings {
		if s.group != "" {
			group = s.group
		}
		if s.name == variable {
			return group
		}
	}
	return ""
}
