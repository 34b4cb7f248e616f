package s3

import (
	"encoding/xml"
	"testing"
)

func TestLocation(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{"us-east-1": "", "eu-central-1": "eu-central-1", "a&b": "a&b"} {
		var got string
		if err := xml.Unmarshal(Location(region), &got); err != nil || got != want {
			t.Errorf("%s: %q, %v", region, got, err)
		}
	}
}

// TestRelocate: a client names the gateway's region, the store has another.
func TestRelocate(t *testing.T) {
	t.Parallel()
	create := func(inner string) string {
		return `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` + inner + `</CreateBucketConfiguration>`
	}
	named := func(region string) string {
		return create("<LocationConstraint>" + region + "</LocationConstraint>")
	}
	for _, tt := range []struct{ doc, from, to, want string }{
		{named("eu-1"), "eu-1", "north-1", named("north-1")},
		{named("eu-1"), "eu-1", "us-east-1", ""},
		{named("eu-1"), "eu-1", "eu-1", named("eu-1")},
		{named("other"), "eu-1", "north-1", named("other")}, // the store refuses it
		{named("other"), "*", "north-1", named("other")},
		{create("<LocationConstraint>eu-1</LocationConstraint><Tags/>"), "eu-1", "us-east-1", create("<LocationConstraint>us-east-1</LocationConstraint><Tags/>")},
		{create(""), "eu-1", "north-1", create("")},
		{"", "us-east-1", "north-1", ""},
		{"<Other><LocationConstraint>eu-1</LocationConstraint></Other>", "eu-1", "north-1", "<Other><LocationConstraint>eu-1</LocationConstraint></Other>"},
		{"<CreateBucketConfiguration", "eu-1", "north-1", "<CreateBucketConfiguration"},
	} {
		if got := string(Relocate([]byte(tt.doc), tt.from, tt.to)); got != tt.want {
			t.Errorf("%s, %s to %s: %s, want %s", tt.doc, tt.from, tt.to, got, tt.want)
		}
	}
}
