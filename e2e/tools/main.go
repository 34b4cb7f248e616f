// Command tools builds the programs of other projects that the end-to-end tests
// run, as far as they are not up to date, and says what it does: from nothing
// that takes minutes. Arguments are names of folders beside this file.
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
