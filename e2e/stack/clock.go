package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ToolAhead is the gateway with a clock that can be ahead of the machine's, or
// behind it.
const ToolAhead Tool = "ssegw-ahead"

// aheadVariable holds the seconds by which the clock is ahead.
const aheadVariable = "CLOCK_AHEAD_SECONDS"

// nowCall is where time.Now reads the clock, and aheadCall what replaces it.
var (
	nowCall   = []byte("	sec, nsec, mono := runtimeNow()\n	if mono == 0 {\n		return Time{uint64(nsec), sec + unixToInternal, Local}")
	aheadCall = []byte("	sec, nsec, mono := runtimeNow()\n	sec += ahead()\n	if mono == 0 {\n		return Time{uint64(nsec), sec + unixToInternal, Local}")
)

// aheadSource completes package time. That package can import little.
const aheadSource = `package time

import (
	"sync"
	"syscall"
)

var ahead = sync.OnceValue(func() (seconds int64) {
	text, _ := syscall.Getenv("` + aheadVariable + `")
	sign := int64(1)
	for _, c := range []byte(text) {
		if c == '-' {
			sign = -1
		} else {
			seconds = 10*seconds + int64(c-'0')
		}
	}
	return sign * seconds
})
`

var errOtherTime = errors.New("stack: package time has changed: adapt nowCall")

// buildAhead builds the gateway with another package time.
func (t *Tools) buildAhead(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("stack: go env: %w", err)
	}
	dir := filepath.Join(string(bytes.TrimSpace(out)), "src", "time")
	source, err := os.ReadFile(filepath.Join(dir, "time.go"))
	if err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	if bytes.Count(source, nowCall) != 1 {
		return errOtherTime
	}
	path := t.Path(ToolAhead)
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(dir, "time.go"):  path + "_time.go",
		filepath.Join(dir, "ahead.go"): path + "_ahead.go",
	}})
	if err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	for name, content := range map[string][]byte{
		path + "_time.go": bytes.Replace(source, nowCall, aheadCall, 1), path + "_ahead.go": []byte(aheadSource), path + ".overlay": replace,
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return fmt.Errorf("stack: %w", err)
		}
	}
	return t.goBuild(ctx, t.root, ToolAhead, "-trimpath", "-overlay", path+".overlay", "./cmd/ssegw")
}
