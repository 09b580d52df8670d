#!/usr/bin/env python3
"""Makes the vectors in this folder. Python's standard library only, and the same bytes on every run.

This is a second implementation of the formats, written from the CDDL beside it and sharing no code with the first: its own
CBOR writer, its own P-256. A mistake would have to be made twice to go unseen.

    python3 schemas/vectors/make.py          writes every file
    python3 schemas/vectors/make.py --check  writes nothing, fails when a file differs
"""

import hashlib
import hmac
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent


# ---------------------------------------------------------------------------------------------- CBOR

def head(major, number):
    for info, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 24:
            return bytes([major << 5 | number])
        if number < 1 << 8 * width:
            return bytes([major << 5 | info]) + number.to_bytes(width, "big")
    raise ValueError(number)


def uint(number):
    return head(0, number)


def nint(number):
    assert number < 0
    return head(1, -1 - number)


def bstr(data):
    return head(2, len(data)) + data


def tstr(text):
    data = text.encode()
    return head(3, len(data)) + data


def array(items):
    return head(4, len(items)) + b"".join(items)


def mapping(pairs):
    return head(5, len(pairs)) + b"".join(sorted(key + value for key, value in pairs))


FALSE, TRUE, NULL, UNDEFINED = b"\xf4", b"\xf5", b"\xf6", b"\xf7"


# --------------------------------------------------------------------------------------------- P-256

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
     0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)


def add(one, other):
    if one is None:
        return other
    if other is None:
        return one
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    if one == other:
        slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, P) % P
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, P) % P
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def times(scalar, point):
    total = None
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def compressed(point):
    x, y = point
    return bytes([2 + (y & 1)]) + x.to_bytes(32, "big")


def on_curve(x):
    return pow(x ** 3 - 3 * x + B, (P - 1) // 2, P) == 1


def sign(secret, message):
    """ECDSA with SHA-256 and the nonce of RFC 6979; r || s."""
    digest = hashlib.sha256(message).digest()
    z = int.from_bytes(digest, "big")
    seed = secret.to_bytes(32, "big") + (z % N).to_bytes(32, "big")
    key, value = b"\0" * 32, b"\1" * 32
    for byte in (b"\0", b"\1"):
        key = hmac.digest(key, value + byte + seed, "sha256")
        value = hmac.digest(key, value, "sha256")
    while True:
        value = hmac.digest(key, value, "sha256")
        nonce = int.from_bytes(value, "big")
        if 1 <= nonce < N:
            r = times(nonce, G)[0] % N
            s = pow(nonce, -1, N) * (z + r * secret) % N
            if r and s:
                return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        key = hmac.digest(key, value + b"\0", "sha256")
        value = hmac.digest(key, value, "sha256")


def verifies(public, message, signature):
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    z = int.from_bytes(hashlib.sha256(message).digest(), "big")
    if not (0 < r < N and 0 < s < N):
        return False
    w = pow(s, -1, N)
    point = add(times(z * w % N, G), times(r * w % N, public))
    return point is not None and point[0] % N == r


def joint_sign(secret, message):
    """EC-SDSA with SHA-256 (ISO/IEC 14888-3): c || z, with c = SHA-256(Rx || Ry || message)."""
    nonce = int.from_bytes(hmac.digest(secret.to_bytes(32, "big"), message, "sha256"), "big") % (N - 1) + 1
    x, y = times(nonce, G)
    c = hashlib.sha256(x.to_bytes(32, "big") + y.to_bytes(32, "big") + message).digest()
    z = (nonce + int.from_bytes(c, "big") * secret) % N
    return c + z.to_bytes(32, "big")


def jointly_verifies(public, message, signature):
    c, z = signature[:32], int.from_bytes(signature[32:], "big")
    point = add(times(z, G), times(-int.from_bytes(c, "big") % N, public))
    if point is None:
        return False
    x, y = point
    return hashlib.sha256(x.to_bytes(32, "big") + y.to_bytes(32, "big") + message).digest() == c


def decompressed(data):
    """The point, or None where these bytes are none."""
    x = int.from_bytes(data[1:], "big")
    if len(data) != 33 or data[0] not in (2, 3) or x >= P or not on_curve(x):
        return None
    y = pow(x ** 3 - 3 * x + B, (P + 1) // 4, P)
    return x, y if y & 1 == data[0] & 1 else P - y


# ------------------------------------------------------------------------------------------- helpers

def tagged(tag, data):
    return hashlib.sha256(tag.encode() + b"\0" + data).digest()


def made_up(label, size=32):
    """Bytes that look random and are always the same."""
    return hashlib.shake_256(b"solelog vectors: " + label.encode()).digest(size)


def stream_space(key):
    """The index key with its highest bit clear: every kind but status."""
    return bytes([key[0] & 0x7F]) + key[1:]


def status_space(key):
    """The index key with its highest bit set: status entries only."""
    return bytes([key[0] | 0x80]) + key[1:]


def secret(label):
    return int.from_bytes(made_up(label), "big") % (N - 1) + 1


class Format:
    """The parts of one valid item, from which items with one fault are made."""

    def __init__(self, name, array_name, parts, build=None):
        self.name, self.array_name, self.parts, self.build = name, array_name, parts, build

    def encode(self, parts=None):
        return array([data for _, data in (self.parts if parts is None else parts)])

    def with_part(self, name, data):
        assert any(part == name for part, _ in self.parts), name
        return self.encode([(part, data if part == name else old) for part, old in self.parts])


FILES = {}


def write(path, description, cases):
    for case in cases:
        assert case["want"] in ("ok", "reject") and (case["want"] == "ok") == ("reason" not in case), case
    ids = [case["id"] for case in cases]
    assert len(set(ids)) == len(ids) and cases, path
    FILES[path] = {
        "description": description,
        "schema": "cases[]: {id, format, hex, zeros?: how many zero bytes follow, want: ok|reject, reason: the code of the refusal, and with ok what follows from the bytes}",
        "source": "schemas/vectors/make.py",
        "count": len(cases),
        "cases": cases,
    }


def hexed(data):
    """The bytes as hex; a long tail of zeros as its length, or the files would be mostly zeros."""
    kept = data.rstrip(b"\0")
    if len(data) - len(kept) < 1000:
        return {"hex": data.hex()}
    return {"hex": kept.hex(), "zeros": len(data) - len(kept)}


def ok(name, form, data, **more):
    return {"id": name, "format": form, **hexed(data), "want": "ok", **more}


def reject(name, form, data, reason, **more):
    return {"id": name, "format": form, **hexed(data), "want": "reject", "reason": reason, **more}


def encoding_faults(folder, form, wrap=lambda data: data, **more):
    """What no format allows, whatever its parts are. `wrap` puts the faulty array where the format has it."""
    whole = form.encode()
    assert whole[0] & 0xE0 == 0x80 and whole[0] & 31 < 24
    rest = whole[1:]
    first = form.parts[0][1]
    uints = [name for name, data in form.parts if data[0] >> 5 == 0 and name != "version"]

    def case(name, data, reason):
        return reject(name, form.name, wrap(data), reason, **more)

    write(f"{folder}/trailing.json", "One byte behind the item", [case("zero-byte", whole + b"\0", "cbor/trailing")])
    write(f"{folder}/truncated.json", "The bytes end too early", [
        case("nothing", b"", "cbor/truncated"),
        case("first-byte", whole[:1], "cbor/truncated"),
        case("half", whole[:len(whole) // 2], "cbor/truncated"),
        case("all-but-one", whole[:-1], "cbor/truncated"),
    ])
    write(f"{folder}/not-shortest.json", "Numbers and lengths in more bytes than they need", [
        case("version-in-two-bytes", whole[:1] + b"\x18" + first + rest[len(first):], "cbor/not-shortest"),
        case("version-in-nine-bytes", whole[:1] + b"\x1b" + bytes(7) + first + rest[len(first):], "cbor/not-shortest"),
        case("array-length-in-two-bytes", bytes([0x98, whole[0] & 31]) + rest, "cbor/not-shortest"),
    ])
    write(f"{folder}/indefinite.json", "Indefinite lengths", [
        case("array", b"\x9f" + rest + b"\xff", "cbor/indefinite"),
        case("break", b"\xff", "cbor/break"),
    ])
    write(f"{folder}/reserved.json", "Initial bytes that mean nothing", [
        case("array-28", b"\x9c" + rest, "cbor/reserved"),
        case("version-31", whole[:1] + b"\x1f" + rest[1:], "cbor/reserved"),
        case("simple-two-bytes", whole[:1] + b"\xf8\x14" + rest[len(first):], "cbor/reserved"),
    ])
    write(f"{folder}/huge-length.json", "Lengths that promise more than there is", [
        case("array-2-to-62", b"\x9b\x40" + bytes(7) + rest, "cbor/truncated"),
        case("array-2-to-64-less-one", b"\x9b" + b"\xff" * 8 + rest, "cbor/truncated"),
        case("bytes-2-to-62", b"\x5b\x40" + bytes(7) + rest, "cbor/truncated"),
        case("text-2-to-62", b"\x7b\x40" + bytes(7) + rest, "cbor/truncated"),
        case("map-2-to-62", b"\xbb\x40" + bytes(7), "cbor/truncated"),
    ])
    write(f"{folder}/foreign-types.json", "Types that no format has", [
        case("half-float", whole[:1] + b"\xf9\x3c\x00" + rest[len(first):], "cbor/float"),
        case("double", whole[:1] + b"\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a" + rest[len(first):], "cbor/float"),
        case("tag-before-the-array", b"\xd9\xd9\xf7" + whole, "cbor/tag"),
        case("big-number", whole[:1] + b"\xc2\x49\x01" + bytes(8) + rest[len(first):], "cbor/tag"),
        case("undefined", whole[:1] + UNDEFINED + rest[len(first):], "cbor/simple"),
        case("simple-255", whole[:1] + b"\xf8\xff" + rest[len(first):], "cbor/simple"),
    ])
    write(f"{folder}/depth.json", "Arrays in arrays", [
        case("nine-arrays", b"\x81" * 9 + b"\0", "cbor/depth"),
        case("two-thousand-arrays", b"\x81" * 2000 + b"\0", "cbor/depth"),
        case("nine-maps", b"\xa1\0" * 9 + b"\0", "cbor/depth"),
    ])
    write(f"{folder}/map-keys.json", "Map keys twice or out of order", [
        case("twice", b"\xa2\x01\x01\x01\x02", "cbor/duplicate-key"),
        case("descending", b"\xa2\x02\0\x01\0", "cbor/key-order"),
        case("length-first", b"\xa2" + nint(-1) + b"\0" + uint(100) + b"\0", "cbor/key-order"),
    ])
    write(f"{folder}/utf8.json", "Texts that are not UTF-8", [
        case("lone-continuation", b"\x81\x61\x80", "cbor/utf8"),
        case("overlong", b"\x81\x62\xc0\x80", "cbor/utf8"),
        case("surrogate", b"\x81\x63\xed\xa0\x80", "cbor/utf8"),
    ])
    write(f"{folder}/not-an-array.json", "Another type where the array should be", [
        case("map", b"\xa0", f"shape/{form.array_name}/type"),
        case("number", b"\0", f"shape/{form.array_name}/type"),
        case("bytes", bstr(whole), f"shape/{form.array_name}/type"),
        case("null", NULL, f"shape/{form.array_name}/type"),
    ])
    write(f"{folder}/wrong-type.json", "One part of another type", [
        case(f"{part}-is-{kind}", form.with_part(part, data), f"shape/{part}/type")
        for part, old in form.parts
        for kind, data in (("text", tstr("x")), ("number", uint(0)), ("negative", nint(-1)), ("true", TRUE), ("map", mapping([])))
        if not accepts(form, part, old, kind)
    ])
    if uints:
        write(f"{folder}/negative.json", "Numbers below zero where none may be", [
            case(name, form.with_part(name, nint(-1 << 64)), f"shape/{name}/type") for name in uints
        ])


def accepts(form, part, old, kind):
    """Whether the replacement has the type that is there already."""
    major = old[0] >> 5
    return (major, kind) in ((0, "number"), (3, "text"), (5, "map")) or (form.name, part) == ("opening", "body")


def shape_faults(folder, form, wrap=lambda data: data, sizes=(), **more):
    def case(name, data, reason):
        return reject(name, form.name, wrap(data), reason, **more)

    last = form.parts[-1][0]
    write(f"{folder}/missing.json", "The array ends too early", [
        case("last", form.encode(form.parts[:-1]), f"shape/{last}/missing"),
        case("all", array([]), "shape/version/missing"),
    ])
    write(f"{folder}/version.json", "A version that there is not", [
        case("zero", form.with_part("version", uint(0)), "shape/version/value"),
        case("next", form.with_part("version", uint(3 if form.name == "opening" else 2)), "shape/version/value"),
    ])
    hashes = [name for name, data in form.parts if data[:2] == b"\x58\x20" and len(data) == 34]
    write(f"{folder}/wrong-size.json", "Bytes of the wrong length", [
        case(f"{name}-{size}", form.with_part(name, bstr(bytes(size))), f"shape/{name}/size")
        for name, right in [(name, 32) for name in hashes] + list(sizes)
        for size in (0, right - 1, right + 1)
    ] or [case("none", b"", "cbor/truncated")])


# --------------------------------------------------------------------------------------- instruction

def field(name, value, salt=None):
    return array([bstr(made_up("salt of " + name, 16) if salt is None else salt), tstr(name), value])


def field_hash(data):
    return tagged("solelog/field/v1", data)


def instruction_id(kind, hashes):
    return tagged("solelog/instruction/v1", array([uint(1), tstr(kind), array([bstr(one) for one in sorted(hashes)])]))


def document(kind, fields):
    return array([uint(1), tstr(kind), array(fields)])


DIGEST = made_up("a message digest")
PAYMENT = [field("amount", uint(1250)), field("currency", tstr("EUR")), field("payee", tstr("Bakkerij de Molen"))]
KEY_USE = [field("key", tstr("signing-key-1")), field("alg", tstr("ES256")), field("message_digest", bstr(DIGEST))]


def instructions():
    folder, name = "instruction", "instruction"

    def good(case, kind, fields):
        return ok(case, name, document(kind, fields), instruction_id=instruction_id(kind, map(field_hash, fields)).hex())

    every = [field("text", tstr("grüße")), field("uint", uint(2 ** 64 - 1)), field("nint", nint(-(2 ** 64))),
             field("bytes", bstr(b"\0\xff")), field("yes", TRUE), field("no", FALSE), field("", tstr(""))]
    write(f"{folder}/valid.json", "Instructions and their ids", [
        good("payment", "payment", PAYMENT),
        good("payment-largest-amount", "payment", [field("amount", uint(2 ** 53 - 1)), PAYMENT[1]]),
        good("payment-of-nothing", "payment", [field("amount", uint(0)), PAYMENT[1]]),
        good("payment-other-order", "payment", PAYMENT[::-1]),
        good("key-use", "key.use", KEY_USE),
        good("key-use-key-as-bytes", "key.use", [field("key", bstr(made_up("a key", 33))), *KEY_USE[1:]]),
        good("key-use-sha512", "key.use", [*KEY_USE[:2], field("message_digest", bstr(made_up("a digest", 64)))]),
        good("activate", "credential.activate", []),
        good("activate-names-the-credential", "credential.activate", [field("credential", bstr(made_up("a credential")))]),
        good("add", "credential.add", [field("credential", bstr(made_up("a successor")))]),
        good("policy", "policy.change", [field("policy", bstr(made_up("a policy")))]),
        good("authenticator-add", "authenticator.add", [field("authenticator", bstr(made_up("an authenticator"))), field("name", tstr("my key"))]),
        good("authenticator-revoke", "authenticator.revoke", [field("authenticator", bstr(made_up("an authenticator")))]),
        good("unknown-class", "example.unknown", every),
        good("unknown-class-amount-is-text", "example.unknown", [field("amount", tstr("a lot"))]),
    ])
    one = good("payment", "payment", PAYMENT)["instruction_id"]
    other = good("payment", "payment", PAYMENT[::-1])["instruction_id"]
    assert one == other, "the order of fields is no part of the id"

    form = Format(name, "document", [("version", uint(1)), ("class", tstr("payment")), ("fields", array(PAYMENT))])
    assert form.encode() == document("payment", PAYMENT)
    encoding_faults(folder, form)
    shape_faults(folder, form)

    def bad(case, kind, fields, reason):
        return reject(case, name, document(kind, fields), reason)

    write(f"{folder}/excess.json", "More elements than there are parts", [
        reject("document", name, array([uint(1), tstr("payment"), array(PAYMENT), uint(0)]), "shape/document/excess"),
        bad("field", "x", [array([bstr(bytes(16)), tstr("a"), uint(0), uint(0)])], "shape/field/excess"),
    ])
    write(f"{folder}/salt.json", "Salts that are not 16 bytes", [
        bad(f"{size}-bytes", "x", [field("a", uint(0), bytes(size))], "shape/salt/size") for size in (0, 15, 17, 32)
    ] + [bad("text", "x", [array([tstr("0123456789abcdef"), tstr("a"), uint(0)])], "shape/salt/type")])
    write(f"{folder}/field-value.json", "Values of types that a field can't have", [
        bad(kind, "x", [field("a", value)], "shape/value/type")
        for kind, value in (("null", NULL), ("array", array([])), ("map", mapping([])))
    ])
    write(f"{folder}/field-shape.json", "Fields that are not three parts", [
        bad("number", "x", [uint(0)], "shape/field/type"),
        bad("empty", "x", [array([])], "shape/salt/missing"),
        bad("no-value", "x", [array([bstr(bytes(16)), tstr("a")])], "shape/value/missing"),
        bad("name-is-bytes", "x", [array([bstr(bytes(16)), bstr(b"a"), uint(0)])], "shape/name/type"),
    ])
    write(f"{folder}/same-field.json", "One field twice", [bad("payee", "payment", PAYMENT + PAYMENT[2:], "same-field")])
    write(f"{folder}/same-name.json", "Two fields of one name, which two readers could read differently", [
        bad("amount", "payment", [*PAYMENT, field("amount", uint(1), bytes(16))], "same-name"),
        bad("unknown-class", "x", [field("a", uint(1), bytes(16)), field("a", uint(1), b"\1" * 16)], "same-name"),
    ])
    write(f"{folder}/payment-fields.json", "Payments whose fields are not what a payment has", [
        bad("amount-2-to-53", "payment", [field("amount", uint(2 ** 53)), PAYMENT[1]], "typed/amount"),
        bad("amount-negative", "payment", [field("amount", nint(-1)), PAYMENT[1]], "typed/amount"),
        bad("amount-text", "payment", [field("amount", tstr("12.50")), PAYMENT[1]], "typed/amount"),
        bad("amount-missing", "payment", PAYMENT[1:], "requires/amount"),
        bad("currency-missing", "payment", [PAYMENT[0]], "requires/currency"),
        bad("currency-empty", "payment", [PAYMENT[0], field("currency", tstr(""))], "typed/currency"),
        bad("currency-number", "payment", [PAYMENT[0], field("currency", uint(978))], "typed/currency"),
    ])
    write(f"{folder}/key-use-fields.json", "Uses of a key whose fields are not what they have", [
        bad("key-missing", "key.use", KEY_USE[1:], "requires/key"),
        bad("alg-missing", "key.use", [KEY_USE[0], KEY_USE[2]], "requires/alg"),
        bad("digest-missing", "key.use", KEY_USE[:2], "requires/message_digest"),
        bad("key-number", "key.use", [field("key", uint(1)), *KEY_USE[1:]], "typed/key"),
        bad("key-empty", "key.use", [field("key", bstr(b"")), *KEY_USE[1:]], "typed/key"),
        bad("alg-number", "key.use", [KEY_USE[0], field("alg", nint(-7)), KEY_USE[2]], "typed/alg"),
        bad("digest-31-bytes", "key.use", [*KEY_USE[:2], field("message_digest", bstr(bytes(31)))], "typed/message_digest"),
        bad("digest-65-bytes", "key.use", [*KEY_USE[:2], field("message_digest", bstr(bytes(65)))], "typed/message_digest"),
        bad("digest-hex", "key.use", [*KEY_USE[:2], field("message_digest", tstr(DIGEST.hex()))], "typed/message_digest"),
    ])
    write(f"{folder}/activate-fields.json", "An activation that names something else than a credential", [
        bad("credential-31-bytes", "credential.activate", [field("credential", bstr(bytes(31)))], "typed/credential"),
        bad("credential-text", "credential.activate", [field("credential", tstr("mine"))], "typed/credential"),
    ])
    write(f"{folder}/add-fields.json", "A credential that speaks for a successor and does not say for which", [
        bad("credential-missing", "credential.add", [], "requires/credential"),
        bad("credential-33-bytes", "credential.add", [field("credential", bstr(bytes(33)))], "typed/credential"),
        bad("credential-text", "credential.add", [field("credential", tstr("the new one"))], "typed/credential"),
    ])
    write(f"{folder}/standing-fields.json", "Changes of what holds from then on that do not name it", [
        bad(f"{kind}-{case}", kind, fields, reason)
        for kind, part in (("policy.change", "policy"), ("authenticator.add", "authenticator"), ("authenticator.revoke", "authenticator"))
        for case, fields, reason in (
            ("missing", [], f"requires/{part}"), ("31-bytes", [field(part, bstr(bytes(31)))], f"typed/{part}"),
            ("text", [field(part, tstr("the new one"))], f"typed/{part}"))
    ])
    filler = 32 * 1024 - len(document("x", [field("a", bstr(bytes(30000)))])) + 30000
    assert len(document("x", [field("a", bstr(bytes(filler)))])) == 32 * 1024
    write(f"{folder}/too-long.json", "Longer than 32 KiB, and exactly as long", [
        good("exactly", "x", [field("a", bstr(bytes(filler)))]),
        bad("one-more", "x", [field("a", bstr(bytes(filler + 1)))], "cbor/too-long"),
    ])


# ------------------------------------------------------------------------------------------ metadata

ORIGIN = "log.example/solelog"
CREDENTIAL = made_up("credential id")
INDEX_KEY = stream_space(made_up("index key"))
STATUS_KEY = status_space(made_up("index key"))


def metadata_parts(**changed):
    parts = {
        "version": uint(1), "origin": tstr(ORIGIN), "provider": bstr(made_up("provider")), "credential": bstr(CREDENTIAL),
        "sequence": uint(7), "previous": bstr(made_up("previous")), "index_key": bstr(INDEX_KEY),
        "challenge": bstr(made_up("challenge")), "policy": bstr(made_up("policy")), "class": tstr("payment"),
        "seen_size": uint(1000), "seen_root": bstr(made_up("seen root")), "time_ms": uint(1750000000000),
        "expires_ms": uint(1750000120000), "ext": mapping([]),
    }
    assert set(changed) <= set(parts)
    return list({**parts, **changed}.items())


def metadata():
    folder = name = "metadata"
    form = Format(name, "metadata", metadata_parts())
    operation = made_up("an instruction id")

    def good(case, data):
        return ok(case, name, data, instruction_id=operation.hex(),
                  operation_hash=tagged("solelog/operation/v1", data + operation).hex())

    sequence, c = 7, made_up("c")
    random, hiding, binding = made_up("random"), b"\2" + made_up("D1"), b"\3" + made_up("E1")
    write(f"{folder}/valid.json", "Log metadata, and the hashes that go with it", [
        good("typical", form.encode()),
        good("first", form.encode(metadata_parts(sequence=uint(0), previous=bstr(CREDENTIAL)))),
        good("largest-numbers", form.encode(metadata_parts(
            sequence=uint(2 ** 64 - 1), seen_size=uint(2 ** 64 - 1), time_ms=uint(2 ** 64 - 1), expires_ms=uint(2 ** 64 - 1)))),
        good("longest-origin", form.encode(metadata_parts(origin=tstr("o" * 255)))),
        good("empty-class", form.encode(metadata_parts(**{"class": tstr("")}))),
        {"id": "previous", "format": "previous", "want": "ok", "credential": CREDENTIAL.hex(), "sequence": sequence, "c": c.hex(),
         "hash": tagged("solelog/previous/v1", CREDENTIAL + sequence.to_bytes(8, "big") + c).hex()},
        {"id": "challenge", "format": "challenge", "want": "ok", "random": random.hex(), "hiding": hiding.hex(),
         "binding": binding.hex(), "credential": CREDENTIAL.hex(),
         "hash": tagged("solelog/challenge/v1", random + hiding + binding + CREDENTIAL).hex()},
    ])
    encoding_faults(folder, form)
    shape_faults(folder, form)
    write(f"{folder}/excess.json", "More elements than there are parts", [
        reject("sixteen", name, form.encode(metadata_parts() + [("", uint(0))]), "shape/metadata/excess"),
    ])
    write(f"{folder}/origin.json", "Origins that are empty or too long", [
        reject("empty", name, form.with_part("origin", tstr("")), "shape/origin/size"),
        reject("256-bytes", name, form.with_part("origin", tstr("o" * 256)), "shape/origin/size"),
        reject("256-bytes-in-128-letters", name, form.with_part("origin", tstr("ö" * 128)), "shape/origin/size"),
    ])
    write(f"{folder}/extension.json", "Extensions that this version does not know", [
        reject("key-1", name, form.with_part("ext", mapping([(uint(1), TRUE)])), "unknown-extension"),
        reject("key-is-text", name, form.with_part("ext", mapping([(tstr("session"), uint(1))])), "unknown-extension"),
    ])
    write(f"{folder}/index-key.json", "Index keys at the border of the two spaces", [
        good("largest", form.with_part("index_key", bstr(b"\x7f" + b"\xff" * 31))),
        reject("smallest-of-a-status", name, form.with_part("index_key", bstr(b"\x80" + bytes(31))), "index-key-space"),
        reject("of-a-status", name, form.with_part("index_key", bstr(STATUS_KEY)), "index-key-space"),
    ])
    long_class = 4096 - len(form.with_part("class", tstr("x" * 3000))) + 3000
    write(f"{folder}/too-long.json", "Longer than 4 KiB, and exactly as long", [
        good("exactly", form.with_part("class", tstr("x" * long_class))),
        reject("one-more", name, form.with_part("class", tstr("x" * (long_class + 1))), "cbor/too-long"),
    ])
    assert len(form.with_part("class", tstr("x" * long_class))) == 4096


# -------------------------------------------------------------------------------------------- record

def record_verdict(joint_key, device_key, record):
    """What is wrong with a record of profile 1, if anything: all that anybody needs to verify one."""
    if len(record) < 33 + 32 + 224:
        return "length"
    message, tail = record[:-224], record[-224:]
    c, z, checksum, device_sig, binding_sig = tail[:32], tail[32:64], tail[64:96], tail[96:160], tail[160:]
    joint, device, binding = decompressed(joint_key), decompressed(device_key), decompressed(message[:33])
    numbers = [device_sig[:32], device_sig[32:], binding_sig[:32], binding_sig[32:]]
    if None in (joint, device, binding) or int.from_bytes(z, "big") >= N:
        return "parse"
    if not all(0 < int.from_bytes(number, "big") < N for number in numbers):
        return "parse"
    if not verifies(binding, device_sig, binding_sig):
        return "binding"
    if not verifies(device, c + checksum, device_sig):
        return "device"
    if not jointly_verifies(joint, message, c + z):
        return "joint"
    return None


# What device and provider of `src/threshold` made together, under published keys (`r3_08_…` in its tests makes it again).
MADE_ELSEWHERE = {
    "joint_key": "032b80024ee818d709196780a84affe08789f571529fccc1acce07eea2df2fc65f",
    "device_key": "030bbbc5e8bc84bd33d1d3ce03ffac9a747f4c1993fddb2ec93a4116a86f022a77",
    "hex": (
        "025b2defdaf364654cf0d521f2fc097d414391d7a5ecc652e2ca6a2192bc8fe9b88f01706c6f672e6578616d706c652f736f6c65582023"
        "23232323232323232323232323232323232323232323232323232323232323582022222222222222222222222222222222222222222222"
        "22222222222222222222005820222222222222222222222222222222222222222222222222222222222222222258202424242424242424"
        "24242424242424242424242424242424242424242424242458207a25f277fa51a2fc7e73b8137349a1a170072ff99d1bf634fe6dd80ea8"
        "550378582025252525252525252525252525252525252525252525252525252525252525257363726564656e7469616c2e616374697661"
        "746507582026262626262626262626262626262626262626262626262626262626262626261b00000199c82cc0001b00000199c82e94c0"
        "a055555555555555555555555555555555555555555555555555555555555555556fbb4db07cc991d1c0dd576b41a20d4cd8176592f2cc"
        "7f361a0199fdaa6455518ec285f016fbbf10a9fc932f4f6d4d45b3e47aa4f0fe6f2f7b410b56e37e7fefe79a9f61f606eda267f978ff5f"
        "6b6ae2d873536af18517467d47f65fe6c49149fdf0febe0973af31ae202af2ceb4667a3a492588ee8e9af93458beb046b2a01cf6bf893b"
        "cb360ef4723075251c83c5db06aaf74b2f4c74a1bedf0769a5eaf772701e6c2e5cdad39fd63844e96d34aaa6bda3695ff0d64cc18bed1e"
        "fe245ae917f3e690206e31df58af16e80ebd04d1b00ddedc516792958778bdd97a4e514599"
    ),
}


def records():
    joint, device, binding = secret("joint"), secret("device"), secret("binding")
    keys = {"joint_key": compressed(times(joint, G)).hex(), "device_key": compressed(times(device, G)).hex()}
    form = Format("metadata", "metadata", metadata_parts())
    instruction = made_up("an instruction id")

    def made(data=form.encode(), one_time=binding):
        message = compressed(times(one_time, G)) + data + instruction
        user_sig, checksum = joint_sign(joint, message), hashlib.sha256(made_up("share")).digest()
        device_sig = sign(device, user_sig[:32] + checksum)
        return [message, user_sig[:32], user_sig[32:], checksum, device_sig, sign(one_time, device_sig)]

    def case(name, record, reason=None, **other):
        these = {**keys, **other}
        verdict = record_verdict(bytes.fromhex(these["joint_key"]), bytes.fromhex(these["device_key"]), record)
        assert verdict == reason, (name, verdict, reason)
        return ok(name, "record", record, **these) if reason is None else reject(name, "record", record, reason, **these)

    parts = made()
    whole = b"".join(parts)

    def flipped(at, bit=1):
        return bytes(byte ^ bit if place == at % len(whole) else byte for place, byte in enumerate(whole))

    def with_part(place, data):
        return b"".join(data if at == place else part for at, part in enumerate(parts))

    elsewhere = {name: MADE_ELSEWHERE[name] for name in ("joint_key", "device_key")}
    first = form.encode(metadata_parts(sequence=uint(0), previous=bstr(CREDENTIAL)))
    write("record/valid.json", "Records of profile 1, and the two keys that they are verified under", [
        case("typical", whole),
        case("first", b"".join(made(first))),
        case("another-one-time-key", b"".join(made(one_time=secret("another binding")))),
        case("made-by-device-and-provider", bytes.fromhex(MADE_ELSEWHERE["hex"]), **elsewhere),
    ])
    write("record/binding.json", "The one-time key did not sign the device's signature", [
        case("signature", flipped(-1), "binding"),
        case("other-key", whole.replace(parts[0][:33], compressed(times(secret("another binding"), G))), "binding"),
        case("other-device-signature", with_part(4, sign(device, b"another")), "binding"),
    ])
    other_sig = sign(device, b"another")
    write("record/device.json", "The device did not sign this user signature with this checksum", [
        case("checksum", flipped(-129), "device"),
        case("c", flipped(-193), "device"),
        case("signature", b"".join(parts[:4] + [other_sig, sign(binding, other_sig)]), "device"),
        case("other-key", whole, "device", device_key=compressed(times(secret("another device"), G)).hex()),
    ])
    write("record/joint.json", "The joint key did not sign this message", [
        case("z", flipped(-161), "joint"),
        case("metadata", flipped(33 + 20), "joint"),
        case("instruction", flipped(len(parts[0]) - 1), "joint"),
        case("other-key", whole, "joint", joint_key=compressed(times(secret("another joint"), G)).hex()),
    ])
    write("record/parse.json", "Parts that are no point and no number of the group", [
        case("one-time-key", whole[:1] + b"\xff" * 32 + whole[33:], "parse"),
        case("one-time-key-sign", b"\4" + whole[1:], "parse"),
        case("z-is-the-order", with_part(2, N.to_bytes(32, "big")), "parse"),
        case("device-r-is-zero", with_part(4, bytes(32) + parts[4][32:]), "parse"),
        case("device-s-is-the-order", with_part(4, parts[4][:32] + N.to_bytes(32, "big")), "parse"),
        case("binding-s-is-zero", with_part(5, parts[5][:32] + bytes(32)), "parse"),
    ])
    write("record/length.json", "Too short to hold its parts", [
        case("empty", b"", "length"),
        case("signatures-alone", whole[-224:], "length"),
    ])


# ------------------------------------------------------------------------------------------- opening

def evidence(label):
    return array([tstr("webauthn"), bstr(made_up("participant " + label)), bstr(made_up("authenticator " + label)), bstr(b"blob")])


def shown(hidden, fields):
    return array([array([bstr(one) for one in hidden]), array(fields)])


def openings():
    folder = name = "opening"
    hashes = [field_hash(one) for one in PAYMENT]
    parts = [("version", uint(1)), ("profile", uint(1)), ("record", bstr(made_up("record", 700))),
             ("evidence", array([])), ("shown", shown([], PAYMENT))]
    form = Format(name, "opening", parts)
    whole_id = instruction_id("payment", hashes).hex()

    def good(case, data, **more):
        return ok(case, name, data, commitment=tagged("solelog/opening/v1", data).hex(), **more)

    def showing(case, count):
        hidden = sorted(hashes[count:])
        return good(case, form.with_part("shown", shown(hidden, PAYMENT[:count])), **{"class": "payment"}, instruction_id=whole_id)

    write(f"{folder}/valid.json", "Openings, their commitments, and the id of an instruction of which fields are hidden", [
        showing("everything-shown", 3), showing("one-hidden", 2), showing("two-hidden", 1), showing("everything-hidden", 0),
        good("profile-2", form.with_part("profile", uint(2))),
        good("profile-3", form.with_part("profile", uint(3))),
        good("sixteen-evidence-items", form.with_part("evidence", array([evidence(str(i)) for i in range(16)]))),
        good("empty-record", form.with_part("record", bstr(b""))),
    ])
    encoding_faults(folder, form)
    shape_faults(folder, form)
    write(f"{folder}/excess.json", "More elements than there are parts", [
        reject("opening", name, form.encode(parts + [("", uint(0))]), "shape/opening/excess"),
        reject("shown", name, form.with_part("shown", array([array([]), array([]), uint(0)])), "shape/shown/excess"),
        reject("evidence", name, form.with_part("evidence", array([array([tstr("k"), bstr(bytes(32)), bstr(bytes(32)), bstr(b""), uint(0)])])),
               "shape/evidence/excess"),
    ])
    write(f"{folder}/profile.json", "Profiles that this version can't verify", [
        reject(str(number), name, form.with_part("profile", uint(number)), "shape/profile/value") for number in (0, 4, 5, 2 ** 64 - 1)
    ])
    write(f"{folder}/evidence.json", "Evidence that is too much or not what evidence is", [
        reject("seventeen-items", name, form.with_part("evidence", array([evidence(str(i)) for i in range(17)])), "too-much-evidence"),
        reject("item-is-bytes", name, form.with_part("evidence", array([bstr(b"")])), "shape/evidence/type"),
        reject("participant-31-bytes", name, form.with_part("evidence", array([array([tstr("k"), bstr(bytes(31)), bstr(bytes(32)), bstr(b"")])])),
               "shape/participant/size"),
        reject("no-blob", name, form.with_part("evidence", array([array([tstr("k"), bstr(bytes(32)), bstr(bytes(32))])])), "shape/blob/missing"),
    ])
    low, high = sorted(hashes[:2])
    write(f"{folder}/hidden.json", "Hidden field hashes out of order, twice, or of fields that are also shown", [
        reject("descending", name, form.with_part("shown", shown([high, low], PAYMENT[2:])), "hidden-order"),
        reject("twice", name, form.with_part("shown", shown([low, low], PAYMENT[2:])), "shown/same-field"),
        reject("hidden-and-shown", name, form.with_part("shown", shown([hashes[2]], PAYMENT[2:])), "shown/same-field"),
        reject("31-bytes", name, form.with_part("shown", array([array([bstr(bytes(31))]), array([])])), "shape/hidden/size"),
    ])
    write(f"{folder}/shown-names.json", "Two shown fields of one name", [
        reject("amount", name, form.with_part("shown", shown([], [*PAYMENT, field("amount", uint(1), bytes(16))])), "shown/same-name"),
    ])

    def filled(size):
        return form.with_part("shown", shown([], [field("a", bstr(bytes(size)))]))

    room = 256 * 1024 - len(filled(200_000)) + 200_000
    assert len(filled(room)) == 256 * 1024
    write(f"{folder}/too-long.json", "Longer than 256 KiB, and exactly as long", [
        good("exactly", filled(room)), reject("one-more", name, filled(room + 1), "cbor/too-long"),
    ])

    folder, name = "other-opening", "opening"
    bodies = {
        "issued": (3, array([uint(0), bstr(CREDENTIAL), bstr(b"credential")])),
        "activated": (3, array([uint(1), bstr(CREDENTIAL), uint(12)])),
        "suspended": (3, array([uint(2), bstr(CREDENTIAL), tstr("five wrong attempts")])),
        "resumed": (3, array([uint(3), bstr(CREDENTIAL), tstr("asked by the subscriber")])),
        "revoked": (3, array([uint(4), bstr(CREDENTIAL), tstr("device lost")])),
        "recovered": (3, array([uint(5), bstr(CREDENTIAL), tstr("identity checked again")])),
        "authenticator-added": (3, array([uint(6), bstr(CREDENTIAL), bstr(b"claims")])),
        "authenticator-revoked": (3, array([uint(7), bstr(CREDENTIAL), array([bstr(made_up("authenticator")), tstr("card lost")])])),
        "erasure": (7, array([uint(42), tstr("retention ended")])),
        "executed": (2, array([tstr("executed"), stream_place(), bstr(made_up("instruction")), NULL, NULL])),
        "blocked": (2, array([tstr("blocked"), stream_place(2 ** 64 - 1, made_up("commitment")), NULL, tstr("policy"), bstr(b"\1")])),
        "event": (9, array([tstr("attempt.failed"), stream_place(), NULL])),
        "event-of-nobody": (9, array([tstr("clock.stepped"), NULL, tstr("11 s")])),
        "event-with-bytes": (9, array([tstr("load"), NULL, bstr(b"\1\2")])),
    }
    salt = made_up("salt", 32)

    def other(kind, body):
        return Format(name, "opening", [("version", uint(2)), ("kind", uint(kind)), ("salt", bstr(salt)), ("body", body)])

    def body_case(case, kind, body):
        data = other(kind, body).encode()
        return ok(case, name, data, body=body.hex(), kind=kind, commitment=tagged("solelog/opening/v1", data).hex())

    write(f"{folder}/valid.json", "Openings of entries that are no instructions", [
        body_case(case, kind, body) for case, (kind, body) in bodies.items()
    ])
    form = other(*bodies["revoked"])
    encoding_faults(folder, form)
    shape_faults(folder, form)
    write(f"{folder}/excess.json", "More elements than there are parts", [
        reject("five", name, form.encode(form.parts + [("", uint(0))]), "shape/opening/excess"),
    ])
    write(f"{folder}/kind.json", "Kinds whose entries have no such opening", [
        reject(str(kind), name, other(kind, NULL).encode(), "kind") for kind in (0, 1, 4, 5, 6, 8, 11, 2 ** 64 - 1)
    ])
    status = Format("status", "status", [("change", uint(4)), ("credential", bstr(CREDENTIAL)), ("detail", tstr("device lost"))])
    write(f"{folder}/status.json", "Changes of status that are not what the CDDL says", [
        reject("change-8", "status", status.with_part("change", uint(8)), "shape/change/value"),
        reject("added-text", "status", array([uint(6), bstr(CREDENTIAL), tstr("")]), "shape/detail/type"),
        reject("authenticator-revoked-text", "status", array([uint(7), bstr(CREDENTIAL), tstr("lost")]), "shape/detail/type"),
        reject("authenticator-31-bytes", "status", array([uint(7), bstr(CREDENTIAL), array([bstr(bytes(31)), tstr("lost")])]), "shape/authenticator/size"),
        reject("authenticator-without-reason", "status", array([uint(7), bstr(CREDENTIAL), array([bstr(CREDENTIAL)])]), "shape/reason/missing"),
        reject("authenticator-excess", "status", array([uint(7), bstr(CREDENTIAL), array([bstr(CREDENTIAL), tstr("lost"), NULL])]), "shape/detail/excess"),
        reject("credential-31-bytes", "status", status.with_part("credential", bstr(bytes(31))), "shape/credential/size"),
        reject("issued-text", "status", array([uint(0), bstr(CREDENTIAL), tstr("")]), "shape/detail/type"),
        reject("activated-text", "status", array([uint(1), bstr(CREDENTIAL), tstr("12")]), "shape/detail/type"),
        reject("revoked-without-reason", "status", array([uint(4), bstr(CREDENTIAL)]), "shape/detail/missing"),
        reject("revoked-null", "status", array([uint(4), bstr(CREDENTIAL), NULL]), "shape/detail/type"),
        reject("excess", "status", array([uint(4), bstr(CREDENTIAL), tstr(""), NULL]), "shape/status/excess"),
    ])


# -------------------------------------------------------------------------------- outcomes and events

def stream_place(counter=0, previous=None):
    return array([bstr(CREDENTIAL), uint(counter), bstr(CREDENTIAL if previous is None else previous)])


def provider_entries():
    outcome = Format("outcome", "outcome", [
        ("name", tstr("executed")), ("stream", stream_place(3, made_up("commitment"))), ("about", bstr(made_up("instruction"))),
        ("reason", tstr("limit")), ("detail", bstr(b"receipt"))])
    event = Format("event", "event", [("name", tstr("attempt.failed")), ("stream", stream_place(1, made_up("commitment"))), ("detail", tstr("two left"))])
    right, hash_ = bstr(CREDENTIAL), made_up("commitment")
    places = [
        ("is-bytes", right, "stream/type"), ("of-two", array([right, uint(0)]), "previous/missing"),
        ("of-four", array([right, uint(0), right, NULL]), "stream/excess"), ("credential-31-bytes", array([bstr(bytes(31)), uint(0), right]), "credential/size"),
        ("credential-null", array([NULL, uint(0), right]), "credential/type"), ("counter-negative", array([right, nint(-1), right]), "counter/type"),
        ("counter-text", array([right, tstr("0"), right]), "counter/type"), ("previous-33-bytes", array([right, uint(1), bstr(hash_ + b"\0")]), "previous/size"),
        ("previous-null", array([right, uint(0), NULL]), "previous/type"),
    ]

    def bad(form, part, case, data, reason):
        return reject(f"{part}-{case}", form.name, form.with_part(part, data), f"shape/{reason}")

    for form in (outcome, event):
        name = form.name
        write(f"{name}/stream.json", "Places in a stream that are none", [bad(form, "stream", *place) for place in places])
        write(f"{name}/cbor.json", "Another spelling, or not one item", [
            reject("trailing", name, form.encode() + b"\0", "cbor/trailing"), reject("truncated", name, form.encode()[:-1], "cbor/truncated"),
            reject("indefinite", name, b"\x9f" + form.encode()[1:] + b"\xff", "cbor/indefinite"),
            reject("counter-in-nine-bytes", name, form.with_part("stream", array([right, b"\x1b" + bytes(7) + b"\1", right])), "cbor/not-shortest"),
        ])
        write(f"{name}/length.json", "Parts too many or too few", [
            reject("nothing", name, array([]), "shape/name/missing"), reject("no-detail", name, form.encode(form.parts[:-1]), "shape/detail/missing"),
            reject("excess", name, form.encode(form.parts + [("", NULL)]), f"shape/{name}/excess"),
            reject("not-an-array", name, tstr("executed"), f"shape/{name}/type"),
        ])
    write("outcome/valid.json", "Bodies of outcome entries", [
        ok("all", "outcome", outcome.encode()), ok("first", "outcome", outcome.with_part("stream", stream_place())),
        ok("blocked", "outcome", outcome.with_part("name", tstr("blocked"))), ok("another-word", "outcome", outcome.with_part("name", tstr("put aside"))), ok("about-nothing", "outcome", outcome.with_part("about", NULL)),
        ok("no-reason", "outcome", outcome.with_part("reason", NULL)), ok("no-detail", "outcome", outcome.with_part("detail", NULL)),
        ok("largest-counter", "outcome", outcome.with_part("stream", stream_place(2 ** 64 - 1, made_up("commitment")))),
    ])
    write("outcome/faults.json", "Bodies of outcome entries with one fault", [
        bad(outcome, "name", "bytes", bstr(b"executed"), "name/type"), bad(outcome, "name", "null", NULL, "name/type"),
        bad(outcome, "stream", "null", NULL, "stream/type"), bad(outcome, "about", "31-bytes", bstr(bytes(31)), "about/size"),
        bad(outcome, "about", "text", tstr("about"), "about/type"), bad(outcome, "reason", "bytes", bstr(b"limit"), "reason/type"),
        bad(outcome, "reason", "number", uint(1), "reason/type"), bad(outcome, "detail", "text", tstr("receipt"), "detail/type"),
    ])
    write("event/valid.json", "Bodies of event entries that have the shape of events", [
        ok("all", "event", event.encode()), ok("of-nobody", "event", event.with_part("stream", NULL)),
        ok("bytes", "event", event.with_part("detail", bstr(b""))), ok("no-detail", "event", event.with_part("detail", NULL)),
    ])
    write("event/faults.json", "Bodies of event entries that miss that shape by one fault", [
        bad(event, "name", "null", NULL, "name/type"), bad(event, "detail", "number", uint(1), "detail/type"),
        bad(event, "detail", "array", array([]), "detail/type"), bad(event, "stream", "number", uint(0), "stream/type"),
    ])


# --------------------------------------------------------------------------------------------- entry

def entry_parts(kind, index_key, commitment=None, body=None):
    if body is not None and commitment is None:
        commitment = tagged("solelog/body/v1", body)
    parts = [("version", uint(1)), ("kind", uint(kind)), ("time_ms", uint(1750000000000)),
             ("commitment", bstr(made_up("commitment") if commitment is None else commitment)),
             ("index_key", NULL if index_key is None else bstr(index_key))]
    return parts if body is None else parts + [("body", body)]


def entries():
    folder = name = "entry"
    key = INDEX_KEY
    issuing = compressed(times(secret("issuing key"), G))
    genesis = array([tstr(ORIGIN), array([bstr(issuing)]), bstr(b'{"rules":[]}')])
    new_key = array([uint(1), bstr(issuing), bstr(compressed(times(secret("next issuing key"), G))), bstr(bytes(64)), bstr(bytes(64))])

    def encode(*args, **more):
        return Format(name, "entry", entry_parts(*args, **more)).encode()

    def good(case, *args, **more):
        data = encode(*args, **more)
        return ok(case, name, data, leaf_hash=hashlib.sha256(b"\0" + data).hexdigest())

    def bad(case, reason, *args, **more):
        return reject(case, name, encode(*args, **more), reason)

    write(f"{folder}/valid.json", "Entries of every kind and their leaf hashes", [
        good("genesis", 0, None, body=genesis), good("instruction", 1, key), good("outcome", 2, key),
        good("outcome-without-index-key", 2, None), good("status", 3, STATUS_KEY),
        good("policy", 4, None, body=bstr(b'{"rules":[]}')), good("network", 5, None, body=array([])),
        good("index-root", 6, None, body=array([bstr(made_up("root")), uint(100)])), good("erasure", 7, None),
        good("key", 8, None, body=new_key), good("event", 9, key), good("event-without-index-key", 9, None),
        good("delegation", 10, key),
    ])
    form = Format(name, "entry", entry_parts(1, key))
    encoding_faults(folder, form)
    shape_faults(folder, form)
    write(f"{folder}/excess.json", "More elements than there are parts", [
        reject("seven", name, Format(name, "entry", entry_parts(0, None, body=genesis) + [("", uint(0))]).encode(), "shape/entry/excess"),
    ])
    write(f"{folder}/unknown-kind.json", "Kinds that this version does not know", [
        bad(str(kind), "unknown-kind", kind, key) for kind in (11, 24, 2 ** 64 - 1)
    ])
    write(f"{folder}/index-key.json", "An index key where the kind has none, or none where it has one", [
        *[bad(f"none-in-kind-{kind}", "index-key", kind, None) for kind in (1, 3)],
        *[bad(f"one-in-kind-{kind}", "index-key", kind, key, body=genesis) for kind in (0, 4, 5, 6, 8)],
        bad("one-in-erasure", "index-key", 7, key),
    ])
    write(f"{folder}/index-key-space.json", "An index key of the other space", [
        good("largest", 1, b"\x7f" + b"\xff" * 31), good("smallest-of-a-status", 3, b"\x80" + bytes(31)),
        *[bad(f"of-a-status-in-kind-{kind}", "index-key-space", kind, STATUS_KEY) for kind in (1, 2, 9, 10)],
        bad("of-a-stream-in-a-status", "index-key-space", 3, key),
    ])
    write(f"{folder}/body.json", "A body where the kind has none, or none where it has one", [
        *[bad(f"none-in-kind-{kind}", "body", kind, None) for kind in (0, 4, 5, 6, 8)],
        *[bad(f"one-in-kind-{kind}", "body", kind, STATUS_KEY if kind == 3 else key, body=genesis) for kind in (1, 2, 3, 9, 10)],
        bad("one-in-erasure", "body", 7, None, body=genesis),
    ])
    write(f"{folder}/commitment.json", "A commitment that is not the body's", [
        bad("other-body", "commitment", 0, None, commitment=tagged("solelog/body/v1", b"\x80"), body=genesis),
        bad("other-tag", "commitment", 0, None, commitment=tagged("solelog/opening/v1", genesis), body=genesis),
    ])
    write(f"{folder}/too-long.json", "Longer than an entry bundle can hold, and exactly as long", [
        good("exactly", 4, None, body=bstr(bytes(65_535 - 50))),
        bad("one-more", "cbor/too-long", 4, None, body=bstr(bytes(65_536 - 50))),
    ])
    assert len(encode(4, None, body=bstr(bytes(65_535 - 50)))) == 65_535

    write("genesis/valid.json", "Bodies of genesis entries", [
        ok("one-key", "genesis", genesis, policy=hashlib.sha256(b'{"rules":[]}').hexdigest()),
    ])
    write("genesis/faults.json", "Bodies of genesis entries with one fault", [
        reject("no-key", "genesis", array([tstr(ORIGIN), array([]), bstr(b"")]), "shape/issuing_keys/size"),
        reject("same-key-twice", "genesis", array([tstr(ORIGIN), array([bstr(issuing)] * 2), bstr(b"")]), "shape/issuing_keys/value"),
        reject("key-tag-05", "genesis", array([tstr(ORIGIN), array([bstr(b"\5" + issuing[1:])]), bstr(b"")]), "shape/issuing_keys/value"),
        reject("key-32-bytes", "genesis", array([tstr(ORIGIN), array([bstr(issuing[1:])]), bstr(b"")]), "shape/issuing_keys/size"),
        reject("empty-origin", "genesis", array([tstr(""), array([bstr(issuing)]), bstr(b"")]), "shape/origin/size"),
        reject("policy-is-text", "genesis", array([tstr(ORIGIN), array([bstr(issuing)]), tstr("{}")]), "shape/policy/type"),
        reject("excess", "genesis", array([tstr(ORIGIN), array([bstr(issuing)]), bstr(b""), NULL]), "shape/genesis/excess"),
    ])
    write("key/valid.json", "Bodies of key entries", [
        ok("rotated", "key", new_key),
        ok("added", "key", array([uint(0), NULL, bstr(made_up("log key")), NULL, bstr(bytes(64))])),
    ])
    write("key/faults.json", "Bodies of key entries with one fault", [
        reject("role-4", "key", array([uint(4), NULL, bstr(b"k"), NULL, bstr(b"s")]), "shape/role/value"),
        reject("old-without-signature", "key", array([uint(1), bstr(b"k"), bstr(b"k"), NULL, bstr(b"s")]), "shape/signed_by_old/value"),
        reject("signature-without-old", "key", array([uint(1), NULL, bstr(b"k"), bstr(b"s"), bstr(b"s")]), "shape/signed_by_old/value"),
        reject("new-is-null", "key", array([uint(1), NULL, NULL, NULL, bstr(b"s")]), "shape/new/type"),
    ])


# ---------------------------------------------------------------------------------------- credential

ISSUER = secret("issuing key")
ISSUER_POINT = times(ISSUER, G)
ISSUING_KEY = compressed(ISSUER_POINT)
PROTECTED = mapping([(uint(1), nint(-7))])


def claims_parts(**changed):
    parts = {
        "version": uint(1), "origin": tstr(ORIGIN), "provider": bstr(tagged("solelog/provider/v1", ISSUING_KEY)),
        "issuer": tstr("Example Wallet"), "enrolment_id": bstr(made_up("enrolment")), "subject": bstr(made_up("subject")),
        "profile": uint(1), "joint_key": bstr(compressed(times(secret("joint key"), G))), "device_type": tstr("es256"),
        "device_key": bstr(compressed(times(secret("device key"), G))), "shares": bstr(made_up("shares")),
        "kem_key_id": bstr(made_up("KEM key")), "labels": array([bstr(made_up("label 0")), bstr(made_up("label 1"))]),
        "attestation": tstr("none"), "not_before_ms": uint(1750000000000), "not_after_ms": uint(1900000000000),
        "predecessor": NULL, "ordinal": uint(0),
    }
    assert set(changed) <= set(parts)
    return list({**parts, **changed}.items())


def passkey_parts(backup=FALSE, rp_id=tstr("wallet.example"), origins=None, **changed):
    """Claims of profile 3: the device key lives behind a browser."""
    origins = array([tstr("https://wallet.example")]) if origins is None else origins
    parts = claims_parts(**{"profile": uint(3), "device_type": tstr("webauthn"), **changed})
    at = [name for name, _ in parts].index("device_key") + 1
    return parts[:at] + [("passkey", array([rp_id, origins, backup]))] + parts[at:]


def sig_structure(payload, protected=PROTECTED):
    return array([tstr("Signature1"), bstr(protected), bstr(b""), bstr(payload)])


def credential_array(payload, protected=PROTECTED, unprotected=None, signature=None):
    if signature is None:
        signature = sign(ISSUER, sig_structure(payload, protected))
    return array([bstr(protected), mapping([]) if unprotected is None else unprotected, bstr(payload), bstr(signature)])


def credential(payload, **more):
    return b"\xd2" + credential_array(payload, **more)


def credentials():
    name, more = "credential", {"issuing_key": ISSUING_KEY.hex()}
    claims = Format(name, "claims", claims_parts())
    plain = claims.encode()
    right = sign(ISSUER, sig_structure(plain))
    assert verifies(ISSUER_POINT, sig_structure(plain), right)
    r, s = right[:32], int.from_bytes(right[32:], "big")
    flipped = r + (N - s).to_bytes(32, "big")

    def good(case, payload, **extra):
        return ok(case, name, credential(payload, **extra), credential_id=tagged("solelog/credential/v1", payload).hex(), **more)

    write("credential/valid.json", "Credentials and their ids", [
        good("typical", plain),
        good("other-s", plain, signature=flipped),
        good("profile-2", claims.encode(claims_parts(profile=uint(2)))),
        good("profile-3", claims.encode(passkey_parts())), good("profile-3-synced", claims.encode(passkey_parts(backup=TRUE))),
        good("successor", claims.encode(claims_parts(predecessor=bstr(made_up("predecessor")), ordinal=uint(1)))),
        good("valid-for-a-moment", claims.encode(claims_parts(not_after_ms=uint(1750000000000)))),
    ])

    # The claims, signed with their fault, so that nothing else is wrong.
    encoding_faults("claims", claims, wrap=credential, **more)
    shape_faults("claims", claims, wrap=credential, sizes=(("joint_key", 33), ("device_key", 33)), **more)

    def bad_claim(case, reason, **changed):
        return reject(case, name, credential(claims.encode(claims_parts(**changed))), reason, **more)

    write("claims/excess.json", "More elements than there are parts", [
        reject("nineteen", name, credential(claims.encode(claims_parts() + [("", uint(0))])), "shape/claims/excess", **more),
        bad_claim("three-labels", "shape/labels/excess", labels=array([bstr(bytes(32))] * 3)),
    ])
    write("claims/values.json", "Values that this version does not know", [
        bad_claim("profile-0", "shape/profile/value", profile=uint(0)),
        bad_claim("profile-4", "shape/profile/value", profile=uint(4)),
        bad_claim("profile-3-without-passkey", "shape/device_type/value", profile=uint(3)),
        reject("profile-1-with-passkey", name, credential(claims.encode(passkey_parts(profile=uint(1)))), "shape/device_type/value", **more),
        reject("no-origins", name, credential(claims.encode(passkey_parts(origins=array([])))), "shape/origins/size", **more),
        reject("rp-id-empty", name, credential(claims.encode(passkey_parts(rp_id=tstr("")))), "shape/rp_id/size", **more),
        reject("backup-eligible-number", name, credential(claims.encode(passkey_parts(backup=uint(1)))), "shape/backup_eligible/type", **more),
        bad_claim("device-type-ed25519", "shape/device_type/value", device_type=tstr("ed25519")),
        bad_claim("device-type-capitals", "shape/device_type/value", device_type=tstr("ES256")),
        bad_claim("one-label", "shape/labels/missing", labels=array([bstr(bytes(32))])),
        bad_claim("origin-empty", "shape/origin/size", origin=tstr("")),
        bad_claim("validity-reversed", "validity", not_after_ms=uint(1749999999999)),
    ])
    joint = compressed(times(secret("joint key"), G))
    off = next(x for x in range(1, 100) if not on_curve(x)).to_bytes(32, "big")
    write("claims/keys.json", "Keys that are no points, or points in another spelling", [
        bad_claim(f"{part}-{case}", reason.format(part=part), **{part: bstr(data)})
        for part in ("joint_key", "device_key")
        for case, data, reason in (
            ("tag-05", b"\5" + joint[1:], "shape/{part}/value"), ("tag-00", b"\0" + joint[1:], "shape/{part}/value"),
            ("tag-04", b"\4" + joint[1:], "shape/{part}/value"), ("identity", b"\0", "shape/{part}/size"),
            ("uncompressed", b"\4" + b"".join(c.to_bytes(32, "big") for c in times(secret("joint key"), G)), "shape/{part}/size"),
            ("off-curve", b"\2" + off, "point/{part}"), ("x-not-below-p", b"\2" + b"\xff" * 32, "point/{part}"))
    ])
    write("claims/provider.json", "Claims that name another provider than the one that signed", [
        bad_claim("other", "provider", provider=bstr(made_up("other provider"))),
        bad_claim("plain-hash-of-the-key", "provider", provider=bstr(hashlib.sha256(ISSUING_KEY).digest())),
    ])

    # The envelope.
    stranger = secret("stranger")
    envelope = Format(name, "credential", [
        ("protected", bstr(PROTECTED)), ("unprotected", mapping([])), ("claims", bstr(plain)), ("signature", bstr(right))])
    assert b"\xd2" + envelope.encode() == credential(plain)

    def bad(case, data, reason):
        return reject(case, name, data, reason, **more)

    def part(name_, data):
        return b"\xd2" + envelope.with_part(name_, data)

    write("credential/signature.json", "Signatures that do not verify", [
        bad("bit-flipped", credential(plain, signature=right[:63] + bytes([right[63] ^ 1])), "signature"),
        bad("by-a-stranger", credential(plain, signature=sign(stranger, sig_structure(plain))), "signature"),
        bad("over-the-claims-alone", credential(plain, signature=sign(ISSUER, plain)), "signature"),
        bad("over-another-context", credential(plain, signature=sign(ISSUER, array(
            [tstr("Signature"), bstr(PROTECTED), bstr(b""), bstr(b""), bstr(plain)]))), "signature"),
        bad("zeros", credential(plain, signature=bytes(64)), "signature"),
        bad("r-zero", credential(plain, signature=bytes(32) + right[32:]), "signature"),
        bad("s-is-n", credential(plain, signature=r + N.to_bytes(32, "big")), "signature"),
        bad("halves-swapped", credential(plain, signature=right[32:] + right[:32]), "signature"),
        bad("claims-changed", credential(claims.encode(claims_parts(ordinal=uint(1))), signature=right), "signature"),
    ])
    write("credential/signature-size.json", "Signatures that are not r || s", [
        bad("63-bytes", part("signature", bstr(right[:63])), "shape/signature/size"),
        bad("65-bytes", part("signature", bstr(right + b"\0")), "shape/signature/size"),
        bad("empty", part("signature", bstr(b"")), "shape/signature/size"),
        bad("text", part("signature", tstr("x")), "shape/signature/type"),
    ])
    write("credential/tag.json", "Tags that are not COSE_Sign1, or none", [
        bad("none", envelope.encode(), "tag"),
        bad("17", b"\xd1" + envelope.encode(), "tag"),
        bad("18-in-two-bytes", b"\xd8\x12" + envelope.encode(), "tag"),
        bad("18-twice", b"\xd2\xd2" + envelope.encode(), "cbor/tag"),
        bad("nothing", b"", "tag"),
    ])
    protected = [
        ("eddsa", mapping([(uint(1), nint(-8))])), ("es384", mapping([(uint(1), nint(-35))])), ("empty", b""), ("empty-map", mapping([])),
        ("key-id-too", mapping([(uint(1), nint(-7)), (uint(4), bstr(b"11"))])), ("algorithm-as-text", mapping([(uint(1), tstr("ES256"))])),
        ("not-shortest", b"\xa1\x18\x01\x26"), ("trailing", PROTECTED + b"\0"),
    ]
    write("credential/headers.json", "Headers other than the one that says ES256", [
        *[bad(f"protected-{case}", credential(plain, protected=data), "headers") for case, data in protected],
        bad("unprotected-key-id", credential(plain, unprotected=mapping([(uint(4), bstr(b"11"))])), "headers"),
        bad("unprotected-algorithm", credential(plain, unprotected=mapping([(uint(1), nint(-7))])), "headers"),
        bad("unprotected-countersignature", credential(plain, unprotected=mapping([(uint(7), envelope.encode()[:1] + envelope.encode()[1:])])), "headers"),
    ])
    write("credential/envelope.json", "Envelopes that are not four parts", [
        bad("payload-detached", part("claims", NULL), "shape/claims/type"),
        bad("payload-array", part("claims", plain), "shape/claims/type"),
        bad("protected-map", part("protected", PROTECTED), "shape/protected/type"),
        bad("unprotected-bytes", part("unprotected", bstr(b"")), "shape/unprotected/type"),
        bad("three", b"\xd2" + envelope.encode(envelope.parts[:3]), "shape/signature/missing"),
        bad("five", b"\xd2" + envelope.encode(envelope.parts + [("", NULL)]), "shape/credential/excess"),
        bad("map", b"\xd2\xa0", "shape/credential/type"),
        bad("trailing", credential(plain) + b"\0", "cbor/trailing"),
        bad("truncated", credential(plain)[:-1], "cbor/truncated"),
        bad("indefinite", b"\xd2\x9f" + envelope.encode()[1:] + b"\xff", "cbor/indefinite"),
    ])
    other = compressed(times(stranger, G))
    write("credential/issuing-key.json", "The right credential, opened with another provider's key", [
        {**bad("stranger", credential(plain), "provider"), "issuing_key": other.hex()},
    ])
    long = claims.encode(claims_parts(attestation=tstr("x" * 16384)))
    write("credential/too-long.json", "Longer than 16 KiB", [bad("attestation", credential(long), "cbor/too-long")])


# ------------------------------------------------------------------------------------- authenticator

# Ed25519 keys can't be made without their curve: the first two of RFC 8032, section 7.1.
ED25519 = [bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
           bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")]


def authenticators():
    folder = name = "authenticator"
    point = bstr(compressed(times(secret("passkey"), G)))
    origins = array([tstr("https://bank.example"), tstr("https://app.bank.example")])
    passkey = [("alg", tstr("es256")), ("key", point), ("rp_id", tstr("bank.example")), ("origins", origins),
               ("backup_eligible", FALSE), ("attachment", tstr("cross-platform"))]
    device = [("alg", tstr("eddsa")), ("key", bstr(ED25519[0])), ("template", bstr(made_up("template"))), ("ueid", bstr(b"\1" + made_up("ueid", 16)))]
    card = [("key", bstr(compressed(times(secret("card"), G)))), ("card_uid", bstr(b"\0" + made_up("card", 7)))]
    password = [("secret", bstr(tagged("solelog/otp/v1", made_up("otp", 20)))), ("hash", tstr("sha1")), ("digits", uint(6)), ("period_s", uint(30))]
    types = {"webauthn": passkey, "bio": device, "nfc": card, "otp": password}

    def form(kind, about=None, purpose="sign", attestation="none"):
        about = array([data for _, data in (types[kind] if about is None else about)])
        return Format(name, name, [
            ("version", uint(1)), ("type", tstr(kind)), ("participant", bstr(made_up("subject"))), ("purpose", tstr(purpose)),
            ("attestation", tstr(attestation)), ("about", about)])

    def changed(kind, part, data):
        assert any(old == part for old, _ in types[kind])
        return form(kind, [(old, data if old == part else value) for old, value in types[kind]]).encode()

    def good(case, data):
        return ok(case, name, data, authenticator_id=tagged("solelog/authenticator/v1", data).hex())

    def bad(case, kind, part, data, reason):
        return reject(f"{kind}-{part}-{case}", name, changed(kind, part, data), reason)

    write(f"{folder}/valid.json", "Claims of authenticators", [
        *(good(kind, form(kind).encode()) for kind in types),
        good("login", form("webauthn", purpose="login").encode()), good("attested", form("webauthn", attestation="packed:example").encode()),
        good("synced", changed("webauthn", "backup_eligible", TRUE)), good("platform", changed("webauthn", "attachment", tstr("platform"))),
        good("unknown-attachment", changed("webauthn", "attachment", tstr("unknown"))),
        good("one-origin", changed("webauthn", "origins", array([tstr("https://bank.example")]))),
        good("eight-origins", changed("webauthn", "origins", array([tstr(f"https://{n}.example") for n in range(8)]))),
        good("passkey-eddsa", form("webauthn", [("alg", tstr("eddsa")), ("key", bstr(ED25519[1]))] + passkey[2:]).encode()),
        good("sha256-8-digits", form("otp", [password[0], ("hash", tstr("sha256")), ("digits", uint(8)), ("period_s", uint(120))]).encode()),
    ])
    encoding_faults(folder, form("webauthn"))
    shape_faults(folder, form("webauthn"))
    write(f"{folder}/excess.json", "More elements than there are parts", [
        reject("seven", name, form("nfc").encode(form("nfc").parts + [("", uint(0))]), f"shape/{name}/excess"),
        reject("about", name, form("nfc", card + [("", uint(0))]).encode(), "shape/about/excess"),
    ])
    write(f"{folder}/words.json", "Words that mean nothing", [
        reject("type", name, form("nfc").with_part("type", tstr("ntag")), "shape/type/value"),
        reject("purpose", name, form("nfc", purpose="both").encode(), "shape/purpose/value"),
        reject("attestation-empty", name, form("nfc", attestation="").encode(), "shape/attestation/size"),
        reject("attestation-256", name, form("nfc", attestation="a" * 256).encode(), "shape/attestation/size"),
        bad("usb", "webauthn", "attachment", tstr("usb"), "shape/attachment/value"),
        bad("md5", "otp", "hash", tstr("md5"), "shape/hash/value"),
    ])
    write(f"{folder}/keys.json", "Keys that are none, or of another algorithm", [
        bad("rs256", "webauthn", "alg", tstr("rs256"), "key/unsupported"), bad("es384", "bio", "alg", tstr("es384"), "key/unsupported"),
        bad("uncompressed", "webauthn", "key", bstr(b"\4" + bytes(64)), "key/point"),
        bad("tag-05", "nfc", "key", bstr(b"\5" + bytes(32)), "shape/key/value"),
        bad("x-too-large", "nfc", "key", bstr(b"\2" + b"\xff" * 32), "key/point"),
        bad("31-bytes", "bio", "key", bstr(bytes(31)), "key/form"),
        bad("small-order", "bio", "key", bstr(b"\1" + bytes(31)), "key/point"),
        bad("small-order-zero", "bio", "key", bstr(bytes(32)), "key/point"),
    ])
    write(f"{folder}/parts.json", "Parts of what an authenticator is that are not what the CDDL says", [
        bad("none", "webauthn", "origins", array([]), "shape/origins/size"),
        bad("nine", "webauthn", "origins", array([tstr(f"https://{n}.example") for n in range(9)]), "shape/origins/size"),
        bad("twice", "webauthn", "origins", array([tstr("https://bank.example")] * 2), "shape/origins/value"),
        bad("empty", "webauthn", "origins", array([tstr("")]), "shape/origins/size"),
        bad("number", "webauthn", "backup_eligible", uint(0), "shape/backup_eligible/type"),
        bad("empty", "webauthn", "rp_id", tstr(""), "shape/rp_id/size"),
        bad("31-bytes", "bio", "template", bstr(bytes(31)), "shape/template/size"),
        bad("16-bytes", "bio", "ueid", bstr(bytes(16)), "shape/ueid/size"),
        bad("7-bytes", "nfc", "card_uid", bstr(bytes(7)), "shape/card_uid/size"),
        bad("31-bytes", "otp", "secret", bstr(bytes(31)), "shape/secret/size"),
        bad("five", "otp", "digits", uint(5), "shape/digits/size"), bad("nine", "otp", "digits", uint(9), "shape/digits/size"),
        bad("14", "otp", "period_s", uint(14), "shape/period_s/size"), bad("121", "otp", "period_s", uint(121), "shape/period_s/size"),
        bad("text", "otp", "period_s", tstr("30"), "shape/period_s/type"),
        reject("about-missing", name, form("otp", password[:-1]).encode(), "shape/period_s/missing"),
    ])


# -------------------------------------------------------------------------------------------- policy

def policies():
    name = "policy"

    def rules(*list_):
        return json.dumps({"version": 1, "rules": list(list_)}, ensure_ascii=False)

    def good(case, text):
        return ok(case, name, text.encode(), policy=hashlib.sha256(text.encode()).hexdigest())

    def bad(case, text):
        return reject(case, name, text.encode(), "form")

    def need(case, need_):
        return bad(case, rules({"when": {}, "need": need_}))

    item = {"kind": "nfc"}
    cards = {"count": "all", "of": {"kind": "nfc", "from": "signers"}}
    everything = {"kind": "webauthn", "from": "signers", "uv": True, "device_bound": True, "attested": ["packed:example"],
                  "attachment": "platform", "max_age_s": 60}
    write(f"{name}/valid.json", "Policy documents", [
        good("two-factors", '{"version":1,"rules":[]}'), good("spaces", ' { "rules" : [ ] , "version" : 1 } \n'),
        good("nfc-disabled", rules({"when": {"class": "payment"}})), good("nfc-optional", rules({"when": {"class": "payment"}, "observe": ["nfc"]})),
        good("nfc-required-all", rules({"when": {"class": "payment"}, "need": cards})),
        good("nfc-required-threshold", rules({"when": {"class": "payment"}, "need": {**cards, "count": "threshold"}})),
        good("nfc-required-number", rules({"when": {"class": "payment"}, "need": {**cards, "count": 2}})),
        good("nfc-required-for-high-value", rules({"when": {"class": "payment", "amount_over": 1000000}, "need": cards}, {"when": {"class": "payment"}, "observe": ["nfc"]})),
        good("everything", rules(
            {"when": {"class": "payment", "currency": "EUR", "amount_over": 2 ** 53 - 1, "group": "board", "subject": made_up("subject").hex()}, "high": True, "device": ["android-key"],
             "need": {"all": [everything, {"any": [{"kind": "bio", "modality": ["face", "fingerprint"]}, {"kind": "otp"}, {"kind": "varsig"}]}]}, "observe": ["nfc", "bio"]},
            {"when": {}, "deny": "no-rule"})),
        good("256-rules", rules(*[{"when": {}, "deny": "x"}] * 256)), good("32-items", rules({"when": {}, "need": {"all": [item] * 32}})),
        good("high-said-to-be-false", rules({"when": {}, "high": False})),
    ])
    write(f"{name}/json.json", "Not one JSON document", [
        bad("nothing", ""), bad("word", "allow"), bad("array", "[]"), bad("trailing", '{"version":1,"rules":[]} x'), bad("truncated", '{"version":1,"rules":[]'),
        bad("comment", '{"version":1,"rules":[]/* none */}'), bad("byte-order-mark", '\ufeff{"version":1,"rules":[]}'),
        reject("not-utf-8", name, b'{"version":1,"rules":[{"when":{},"deny":"\xff"}]}', "form"),
    ])
    write(f"{name}/twice.json", "A member twice", [
        bad("version", '{"version":1,"version":1,"rules":[]}'), bad("deny", '{"version":1,"rules":[{"when":{},"deny":"a","deny":"b"}]}'),
        bad("class", '{"version":1,"rules":[{"when":{"class":"a","class":"b"},"deny":"x"}]}'),
        bad("kind", '{"version":1,"rules":[{"when":{},"need":{"kind":"otp","kind":"nfc"}}]}'),
    ])
    write(f"{name}/unknown.json", "Words that mean nothing", [
        bad("version-2", '{"version":2,"rules":[]}'), bad("member", '{"version":1,"rules":[],"account":["active"]}'), bad("rule-member", rules({"when": {}, "allow": True})),
        bad("when-member", rules({"when": {"amount_under": 1}, "deny": "x"})), bad("observed-kind", rules({"when": {}, "observe": ["retina"]})),
        need("kind", {"kind": "retina"}), need("attribute", {**item, "resident": True}), need("from", {**item, "from": "anyone"}),
        need("attachment", {"kind": "webauthn", "attachment": "unknown"}), need("modality", {"kind": "bio", "modality": ["iris"]}),
        need("count-word", {**cards, "count": "some"}), need("null", {**item, "uv": None}),
    ])
    write(f"{name}/shape.json", "Members missing, too many, or out of range", [
        bad("no-version", '{"rules":[]}'), bad("no-rules", '{"version":1}'), bad("no-when", rules({"deny": "x"})), bad("257-rules", rules(*[{"when": {}, "deny": "x"}] * 257)),
        bad("deny-and-need", rules({"when": {}, "deny": "x", "need": item})), bad("deny-and-high", rules({"when": {}, "deny": "x", "high": True})),
        bad("deny-and-observe", rules({"when": {}, "deny": "x", "observe": []})), bad("high-without-need", rules({"when": {}, "high": True})), bad("no-device", rules({"when": {}, "device": []})),
        bad("amount-2-to-53", rules({"when": {"amount_over": 2 ** 53}, "deny": "x"})), bad("amount-negative", rules({"when": {"amount_over": -1}, "deny": "x"})), bad("amount-text", rules({"when": {"amount_over": "1"}, "deny": "x"})),
        bad("subject-31-bytes", rules({"when": {"subject": "00" * 31}, "deny": "x"})), bad("subject-upper-case", rules({"when": {"subject": "AA" * 32}, "deny": "x"})),
        need("nothing", {}), need("all-of-nothing", {"all": []}), need("any-of-nothing", {"any": []}), need("two-forms", {"all": [item], "kind": "nfc"}), need("all-with-attributes", {"all": [item], "uv": True}),
        need("count-zero", {"count": 0, "of": item}), need("count-17", {"count": 17, "of": item}), need("count-without-of", {"count": 1}), need("of-without-count", {"of": item}),
        need("all-of-one-subscriber", {"count": "all", "of": item}), need("attested-by-nobody", {**item, "attested": []}), need("no-modality", {"kind": "bio", "modality": []}), need("33-items", {"all": [item] * 33}),
    ])
    text = rules()
    write(f"{name}/too-long.json", "Longer than 32 KiB, and exactly as long", [
        good("exactly", text + " " * (32768 - len(text))), reject("one-more", name, (text + " " * (32769 - len(text))).encode(), "too-long"),
    ])


# ----------------------------------------------------------------------------------------- index keys

def index_keys():
    label_secret, enrolment, cases = made_up("label secret"), made_up("enrolment"), []
    for stream in (0, 1):
        key = hmac.digest(label_secret, b"solelog/stream/v1\0" + enrolment + bytes([stream]), "sha256")
        for counter in (0, 1, 2 ** 32, 2 ** 64 - 1):
            index_key = stream_space(hmac.digest(key, counter.to_bytes(8, "big"), "sha256"))
            cases.append({
                "id": f"stream-{stream}-counter-{counter}", "format": "index-key", "want": "ok", "label_secret": label_secret.hex(),
                "enrolment_id": enrolment.hex(), "stream": stream, "counter": str(counter), "stream_key": key.hex(),
                "label": tagged("solelog/label/v1", key).hex(), "index_key": index_key.hex(),
                "read_token": hmac.digest(label_secret, b"solelog/read/v1\0" + index_key, "sha256").hex(),
            })
    for counter in (0, 1, 2 ** 64 - 1):
        cases.append({
            "id": f"status-{counter}", "format": "status-index-key", "want": "ok", "credential": CREDENTIAL.hex(), "counter": str(counter),
            "index_key": status_space(hmac.digest(CREDENTIAL, b"solelog/status/v1\0" + counter.to_bytes(8, "big"), "sha256")).hex(),
        })
    write("index-key/derived.json", "Stream keys, labels, index keys and read tokens", cases)


def main():
    instructions()
    metadata()
    records()
    openings()
    provider_entries()
    entries()
    credentials()
    authenticators()
    policies()
    index_keys()
    texts = {HERE / path: json.dumps(content, indent=1, ensure_ascii=False) + "\n" for path, content in FILES.items()}
    if "--check" in sys.argv[1:]:
        there = set(HERE.rglob("*.json"))
        wrong = sorted(str(path.relative_to(HERE)) for path in there | set(texts)
                       if path not in texts or not path.exists() or path.read_text() != texts[path])
        sys.exit("differs: " + ", ".join(wrong) if wrong else 0)
    for path, text in texts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    print(f"{len(FILES)} files, {sum(len(content['cases']) for content in FILES.values())} cases")


if __name__ == "__main__":
    main()
