package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"ssegw/config"
	"ssegw/proxy/check"
	"ssegw/proxy/s3"
)

type inspectCommand struct {
	Object    string `arg:"" name:"bucket/key" help:"The object, under the name that clients use."`
	VersionID string `name:"version-id" placeholder:"ID" help:"Version of the object; the default is the current one."`
	JSON      bool   `name:"json" help:"Print JSON."`
}

// Help is the second part of the command's help.
func (inspectCommand) Help() string {
	return `It asks the store with the gateway's own credential. It reads no body and writes nothing. Without KES it shows the
content of the header and lists what it could not verify. It never shows keys. The exit status is 1 if any part of the
object is not authentic.`
}

var errNotAuthentic = errors.New("the object is not authentic")

// Run inspects the object and prints the result.
func (c *inspectCommand) Run(ctx context.Context, out io.Writer) error {
	bucket, key, _ := strings.Cut(c.Object, "/")
	if err := errors.Join(s3.CheckBucket(bucket), s3.CheckKey(key)); err != nil {
		return fmt.Errorf("%w: %q is not BUCKET/KEY", errUsage, c.Object)
	}
	return examine(ctx, func(_ *config.Config, checks check.Config) error {
		i, err := checks.Inspect(ctx, bucket, key, c.VersionID)
		if err != nil {
			return err
		}
		if c.JSON {
			err = printJSON(out, i)
		} else {
			err = printInspection(out, i)
		}
		if err == nil && i.NotAuthentic() {
			err = errNotAuthentic
		}
		return err
	})
}

func printInspection(out io.Writer, i *check.Inspection) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("object", "%s/%s", i.Bucket, i.Key)
	if i.VersionID != "" {
		line("version", "%s", i.VersionID)
	}
	sealed := "no"
	if i.Sealed {
		sealed = "yes"
	}
	line("sealed", "%s", sealed)
	if h := i.Header; h != nil {
		printHeader(line, h)
	}
	line("stored size", "%d bytes%s", i.StoredSize, expected(i))
	line("modified", "%s", i.Modified)
	line("ETag", "%s in the store", i.ETag)
	for _, c := range i.Checksums {
		line("checksum", "%s %s (%s)", c.Algorithm, c.Value, c.Type)
	}
	if len(i.Parts) > 0 {
		line("parts", "%d: %s", len(i.Parts), partSizes(i.Parts))
	}
	if err := w.Flush(); err != nil || len(i.Findings) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	for _, f := range i.Findings {
		if err := printFinding(out, f); err != nil {
			return err
		}
	}
	return nil
}

func printHeader(line func(name, format string, args ...any), h *check.InspectedHeader) {
	line("scheme", "%s", h.Scheme)
	switch {
	case h.KESKey == "":
		line("data key", "the client's")
	case h.SharedDataKey:
		line("KES key", "%s", h.KESKey)
		line("data key", "shared by objects of the bucket, %d bytes sealed", h.SealedDataKey)
	default:
		line("KES key", "%s", h.KESKey)
		line("data key", "the object's own, %d bytes sealed", h.SealedDataKey)
	}
	if len(h.Context) > 0 {
		line("context", "%s", h.Context)
	}
	line("cipher", "%s", h.Cipher)
	line("object ID", "%s", h.ObjectID)
	root := h.RootID
	if h.Root != "" {
		root += " (" + h.Root + ")"
	}
	line("root ID", "%s", root)
	layout := "one body"
	if h.Multipart {
		layout = "multipart"
	}
	if h.Trailer {
		layout += ", with a trailer"
	}
	line("layout", "%s", layout)
	line("size", "%s", bytesOf(h.Size))
}

// bytesOf formats a size. A size of -1 means that the trailer, which holds it,
// did not open.
func bytesOf(n int64) string {
	if n < 0 {
		return "not known without the trailer"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// expected returns a note with the expected stored size if the store has
// another.
func expected(i *check.Inspection) string {
	if i.Header == nil || i.Header.ExpectedSize < 0 || i.Header.ExpectedSize == i.StoredSize {
		return ""
	}
	return fmt.Sprintf(", expected %d", i.Header.ExpectedSize)
}

// partSizes lists the sizes of parts. It joins a run of equal sizes into one
// item.
func partSizes(parts []check.InspectedPart) string {
	var runs []string
	for i := 0; i < len(parts); {
		n := 1
		for i+n < len(parts) && parts[i+n].Size == parts[i].Size {
			n++
		}
		run := fmt.Sprintf("%d bytes", parts[i].Size)
		if n > 1 {
			run = fmt.Sprintf("%d of %s", n, run)
		}
		runs = append(runs, run)
		i += n
	}
	return strings.Join(runs, ", ")
}
