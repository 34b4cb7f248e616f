package kms_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms"
)

func TestParseEndpoints(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     []string
	}{
		{"one", "https://kes:7373", []string{"https://kes:7373"}},
		{"no port", "https://kes", []string{"https://kes"}},
		{"final slash", "https://kes:7373/", []string{"https://kes:7373"}},
		{"spaces and empty items", " https://a:1 ,, https://b:2,", []string{"https://a:1", "https://b:2"}},
		{"twice", "https://a:1,https://b:2,https://a:1", []string{"https://a:1", "https://b:2"}},
		{"IPv6", "https://[::1]:7373", []string{"https://[::1]:7373"}},
		{"ports", "https://h:737{3...4}, https://h:7998", []string{"https://h:7373", "https://h:7374", "https://h:7998"}},
		{"hosts", "https://kes{9...11}.example:7373", []string{
			"https://kes9.example:7373", "https://kes10.example:7373", "https://kes11.example:7373",
		}},
		{"one number", "https://kes{3...3}:1", []string{"https://kes3:1"}},
		{"zero padded", "https://kes{08...10}:1", []string{"https://kes08:1", "https://kes09:1", "https://kes10:1"}},
		{"padding of the end", "https://kes{1...02}:1", []string{"https://kes01:1", "https://kes02:1"}},
		{"from zero", "https://kes{0...2}:1", []string{"https://kes0:1", "https://kes1:1", "https://kes2:1"}},
		{"letters", "https://kes-{a...c}:1", []string{"https://kes-a:1", "https://kes-b:1", "https://kes-c:1"}},
		{"hexadecimal", "https://kes{9...b}:1", []string{"https://kes9:1", "https://kesa:1", "https://kesb:1"}},
		{"two ranges", "https://k{1...2}:{3...4}", []string{"https://k1:3", "https://k1:4", "https://k2:3", "https://k2:4"}},
		{"overlapping ranges", "https://k{1...2}:1,https://k{2...3}:1", []string{"https://k1:1", "https://k2:1", "https://k3:1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := kms.ParseEndpoints(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseEndpointsErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"empty", "", "no KES endpoint given"},
		{"only commas", " , ,", "no KES endpoint given"},
		{"http", "http://kes:7373", "must begin with https://"},
		{"no scheme", "kes:7373", "must begin with https://"},
		{"address without scheme", "10.0.0.1:7373", "invalid KES endpoint"},
		{"no host", "https://:7373", "has no host"},
		{"path", "https://kes:7373/v1", "must not have a path"},
		{"two slashes", "https://kes:7373//", "must not have a path"},
		{"query", "https://kes:7373?a=b", "query or fragment"},
		{"empty query", "https://kes:7373?", "query or fragment"},
		{"fragment", "https://kes:7373#a", "query or fragment"},
		{"empty fragment", "https://kes:7373#", "query or fragment"},
		{"empty port", "https://kes:", "colon without a port"},
		{"port 0", "https://kes:0", "port must be 1 to 65535"},
		{"port too high", "https://kes:65536", "port must be 1 to 65535"},
		{"second item", "https://a:1,ftp://b:2", `"ftp://b:2"`},
		{"backwards", "https://kes{4...1}:1", "runs backwards"},
		{"two dots", "https://kes{1..4}:1", "a range is written {1...4}"},
		{"no end", "https://kes{1...}:1", "a range is written {1...4}"},
		{"no start", "https://kes{...4}:1", "a range is written {1...4}"},
		{"negative", "https://kes{-1...4}:1", "a range is written {1...4}"},
		{"capitals", "https://kes{A...C}:1", "a range is written {1...4}"},
		{"open brace", "https://kes{1...4:1", "a range is written {1...4}"},
		{"close brace", "https://kes1...4}:1", "a range is written {1...4}"},
		{"no braces", "https://kes1...4:1", "a range is written {1...4}"},
		{"nested", "https://kes{1...{2...3}}:1", "a range is written {1...4}"},
		{"too many", "https://kes{1...1000000000}:1", "more than 256 endpoints"},
		{"too many combinations", "https://kes{1...200}.r{1...200}:1", "more than 256 endpoints"},
		{"too many items", "https://a{1...200}:1,https://b{1...200}:1", "more than 256 KES endpoints"},
		{"long zeros", "https://kes{" + strings.Repeat("0", 50) + "1...2}:1", "a range is written {1...4}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := kms.ParseEndpoints(tt.in)
			if err == nil {
				t.Fatalf("got %q, want an error", got)
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line with %q", err, tt.want)
			}
		})
	}
}

func TestParseEndpointsHidesPasswords(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"https://user:hunter2@kes:7373",
		"https://user:hunter2@kes:port",
		"https://user:hunter2@kes{1...}:7373",
		"https://user:hunter2@kes{2...1}:7373",
		"https://user:hunter2@kes{1...999}:7373",
		"https://user:hunter2@kes{1...2}{1...200}:7373",
		"https://user:%zzhunter2@kes:7373",
	} {
		_, err := kms.ParseEndpoints(in)
		if err == nil {
			t.Errorf("%s: no error", in)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func FuzzParseEndpoints(f *testing.F) {
	f.Add("https://kes{1...3}:7373, https://[::1]:{01...10}")
	f.Add("https://kes{a...f}{1...2}:1,,")
	f.Add("https://u:p@kes/{1...2}?q#f")
	f.Fuzz(func(t *testing.T, in string) {
		endpoints, err := kms.ParseEndpoints(in)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error has more than one line: %q", err)
			}
			return
		}
		// The result must parse to itself.
		again, err := kms.ParseEndpoints(strings.Join(endpoints, ","))
		if err != nil {
			t.Fatalf("%q: %v", endpoints, err)
		}
		if diff := cmp.Diff(endpoints, again); diff != "" {
			t.Errorf("-first +second:\n%s", diff)
		}
	})
}
