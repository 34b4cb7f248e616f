// Uses a bucket with aws-sdk-js v2 and its default settings, for the end-to-end tests.
//
//   node client2.mjs make            makes the bucket
//   node client2.mjs use DIR         stores the files of DIR and reads them back, and tests presigned URLs
//   node client2.mjs remove          deletes all objects
//
// ENDPOINT and BUCKET name the bucket; credentials and region come from AWS_*.
import { createHash } from "node:crypto";
import { createReadStream, readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import AWS from "aws-sdk";

const Bucket = process.env.BUCKET;
const client = new AWS.S3({ endpoint: process.env.ENDPOINT, s3ForcePathStyle: true });

function check(right, what) {
  if (!right) throw new Error(what);
}

async function send(method, url, body, headers = {}) {
  const answer = await fetch(url, { method, body, headers });
  const text = await answer.text();
  check(answer.ok, `${method} ${url}: ${answer.status} ${text}`);
  return { text, headers: answer.headers };
}

// Headers that this SDK moves into the query. The client that uses the URL may send them too.
async function presigned(signer, Key) {
  const Body = "presigned";
  const ContentMD5 = createHash("md5").update(Body).digest("base64");
  const params = { Bucket, Key, ContentType: "text/css", CacheControl: "no-cache", ContentMD5, Metadata: { color: "blue" } };
  const url = await signer.getSignedUrlPromise("putObject", params);
  await send("PUT", url, Body, { "Content-Type": "text/css" });
  const head = await client.headObject({ Bucket, Key }).promise();
  check(head.ContentType === "text/css" && head.CacheControl === "no-cache" && head.Metadata.color === "blue", JSON.stringify(head));
  const got = await send("GET", await signer.getSignedUrlPromise("getObject", { Bucket, Key, ResponseContentType: "text/plain" }));
  check(got.text === Body && got.headers.get("content-type") === "text/plain", got.text);
  // Version 2 moves Range and the conditions into the query. Version 4 lists them, and the client has to send them.
  const within = async (asked, headers) => fetch(await signer.getSignedUrlPromise("getObject", { Bucket, Key, ...asked }), { headers });
  const sent = [{}, { Range: "bytes=1-2" }].slice(signer.config.signatureVersion === "v4" ? 1 : 0);
  for (const headers of sent) {
    const part = await within({ Range: "bytes=1-2" }, headers);
    check(part.status === 206 && (await part.text()) === Body.slice(1, 3), `a range: ${part.status}`);
  }
  for (const [IfMatch, status] of [[head.ETag, 200], ['"other"', 412]]) {
    const answer = await within({ IfMatch }, sent.length === 1 ? { "If-Match": IfMatch } : {});
    check(answer.status === status, `If-Match ${IfMatch}: ${answer.status}`);
  }
  if (signer.config.signatureVersion === "v4") {
    // fetch adds its own Content-Type, which the signature does not cover.
    await send("PUT", await signer.getSignedUrlPromise("putObject", { Bucket, Key, ContentType: "text/css" }), Body);
    const stored = await client.headObject({ Bucket, Key }).promise();
    check(stored.ContentType === "text/css", stored.ContentType);
  }
  const refused = await fetch(url, { method: "PUT", body: "tampered!", headers: { "Content-Type": "text/css" } });
  check(refused.status === 400, `another body: ${refused.status}`);
  await client.deleteObject({ Bucket, Key }).promise();
}

async function use(dir) {
  await presigned(client, "presigned key+ü");
  await presigned(new AWS.S3({ endpoint: process.env.ENDPOINT, s3ForcePathStyle: true, signatureVersion: "v4" }), "presigned v4");
  for (const name of readdirSync(dir, { recursive: true }).filter((n) => statSync(join(dir, n)).isFile())) {
    const path = join(dir, name);
    await client.upload({ Bucket, Key: name, Body: createReadStream(path) }).promise();
    const got = await client.getObject({ Bucket, Key: name }).promise();
    check(got.Body.equals(readFileSync(path)), name);
  }
}

async function remove() {
  const { Contents } = await client.listObjectsV2({ Bucket }).promise();
  await client.deleteObjects({ Bucket, Delete: { Objects: Contents.map(({ Key }) => ({ Key })) } }).promise();
}

const [task, dir] = process.argv.slice(2);
await { make: () => client.createBucket({ Bucket }).promise(), use: () => use(dir), remove }[task]();
