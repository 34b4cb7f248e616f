package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ssegw/e2e/stack"
)

// TestReference runs the scripts of testdata/reference. They follow MinIO's
// page on server-side encryption with KES, with the real mc, kes and ssegw
// commands. docs/OPERATIONS.md has the same steps.
//
// A script has a KES server, a MinIO store without encryption, and these
// commands:
//
//	expand FILE...     replace $NAME in files by the script's variables
//	content FILE SIZE  make a file of that many bytes, always the same
//	kes-server ACTION  stop, start, pause or resume the KES server, forget KEY: lose a key, or
//	                   add a server with the same key store, whose endpoint is $KES_SECOND
//	kes-calls [N]      fail unless the gateway has made and opened N data keys with KES since the last time
//	store NAME         start another store, which $STORE and its credential then name
//	await URL          wait until a health check succeeds
//	await-job STATUS   wait until the newest job has the status; $JOB is its ID
func TestReference(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:   filepath.Join("testdata", "reference"),
		Setup: func(env *testscript.Env) error { return setupReference(t, env) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"expand":     expandFiles,
			"content":    makeContent,
			"kes-server": switchKES,
			"kes-calls":  countKESCalls,
			"store":      startStore,
			"await":      awaitHealthy,
			"await-job":  awaitJob,
		},
	})
}

// kesOf and stackOf are the keys under which a script stores its KES server and
// its stack.
type (
	kesOf   struct{}
	stackOf struct{}
)

func setupReference(t *testing.T, env *testscript.Env) error {
	s, err := stack.New(env.WorkDir)
	if err != nil {
		return err
	}
	env.Defer(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Tools().Build(t.Context(), stack.ToolGateway, stack.ToolMC); err != nil {
		return err
	}
	kes, err := s.StartKES(t.Context(), stack.KESOptions{Pausable: true})
	if err != nil {
		return err
	}
	store, err := s.StartMinIO(t.Context())
	if err != nil {
		return err
	}
	address, err := stack.FreeAddr()
	if err != nil {
		return err
	}
	private, err := stack.FreeAddr()
	if err != nil {
		return err
	}
	env.Values[kesOf{}], env.Values[stackOf{}] = kes, s
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("PATH", filepath.Dir(s.Tools().Path(stack.ToolMC))+string(os.PathListSeparator)+os.Getenv("PATH"))
	for name, value := range map[string]string{
		"ADDRESS": address, "ADMIN_ADDRESS": private, "GATEWAY": "http://" + address, "GATEWAY_TLS": "https://" + address,
		"STORE": store.Endpoint, "STORE_ACCESS_KEY": store.AccessKey, "STORE_SECRET_KEY": store.SecretKey,
		"KES_SERVER": kes.Endpoint, "KES_API_KEY": kes.APIKey, "KES_CA": kes.CAFile,
	} {
		env.Setenv(name, value)
	}
	return nil
}

// expandFiles replaces variables in files. An unset variable fails the script.
func expandFiles(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: expand FILE...")
	}
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), func(variable string) string {
			value := ts.Getenv(variable)
			if value == "" {
				ts.Fatalf("%s: $%s is not set", name, variable)
			}
			return value
		})
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// makeContent writes a file that does not compress.
func makeContent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: content FILE SIZE")
	}
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = io.Copy(f, content{seed: uint64(size), size: size}.reader())
	ts.Check(err)
	ts.Check(f.Close())
}

// switchKES changes the state of the script's KES server.
func switchKES(ts *testscript.TestScript, neg bool, args []string) {
	kes := ts.Value(kesOf{}).(*stack.KES)
	action := ""
	if len(args) > 0 && !neg {
		action = args[0]
	}
	switch {
	case action == "stop":
		ts.Check(kes.Kill())
	case action == "start":
		ts.Check(kes.Start(context.Background()))
	case action == "pause":
		ts.Check(kes.Pause())
	case action == "resume":
		ts.Check(kes.Continue())
	case action == "forget" && len(args) == 2:
		ts.Check(kes.Kill())
		ts.Check(kes.DeleteKey(args[1]))
		ts.Check(kes.Start(context.Background()))
	case action == "add":
		second, err := ts.Value(stackOf{}).(*stack.Stack).StartKES(context.Background(), stack.KESOptions{SharedWith: kes})
		ts.Check(err)
		ts.Setenv("KES_SECOND", second.Endpoint)
	default:
		ts.Fatalf("usage: kes-server stop | start | pause | resume | add | forget KEY")
	}
}

var dataKeyCalls = regexp.MustCompile(`(?m)^ssegw_kes_requests_total\{.*op="(?:generate|unseal)".*\} (\d+)$`)

// countKESCalls compares the calls that the gateway has counted since the last
// countKESCalls.
func countKESCalls(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: kes-calls [N]")
	}
	resp, err := http.Get("http://" + ts.Getenv("ADMIN_ADDRESS") + "/metrics")
	ts.Check(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	ts.Check(err)
	calls := 0
	for _, m := range dataKeyCalls.FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(m[1])
		ts.Check(err)
		calls += n
	}
	before, _ := strconv.Atoi(ts.Getenv("KES_CALLS")) // 0 at first
	ts.Setenv("KES_CALLS", strconv.Itoa(calls))
	if len(args) == 1 && strconv.Itoa(calls-before) != args[0] {
		ts.Fatalf("%d data keys, want %s", calls-before, args[0])
	}
}

// startStore starts a store of the given kind and makes it the script's store.
func startStore(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: store NAME")
	}
	store, err := ts.Value(stackOf{}).(*stack.Stack).StartStore(context.Background(), args[0], stack.StoreOptions{})
	ts.Check(err)
	ts.Setenv("STORE", store.Endpoint)
	ts.Setenv("STORE_ACCESS_KEY", store.AccessKey)
	ts.Setenv("STORE_SECRET_KEY", store.SecretKey)
}

// awaitHealthy waits until a GET returns 200.
func awaitHealthy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await URL")
	}
	client := http.Client{Timeout: giveUp, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the request contains no secret
	}}
	for deadline := time.Now().Add(giveUp); ; time.Sleep(20 * time.Millisecond) {
		resp, err := client.Get(args[0])
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not say yes: %v", args[0], err)
		}
	}
}

// awaitJob waits until the newest job has a status.
func awaitJob(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await-job STATUS")
	}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		ts.Check(ts.Exec("ssegw", "jobs", "--json"))
		var list []struct{ ID, Status string }
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &list))
		if len(list) > 0 && list[0].Status == args[0] {
			ts.Setenv("JOB", list[0].ID)
			return
		}
	}
	ts.Fatalf("the newest job did not become %s:\n%s", args[0], ts.ReadFile("stdout"))
}
