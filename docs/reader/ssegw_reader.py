#!/usr/bin/env python3
"""Reads sealed objects. Written from docs/FORMAT.md alone; numbers in comments are its sections. See README.md."""
import base64, hashlib, hmac, io, json, pathlib, re, struct, sys
from types import SimpleNamespace
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

P, OVERHEAD, FOOTER, MAX_SIZE, MAX_TRAILER, MAX_PARTS = 65536, 32, 24, 2**48, 920152, 9999
TRAILER, MULTIPART, SHARED, SSE_KMS, SSE_C = 1, 2, 4, 2, 3  # flags and schemes
AEADS = {0: AESGCM, 1: ChaCha20Poly1305}
ALGORITHMS = {1: ("CRC32", 4), 2: ("CRC32C", 4), 3: ("CRC64NVME", 8), 4: ("SHA1", 20), 5: ("SHA256", 32),  # 6.1
              6: ("SHA512", 64), 7: ("MD5", 16), 8: ("XXHASH64", 8), 9: ("XXHASH3", 8), 10: ("XXHASH128", 16)}

class Refused(Exception): "An object that a reader must not accept. The text is the class of the failure."

def need(condition, failure="malformed"):
    if not condition:
        raise Refused(failure)

def lp(b): return struct.pack(">I", len(b)) + b

def hkdf(secret, salt, info, n=32):  # 2
    return HKDF(algorithm=SHA256(), length=n, salt=salt, info=b"ssegw v1 " + info).derive(secret)

def aead_open(aead, key, nonce, sealed, aad):
    try:
        return aead(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise Refused("not authentic") from None

class Cursor(io.BytesIO):
    "Reads fields one after the other. A missing byte is malformed."
    def take(self, n):
        b = self.read(n)
        need(len(b) == n)
        return b
    def int(self, n):
        return int.from_bytes(self.take(n), "big")
    def end(self):
        need(not self.read())

def join_header(metadata):  # 3.2
    first = metadata.get("x-amz-meta-ssegw", "")
    need(first != "", "not sealed")
    if "." not in first:
        return first
    need(split := re.fullmatch(r"2\.([2-9]|1[0-6])\.([^.]*)", first))
    pieces = [split[2]] + [metadata.get(f"x-amz-meta-ssegw-{i}", "") for i in range(2, int(split[1]) + 1)]
    need(all(len(p) == len(pieces[0]) for p in pieces[:-1]) and 1 <= len(pieces[-1]) <= len(pieces[0]))
    return "".join(pieces)

def parse_header(value):  # 3, 3.1
    need(re.fullmatch(r"[A-Za-z0-9_-]+", value) and len(value) % 4 != 1)
    b = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    need(base64.urlsafe_b64encode(b).decode().rstrip("=") == value)  # no loose bits
    c, h = Cursor(b), SimpleNamespace()
    version, h.scheme, h.flags, h.cipher = c.take(4)
    h.object_id, h.nonce, h.size = c.take(16), c.take(32), c.int(8)
    key_name, sealed_data_key, context, h.commitment = c.take(c.int(1)), c.take(c.int(2)), c.take(c.int(2)), c.take(32)
    h.to_commitment = b[:c.tell()]
    h.sealed_object_key, h.root_id, h.facts_nonce = c.take(48), c.take(8), c.take(16)
    h.to_facts_nonce = b[:c.tell()]
    h.sealed_facts = c.take(c.int(2))
    c.end()
    h.trailer, h.multipart, shared = bool(h.flags & TRAILER), bool(h.flags & MULTIPART), bool(h.flags & SHARED)
    need(version == 1 and 1 <= h.scheme <= SSE_C and h.cipher in AEADS and h.flags < 8)
    need(h.trailer and h.size == 2**64 - 1 if h.multipart else h.size <= MAX_SIZE)
    need(not key_name and not sealed_data_key and not shared if h.scheme == SSE_C else
         re.fullmatch(rb"[0-9A-Za-z_-]{1,80}", key_name) and 1 <= len(sealed_data_key) <= 1024)
    need(len(context) <= 1024 and (not context or h.scheme == SSE_KMS and not shared))
    need(49 <= len(h.sealed_facts) <= 283)
    return h

def open_object_key(h, bucket, key, data_key):  # 4.1
    need(len(data_key) == 32 and any(data_key), "wrong key")
    okm = hkdf(data_key, h.nonce, b"object key" + bytes([h.scheme]) + lp(bucket) + lp(key), 64)
    need(hmac.compare_digest(okm[32:], h.commitment), "wrong key")
    return aead_open(AESGCM, okm[:32], bytes(12), h.sealed_object_key, h.to_commitment)

def parse_checksums(c):  # 6
    sums, last = {}, 0
    for _ in range(c.int(1)):
        algorithm, kind = c.take(2)
        need(algorithm in ALGORITHMS and algorithm > last and kind <= 1)
        last, sums[algorithm, kind] = algorithm, c.take(ALGORITHMS[algorithm][1])
    return sums

def open_facts(h, bucket, key, root_id, root_key):  # 4.2, 6
    need(root_id == h.root_id and any(root_key), "unknown root")
    facts_key = hkdf(root_key, h.facts_nonce, b"facts" + root_id + h.object_id)
    c = Cursor(aead_open(AESGCM, facts_key, bytes(12), h.sealed_facts, lp(bucket) + lp(key) + h.to_facts_nonce))
    f = SimpleNamespace(headers_digest=c.take(32), checksums=parse_checksums(c), trailer_key=None, announced=None)
    if h.trailer:
        f.trailer_key = c.take(32)
        algorithm, kind = c.take(2)
        need((algorithm == kind == 0 or algorithm in ALGORITHMS and kind <= 1) and all(a != algorithm for a, _ in f.checksums))
        f.announced = (algorithm, kind) if algorithm else None
    c.end()
    return f

def parse_footer(stored):  # 7.1
    need(len(stored) >= FOOTER)
    magic, length, parts, prefix = struct.unpack(">8sII8s", stored[-FOOTER:])
    need(magic == b"SSEGWTR1" and 28 <= length <= MAX_TRAILER and parts <= MAX_PARTS)
    return SimpleNamespace(length=length, parts=parts, prefix=prefix)

def open_trailer(h, footer, stored, trailer_key, announced=None):  # 7
    need(len(stored) >= footer.length + FOOTER and footer.prefix == h.object_id[:8], "not authentic")
    sealed = stored[-footer.length - FOOTER:-FOOTER]
    aad = b"ssegw v1 trailer" + bytes([1, h.flags & (TRAILER | MULTIPART)]) + h.object_id
    c = Cursor(aead_open(AESGCM, trailer_key, sealed[:12], sealed[12:], aad))
    need(c.int(1) == (2 if h.multipart else 1))
    t = SimpleNamespace(size=c.int(8), checksums=parse_checksums(c), parts=[], length=footer.length + FOOTER)
    if h.multipart:
        parse_parts(c, t)
    else:  # 7.2
        need(len(c.getvalue()) == 128 and not any(c.read()) and t.size <= MAX_SIZE)
        need(t.size == h.size, "not authentic")
    need(footer.parts == len(t.parts) and (announced is None or announced in t.checksums), "not authentic")
    return t

def parse_parts(c, t):  # 7.3
    algorithm, kind, count = c.int(1), c.int(1), c.int(4)
    need((algorithm in ALGORITHMS and kind <= 1 or algorithm == kind == 0) and 1 <= count <= MAX_PARTS)
    digest, last = ALGORITHMS.get(algorithm, ("", 0))[1], 0
    for _ in range(count):
        p = SimpleNamespace(number=c.int(4), size=c.int(8), nonce=c.take(16), digest=c.take(digest))
        need(last < p.number <= MAX_PARTS and p.size <= MAX_SIZE)
        last = p.number
        t.parts.append(p)
    c.end()
    need(sum(p.size for p in t.parts) == t.size)

def sealed_size(n): return n + OVERHEAD * -(-n // P)  # 8

def stored_size(h, trailer):
    body = sum(sealed_size(p.size) for p in trailer.parts) if h.multipart else sealed_size(h.size)
    return body + (trailer.length if h.trailer else 0)

def open_stream(key, cipher, stored, base, size, begin, end):  # 5, and step 5 of 10
    "Yields the plaintext bytes begin to end, exclusive, of a stream of size bytes that is stored from base on."
    first_nonce = None
    for p in range(begin // P, -(-end // P)):
        length = min(P, size - p * P)
        at = base + p * (P + OVERHEAD)
        package = stored[at:at + length + OVERHEAD]
        need(len(package) == length + OVERHEAD, "not authentic")
        head, nonce, final = package[:4], package[4:16], package[4] >> 7
        same = bytes([nonce[0] & 0x7f]) + nonce[1:]  # in all packages of the stream
        first_nonce = first_nonce or same
        need(head == struct.pack("<BBH", 0x20, cipher, length - 1), "not authentic")
        need(final == ((p + 1) * P >= size) and same == first_nonce, "not authentic")
        plain = aead_open(AEADS[cipher], key, package_nonce(nonce, p), package[16:], head)
        yield plain[max(begin - p * P, 0):end - p * P]

def package_nonce(nonce, p):  # 5
    return nonce[:8] + struct.pack("<I", struct.unpack("<I", nonce[8:])[0] ^ p)

def read_body(h, object_key, trailer, stored, begin, end):  # 4.3, 4.4, 8
    "Yields the plaintext bytes begin to end, exclusive."
    fixed, base = h.object_id + bytes([h.cipher]), 0
    streams = [(hkdf(object_key, p.nonce, b"part" + fixed + struct.pack(">I", p.number)), p.size) for p in trailer.parts] \
        if h.multipart else [(hkdf(object_key, None, b"body" + fixed), h.size)]
    for key, size in streams:
        first, last = max(begin, 0), min(end, size)  # in this stream
        if first < last:
            yield from open_stream(key, h.cipher, stored, base, size, first, last)
        base, begin, end = base + sealed_size(size), begin - size, end - size

def read(o, stored):  # 10
    """Returns an iterator of the plaintext, the checksums and the announced one. o has the members of a vector (12).
    Without root_key it does without the facts. It keeps the present step in o["at"]."""
    bucket, key, object_key, facts, trailer = o["bucket"].encode(), o["key"].encode(), None, None, None
    o["at"] = "parse"
    h = parse_header(join_header(o.get("metadata") or {"x-amz-meta-ssegw": o["header"]}))
    if not o.get("facts_only"):
        o["at"] = "open"
        object_key = open_object_key(h, bucket, key, bytes.fromhex(o["data_key"]))
    if "root_key" in o:
        o["at"] = "facts"
        facts = open_facts(h, bucket, key, bytes.fromhex(o["root_id"]), bytes.fromhex(o["root_key"]))
    if h.trailer:
        o["at"] = "footer"
        footer = parse_footer(stored)
        o["at"] = "trailer"
        trailer_key = facts.trailer_key if facts else hkdf(object_key, None, b"trailer" + h.object_id)  # 4.5
        trailer = open_trailer(h, footer, stored, trailer_key, facts and facts.announced)
    o["at"] = "length"
    need(o.get("any_length") or len(stored) == stored_size(h, trailer), "not authentic")
    o["at"] = "body"
    offset, length = o.get("range", [0, trailer.size if h.multipart else h.size])
    body = read_body(h, object_key, trailer, stored, offset, offset + length) if object_key else None
    return body, {**(facts.checksums if facts else {}), **(trailer.checksums if trailer else {})}, facts and facts.announced

def open_file(name, data_key_file, stored_file, output, header):
    bucket, _, key = name.partition("/")
    data_key = pathlib.Path(data_key_file).read_bytes()
    data_key = data_key if len(data_key) == 32 else base64.b64decode(data_key)
    metadata = {f"x-amz-meta-ssegw-{i}" if i > 1 else "x-amz-meta-ssegw": v for i, v in enumerate(header, 1)}
    o = {"metadata": metadata, "bucket": bucket, "key": key, "data_key": data_key.hex()}
    body, _, _ = read(o, pathlib.Path(stored_file).read_bytes())
    pathlib.Path(output).write_bytes(b"".join(body))  # makes the file only after all of body is authentic

def seal_stream(s):  # 12
    out, nonce, size, version = b"", bytes.fromhex(s["nonce"]), s["size"], s.get("version", 32)
    plaintext = bytes((i ^ i >> 8 ^ i >> 16) & 255 for i in range(size))
    for p in range(-(-size // P)):
        plain = plaintext[p * P:(p + 1) * P]
        head = struct.pack("<BBH", version, s.get("cipher", 0), len(plain) - 1)
        field = bytes([nonce[0] & 0x7f | ((p + 1) * P >= size) << 7]) + nonce[1:]
        used = package_nonce(field, p)
        if version == 16: field = used = struct.pack("<I", p) + nonce[:8]
        out += head + field + AEADS[s.get("cipher", 0)](bytes.fromhex(s["key"])).encrypt(used, plain, head)
    return out

def run_vector(v):  # 12
    streams = [seal_stream(s) for s in v.get("streams", [])]
    stored = b"".join(streams[p.get("stream", 0)][p.get("from", 0):p["to"]] if "to" in p else bytes.fromhex(p.get("hex", ""))
                      for p in v.get("stored", []))
    name = lambda c: ALGORITHMS[c[0]][0] + "/COMPOSITE" * c[1]
    try:
        body, sums, announced = read(v, stored)
        digest = hashlib.sha256(b"".join(body)).hexdigest() if body else None
        return "ok", None, digest, announced and name(announced), {name(c): d.hex() for c, d in sums.items()}
    except Refused as e:
        return str(e), v["at"], None, None, {}

def run_vectors(folder):
    files, failed = sorted(pathlib.Path(folder).glob("*.json")), 0
    for f in files:
        v = json.loads(f.read_text())
        got, want = run_vector(v), (v["expect"], v.get("step"), v.get("sha256"), v.get("announced"), v.get("checksums", {}))
        if got != want:
            failed += 1
            print(f"{f.name}: {got}, want {want}")
    print(f"{len(files) - failed} of {len(files)} vectors as expected")
    sys.exit(failed > 0 or not files)

try:
    match sys.argv[1:]:
        case ["open", name, data_key, stored, output, *header] if header:
            open_file(name, data_key, stored, output, header)
        case ["vectors", folder]:
            run_vectors(folder)
        case _:
            sys.exit("usage: ssegw_reader.py open BUCKET/KEY DATA-KEY-FILE STORED-FILE OUTPUT HEADER... | vectors FOLDER")
except Refused as e:
    sys.exit(f"refused: {e}")
