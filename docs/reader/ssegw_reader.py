"""Reads objects that ssegw sealed, and checks the test vectors. Written from FORMAT.md alone; numbers are its sections.
    python3 ssegw_reader.py vectors DIR
    python3 ssegw_reader.py open BUCKET/KEY DATA-KEY-FILE STORED-FILE OUTPUT HEADER...
"""
import base64, hashlib, hmac, json, os, re, sys
from pathlib import Path
from types import SimpleNamespace
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MALFORMED, NOT_AUTHENTIC, WRONG_KEY = "malformed", "not authentic", "wrong key"
SSE_KMS, SSE_C, TRAILER, MULTIPART, SHARED = 2, 3, 1, 2, 4
CIPHERS = [AESGCM, ChaCha20Poly1305]
NAME, INFO, ZERO12, ZERO32 = "x-amz-meta-ssegw", b"ssegw v1 ", bytes(12), bytes(32)
MAX_SIZE, NO_SIZE, MAX_PARTS, MAX_SEALED_TRAILER, FOOTER = 2**48, 2**64 - 1, 9_999, 920_152, 24
P, S = 65_536, 65_536 + 32  # 8
ALGORITHMS = {1: ("CRC32", 4), 2: ("CRC32C", 4), 3: ("CRC64NVME", 8), 4: ("SHA1", 20), 5: ("SHA256", 32),  # 6.1
              6: ("SHA512", 64), 7: ("MD5", 16), 8: ("XXHASH64", 8), 9: ("XXHASH3", 8), 10: ("XXHASH128", 16)}

class Refused(Exception): pass  # its text is the class of the failure

def require(condition, failure):
    if not condition:
        raise Refused(failure)

class Fields:
    """2: takes the fields of a byte string in order. No byte may be missing, and none may follow."""
    def __init__(self, data):
        self.data, self.at = data, 0
    def take(self, n):
        self.at += n
        require(self.at <= len(self.data), MALFORMED)
        return self.data[self.at - n:self.at]
    def number(self, n): return int.from_bytes(self.take(n), "big")
    def end(self): require(self.at == len(self.data), MALFORMED)

def lp(x): return len(x).to_bytes(4, "big") + x  # 2
def sealed_size(n): return n + 32 * -(-n // P)  # 8
def checksum_name(algorithm, kind): return ALGORITHMS[algorithm][0] + ("/COMPOSITE" if kind else "")  # 12

def hkdf(secret, salt, info, n=32):  # 2, 4
    return HKDF(algorithm=SHA256(), length=n, salt=salt, info=INFO + info).derive(secret)

def unseal(aead, nonce, sealed, aad):  # 2
    try:
        return aead.decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise Refused(NOT_AUTHENTIC) from None

def join_header(metadata):  # 3.2
    value = metadata.get(NAME, "")
    require(value, "not sealed")
    if "." not in value:
        return value
    require(match := re.fullmatch(r"2\.([2-9]|1[0-6])\.([^.]*)", value), MALFORMED)
    pieces = [match[2]] + [metadata.get(f"{NAME}-{i}", "") for i in range(2, int(match[1]) + 1)]
    require(len({len(piece) for piece in pieces[:-1]}) == 1 and 1 <= len(pieces[-1]) <= len(pieces[0]), MALFORMED)
    return "".join(pieces)

def parse_header(text):  # 3, 3.1
    require(re.fullmatch("[0-9A-Za-z_-]+", text) and len(text) % 4 != 1, MALFORMED)
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    require(base64.urlsafe_b64encode(raw).decode().rstrip("=") == text, MALFORMED)
    f, h = Fields(raw), SimpleNamespace()
    h.version, h.scheme, h.flags, h.cipher = f.take(4)
    h.object_id, h.nonce, h.size = f.take(16), f.take(32), f.number(8)
    key_name, sealed_data_key, context = f.take(f.number(1)), f.take(f.number(2)), f.take(f.number(2))
    h.commitment, h.to_commitment = f.take(32), raw[:f.at]
    h.sealed_object_key, h.root_id, h.facts_nonce = f.take(48), f.take(8), f.take(16)
    h.to_facts_nonce, h.sealed_facts = raw[:f.at], f.take(f.number(2))
    f.end()
    h.multipart, shared = h.flags & MULTIPART, h.flags & SHARED
    require(h.version == 1 and h.scheme in (1, SSE_KMS, SSE_C) and h.flags <= 7 and h.cipher in (0, 1), MALFORMED)
    require(h.flags & TRAILER and h.size == NO_SIZE if h.multipart else h.size <= MAX_SIZE, MALFORMED)
    kes_key = re.fullmatch(rb"[0-9A-Za-z_-]{1,80}", key_name) and 1 <= len(sealed_data_key) <= 1024
    require(not (key_name or sealed_data_key or shared) if h.scheme == SSE_C else kes_key, MALFORMED)
    context_allowed = len(context) <= 1024 and h.scheme == SSE_KMS and not shared
    require((not context or context_allowed) and 49 <= len(h.sealed_facts) <= 283, MALFORMED)
    return h

def open_object_key(h, data_key, bucket, key):  # 4.1, 4.1.2
    require(len(data_key) == 32 and data_key != ZERO32, WRONG_KEY)
    okm = hkdf(data_key, h.nonce, b"object key" + bytes([h.scheme]) + lp(bucket) + lp(key), 64)
    require(hmac.compare_digest(okm[32:], h.commitment), WRONG_KEY)
    return unseal(AESGCM(okm[:32]), ZERO12, h.sealed_object_key, h.to_commitment)

def stream_key(h, object_key, part):  # 4.3, 4.4
    about = h.object_id + bytes([h.cipher])
    if h.multipart:
        return hkdf(object_key, part.nonce, b"part" + about + part.number.to_bytes(4, "big"))
    return hkdf(object_key, None, b"body" + about)

def package_head(version, cipher, n): return bytes([version, cipher]) + (n - 1).to_bytes(2, "little")  # 5
def package_nonce(nonce, last): return bytes([nonce[0] & 0x7f | last << 7]) + nonce[1:]  # 5
def aead_nonce(nonce, p): return nonce[:8] + (int.from_bytes(nonce[8:], "little") ^ p).to_bytes(4, "little")  # 5

def open_stream(cipher, key, stream, size, a, b):  # 5, 8, 10: plaintext from a to b (exclusive)
    aead, plaintext, first_nonce = CIPHERS[cipher](key), bytearray(), stream[a // P * S + 4:a // P * S + 16]
    for p in range(a // P, (b - 1) // P + 1):
        package, n = stream[p * S:(p + 1) * S], min(P, size - p * P)
        require(len(package) == n + 32 and package[:4] == package_head(0x20, cipher, n), NOT_AUTHENTIC)
        require(package[4:16] == package_nonce(first_nonce, (p + 1) * P >= size), NOT_AUTHENTIC)
        plaintext += unseal(aead, aead_nonce(package[4:16], p), package[16:], package[:4])
    return plaintext[a % P:a % P + b - a]

def parse_checksums(f):  # 6: algorithm to type and digest
    checksums, last = {}, 0
    for _ in range(f.number(1)):
        algorithm, kind = f.take(2)
        require(algorithm > last and algorithm in ALGORITHMS and kind <= 1, MALFORMED)
        checksums[algorithm], last = (kind, f.take(ALGORITHMS[algorithm][1])), algorithm
    return checksums

def parse_optional_algorithm(f):  # 6, 7.3: an algorithm and its type, or two zeros
    algorithm, kind = f.take(2)
    require(algorithm in ALGORITHMS and kind <= 1 or algorithm == kind == 0, MALFORMED)
    return algorithm, kind

def open_facts(h, root_id, root_key, bucket, key):  # 4.2, 6
    require(h.root_id == root_id and root_key != ZERO32, "unknown root")
    facts_key = hkdf(root_key, h.facts_nonce, b"facts" + h.root_id + h.object_id)
    f = Fields(unseal(AESGCM(facts_key), ZERO12, h.sealed_facts, lp(bucket) + lp(key) + h.to_facts_nonce))
    _headers_digest, checksums, trailer_key, announced = f.take(32), parse_checksums(f), None, (0, 0)
    if h.flags & TRAILER:
        trailer_key, announced = f.take(32), parse_optional_algorithm(f)
    f.end()
    require(announced[0] not in checksums, MALFORMED)
    return checksums, trailer_key, announced

def parse_footer(stored):  # 7.1
    f = Fields(stored[-FOOTER:])
    magic, length, parts, prefix = f.take(8), f.number(4), f.number(4), f.take(8)
    require(magic == b"SSEGWTR1" and 28 <= length <= MAX_SEALED_TRAILER and parts <= MAX_PARTS, MALFORMED)
    return length, parts, prefix

def open_trailer(h, trailer_key, stored, announced, length, part_count, prefix):  # 7
    require(prefix == h.object_id[:8] and length + FOOTER <= len(stored), NOT_AUTHENTIC)
    sealed, about = stored[-FOOTER - length:-FOOTER], bytes([h.version, h.flags & 3]) + h.object_id
    f = Fields(unseal(AESGCM(trailer_key), sealed[:12], sealed[12:], INFO + b"trailer" + about))
    kind, size, checksums, parts = f.number(1), f.number(8), parse_checksums(f), []
    if h.multipart:
        parts = parse_part_table(f, kind, size)
    else:  # 7.2
        require(kind == 1 and size <= MAX_SIZE and len(f.data) == 128 and not any(f.data[f.at:]), MALFORMED)
    require(part_count == len(parts) and (h.multipart or size == h.size), NOT_AUTHENTIC)
    require(announced[0] == 0 or checksums.get(announced[0], (None,))[0] == announced[1], NOT_AUTHENTIC)  # 6
    return checksums, parts

def parse_part_table(f, kind, size):  # 7.3
    algorithm, _ = parse_optional_algorithm(f)
    count, parts, digest_size = f.number(4), [], ALGORITHMS.get(algorithm, ("", 0))[1]
    require(kind == 2 and 1 <= count <= MAX_PARTS, MALFORMED)
    for _ in range(count):
        part = SimpleNamespace(number=f.number(4), size=f.number(8), nonce=f.take(16), digest=f.take(digest_size))
        require((parts[-1].number if parts else 0) < part.number <= MAX_PARTS and part.size <= MAX_SIZE, MALFORMED)
        parts.append(part)
    f.end()
    require(size == sum(part.size for part in parts), MALFORMED)
    return parts

def open_body(h, object_key, parts, body, first, end):  # 8: plaintext from first to end (exclusive)
    plaintext, start, place = bytearray(), 0, 0
    for part in parts:
        a, b, stream = max(first - start, 0), min(end - start, part.size), body[place:place + sealed_size(part.size)]
        if a < b:
            plaintext += open_stream(h.cipher, stream_key(h, object_key, part), stream, part.size, a, b)
        start, place = start + part.size, place + len(stream)
    return bytes(plaintext)

def read(o, metadata, bucket, key, stored, data_key, root=None, facts_only=False, any_length=False, range_=None):
    """10, in the steps of 12. The results go to o."""
    o.step, o.checksums, o.announced, o.plaintext = "parse", {}, (0, 0), None
    h = parse_header(join_header(metadata))
    parts, appended = [SimpleNamespace(size=h.size)], 0
    if not facts_only:
        o.step = "open"
        object_key = open_object_key(h, data_key, bucket, key)
        trailer_key = hkdf(object_key, None, b"trailer" + h.object_id)  # 4.5
    if root:
        o.step = "facts"
        o.checksums, facts_trailer_key, o.announced = open_facts(h, *root, bucket, key)
        trailer_key = facts_trailer_key if facts_only else trailer_key
    if h.flags & TRAILER:
        o.step = "footer"
        footer = parse_footer(stored)
        o.step = "trailer"
        checksums, table = open_trailer(h, trailer_key, stored, o.announced, *footer)
        o.checksums, parts, appended = o.checksums | checksums, table or parts, footer[0] + FOOTER
    if not any_length:
        o.step = "length"
        require(len(stored) == sum(sealed_size(part.size) for part in parts) + appended, NOT_AUTHENTIC)
    if not facts_only:
        o.step = "body"
        first, length = range_ or (0, sum(part.size for part in parts))
        o.plaintext = open_body(h, object_key, parts, stored[:len(stored) - appended], first, first + length)

def seal_stream(key, nonce, size=0, version=0x20, cipher=0):  # 12, 5
    aead, nonce, stream = CIPHERS[cipher](bytes.fromhex(key)), bytes.fromhex(nonce), bytearray()
    plaintext = bytes((i ^ i >> 8 ^ i >> 16) & 0xff for i in range(size))
    for p, start in enumerate(range(0, size, P)):
        text, written = plaintext[start:start + P], package_nonce(nonce, start + P >= size)
        head, used = package_head(version, cipher, len(text)), aead_nonce(written, p)
        if version == 0x10:
            written = used = p.to_bytes(4, "little") + nonce[:8]
        stream += head + written + aead.encrypt(used, text, head)
    return bytes(stream)

def stored_bytes(v):  # 12
    streams = [seal_stream(**stream) for stream in v.get("streams", [])]
    return b"".join(streams[piece.get("stream", 0)][piece.get("from", 0):piece["to"]] if "to" in piece
                    else bytes.fromhex(piece.get("hex", "")) for piece in v.get("stored", []))

def check_vector(v):  # 12: what happened, and what is expected
    data_key, root_id, root_key = (bytes.fromhex(v.get(name, "")) for name in ("data_key", "root_id", "root_key"))
    o, metadata = SimpleNamespace(), v.get("metadata", {NAME: v.get("header", "")})
    try:
        read(o, metadata, v.get("bucket", "").encode(), v.get("key", "").encode(), stored_bytes(v), data_key,
             (root_id, root_key), v.get("facts_only"), v.get("any_length"), v.get("range"))
    except Refused as refused:
        return (str(refused), o.step), (v["expect"], v.get("step"))
    digest = None if o.plaintext is None else hashlib.sha256(o.plaintext).hexdigest()
    announced = checksum_name(*o.announced) if o.announced[0] else None
    checksums = {checksum_name(a, kind): value.hex() for a, (kind, value) in o.checksums.items()} or None
    return ("ok", digest, announced, checksums), tuple(map(v.get, ("expect", "sha256", "announced", "checksums")))

def vectors(directory):
    results = [(file.name, *check_vector(json.loads(file.read_text("utf-8"))))
               for file in sorted(Path(directory).glob("*.json"))]
    wrong = [result for result in results if result[1] != result[2]]
    for name, got, expected in wrong:
        print(f"{name}: {got}, expected {expected}")
    print(f"{len(results) - len(wrong)} of {len(results)} vectors as expected")
    return bool(wrong)

def open_file(name, data_key_file, stored_file, output, *values):
    o, (bucket, _, key) = SimpleNamespace(), os.fsencode(name).partition(b"/")
    data_key = Path(data_key_file).read_bytes()
    data_key = data_key if len(data_key) == 32 else base64.b64decode(data_key)
    metadata = {f"{NAME}-{i}" if i > 1 else NAME: value for i, value in enumerate(values, 1)}
    try:
        read(o, metadata, bucket, key, Path(stored_file).read_bytes(), data_key)
    except Refused as refused:
        print(f"refused: {refused}")
        return 1
    Path(output).write_bytes(o.plaintext)

if __name__ == "__main__":
    sys.exit({"vectors": vectors, "open": open_file}[sys.argv[1]](*sys.argv[2:]))
