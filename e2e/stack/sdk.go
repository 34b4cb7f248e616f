package stack

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// SDKOptions returns the options of an aws-sdk-go-v2 client for a store or a
// gateway.
func SDKOptions(endpoint, accessKey, secretKey string) s3.Options {
	return s3.Options{
		BaseEndpoint: aws.String(endpoint), Region: Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
	}
}
