package kms

// Reload does now what the client does every few seconds.
func (c *Client) Reload() { c.reload() }

// SpendHedges uses up all hedges that were saved up.
func (c *Client) SpendHedges() {
	for c.pool.hedges.take() {
	}
}
