"""Uses a bucket with boto3 and its default settings, for the end-to-end tests.

    boto3_client.py make       makes the bucket
    boto3_client.py use DIR    stores the files of DIR and reads them back, in all the ways that scripts use
    boto3_client.py remove     deletes all objects and the bucket

ENDPOINT and BUCKET name the bucket; credentials, region and CA bundle come from AWS_*.
"""

import os
import ssl
import sys
import tempfile
import urllib.request

import boto3
from botocore.client import Config
from botocore.exceptions import ClientError

BUCKET, ENDPOINT = os.environ["BUCKET"], os.environ["ENDPOINT"]
s3 = boto3.client("s3", endpoint_url=ENDPOINT)
MIB = 1 << 20


def error_of(call, **params):
    try:
        call(**params)
    except ClientError as e:
        return e.response
    raise AssertionError(f"{call.__name__} succeeded")


def files(folder):
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            yield os.path.relpath(path, folder), path


def http(method, url, body=None, headers={}):
    context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE")) if url.startswith("https") else None
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    with urllib.request.urlopen(request, context=context) as answer:
        return answer.read(), answer.headers


def metadata():
    put = s3.put_object(Bucket=BUCKET, Key="meta", Body=b"data", Metadata={"Color": "Blue", "x-y": "1"}, ContentType="text/plain")
    for answer in s3.head_object(Bucket=BUCKET, Key="meta"), s3.get_object(Bucket=BUCKET, Key="meta"):
        assert answer["Metadata"]["color"] == "Blue", answer["Metadata"]  # names are compared by case
        assert answer["ETag"] == put["ETag"], (answer["ETag"], put["ETag"])
        assert "etag" in answer["ResponseMetadata"]["HTTPHeaders"]
    s3.copy_object(Bucket=BUCKET, Key="meta", CopySource={"Bucket": BUCKET, "Key": "meta"}, MetadataDirective="REPLACE", Metadata={"size": "2"})
    assert s3.head_object(Bucket=BUCKET, Key="meta")["Metadata"] == {"size": "2"}
    assert s3.get_object(Bucket=BUCKET, Key="meta")["Body"].read() == b"data"
    assert error_of(s3.head_object, Bucket=BUCKET, Key="meta", IfNoneMatch=s3.head_object(Bucket=BUCKET, Key="meta")["ETag"])["ResponseMetadata"]["HTTPStatusCode"] == 304
    s3.delete_object(Bucket=BUCKET, Key="meta")


def parts():
    """Copies the answers to the parts into the Complete, as scripts do."""
    body = [os.urandom(5 * MIB), os.urandom(1000)]
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    done = []
    for number, part in enumerate(body, 1):
        answer = s3.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=number, Body=part, ChecksumAlgorithm="CRC32")
        done.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": answer["ChecksumCRC32"]})
    listed = s3.list_parts(Bucket=BUCKET, Key="parts", UploadId=upload)["Parts"]
    if os.environ["KIND"] != "plain":  # there the store decides
        assert [p["ChecksumCRC32"] for p in listed] == [p["ChecksumCRC32"] for p in done], listed
        wrong = [dict(done[0], ChecksumCRC32=done[1]["ChecksumCRC32"]), done[1]]
        refused = error_of(s3.complete_multipart_upload, Bucket=BUCKET, Key="parts", UploadId=upload, MultipartUpload={"Parts": wrong})
        assert refused["Error"]["Code"] == "InvalidPart", refused
    s3.complete_multipart_upload(Bucket=BUCKET, Key="parts", UploadId=upload, MultipartUpload={"Parts": done})
    assert s3.get_object(Bucket=BUCKET, Key="parts")["Body"].read() == b"".join(body)
    s3.delete_object(Bucket=BUCKET, Key="parts")


def ranges():
    """Seeks to the end as smart_open does, which reads the size out of the refusal."""
    s3.put_object(Bucket=BUCKET, Key="ranges", Body=b"0123456789")
    refused = error_of(s3.get_object, Bucket=BUCKET, Key="ranges", Range="bytes=10-")["Error"]
    assert refused["Code"] == "InvalidRange" and refused["ActualObjectSize"] == "10", refused
    assert s3.get_object(Bucket=BUCKET, Key="ranges", Range="bytes=-3")["Body"].read() == b"789"
    assert error_of(s3.get_object, Bucket=BUCKET, Key="missing")["Error"]["Key"] == "missing"
    s3.delete_object(Bucket=BUCKET, Key="ranges")


def presigned():
    clients = {"default": s3, "s3v4": boto3.client("s3", endpoint_url=ENDPOINT, config=Config(signature_version="s3v4"))}
    for name, client in clients.items():
        key = "presigned " + name + "+ü"
        url = client.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": key, "ContentType": "text/css", "Metadata": {"a": "b"}})
        http("PUT", url, b"data", {"Content-Type": "text/css", "x-amz-meta-a": "b"} if name == "s3v4" else {"Content-Type": "text/css"})
        body, headers = http("GET", client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key, "ResponseContentType": "text/html"}))
        assert body == b"data" and headers["Content-Type"] == "text/html", headers
        head = s3.head_object(Bucket=BUCKET, Key=key)
        assert head["ContentType"] == "text/css" and head["Metadata"] == {"a": "b"}, head
        http("DELETE", client.generate_presigned_url("delete_object", Params={"Bucket": BUCKET, "Key": key}))


def use(folder):
    metadata()
    parts()
    ranges()
    presigned()
    for key, path in files(folder):
        s3.upload_file(path, BUCKET, key)
        with open(path, "rb") as f:
            s3.upload_fileobj(f, BUCKET, "stream/" + key)
    s3.copy({"Bucket": BUCKET, "Key": "large"}, BUCKET, "copied")
    with tempfile.TemporaryDirectory() as to:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 3}):
            for entry in page["Contents"]:
                path = os.path.join(to, "f")
                s3.download_file(BUCKET, entry["Key"], path)
                assert os.path.getsize(path) == entry["Size"], entry
                assert s3.head_object(Bucket=BUCKET, Key=entry["Key"])["ETag"] == entry["ETag"], entry


def remove():
    bucket = boto3.resource("s3", endpoint_url=ENDPOINT).Bucket(BUCKET)
    bucket.objects.all().delete()
    bucket.delete()


if __name__ == "__main__":
    if sys.argv[1] == "make":
        s3.create_bucket(Bucket=BUCKET)
    elif sys.argv[1] == "use":
        use(sys.argv[2])
    else:
        remove()
    print(boto3.__version__)
