package main

import (
	"slices"
	"testing"

	"ssegw/e2e/stack"
)

func TestCompare(t *testing.T) {
	exceptions := parseExceptions("text\n| test | where | reason |\n|---|---|---|\n" +
		"| `A`, `B` | all | because |\n| `C` | minio, sse-kms | only there |\n")
	if len(exceptions) != 2 {
		t.Fatalf("%+v", exceptions)
	}
	direct := results{"A": "", "B": "", "C": "", "D": "", "E": "fails", "F": ""}
	through := results{"A": "x", "B": "", "C": "x", "D": "x", "E": "", "F": ""}
	for _, tt := range []struct {
		o       options
		differs []string
	}{
		{options{store: stack.StoreVersitygw, auto: "sse-kms"}, []string{"C", "D"}},
		{options{store: stack.StoreMinIO, auto: "off"}, []string{"C", "D"}},
		{options{store: stack.StoreMinIO, auto: "sse-kms"}, []string{"D"}},
	} {
		r := compare(direct, through, exceptions, tt.o)
		if !slices.Equal(r.differs, tt.differs) || r.better != 1 || !slices.Equal(r.passing, []string{"B"}) || r.listed["A"] != "because" {
			t.Errorf("%+v: %+v", tt.o, r)
		}
	}
	// A test without a result did not pass.
	if r := compare(results{"X": ""}, results{}, nil, options{}); !slices.Equal(r.differs, []string{"X"}) {
		t.Errorf("%+v", r)
	}
}
