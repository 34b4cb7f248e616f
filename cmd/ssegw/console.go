package main

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"ssegw/proxy/console"
)

type consoleCommand struct {
	URL string `name:"url" placeholder:"URL" help:"Where the browser finds the console; the default is the admin address."`
}

// Help is the second part of the command's help.
func (consoleCommand) Help() string {
	return `The link signs in with the root credential, once and within ten minutes. The command makes it from the settings alone,
and asks nobody. With SSEGW_CONSOLE=on the S3 address has the console too: --url https://HOST/_ssegw/.`
}

// Run prints a link that signs in to the console.
func (c *consoleCommand) Run(out io.Writer) error {
	cfg, err := settings()
	if err != nil {
		return err
	}
	address, err := c.address(cfg.AdminAddress)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, console.NewLink(address, cfg.SecretKey.Reveal()))
	return err
}

// address returns the URL of the console.
func (c *consoleCommand) address(admin string) (string, error) {
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return "", fmt.Errorf("%w: --url %q is no URL", errUsage, c.URL)
		}
		if strings.Trim(u.Path, "/") == "" {
			u.Path = console.PathOnAdmin
		}
		return u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/") + "/", nil
	}
	host, port, err := net.SplitHostPort(admin)
	if err != nil {
		return "", fmt.Errorf("SSEGW_ADMIN_ADDRESS: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + console.PathOnAdmin, nil
}
