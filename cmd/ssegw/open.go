package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.uber.org/zap"

	"ssegw/config"
	"ssegw/proxy/rescue"
	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/sealer"
)

type openCommand struct {
	Name      string `arg:"" optional:"" name:"bucket/key" help:"An object in the store, under the name that clients use."`
	VersionID string `name:"version-id" placeholder:"ID" help:"Version of the object in the store; the default is the current one."`

	Object string   `name:"object" placeholder:"BUCKET/KEY" help:"The name of an object whose header and stored bytes are at hand. The store is not asked."`
	Header []string `name:"header" sep:"none" placeholder:"VALUE" help:"Its x-amz-meta-ssegw, as VALUE or as \"NAME: VALUE\". Repeat it for a split header."`
	Input  string   `name:"input" placeholder:"FILE" help:"The file with its stored bytes."`

	Output          string `name:"output" placeholder:"FILE" help:"File for the plaintext, made with mode 0600. - is standard output, and needs --force."`
	Force           bool   `name:"force" help:"Replace the file of --output or --export-key. With --output -, write before the end is known to be authentic."`
	CustomerKeyFile string `name:"customer-key-file" placeholder:"FILE" help:"File with the client's key of an SSE-C object: 32 bytes, or these in base64."`
	KeyFile         string `name:"key-file" placeholder:"FILE" help:"File with an exported data key. KES is not asked."`
	ExportKey       string `name:"export-key" placeholder:"FILE" help:"Write the data key to this file, instead of the plaintext. It opens the object for everyone who has it."`
}

// Help is the second part of the command's help.
func (openCommand) Help() string {
	return `It is for emergencies, and for drills. It needs no running gateway, no state bucket and no root:

  ssegw open BUCKET/KEY --output FILE
      reads from the store, with the gateway's settings for the store and for KES
  ssegw open --object BUCKET/KEY --header VALUE --input FILE --output FILE
      reads a file with the stored bytes, and needs the settings for KES alone

With --key-file or --customer-key-file it needs no settings for KES. The output file appears only when the whole object is
authentic. Content headers and user metadata are not verified. Exit status 1 means that there is no plaintext, or with
"--output -" that it is not complete.

The file of --export-key is secret. It opens the object without KES, whatever becomes of the KES key. If the data key is
shared, as under SSE-S3 and bucket keys, it opens other objects of the bucket too. "ssegw inspect" shows whether it is.`
}

// Run opens the object and prints a line about it.
func (c *openCommand) Run(ctx context.Context, out io.Writer) error {
	name, err := c.check()
	if err != nil {
		return err
	}
	o, end, err := c.find(ctx, name)
	if err != nil {
		return c.explain(name, err)
	}
	defer end()
	key, err := c.dataKey(ctx, o)
	if err != nil {
		return c.explain(name, err)
	}
	defer key.Wipe()
	if c.ExportKey != "" {
		return c.explain(name, c.export(o, key, out))
	}
	if c.Output == "-" {
		_, _, err := o.Open(ctx, key, out)
		return c.explain(name, err)
	}
	var h *sealer.Header
	var size int64
	err = writeFile(c.Output, c.Force, func(w io.Writer) (err error) {
		h, size, err = o.Open(ctx, key, w)
		return err
	})
	if err != nil {
		return c.explain(name, err)
	}
	_, err = fmt.Fprintf(out, "%s: %d bytes of %s, %s, object ID %s\ncontent headers and user metadata: not verified, this needs the gateway's root\n",
		printable(c.Output), size, printable(name.Bucket+"/"+name.Key), h.Scheme, h.ObjectID)
	return err
}

// check returns the object's name. It refuses options that do not fit together.
func (c *openCommand) check() (name sealer.Binding, err error) {
	files := c.Object != ""
	switch {
	case (c.Name == "") == !files:
		err = errors.New("want either BUCKET/KEY or --object BUCKET/KEY")
	case files && len(c.Header) == 0, files && c.Input == "" && c.ExportKey == "":
		err = errors.New("--object needs --header and --input")
	case files && c.VersionID != "", !files && (len(c.Header) > 0 || c.Input != ""):
		err = errors.New("--header and --input go with --object, and --version-id with an object in the store")
	case (c.Output == "") == (c.ExportKey == ""), c.ExportKey == "-":
		err = errors.New("want either --output FILE or --export-key FILE")
	case c.Output == "-" && !c.Force:
		err = errors.New("standard output cannot be taken back if the end of the object is not authentic: add --force, and use the output only if the exit status is 0")
	case c.KeyFile != "" && (c.CustomerKeyFile != "" || c.ExportKey != ""), c.CustomerKeyFile != "" && c.ExportKey != "":
		err = errors.New("--key-file, --customer-key-file and --export-key exclude one another")
	}
	if err != nil {
		return name, fmt.Errorf("%w: %w; see ssegw open --help", errUsage, err)
	}
	object := c.Name + c.Object // one of them is empty
	name.Bucket, name.Key, _ = strings.Cut(object, "/")
	if err := errors.Join(s3.CheckBucket(name.Bucket), s3.CheckKey(name.Key)); err != nil {
		return name, fmt.Errorf("%w: %q is not BUCKET/KEY", errUsage, object)
	}
	for _, path := range []string{c.Output, c.ExportKey} {
		if path != "" && path != "-" {
			err = errors.Join(err, checkOutput(path, c.Force))
		}
	}
	return name, errors.Join(err, c.checkSame())
}

// checkSame refuses to replace the file with the stored bytes.
func (c *openCommand) checkSame() error {
	in, err := os.Stat(c.Input)
	if err != nil {
		return nil // reading it gives a better error
	}
	if out, err := os.Stat(c.Output + c.ExportKey); err == nil && os.SameFile(in, out) {
		return fmt.Errorf("%w: the file of --input would be replaced", errUsage)
	}
	return nil
}

// find returns the object, from the store or from files. end releases it.
func (c *openCommand) find(ctx context.Context, name sealer.Binding) (o rescue.Object, end func(), err error) {
	if c.Object == "" {
		cfg, err := groupSettings(config.GroupStore)
		if err != nil {
			return o, nil, err
		}
		store, err := newUpstream(ctx, cfg)
		if err != nil {
			return o, nil, fmt.Errorf("%w: %w", errSettings, err)
		}
		o, err = rescue.FromStore(ctx, store.Own(), s3.CopySource{Bucket: name.Bucket, Key: name.Key, VersionID: c.VersionID})
		return o, func() {}, err
	}
	o.Name = name
	if o.Header, err = sealer.ParseHeader(rescue.Metadata(c.Header)); err != nil || c.Input == "" {
		return o, func() {}, err
	}
	f, err := os.Open(c.Input)
	if err != nil {
		return o, nil, err
	}
	end = func() { _ = f.Close() }
	if o.Stored, err = rescue.FromFile(f); err != nil {
		end()
	}
	return o, end, err
}

// dataKey returns the data key of the object, from a file or from KES.
func (c *openCommand) dataKey(ctx context.Context, o rescue.Object) (sealer.Key, error) {
	customer := o.Header.Scheme == sealer.SSEC
	switch {
	case c.KeyFile != "":
		return readKey(c.KeyFile)
	case customer && c.CustomerKeyFile != "":
		return readKey(c.CustomerKeyFile)
	case customer && c.ExportKey != "":
		return sealer.Key{}, errors.New("the object is sealed under SSE-C: its data key is the client's, and KES does not have it")
	case customer:
		return sealer.Key{}, fmt.Errorf("%w: the object is sealed under SSE-C: give the client's key with --customer-key-file", errUsage)
	case c.CustomerKeyFile != "":
		return sealer.Key{}, fmt.Errorf("%w: the object is sealed under %s, not under SSE-C: leave --customer-key-file out", errUsage, o.Header.Scheme)
	}
	cfg, err := groupSettings(config.GroupKES)
	if err != nil {
		return sealer.Key{}, err
	}
	client, err := newKMS(cfg, zap.NewNop())
	if err != nil {
		return sealer.Key{}, fmt.Errorf("%w: %w", errSettings, err)
	}
	defer client.Close()
	keys := &sse.Keys{
		KMS: client, Timeout: cfg.KMSPatience,
		Allowed: func(string) error { return nil },
		Used:    func(sse.Use, sealer.Binding, string, error) {},
	}
	key, err := keys.DataKey(ctx, o.Name, o.Header.KeyHint)
	if err != nil {
		return key, fmt.Errorf("KES key %q: %w", o.Header.KeyName, err)
	}
	return key, nil
}

// export writes the data key, after it has proven that it opens the object.
func (c *openCommand) export(o rescue.Object, key sealer.Key, out io.Writer) error {
	_, k, err := o.Header.Open(o.Name, key)
	if err != nil {
		return err
	}
	k.Wipe()
	err = writeFile(c.ExportKey, c.Force, func(w io.Writer) error {
		text := rescue.FormatKey(key)
		defer clear(text)
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return err
	}
	opens := "this object"
	if o.Header.Shared {
		opens = "this and other objects of the bucket"
	}
	_, err = fmt.Fprintf(out, "%s: the data key. It opens %s without KES: keep it secret, and delete it when it is no longer needed\n", printable(c.ExportKey), opens)
	return err
}

// explain adds the object and a reason that an operator can act on to an error.
func (c *openCommand) explain(name sealer.Binding, err error) error {
	why := ""
	switch {
	case err == nil || errors.Is(err, errUsage):
		return err
	case errors.Is(err, sealer.ErrNotSealed):
		why = "it has no sealed header: it was stored in plaintext, or its metadata is lost: "
	case errors.Is(err, sealer.ErrWrongKey):
		why = "the key is not that of the object, or the object was sealed under another name: "
	}
	return fmt.Errorf("%s/%s: %s%w", printable(name.Bucket), printable(name.Key), why, err)
}

// readKey reads the file of a key.
func readKey(path string) (key sealer.Key, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return key, err
	}
	defer clear(content)
	if key, err = rescue.ParseKey(content); err != nil {
		return key, fmt.Errorf("%w: %s: %w", errUsage, path, err)
	}
	return key, nil
}
