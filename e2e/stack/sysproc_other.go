//go:build !linux

package stack

import "syscall"

// dieWithParent has no equivalent here: Close ends the children.
func dieWithParent() *syscall.SysProcAttr { return nil }
