package kms_test

import (
	"errors"
	"strings"
	"testing"

	"ssegw/kms"
)

func TestValidKeyName(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("k", kms.MaxKeyNameLen)
	for _, name := range []string{"k", "0", "my-key", "my_key", "_k", "k_", "A-Z-0-9", "a--b", longest} {
		if err := kms.ValidKeyName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "_", "__", "-", "-k", "k-", "my.key", "my/key", "my key", "my:key", "k*", "k\n", "kü", "k\x00", longest + "k",
		"arn:aws:kms:k",
	} {
		if err := kms.ValidKeyName(name); !errors.Is(err, kms.ErrInvalidKeyName) {
			t.Errorf("%q: got %v, want ErrInvalidKeyName", name, err)
		}
	}
}
