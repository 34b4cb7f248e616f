// Command tools builds those programs of other projects for the end-to-end
// tests that are not up to date, and prints what it does. That takes minutes
// the first time. The arguments are names of folders next to this file.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"ssegw/e2e/stack"
)

func main() {
	tools, err := stack.OpenTools()
	for _, name := range os.Args[1:] {
		if err != nil {
			break
		}
		fmt.Printf("tools: %s\n", name)
		start := time.Now()
		if err = tools.Build(context.Background(), stack.Tool(name)); err == nil {
			fmt.Printf("tools: %s is ready after %s\n", name, time.Since(start).Round(time.Second))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
