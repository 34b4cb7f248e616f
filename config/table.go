package config

import (
	"fmt"
	"strings"
)

// Tables returns all settings as Markdown tables with the columns variable,
// meaning and default, in the order of Config's fields. Each group of settings
// is one table below a heading of level 2. docs/CONFIGURATION.md holds the
// result.
func Tables() string {
	var b strings.Builder
	for _, s := range settings {
		if s.group != "" {
			fmt.Fprintf(&b, "\n## %s\n\n%s", s.group, tableHead)
		}
		b.WriteString(s.row(s.variables()))
	}
	return b.String() + "\n"
}

// CommonTable returns the settings that most people need as one table, each
// under its canonical name. README.md holds the result.
func CommonTable() string {
	var b strings.Builder
	b.WriteString(tableHead)
	for _, s := range settings {
		if s.common {
			b.WriteString(s.row([]string{s.name}))
		}
	}
	return b.String()
}

const tableHead = "| variable | meaning | default |\n|---|---|---|\n"

// row returns the row of s. Its first cell lists names.
func (s setting) row(names []string) string {
	return fmt.Sprintf("| %s | %s | %s |\n", codeList(names, "<br>"), s.meaningCell(), s.defaultCell())
}

// meaningCell returns the meaning of s and its allowed values.
func (s setting) meaningCell() string {
	text := s.doc
	if s.values != nil {
		text += " One of " + codeList(s.values, ", ") + "."
	}
	return strings.ReplaceAll(text, "|", `\|`)
}

// defaultCell returns the default of s, or "required".
func (s setting) defaultCell() string {
	if s.required {
		return "required"
	}
	if s.def == "" {
		return "none"
	}
	return code(s.def)
}

// codeList marks each item as code and joins them with separator.
func codeList(items []string, separator string) string {
	marked := make([]string, len(items))
	for i, item := range items {
		marked[i] = code(item)
	}
	return strings.Join(marked, separator)
}

// code marks text as code.
func code(text string) string { return "`" + text + "`" }
