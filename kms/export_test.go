package kms

// Reload does now what the client does every few seconds.
func (c *Client) Reload() { c.reload() }
