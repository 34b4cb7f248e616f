package s3

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestRange(t *testing.T) {
	t.Parallel()
	const none, bad = -1, -2 // ignored, not satisfiable
	tests := []struct {
		header         string
		size           int64
		offset, length int64
	}{
		{"bytes=0-4", 10, 0, 5},
		{"bytes=5-", 10, 5, 5},
		{"bytes=9-9", 10, 9, 1},
		{"bytes=5-1000", 10, 5, 5},
		{"bytes=-3", 10, 7, 3},
		{"bytes=-30", 10, 0, 10},
		{"Bytes=1-2", 10, 1, 2},
		{"bytes=0-99999999999999999999", 10, 0, 10},
		{"bytes=-99999999999999999999", 10, 0, 10},
		{"bytes=10-", 10, bad, 0},
		{"bytes=10-20", 10, bad, 0},
		{"bytes=99999999999999999999-", 10, bad, 0},
		{"bytes=-0", 10, bad, 0},
		{"bytes=0-", 0, bad, 0},
		{"bytes=-5", 0, bad, 0},
		{"bytes=9223372036854775806-", math.MaxInt64, math.MaxInt64 - 1, 1},
		{"", 10, none, 0},
		{"bytes", 10, none, 0},
		{"bytes=", 10, none, 0},
		{"bytes=-", 10, none, 0},
		{"bytes=--1", 10, none, 0},
		{"bytes=5", 10, none, 0},
		{"bytes=5-3", 10, none, 0},
		{"bytes=+1-3", 10, none, 0},
		{"bytes=1-3,5-6", 10, none, 0},
		{"bytes=a-b", 10, none, 0},
		{"bytes=1-3x", 10, none, 0},
		{"lines=1-3", 10, none, 0},
		{"bytes =1-3", 10, none, 0},
	}
	for _, tt := range tests {
		t.Run(tt.header, func(t *testing.T) {
			r, err := ParseRange(tt.header)
			if err != nil {
				t.Fatal(err)
			}
			if (r == nil) != (tt.offset == none) {
				t.Fatalf("got %v", r)
			}
			if r == nil {
				return
			}
			offset, length, err := r.Resolve(tt.size)
			if tt.offset == bad {
				if !errors.Is(err, ErrInvalidRange) {
					t.Fatalf("got %d %d %v, want InvalidRange", offset, length, err)
				}
				return
			}
			if err != nil || offset != tt.offset || length != tt.length {
				t.Errorf("got %d %d %v, want %d %d", offset, length, err, tt.offset, tt.length)
			}
		})
	}
	if _, err := ParseRange("bytes=" + strings.Repeat("0-1,", 400)); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("long header: %v", err)
	}
}

func TestContentRange(t *testing.T) {
	t.Parallel()
	if got := ContentRange(5, 3, 10); got != "bytes 5-7/10" {
		t.Error(got)
	}
	if got := ContentRange(0, 0, 10); got != "bytes */10" {
		t.Error(got)
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-4", "bytes=-1", "bytes=5-", "bytes=99999999999999999999-", "bytes=1-2,3-4"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, s string, size int64) {
		r, err := ParseRange(s)
		if err != nil || r == nil {
			return
		}
		if again, err := ParseRange(r.String()); err != nil || again == nil || *again != *r {
			t.Fatalf("%v became %v, %v", r, again, err)
		}
		size = max(size, 0)
		offset, length, err := r.Resolve(size)
		if err != nil {
			return
		}
		if offset < 0 || length < 1 || offset > size-length {
			t.Fatalf("%s of %d: %d+%d", s, size, offset, length)
		}
		if !r.Suffix() && (offset != r.First() || offset+length-1 > r.Last()) {
			t.Fatalf("%s of %d: %d+%d outside of %d-%d", s, size, offset, length, r.First(), r.Last())
		}
	})
}
