// Uses a bucket with aws-sdk-js v3 and its default settings, for the end-to-end tests.
//
//   node client.mjs make            makes the bucket
//   node client.mjs put DIR         stores the files of DIR, each in a different way, and copies of one
//   node client.mjs get DIR         reads all objects into DIR, and ranges of them
//   node client.mjs presign KEY     prints a URL
//   node client.mjs remove          deletes all objects
//
// ENDPOINT and BUCKET name the bucket; credentials and region come from AWS_*.
import { createReadStream, createWriteStream, mkdirSync, readFileSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import {
  CopyObjectCommand, CreateBucketCommand, DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand,
  PutObjectCommand, S3Client, paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const Bucket = process.env.BUCKET;
const client = new S3Client({ endpoint: process.env.ENDPOINT, forcePathStyle: true });

function check(right, what) {
  if (!right) throw new Error(what);
}

async function* objects() {
  for await (const page of paginateListObjectsV2({ client, pageSize: 3 }, { Bucket })) yield* page.Contents ?? [];
}

// The ways to pass a file to the SDK, used in turn.
const ways = [
  (path, Key) => client.send(new PutObjectCommand({ Bucket, Key, Body: readFileSync(path) })),
  (path, Key) => client.send(new PutObjectCommand({ Bucket, Key, Body: createReadStream(path), ContentLength: statSync(path).size })),
  (path, Key) => new Upload({ client, params: { Bucket, Key, Body: createReadStream(path) } }).done(),
  // A stream of unknown length.
  (path, Key) => new Upload({ client, params: { Bucket, Key, Body: Readable.from(createReadStream(path)) } }).done(),
];

async function put(dir) {
  const names = readdirSync(dir, { recursive: true }).filter((name) => statSync(join(dir, name)).isFile());
  for (const [i, way] of ways.entries()) {
    for (const name of names) {
      const Key = `${i}/${name}`;
      const { ETag } = await way(join(dir, name), Key);
      const head = await client.send(new HeadObjectCommand({ Bucket, Key }));
      check(head.ETag === ETag, `${Key}: ETag ${ETag}, then ${head.ETag}`);
    }
  }
  await client.send(new CopyObjectCommand({ Bucket, Key: "copied", CopySource: `${Bucket}/2/large` }));
}

async function get(dir) {
  for await (const { Key, Size, ETag } of objects()) {
    const whole = await client.send(new GetObjectCommand({ Bucket, Key }));
    check(whole.ETag === ETag, `${Key}: ETag ${ETag} in the list, ${whole.ETag} of GET`);
    mkdirSync(dirname(join(dir, Key)), { recursive: true });
    // At its end the stream verifies the checksum of the answer.
    await pipeline(whole.Body, createWriteStream(join(dir, Key)));
    if (Size < 2000) continue;
    const from = Math.floor(Size / 2) - 1000;
    const part = await client.send(new GetObjectCommand({ Bucket, Key, Range: `bytes=${from}-${from + 1999}`, IfMatch: ETag }));
    const want = readFileSync(join(dir, Key)).subarray(from, from + 2000);
    check(want.equals(await part.Body.transformToByteArray()), `${Key}: another range`);
    check(part.ContentRange === `bytes ${from}-${from + 1999}/${Size}`, `${Key}: ${part.ContentRange}`);
  }
}

async function remove() {
  const Objects = [];
  for await (const { Key } of objects()) Objects.push({ Key });
  const { Errors } = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
  check(!Errors?.length, JSON.stringify(Errors));
}

const commands = {
  make: () => client.send(new CreateBucketCommand({ Bucket })),
  put, get, remove,
  presign: async (Key) => console.log(await getSignedUrl(client, new GetObjectCommand({ Bucket, Key }))),
};
const [command, ...args] = process.argv.slice(2);
await commands[command](...args);
