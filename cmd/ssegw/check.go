package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"ssegw/config"
	"ssegw/proxy/check"
)

type checkCommand struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help is the second part of the command's help.
func (checkCommand) Help() string {
	return `Each check prints one line: ok, warn or FAIL, and what it found. The line below it says how to fix a problem.
Checks that depend on a failed one are skipped. The exit status is 1 if a check failed.

It takes at most half a minute and may run next to gateways that serve. It writes only probe objects to the state bucket
and removes them again. Without a state bucket it skips the checks that need one.`
}

// report is what ssegw check --json prints.
type report struct {
	OK     bool            `json:"ok"` // none failed
	Checks []check.Finding `json:"checks"`
}

// Run runs all checks and prints the finding of each as soon as it is known.
func (c *checkCommand) Run(ctx context.Context, out io.Writer) error {
	return examine(ctx, func(cfg *config.Config, checks check.Config) error {
		var r report
		counts := map[check.Status]int{}
		var broken error
		add := func(f check.Finding) {
			r.Checks = append(r.Checks, f)
			counts[f.Status]++
			if !c.JSON {
				broken = errors.Join(broken, printFinding(out, f))
			}
		}
		add(settingsFinding(cfg))
		add(checkDescriptors(cfg))
		checks.Run(ctx, add)
		if broken != nil {
			return broken
		}
		failed := counts[check.StatusFailed]
		r.OK = failed == 0
		if c.JSON {
			if err := printJSON(out, r); err != nil {
				return err
			}
		} else if _, err := fmt.Fprintf(out, "\n%d ok, %d warn, %d FAIL, %d not tried\n",
			counts[check.StatusOK], counts[check.StatusWarning], failed, counts[check.StatusNotTried]); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("some checks did not run: %w", err)
		}
		if failed > 0 {
			return fmt.Errorf("%d of %d checks failed", failed, len(r.Checks))
		}
		return nil
	})
}

// settingsFinding reports where the settings came from. Wrong settings never
// get this far.
func settingsFinding(cfg *config.Config) check.Finding {
	from := "the environment"
	if cfg.EnvFile != "" {
		from += " and " + cfg.EnvFile
	}
	return check.Finding{Name: "settings", Status: check.StatusOK, Detail: "complete, from " + from}
}
