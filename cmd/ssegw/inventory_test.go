package main

import (
	"strings"
	"testing"

	"ssegw/proxy/jobs"
)

// TestInventoryCSV: the last column tells which root is the present one.
func TestInventoryCSV(t *testing.T) {
	t.Parallel()
	j := &jobs.Job{Uses: []jobs.Use{
		{Bucket: "b", Scheme: "SSE-KMS", Key: "k", Root: "02", Objects: 1, Bytes: 10, Parts: 2},
		{Bucket: "b", Scheme: "SSE-KMS", Key: "k", Root: "01", Versions: 3},
		{Bucket: "b", Scheme: jobs.Plain, Objects: 4},
	}}
	var out strings.Builder
	if err := j.WriteUses(&out, "02"); err != nil {
		t.Fatal(err)
	}
	const want = `bucket,scheme,kes_key,root,objects,versions,bytes,parts,present_root
b,SSE-KMS,k,02,1,0,10,2,true
b,SSE-KMS,k,01,0,3,0,0,false
b,plaintext,,,4,0,0,0,
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}
