package state

import (
	"context"
	"errors"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// KeyUse is something in the state bucket that needs a KES key.
type KeyUse struct {
	Key    string // the KES key; in a rule as the client set it, or "" for the default key
	Root   string // the record of a root
	Rule   string // a bucket whose rule names the key
	Upload string // the bucket of an upload in progress
}

// KeyUses returns what in the state bucket needs KES keys: roots, rules and
// uploads in progress.
func KeyUses(ctx context.Context, s *State) (all []KeyUse, err error) {
	if all, err = rootKeys(ctx, s); err != nil {
		return nil, err
	}
	rules, _, err := s.KnownRules()
	if err != nil {
		return nil, err
	}
	for bucket, rule := range rules {
		if rule.Algorithm != "" {
			all = append(all, KeyUse{Key: rule.KeyID, Rule: bucket})
		}
	}
	err = s.each(ctx, UploadsPrefix, func(e *s3.Entry) error {
		if !strings.HasSuffix(e.Key, "/"+UploadRecord) {
			return nil
		}
		u, err := s.loadUpload(ctx, e.Key)
		if errors.Is(err, s3.ErrNoSuchUpload) {
			return nil // ended meanwhile
		}
		if err != nil {
			return err
		}
		if u.Header != nil && u.Header.Scheme != sealer.SSEC {
			all = append(all, KeyUse{Key: u.Header.KeyName, Upload: u.Bucket})
		}
		return nil
	})
	return all, err
}

// rootKeys returns the KES keys of the present root and of the old ones.
func rootKeys(ctx context.Context, s *State) (all []KeyUse, err error) {
	names := []string{RootObject}
	err = s.each(ctx, RootsPrefix, func(e *s3.Entry) error {
		names = append(names, e.Key)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		b, _, err := s.store.Get(ctx, s.cfg.Bucket, name, maxRootRecord)
		if err != nil {
			return nil, stateFailed("reading "+name, err)
		}
		record, err := sealer.ParseRootRecord(b)
		if err != nil {
			continue // an old root that does not open is ignored
		}
		all = append(all, KeyUse{Key: record.KeyName, Root: name})
	}
	return all, nil
}
