package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const (
	// ours is the prefix of the gateway's own variables.
	ours = "SSEGW_"
	// maxDistance is the largest edit distance that still is a typing mistake;
	// in a short name no more than half of what follows the prefix.
	maxDistance = 4
)

// kubernetes matches the variables that Kubernetes sets in every container for
// a service whose name is ssegw or starts with ssegw-. The first form is told
// by its name, the second by a value that is a URL of the service.
var (
	kubernetesName = regexp.MustCompile(`^SSEGW(_[A-Z0-9_]+)?_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$` +
		`|^SSEGW(_[A-Z0-9_]+)?_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)
	kubernetesPort = regexp.MustCompile(`^SSEGW(_[A-Z0-9_]+)?_PORT$`)
	kubernetesURL  = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// refuseUnknown reports every variable of ours that no setting reads, whatever
// its letters' case: a typing mistake must not weaken the gateway in silence.
func (in *input) refuseUnknown() {
	var known []string
	for _, s := range settings {
		known = append(known, s.variables()...)
	}
	for _, name := range slices.Sorted(maps.Keys(in.environ)) {
		upper := strings.ToUpper(name)
		if !strings.HasPrefix(upper, ours) || slices.Contains(known, name) || fromKubernetes(name, in.environ[name]) {
			continue
		}
		hint := ""
		if near := nearest(upper, known); near != "" {
			hint = fmt.Sprintf(": did you mean %s?", near)
		}
		in.report(name, "unknown variable %s%s", name, hint)
	}
}

// fromKubernetes reports whether Kubernetes sets a variable like this by itself.
func fromKubernetes(name, text string) bool {
	return kubernetesName.MatchString(name) || kubernetesPort.MatchString(name) && kubernetesURL.MatchString(text)
}

// nearest returns the known name that is closest to name, the first in order
// of several; empty when none is close.
func nearest(name string, known []string) string {
	best, least := "", min(maxDistance, (len(name)-len(ours))/2)+1
	for _, candidate := range known {
		if d := distance(name, candidate); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance counts the bytes to insert, delete or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // distances of a's first i bytes to b's first j
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
