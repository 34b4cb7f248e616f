package config

import (
	"fmt"
	"strings"
)

// Table returns the settings as a Markdown table with the columns variable,
// meaning and default, in the order of Config's fields. It stands in README.md
// between the markers <!-- config:begin --> and <!-- config:end -->.
func Table() string {
	var b strings.Builder
	b.WriteString("| variable | meaning | default |\n|---|---|---|\n")
	for _, s := range settings {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", s.nameCell(), s.meaningCell(), s.defaultCell())
	}
	return b.String()
}

// nameCell shows all variables that set s.
func (s setting) nameCell() string {
	names := s.variables()
	for i, name := range names {
		names[i] = code(name)
	}
	return strings.Join(names, "<br>")
}

// meaningCell shows the meaning of s and its values.
func (s setting) meaningCell() string {
	text := s.doc
	if s.values != nil {
		values := make([]string, len(s.values))
		for i, v := range s.values {
			values[i] = code(v)
		}
		text += " One of " + strings.Join(values, ", ") + "."
	}
	return strings.ReplaceAll(text, "|", `\|`)
}

// defaultCell shows the default of s, or that it must be set.
func (s setting) defaultCell() string {
	if s.required {
		return "required"
	}
	if s.def == "" {
		return "none"
	}
	return code(s.def)
}

// code marks text as code.
func code(text string) string { return "`" + text + "`" }
