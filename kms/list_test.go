package kms_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms"
	"ssegw/kms/kmstest"
)

func TestList(t *testing.T) {
	t.Parallel()
	names := []string{"My-key", "_x", "a", "a-", "a--b", "a-b", "a1", "mykey", "mykey-2", "mykey2", "other"}
	names[3] = "a0"
	for i := range 30 {
		names = append(names, fmt.Sprintf("tenant-%02d-x", i), fmt.Sprintf("u-%02d--%c", i/5, 'a'+i%26))
	}
	names = append(names, "t", "tenant", "u")
	for _, pageSize := range []int{1, 3, 7, 1024} {
		server := kmstest.NewServer(t, kmstest.WithKeys(names...), kmstest.WithPageSize(pageSize))
		client := newClient(t, server.Config())
		for _, prefix := range []string{
			"", "a", "a-", "a--", "my", "mykey", "mykey-", "M", "_", "_x", "t", "tenant-", "tenant-1", "u-0", "u-03--", "nothing", "Z-",
			"_-", "-", "-a", strings.Repeat("k", 81),
		} {
			want := slices.DeleteFunc(append(slices.Clone(names), kmstest.DefaultKey), func(s string) bool {
				return !strings.HasPrefix(s, prefix)
			})
			slices.Sort(want)
			got, err := client.List(t.Context(), prefix)
			if err != nil {
				t.Errorf("page size %d, prefix %q: %v", pageSize, prefix, err)
				continue
			}
			if len(want) == 0 && len(got) == 0 {
				continue
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("page size %d, prefix %q (-want +got):\n%s", pageSize, prefix, diff)
			}
		}
	}
}

func TestListOfOnePageIsOneRequest(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t, kmstest.WithKeys("a", "b"))
	client := newClient(t, server.Config())
	if _, err := client.List(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[kmstest.Op]int{kmstest.OpList: 1}, server.AllRequests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestListRefuses(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	client := newClient(t, server.Config())
	for _, prefix := range []string{"*", "my*", "a/b", "a b", "ü", "..", "a?b"} {
		if got, err := client.List(t.Context(), prefix); !errors.Is(err, kms.ErrInvalidKeyName) {
			t.Errorf("%q: got %q and %v, want ErrInvalidKeyName", prefix, got, err)
		}
	}
	if n := server.Requests(kmstest.OpList); n != 0 {
		t.Errorf("%d requests, want 0", n)
	}
	for _, body := range []string{
		`{"names":["a"],"continue_at":"a"`,
		`{"names":{}}`,
		`["a"]`,
	} {
		server.SetFault(kmstest.Fault{Body: []byte(body)})
		if got, err := client.List(t.Context(), ""); !errors.Is(err, kms.ErrBadAnswer) {
			t.Errorf("%s: got %q and %v, want ErrBadAnswer", body, got, err)
		}
	}
	server.SetFault(kmstest.Fault{Body: []byte(`{"names":["b"],"continue_at":"b"}`)})
	for _, prefix := range []string{"a", "b", "bb"} {
		if got, err := client.List(t.Context(), prefix); !errors.Is(err, kms.ErrBadAnswer) {
			t.Errorf("%s: got %q and %v, want ErrBadAnswer", prefix, got, err)
		}
	}
	server.SetFault(kmstest.Fault{Body: []byte(`{"names":[],"continue_at":"` + strings.Repeat("-", 81) + `"}`)})
	if got, err := client.List(t.Context(), ""); !errors.Is(err, kms.ErrBadAnswer) {
		t.Errorf("a listing that goes on where no name is: got %q and %v, want ErrBadAnswer", got, err)
	}
	server.SetFault(kmstest.Fault{Status: 403, Message: "not authorized: insufficient permissions"})
	if _, err := client.List(t.Context(), ""); !errors.Is(err, kms.ErrNotAllowed) {
		t.Errorf("got %v, want ErrNotAllowed", err)
	}
}
