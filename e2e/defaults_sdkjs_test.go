package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ssegw/e2e/stack"
)

// node returns node, with the environment that the scripts of e2e/tools/js
// expect, and the path of one of the scripts.
func (s *site) node(t *testing.T, script string) (client *shellOf, path string) {
	t.Helper()
	node := installed(t, "node")[0]
	if _, err := exec.LookPath("npm"); err != nil {
		skip(t, "npm is not installed")
	}
	if err := s.stack.Tools().Build(t.Context(), stack.ToolJS); err != nil {
		t.Fatal(err)
	}
	client = s.program(t, node, map[string]string{
		"ENDPOINT": s.gw.Endpoint, "BUCKET": s.bucket, "AWS_REGION": stack.Region,
		"AWS_ACCESS_KEY_ID": s.gw.AccessKey, "AWS_SECRET_ACCESS_KEY": s.gw.SecretKey, "NODE_EXTRA_CA_CERTS": s.gw.CAFile,
	})
	version := strings.TrimSpace(client.run("--version"))
	t.Log("node", version)
	if major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "."); must(strconv.Atoi(major))(t) < 20 {
		skip(t, "the SDK needs node 20 or later")
	}
	return client, filepath.Join(s.stack.Tools().Path(stack.ToolJS), script)
}

// useJS2 uses aws-sdk-js v2, which presigns in its own way.
func useJS2(t *testing.T, s *site) {
	client, script := s.node(t, "client2.mjs")
	client.run(script, "make")
	s.rule(t)
	files := newTree("js2")
	client.run(script, "use", files.write(t))
	s.wantStored(t, files)
	client.run(script, "remove")
	s.wantStored(t, nil)
}

// useJS uses aws-sdk-js v3, driven by e2e/tools/js.
func useJS(t *testing.T, s *site) {
	client, script := s.node(t, "client.mjs")
	client.run(script, "make")
	s.rule(t)
	files := newTree("js")
	dir, to := files.write(t), t.TempDir()
	client.run(script, "put", dir)
	all := tree{"copied": files["large"]}
	for way := range 4 {
		all = all.and(files.below(fmt.Sprintf("%d/", way)))
	}
	s.wantStored(t, all)
	client.run(script, "get", to)
	all.wantIn(t, to)
	s.fetch(t, strings.TrimSpace(client.run(script, "presign", "copied")), files["large"])
	client.run(script, "remove")
	s.wantStored(t, nil)
}
