package kms

// Reload does at once what the client does each few seconds.
func (c *Client) Reload() { c.reload() }
