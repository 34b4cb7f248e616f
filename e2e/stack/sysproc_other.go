//go:build !linux

package stack

import "syscall"

// dieWithParent has no effect here: Close ends the children.
func dieWithParent() *syscall.SysProcAttr { return nil }
