package probe

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"

	"ssegw/proxy/upstream"
)

// Framing finds out which framing the store accepts, unless one is
// configured. It falls back to FramingPlain. See Takes.
func (c Prober) Framing(ctx context.Context) error {
	chosen := c.Store().ConfiguredFraming()
	for _, f := range [...]upstream.Framing{upstream.FramingTrailer, upstream.FramingSigned} {
		if chosen != upstream.FramingAuto {
			break
		}
		ok, err := c.Takes(ctx, f)
		if err != nil {
			return err
		}
		if ok {
			chosen = f
		}
	}
	chosen = cmp.Or(chosen, upstream.FramingPlain)
	plainEmpty := false
	if chosen != upstream.FramingPlain {
		taken, err := c.takesEmpty(ctx, chosen)
		if err != nil {
			return err
		}
		plainEmpty = !taken
	}
	c.Store().Learn(func(found *upstream.Capabilities) { found.Framing, found.PlainEmpty = chosen, plainEmpty })
	return nil
}

// Takes reports whether the store accepts a framing: it stores a correct body
// as it was sent, and refuses one with damaged data.
func (c Prober) Takes(ctx context.Context, f upstream.Framing) (taken bool, err error) {
	err = c.With(ctx, "", func(name string) error {
		var cut bool
		taken, cut, err = c.refusesDamage(ctx, name, f)
		if cut { // by chance, unless it happens again
			taken, cut, err = c.refusesDamage(ctx, name, f)
			taken = taken || cut
		}
		return err
	})
	return taken, err
}

// refusesDamage reports whether the store keeps a correct body and refuses a
// damaged one. cut means that it closed the connection at the damaged one.
func (c Prober) refusesDamage(ctx context.Context, name string, f upstream.Framing) (refused, cut bool, err error) {
	data := []byte("ssegw probe")
	kept, err := c.keepsFramed(ctx, name, data, f)
	if err != nil || !kept {
		return false, false, err
	}
	o := c.framed(name, data, f)
	o.Body = &damage{r: o.Body, data: data}
	_, err = c.Exec(ctx, o)
	switch {
	case upstream.AnswerOf(err) != nil:
		err = unlessRefused(err)
		return err == nil, false, err
	case errors.Is(err, upstream.ErrUnavailable):
		return false, true, nil
	}
	return false, false, err
}

// takesEmpty reports whether the store accepts an empty body in a framing. Such
// a body has no data to damage.
func (c Prober) takesEmpty(ctx context.Context, f upstream.Framing) (taken bool, err error) {
	err = c.With(ctx, "", func(name string) error {
		taken, err = c.keepsFramed(ctx, name, nil, f)
		return err
	})
	return taken, err
}

// keepsFramed reports whether the store keeps data that is sent in a framing.
func (c Prober) keepsFramed(ctx context.Context, name string, data []byte, f upstream.Framing) (bool, error) {
	if _, err := c.Exec(ctx, c.framed(name, data, f)); err != nil {
		return false, unlessRefused(err)
	}
	stored, _, err := c.Get(ctx, c.Bucket, name, 1<<10)
	return bytes.Equal(stored, data), err
}

// framed returns the request that stores data in a framing.
func (c Prober) framed(name string, data []byte, f upstream.Framing) upstream.Request {
	o := upstream.Request{Method: http.MethodPut, Bucket: c.Bucket, Key: name, Header: http.Header{}}
	o.Frame(bytes.NewReader(data), int64(len(data)), f, nil)
	return o
}

// damage changes the first byte of the data in an encoded body.
type damage struct {
	r       io.Reader
	data    []byte
	damaged bool
}

func (d *damage) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if at := bytes.Index(p[:n], d.data); at >= 0 && !d.damaged {
		p[at] ^= 1
		d.damaged = true
	}
	return n, err
}
