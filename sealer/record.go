package sealer

import (
	"crypto/rand"
	"fmt"
)

// Records are small documents of the gateways themselves. They are objects in
// the state bucket, sealed under the root (section 14).
const (
	recordMagic     = "SSEGWST1"
	rootRecordMagic = "SSEGWRT1"
)

// SealRecord seals a document of the state bucket under root. name is the key
// of the object: a record does not open under another name. It returns
// ErrParams if root is not set.
func SealRecord(root Root, name string, plaintext []byte) ([]byte, error) {
	if root.Key.isZero() {
		return nil, fmt.Errorf("sealing record: %w: all-zero root key", ErrParams)
	}
	var nonce [32]byte
	rand.Read(nonce[:])
	e := encoder(recordMagic).bytes(root.ID[:]).bytes(nonce[:])
	k := recordKey(&root, nonce, name)
	defer k.Wipe()
	return append(e, sealOnce(&k, plaintext, e)...), nil
}

// OpenRecord opens the result of SealRecord for the same name. It returns
// ErrMalformed, ErrUnknownRoot or ErrNotAuthentic.
func OpenRecord(root Root, name string, sealed []byte) ([]byte, error) {
	if root.Key.isZero() {
		return nil, fmt.Errorf("opening record: %w: all-zero root key", ErrParams)
	}
	d := &decoder{rest: sealed}
	id := d.recordRoot()
	var nonce [32]byte
	d.fill(nonce[:])
	if d.err != nil {
		return nil, d.err
	}
	if id != root.ID {
		return nil, fmt.Errorf("%w: record under root %s", ErrUnknownRoot, id)
	}
	k := recordKey(&root, nonce, name)
	defer k.Wipe()
	return openOnce(&k, d.rest, sealed[:len(sealed)-len(d.rest)])
}

// RecordRoot returns the ID of the root that a record claims to be sealed
// under. It returns ErrMalformed.
func RecordRoot(sealed []byte) (RootID, error) {
	d := &decoder{rest: sealed}
	id := d.recordRoot()
	return id, d.err
}

// recordRoot decodes the beginning of a record.
func (d *decoder) recordRoot() (id RootID) {
	if string(d.take(len(recordMagic))) != recordMagic {
		d.fail("not a record")
	}
	d.fill(id[:])
	return id
}

func recordKey(root *Root, nonce [32]byte, name string) Key {
	return Key(derive(root.Key[:], nonce[:], info("record").bytes(root.ID[:]).lp(name), len(Key{})))
}

// RootRecord is the stored form of the root, sealed under a data key of the
// named KES key (section 14.1).
type RootRecord struct {
	ID            RootID
	Initialised   bool // the other records of the first start have been written
	KeyName       string
	SealedDataKey []byte
	nonce         [32]byte
	sealed        []byte // root key with tag
}

// SealRoot returns the record of root, sealed under a data key. The record also
// authenticates initialised.
func SealRoot(root Root, initialised bool, keyName string, sealedDataKey []byte, dataKey Key) ([]byte, error) {
	if dataKey.isZero() || root.Key.isZero() {
		return nil, fmt.Errorf("%w: zero key", ErrParams)
	}
	if !validKeyName(keyName) || len(sealedDataKey) == 0 || len(sealedDataKey) > maxSealedDataKey {
		return nil, fmt.Errorf("%w: key name or sealed data key", ErrParams)
	}
	r := RootRecord{ID: root.ID, Initialised: initialised, KeyName: keyName, SealedDataKey: sealedDataKey}
	rand.Read(r.nonce[:])
	e := r.encode()
	k := r.key(&dataKey)
	defer k.Wipe()
	return append(e, sealOnce(&k, root.Key[:], e)...), nil
}

// ParseRootRecord parses a stored root. It returns ErrMalformed.
func ParseRootRecord(b []byte) (*RootRecord, error) {
	d := &decoder{rest: b}
	if string(d.take(len(rootRecordMagic))) != rootRecordMagic {
		d.fail("not a root record")
	}
	r := &RootRecord{}
	d.fill(r.ID[:])
	r.Initialised = d.flag()
	r.KeyName = string(d.take(int(d.u8())))
	r.SealedDataKey = d.clone(int(d.u16()))
	d.fill(r.nonce[:])
	r.sealed = d.clone(len(Key{}) + tagSize)
	if err := d.end(); err != nil {
		return nil, err
	}
	if !validKeyName(r.KeyName) || len(r.SealedDataKey) == 0 || len(r.SealedDataKey) > maxSealedDataKey {
		return nil, fmt.Errorf("%w: key name or sealed data key", ErrMalformed)
	}
	return r, nil
}

// Open returns the root. It returns ErrNotAuthentic.
func (r *RootRecord) Open(dataKey Key) (Root, error) {
	if dataKey.isZero() {
		return Root{}, fmt.Errorf("%w: zero data key", ErrParams)
	}
	k := r.key(&dataKey)
	defer k.Wipe()
	plain, err := openOnce(&k, r.sealed, r.encode())
	if err != nil {
		return Root{}, err
	}
	return Root{ID: r.ID, Key: Key(plain)}, nil
}

// encode returns the record without the sealed root key.
func (r *RootRecord) encode() encoder {
	e := encoder(rootRecordMagic).bytes(r.ID[:]).flag(r.Initialised)
	e = e.u8(uint8(len(r.KeyName))).bytes([]byte(r.KeyName))
	return e.u16(uint16(len(r.SealedDataKey))).bytes(r.SealedDataKey).bytes(r.nonce[:])
}

func (r *RootRecord) key(dataKey *Key) Key {
	return Key(derive(dataKey[:], r.nonce[:], info("root").bytes(r.ID[:]), len(Key{})))
}

// NewRoot returns a random root.
func NewRoot() Root {
	root := Root{Key: NewKey()}
	rand.Read(root.ID[:])
	return root
}
