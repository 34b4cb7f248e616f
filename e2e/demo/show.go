package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"ssegw/e2e/stack"
)

const (
	bucket  = "demo"
	object  = "letter.txt"
	keyName = "demo-key"

	// shown is the number of bytes of the object to print.
	shown = 64
)

// letter is the object's content: 64 readable bytes, then more of the same.
var letter = []byte(strings.Repeat("Dear store, you will keep this letter but never read it. -- me\n\n", 20))

// show stores the letter through the gateway and prints both views of it.
func (d *demo) show(ctx context.Context) error {
	client := s3.New(stack.SDKOptions(d.gateway.Endpoint, d.gateway.AccessKey, d.gateway.SecretKey))
	direct := s3.New(stack.SDKOptions(d.store.Endpoint, d.store.AccessKey, d.store.SecretKey))
	if err := d.put(ctx, client); err != nil {
		return err
	}
	fmt.Printf("\nWhat you see, through ssegw:\n\n")
	plain, err := inspect(ctx, client)
	if err != nil {
		return err
	}
	fmt.Printf("\nWhat the store holds, read from it directly:\n\n")
	stored, err := inspect(ctx, direct)
	if err != nil {
		return err
	}
	if !bytes.Equal(plain, letter) {
		return errors.New("the object came back changed")
	}
	if bytes.Contains(stored, letter[:16]) || bytes.Equal(stored, plain) {
		return errors.New("the store holds plaintext")
	}
	fmt.Printf("\nOK: %d bytes of plaintext came back whole; the store holds %d bytes of ciphertext.\n",
		len(plain), len(stored))
	return nil
}

// put makes a bucket that encrypts by default, and one object in it.
func (d *demo) put(ctx context.Context, client *s3.Client) error {
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		return err
	}
	_, err := client.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{
		Bucket: aws.String(bucket),
		ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
			Rules: []types.ServerSideEncryptionRule{{
				ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{
					SSEAlgorithm:   types.ServerSideEncryptionAwsKms,
					KMSMasterKeyID: aws.String(keyName),
				},
			}},
		},
	})
	if err != nil {
		return err
	}
	fmt.Printf("\nPutBucketEncryption  bucket %s: SSE-KMS with the KES key %s\n", bucket, keyName)
	_, err = client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(object),
		Body: bytes.NewReader(letter), ContentType: aws.String("text/plain"),
	})
	if err != nil {
		return err
	}
	fmt.Printf("PutObject            s3://%s/%s, %d bytes, no encryption header sent\n", bucket, object, len(letter))
	return nil
}

// inspect prints the results of HEAD, LIST and GET for the object and returns
// its bytes.
func inspect(ctx context.Context, client *s3.Client) ([]byte, error) {
	head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(object)})
	if err != nil {
		return nil, err
	}
	fmt.Printf("  HEAD  %d bytes, ETag %s, encryption %s\n",
		aws.ToInt64(head.ContentLength), aws.ToString(head.ETag), encryption(head))
	list, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String(bucket)})
	if err != nil {
		return nil, err
	}
	for _, o := range list.Contents {
		fmt.Printf("  LIST  %s, %d bytes\n", aws.ToString(o.Key), aws.ToInt64(o.Size))
	}
	get, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(object)})
	if err != nil {
		return nil, err
	}
	defer get.Body.Close()
	body, err := io.ReadAll(get.Body)
	if err != nil {
		return nil, err
	}
	fmt.Printf("  GET   the first %d bytes:\n", min(shown, len(body)))
	for line := range strings.Lines(hex.Dump(body[:min(shown, len(body))])) {
		fmt.Print("        ", line)
	}
	return body, nil
}

func encryption(head *s3.HeadObjectOutput) string {
	if head.ServerSideEncryption == "" {
		return "unknown to the store"
	}
	return strings.TrimSpace(string(head.ServerSideEncryption) + " " + aws.ToString(head.SSEKMSKeyId))
}
