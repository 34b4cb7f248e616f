package kms

import "fmt"

// MaxKeyNameLen is the maximum length of a KES key name, in bytes.
const MaxKeyNameLen = 80

// ValidKeyName returns an error that wraps ErrInvalidKeyName unless name is a
// valid KES key name: 1 to MaxKeyNameLen of the characters 0-9, A-Z, a-z, '_'
// and '-', without a hyphen at either end, and not only underscores.
func ValidKeyName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidKeyName)
	case len(name) > MaxKeyNameLen:
		return fmt.Errorf("%w: it has %d characters, at most %d are allowed", ErrInvalidKeyName, len(name), MaxKeyNameLen)
	case name[0] == '-' || name[len(name)-1] == '-':
		return fmt.Errorf("%w: %q begins or ends with a hyphen", ErrInvalidKeyName, name)
	}
	underscores := 0
	for i := range len(name) {
		if !nameByte(name[i]) {
			return fmt.Errorf("%w: %q has characters other than 0-9, A-Z, a-z, '-' and '_'", ErrInvalidKeyName, name)
		}
		if name[i] == '_' {
			underscores++
		}
	}
	if underscores == len(name) {
		return fmt.Errorf("%w: %q has only underscores", ErrInvalidKeyName, name)
	}
	return nil
}

// nameByte reports whether b is allowed in KES key names.
func nameByte(b byte) bool {
	switch {
	case '0' <= b && b <= '9', 'A' <= b && b <= 'Z', 'a' <= b && b <= 'z', b == '-', b == '_':
		return true
	}
	return false
}
