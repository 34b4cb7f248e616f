package kms

import (
	"fmt"
	"runtime/debug"
)

// panicError is a panic during a call. Calls run on goroutines of their own,
// where an unrecovered panic would end the process.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("kms: panic: %v", e.value) }

// PanicStack returns the stack of the panic.
func (e *panicError) PanicStack() []byte { return e.stack }

// guarded returns what f returns, or an error if f panics.
func guarded[V any](f func() (V, error)) (v V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return f()
}
