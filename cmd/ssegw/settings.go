package main

import (
	"errors"
	"fmt"
	"os"

	"ssegw/config"
)

// errUsage means that arguments or settings are missing or wrong.
var errUsage = errors.New("usage")

// settings loads the settings from the environment.
func settings() (*config.Config, error) {
	cfg, err := config.Load(os.Environ())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSettings, err)
	}
	return cfg, nil
}

// groupSettings loads the settings of one group from the environment.
func groupSettings(group string) (*config.Config, error) {
	cfg, err := config.LoadGroups(os.Environ(), group)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSettings, err)
	}
	return cfg, nil
}

// errSettings is the prefix of errors about settings. It matches errUsage.
var errSettings = fmt.Errorf("settings%w", silent{errUsage})

// silent wraps an error for errors.Is without printing it.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }
