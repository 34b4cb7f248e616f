// Package kmstest is a KES server inside the test process: it speaks the wire
// format of KES v0.23 over TLS, wants client certificates, binds data keys to
// their context with real cryptography, and fails on demand.
//
//	kes := kmstest.NewServer(t)
//	client, err := kms.New(kes.Config())
//
// A server begins with one key, DefaultKey. Servers made WithStore share keys,
// certificate and clients, like replicas of one KES cluster; faults and counts
// are each server's own. What differs from KES: keys are in memory, and instead
// of policies there are clients, who may do everything, and keys that are
// denied to all.
package kmstest
