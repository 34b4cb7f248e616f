package sealer_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"strings"

	"ssegw/sealer"
)

// Seal a single PUT and read a range of it.
func Example() {
	binding := sealer.Binding{Bucket: "photos", Key: "2024/cat.jpg"}
	clientKey := sealer.NewKey()
	const plaintext = "Hello, World"

	header, key, err := sealer.Seal(sealer.SealParams{
		Scheme:  sealer.SSEC,
		Binding: binding,
		DataKey: clientKey,
		Size:    int64(len(plaintext)),
		Root:    sealer.Root{ID: sealer.RootID{1}, Key: sealer.NewKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	body, err := key.SealBody(strings.NewReader(plaintext), int64(len(plaintext)))
	if err != nil {
		log.Fatal(err)
	}
	stored, err := io.ReadAll(body)
	if err != nil {
		log.Fatal(err)
	}
	metadata := header.Encode()

	// To read, everything below comes from the upstream, except the client's
	// key.
	parsed, err := sealer.Parse(metadata)
	if err != nil {
		log.Fatal(err)
	}
	if header, key, err = parsed.Open(binding, clientKey); err != nil {
		log.Fatal(err)
	}
	if int64(len(stored)) != header.StoredSize(nil) {
		log.Fatal("not authentic")
	}
	extent, err := sealer.Locate(header.Size, 7, 5)
	if err != nil {
		log.Fatal(err)
	}
	opened, err := key.OpenBody(bytes.NewReader(stored[extent.Offset:]), extent)
	if err != nil {
		log.Fatal(err)
	}
	got, err := io.ReadAll(opened)
	fmt.Printf("%s, %v, %s", got, err, key)
	// Output: World, <nil>, [secret]
}
