package sse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ssegw/kms"
	"ssegw/sealer"
)

var (
	// ErrOpening marks a failure of the KMS on a read. Its 404 would otherwise
	// read as "no such object".
	ErrOpening = errors.New("sse: opening the data key")
	// ErrObjectKey is returned when a data key that KES opened does not open
	// the object's key, or when the header's encryption context is not one: the
	// store changed the header.
	ErrObjectKey = errors.New("sse: object key is not authentic")
)

// Use is how a data key was obtained.
type Use string

const (
	UseGenerate Use = "generate" // a new one, from KES
	UseShared   Use = "shared"   // one of the bucket's, which KES may have made for an earlier object
	UseUnseal   Use = "unseal"   // opened by KES
	UseCached   Use = "cached"   // opened without KES, which opened it a short time ago
	UseCheck    Use = "check"    // made and opened to try a KES key
)

// Keys gets data keys with the rights of one request.
type Keys struct {
	KMS     *kms.Client
	Timeout time.Duration // of one call, which may try several endpoints

	// Allowed returns an error that wraps kms.ErrNotAllowed for a KES key that
	// the client must not use.
	Allowed func(kesKey string) error
	// Used is told each use of a KES key, also those that failed.
	Used func(use Use, object sealer.Binding, kesKey string, err error)
}

// New returns the data key of a new object, and its sealed form. The sealed
// form is nil for SSE-C.
func (k *Keys) New(ctx context.Context, object sealer.Binding, s *Sealing) (plain sealer.Key, sealed []byte, err error) {
	if s.Scheme == sealer.SSEC {
		return s.customer, nil, nil
	}
	dataKey, use, err := k.generate(ctx, object, s)
	k.Used(use, object, s.KeyName, err)
	if err != nil {
		return plain, nil, err
	}
	return sealer.Key(dataKey.Plaintext), dataKey.Sealed, nil
}

func (k *Keys) generate(ctx context.Context, object sealer.Binding, s *Sealing) (key kms.DataKey, use Use, err error) {
	use = UseGenerate
	if s.Shared {
		use = UseShared
	}
	if err := k.Allowed(s.KeyName); err != nil {
		return key, use, err
	}
	ctx, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	if s.Shared {
		key, err = k.KMS.GenerateShared(ctx, s.KeyName, kms.BucketContext(object.Bucket))
		return key, use, err
	}
	kctx, err := kms.ObjectContext(object.Bucket, object.Key, s.context)
	if err == nil {
		key, err = k.KMS.Generate(ctx, s.KeyName, kctx)
	}
	return key, use, err
}

// Open opens the object key of a header, and returns it with the header, which
// it authenticates except for the facts. s has the client's key of an SSE-C
// object, and may be nil for others. The caller wipes the key.
func (k *Keys) Open(ctx context.Context, object sealer.Binding, h *sealer.Parsed, s *Sealing) (*sealer.Header, *sealer.ObjectKey, error) {
	if h.Scheme == sealer.SSEC {
		return h.Open(object, s.customer)
	}
	dataKey, err := k.DataKey(ctx, object, h.KeyHint)
	if err != nil {
		return nil, nil, err
	}
	defer dataKey.Wipe()
	header, key, err := h.Open(object, dataKey)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrObjectKey, err)
	}
	return header, key, nil
}

// DataKey has KES open the data key of a stored object, which must not be under
// SSE-C. Nothing proves yet that the key is that of the object. The caller
// wipes it.
func (k *Keys) DataKey(ctx context.Context, object sealer.Binding, h sealer.KeyHint) (sealer.Key, error) {
	key, use, err := k.unseal(ctx, object, h)
	k.Used(use, object, h.KeyName, err)
	return sealer.Key(key), err
}

func (k *Keys) unseal(ctx context.Context, object sealer.Binding, h sealer.KeyHint) (key kms.Secret, use Use, err error) {
	if err := k.Allowed(h.KeyName); err != nil {
		return key, UseUnseal, err
	}
	kctx, err := contextOf(object, h)
	if err != nil {
		return key, UseUnseal, err
	}
	ctx, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	key, cached, err := k.KMS.UnsealCached(ctx, h.KeyName, h.SealedDataKey, kctx)
	if err != nil {
		return key, UseUnseal, fmt.Errorf("%w: %w", ErrOpening, err)
	}
	if cached {
		return key, UseCached, nil
	}
	return key, UseUnseal, nil
}

// contextOf returns the KMS context that the data key of a stored object is
// bound to.
func contextOf(object sealer.Binding, h sealer.KeyHint) (kms.Context, error) {
	if h.Shared {
		return kms.BucketContext(object.Bucket), nil
	}
	var client kms.Context
	if len(h.Context) > 0 {
		if err := json.Unmarshal(h.Context, &client); err != nil {
			return nil, fmt.Errorf("%w: encryption context: %w", ErrObjectKey, err)
		}
	}
	return kms.ObjectContext(object.Bucket, object.Key, client)
}

// Check has KES make a data key with a KES key and open it again.
func (k *Keys) Check(ctx context.Context, object sealer.Binding, kesKey string) error {
	ctx, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	err := k.KMS.Check(ctx, kesKey)
	k.Used(UseCheck, object, kesKey, err)
	return err
}
