package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"ssegw/config"
	"ssegw/proxy"
)

type checkCommand struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help is the second part of the command's help.
func (checkCommand) Help() string {
	return `Each check prints one line: ok, warn or FAIL, and what was seen. The line below it says how to fix a problem.
Checks that depend on a failed one are skipped. The exit status is 1 if a check failed.

It takes at most half a minute and may run next to gateways that serve. It writes only probe objects to the state bucket
and removes them again. Without a state bucket it skips the checks that need one.`
}

// report is what ssegw check --json prints.
type report struct {
	OK     bool            `json:"ok"` // none failed
	Checks []proxy.Finding `json:"checks"`
}

// Run does all checks and prints each when it is done.
func (c *checkCommand) Run(ctx context.Context, out io.Writer) error {
	return examine(ctx, func(cfg *config.Config, s *proxy.Server) error {
		var r report
		counts := map[proxy.Status]int{}
		var broken error
		add := func(f proxy.Finding) {
			r.Checks = append(r.Checks, f)
			counts[f.Status]++
			if !c.JSON {
				broken = errors.Join(broken, printFinding(out, f))
			}
		}
		add(settingsFinding(cfg))
		s.Check(ctx, add)
		if broken != nil {
			return broken
		}
		failed := counts[proxy.StatusFailed]
		r.OK = failed == 0
		if c.JSON {
			if err := printJSON(out, r); err != nil {
				return err
			}
		} else if _, err := fmt.Fprintf(out, "\n%d ok, %d warn, %d FAIL, %d not tried\n",
			counts[proxy.StatusOK], counts[proxy.StatusWarning], failed, counts[proxy.StatusNotTried]); err != nil {
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
func settingsFinding(cfg *config.Config) proxy.Finding {
	from := "the environment"
	if cfg.EnvFile != "" {
		from += " and " + cfg.EnvFile
	}
	return proxy.Finding{Name: "settings", Status: proxy.StatusOK, Detail: "complete, from " + from}
}
