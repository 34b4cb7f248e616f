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
	// maxDistance is the largest edit distance that still counts as a typing
	// mistake. In a short name, at most half of what follows the prefix may
	// differ.
	maxDistance = 4
)

// These patterns match the variables that Kubernetes sets in every container
// for a service whose name is ssegw or starts with ssegw-. Some are recognised
// by name alone. SSEGW_PORT is recognised by its value, a URL of the service.
var (
	kubernetesName = regexp.MustCompile(`^SSEGW(_[A-Z0-9_]+)?_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$` +
		`|^SSEGW(_[A-Z0-9_]+)?_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)
	kubernetesPort = regexp.MustCompile(`^SSEGW(_[A-Z0-9_]+)?_PORT$`)
	kubernetesURL  = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// refuseUnknown reports every SSEGW_* variable, in upper or lower case, that is
// not a setting: a typing mistake must not silently weaken the gateway.
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

// fromKubernetes reports whether Kubernetes sets this variable by itself.
func fromKubernetes(name, text string) bool {
	return kubernetesName.MatchString(name) || kubernetesPort.MatchString(name) && kubernetesURL.MatchString(text)
}

// nearest returns the known name that is closest to name, or "" if no name is
// close. Of equally close names it returns the first.
func nearest(name string, known []string) string {
	best, least := "", min(maxDistance, (len(name)-len(ours))/2)+1
	for _, candidate := range known {
		if d := distance(name, candidate); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance returns the number of bytes to insert, delete or replace to turn a
// into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // row[j] is the distance of a's first i bytes to b's first j
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
