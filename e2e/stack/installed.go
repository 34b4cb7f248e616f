package stack

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// A MissingError reports programs that this package does not build and that
// are not installed.
type MissingError struct {
	Programs []string
	Packages string // Debian packages that contain them, separated by spaces
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("stack: %s not installed; on Debian: apt-get install --no-install-recommends %s",
		strings.Join(e.Programs, ", "), e.Packages)
}

// installed returns the paths of programs, by the last element of their names.
// It also looks in the folders of system programs.
func installed(packages string, names ...string) (map[string]string, error) {
	paths := make(map[string]string)
	missing := &MissingError{Packages: packages}
	for _, name := range names {
		path, err := exec.LookPath(name)
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
			if err != nil {
				path, err = exec.LookPath(filepath.Join(dir, name))
			}
		}
		if err != nil {
			missing.Programs = append(missing.Programs, name)
		}
		paths[filepath.Base(name)] = path
	}
	if missing.Programs != nil {
		return nil, missing
	}
	return paths, nil
}
