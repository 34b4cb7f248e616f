// Package kmstest is a KES server inside the test process. It speaks the wire
// format of KES v0.23 over TLS, requires client certificates, binds data keys
// to their context with real cryptography, and fails on demand.
//
//	kes := kmstest.NewServer(t)
//	client, err := kms.New(kes.Config())
//
// A server starts with one key, DefaultKey. Servers created with WithStore
// share keys, certificate and clients, like the replicas of a KES cluster.
// Faults and counts belong to each server. Unlike KES it keeps keys in memory.
// Instead of policies it has a list of clients, who may do everything, and keys
// that are denied to all.
//
// docs/ARCHITECTURE.md is the map.
package kmstest
