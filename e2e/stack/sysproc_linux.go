package stack

import "syscall"

// dieWithParent makes the kernel kill a child whose parent has ended.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
