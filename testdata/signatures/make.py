#!/usr/bin/env python3
"""Makes the signature vectors of tests/verify.rs with openssl, and with new keys each time.

good/NAME.json                      acceptable; ../reject/signatures/NAME.json: one mutation away
keys/NAME.pub                       acceptable keys; ../reject/signatures/keys/NAME.pub: refused

A vector says which key is configured, which candidate a source offers (payload and annotations),
which reason and which exit code the verdict must have, and why.
"""

import base64
import hashlib
import json
import pathlib
import shutil
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
GOOD, KEYS = HERE / "good", HERE / "keys"
REJECT = HERE.parent / "reject" / "signatures"
REJECT_KEYS = REJECT / "keys"
SIGNATURE = "dev.cosignproject.cosign/signature"
REPOSITORY = "registry.example:5000/sysexts/hello"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


INSTANCE, INDEX, OTHER = digest(b"instance"), digest(b"index"), digest(b"other")


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, check=True, capture_output=True).stdout


def private_key(path, algorithm, *options):
    pkeyopts = [word for option in options for word in ("-pkeyopt", option)]
    openssl("genpkey", "-algorithm", algorithm, *pkeyopts, "-out", path)
    return str(path)


def sign(key, payload, hash_name="sha256", *options):
    """The raw signature; hash_name None signs the message itself."""
    with tempfile.NamedTemporaryFile() as message:
        message.write(payload)
        message.flush()
        if hash_name is None:
            return openssl("pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", message.name)
        sigopts = [word for option in options for word in ("-sigopt", option)]
        return openssl("dgst", f"-{hash_name}", "-sign", key, *sigopts, message.name)


def b64(data):
    return base64.b64encode(data).decode()


def payload(digest=INSTANCE, reference=REPOSITORY, kind="cosign container image signature", optional="null"):
    return (
        '{"critical":{"identity":{"docker-reference":"%s"},"image":{"docker-manifest-digest":"%s"},'
        '"type":"%s"},"optional":%s}' % (reference, digest, kind, optional)
    ).encode()


def write(directory, name, why, key, message, annotations, reason, exit_code):
    document = {
        "why": why, "key": key, "payload": b64(message), "annotations": annotations,
        "reason": reason, "exit": exit_code,
    }
    path = directory / f"{name}.json"
    assert not path.exists(), name
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def good(name, why, key, message, signature):
    text = signature if isinstance(signature, str) else b64(signature)
    write(GOOD, name, why, key, message, {SIGNATURE: text}, None, 0)


def bad(name, why, message, annotations, reason, exit_code=4, key="p256"):
    write(REJECT, name, why, key, message, annotations, reason, exit_code)


def flip(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def der_integers(signature):
    """r and s of a short DER ECDSA signature."""
    r_end = 4 + signature[3]
    return signature[4:r_end], signature[r_end + 2:]


def der_signature(r, s):
    body = b"\x02" + bytes([len(r)]) + r + b"\x02" + bytes([len(s)]) + s
    return b"\x30" + bytes([len(body)]) + body


def main():
    for directory in (GOOD, KEYS, REJECT):
        shutil.rmtree(directory, ignore_errors=True)
    for directory in (GOOD, KEYS, REJECT_KEYS):
        directory.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        temporary = pathlib.Path(temporary)
        private = good_keys(temporary)
        good_signatures(private)
        bad_base64(private)
        bad_signatures(private, temporary)
        bad_json(private["p256"])
        bad_claims(private["p256"])
        bad_keys(private, temporary)


def good_keys(temporary):
    kinds = {
        "p256": ("EC", "ec_paramgen_curve:P-256"),
        "other": ("EC", "ec_paramgen_curve:P-256"),
        "p384": ("EC", "ec_paramgen_curve:P-384"),
        "p521": ("EC", "ec_paramgen_curve:P-521"),
        "ed25519": ("ED25519",),
        "rsa2048": ("RSA", "rsa_keygen_bits:2048"),
        "rsa3072": ("RSA", "rsa_keygen_bits:3072"),
        "rsa4096": ("RSA", "rsa_keygen_bits:4096"),
    }
    private = {}
    for name, kind in kinds.items():
        private[name] = private_key(temporary / name, *kind)
        openssl("pkey", "-in", private[name], "-pubout", "-out", KEYS / f"{name}.pub")
    pkcs1 = openssl("rsa", "-in", private["rsa2048"], "-RSAPublicKey_out")
    (KEYS / "rsa2048-pkcs1.pub").write_bytes(pkcs1)
    pem = (KEYS / "p256.pub").read_bytes()
    (KEYS / "p256-crlf.pub").write_bytes(b"\r\n" + pem.replace(b"\n", b"\r\n") + b"\r\n")
    return private


def good_signatures(private):
    plain = payload()
    for name, key, hash_name in [
        ("p256", "p256", "sha256"), ("p384-sha384", "p384", "sha384"),
        ("p384-sha256", "p384", "sha256"), ("p521-sha512", "p521", "sha512"),
        ("p521-sha256", "p521", "sha256"), ("ed25519", "ed25519", None),
        ("rsa2048", "rsa2048", "sha256"), ("rsa3072", "rsa3072", "sha256"),
        ("rsa4096", "rsa4096", "sha256"),
    ]:
        good(f"key-{name}", "each kind of key that L5 allows", key, plain, sign(private[key], plain, hash_name))
    rsa = sign(private["rsa2048"], plain)
    good("key-rsa2048-pkcs1", "RSA PUBLIC KEY, as cosign reads it", "rsa2048-pkcs1", plain, rsa)
    signature = sign(private["p256"], plain)
    good("key-crlf", "a key file with CRLF line ends", "p256-crlf", plain, signature)
    lines = base64.encodebytes(signature).decode()
    good("base64-lf", "Go skips line ends in base64 (L4)", "p256", plain, lines)
    good("base64-crlf", "Go skips line ends in base64 (L4)", "p256", plain, "\r\n".join(b64(signature)) + "\r\n")
    for name, why, message in [
        ("index", "the index may be what is signed (P5)", payload(digest=INDEX)),
        ("tag", "skopeo signs the tag, which is not compared", payload(
            reference=REPOSITORY + ":41.hello",
            optional='{"creator":"containers/image 5.34.2","timestamp":1760000000}')),
        ("reference-digest", "a reference may carry the digest", payload(reference=f"{REPOSITORY}@{INSTANCE}")),
        ("annotations", "what the publisher adds", payload(optional='{"name":"hello","version":"1"}')),
        ("white-space", "white space has no meaning in JSON", plain.replace(b",", b" ,\n\t").replace(b":{", b": {")),
        ("last-newline", "so has a newline at the end", plain + b"\n"),
        ("order", "nor has the order of fields",
         b'{"optional":{},"critical":{"type":"cosign container image signature",' + plain[len(b'{"critical":{'):].split(b',"type"')[0] + b"}}"),
        ("escapes", "nor have escapes", plain.replace(b"critical", b"critic\\u0061l")),
        ("depth-8", "as deep as L6 allows", payload(optional='{"a":' + "[" * 6 + "]" * 6 + "}")),
    ]:
        good(f"payload-{name}", why, "p256", message, sign(private["p256"], message))


def bad_base64(private):
    plain = payload()
    while True:
        signature = sign(private["p256"], plain)
        text = b64(signature)
        if "+" in text and "/" in text and text.endswith("=") and not text.endswith("=="):
            break
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    loose = text[:-2] + alphabet[alphabet.index(text[-2]) + 1] + "="
    for name, why, value in [
        ("url-alphabet", "the alphabet of URLs", text.replace("+", "-").replace("/", "_")),
        ("no-padding", "padding is required", text.rstrip("=")),
        ("more-padding", "padding once", text + "="),
        ("padding-twice", "padding once", text + "===="),
        ("space", "only line ends are skipped", text[:20] + " " + text[20:]),
        ("tab", "only line ends are skipped", text + "\t"),
        ("vertical-tab", "only line ends are skipped", text + "\v"),
        ("nul", "a NUL ends nothing", text + "\0"),
        ("trailing-bits", "the unused bits must be 0", loose),
        ("data-after-padding", "two encodings in a row", text + text),
        ("hex", "hexadecimal digits are another encoding", signature.hex() + "=="),
        ("non-ascii", "a letter that is none", text[:-4] + "é" + text[-4:]),
        ("quoted", "quotes are no base64", f'"{text}"'),
        ("data-url", "a URL is no base64", "data:;base64," + text),
        ("pem", "PEM is no base64", f"-----BEGIN SIGNATURE-----\n{text}\n-----END SIGNATURE-----\n"),
    ]:
        bad(f"base64-{name}", why, plain, {SIGNATURE: value}, "Base64")
    bad("base64-twice", "encoded twice", plain, {SIGNATURE: b64(text.encode())}, "OtherKey")
    bad("base64-empty", "nothing is no signature", plain, {SIGNATURE: ""}, "OtherKey")
    bad("annotation-missing", "no signature at all (L3)", plain, {}, "NoSignature")
    for name, key in [("case", SIGNATURE.upper()), ("sigstore", "dev.sigstore.cosign/signature"), ("space", SIGNATURE + " ")]:
        bad(f"annotation-{name}", "an annotation of another name (L3)", plain, {key: text}, "NoSignature")


def bad_signatures(private, temporary):
    plain = payload()
    key = private["p256"]
    while True:
        signature = sign(key, plain)
        if len(signature) == 70:
            break
    r, s = der_integers(signature)

    def other_key(name, why, value, message=plain, configured="p256", **more):
        bad(name, why, message, {SIGNATURE: b64(value), **more}, "OtherKey", key=configured)

    for bit in (8 * 10, 8 * 50 + 7, 0):
        other_key(f"signature-bit-{bit}", "one bit of the signature", flip(signature, bit))
    other_key("signature-truncated", "the last byte is missing", signature[:-1])
    other_key("signature-longer", "a byte after the signature", signature + b"\0")
    other_key("signature-raw", "r and s side by side are not ASN.1", r + s)
    other_key("signature-ber", "a length in long form is BER", b"\x30\x81" + signature[1:])
    other_key("signature-padded-r", "r with a needless zero", der_signature(b"\0" + r, s))
    other_key("signature-negative", "r as a negative number", der_signature(b"\xff" + r[1:], s))
    other_key("signature-zeros", "r = s = 0 (CVE-2022-21449)", der_signature(b"\0", b"\0"))
    other_key("signature-zero-r", "r = 0", der_signature(b"\0", s))
    other_key("signature-zero-s", "s = 0", der_signature(r, b"\0"))
    other_key("signature-ones", "r = s = 1", der_signature(b"\1", b"\1"))
    other_key("signature-swapped", "s where r should be", der_signature(s, r))
    other_key("signature-empty-sequence", "neither r nor s", b"\x30\0")
    other_key("signature-other-payload", "of another payload", sign(key, payload(digest=INDEX)))
    other_key("signature-sha384", "P-256 goes with SHA-256 only (L5)", sign(key, plain, "sha384"))
    other_key("signature-sha512", "P-256 goes with SHA-256 only (L5)", sign(key, plain, "sha512"))
    other_key("signature-sha1", "SHA-1", sign(key, plain, "sha1"))
    other_key("signature-hashed-twice", "of the payload's hash", sign(key, hashlib.sha256(plain).digest()))
    other_key("signature-other-key", "by somebody else (row 3)", sign(private["other"], plain))
    other_key("signature-other-kind", "by a key of another kind", sign(private["rsa2048"], plain))
    other_key("p384-sha512", "P-384 goes with SHA-384 and SHA-256 only", sign(private["p384"], plain, "sha512"), configured="p384")
    other_key("p521-sha384", "P-521 goes with SHA-512 and SHA-256 only", sign(private["p521"], plain, "sha384"), configured="p521")
    pss = sign(private["rsa2048"], plain, "sha256", "rsa_padding_mode:pss")
    other_key("rsa-pss", "PKCS#1 v1.5 only (L5)", pss, configured="rsa2048")
    other_key("rsa-sha512", "RSA goes with SHA-256 only (L5)", sign(private["rsa2048"], plain, "sha512"), configured="rsa2048")
    rsa = sign(private["rsa2048"], plain)
    other_key("rsa-truncated", "as long as the modulus", rsa[:-1], configured="rsa2048")
    other_key("rsa-longer", "as long as the modulus", b"\0" + rsa, configured="rsa2048")
    other_key("rsa-other-size", "by another RSA key", sign(private["rsa3072"], plain), configured="rsa2048")
    ed25519 = sign(private["ed25519"], plain, None)
    order = 2**252 + 27742317777372353535851937790883648493
    high = (int.from_bytes(ed25519[32:], "little") + order).to_bytes(32, "little")
    other_key("ed25519-high-s", "S above the group's order (RFC 8032)", ed25519[:32] + high, configured="ed25519")
    hashed = sign(private["ed25519"], hashlib.sha512(plain).digest(), None)
    other_key("ed25519-of-hash", "of the payload's hash", hashed, configured="ed25519")
    other_key("ed25519-longer", "64 bytes", ed25519 + b"\0", configured="ed25519")
    other_key("ed25519-zeros", "64 zeros", bytes(64), configured="ed25519")

    certificate = temporary / "certificate"
    openssl("req", "-x509", "-key", private["other"], "-subj", "/CN=somebody", "-days", "36500", "-out", str(certificate))
    for name in ("dev.sigstore.cosign", "dev.cosignproject.cosign"):
        other_key(f"certificate-{name.split('.')[1]}", "by the key of a certificate beside it: a key is configured (L9)",
                  sign(private["other"], plain), **{f"{name}/certificate": certificate.read_text()})

    original = sign(key, plain)
    for name, why, message in [
        ("bit", "one bit of the payload (row 6)", flip(plain, 8 * 60)),
        ("space", "a space that was not signed", plain.replace(b":null", b": null")),
        ("newline", "a newline that was not signed", plain + b"\n"),
        ("truncated", "the last byte is missing", plain[:-1]),
        ("empty", "nothing", b""),
        ("order", "the same JSON in another order", b'{"optional":null,' + plain[1:].split(b',"optional"')[0] + b"}"),
    ]:
        other_key(f"unsigned-{name}", why, original, message)


def bad_json(key):
    plain = payload()

    def signed(name, why, message, reason="Payload", exit_code=4):
        bad(name, why, message, {SIGNATURE: b64(sign(key, message))}, reason, exit_code)

    def changed(name, why, old, new):
        assert plain.count(old) == 1, (name, old)
        signed(name, why, plain.replace(old, new))

    identity = b'"identity":{"docker-reference":"%s"}' % REPOSITORY.encode()
    image = b'"image":{"docker-manifest-digest":"%s"}' % INSTANCE.encode()
    kind = b'"type":"cosign container image signature"'
    for name, why, message in [
        ("empty", "nothing", b""),
        ("white-space", "nothing but white space", b" \n"),
        ("text", "no JSON", b"hello"),
        ("array", "an array", b"[" + plain + b"]"),
        ("string", "JSON in a string", json.dumps(plain.decode()).encode()),
        ("null", "null", b"null"),
        ("truncated", "the last brace is missing", plain[:-1]),
        ("bom", "a byte order mark", b"\xef\xbb\xbf" + plain),
        ("utf-16", "UTF-16", plain.decode().encode("utf-16-le")),
        ("trailing-brace", "row 11", plain + b"}"),
        ("trailing-document", "row 11", plain + plain),
        ("trailing-null", "row 11", plain + b" null"),
        ("trailing-nul", "row 11", plain + b"\0"),
        ("trailing-comment", "row 11", plain + b"//"),
        ("single-quotes", "no JSON", plain.replace(b'"', b"'")),
        ("depth-9", "deeper than L6 allows", payload(optional='{"a":' + "[" * 7 + "]" * 7 + "}")),
        ("depth-5000", "no stack is that deep", payload(optional='{"a":' + "[" * 5000 + "]" * 5000 + "}")),
        ("depth-endless", "no stack is that deep", b"[" * 5000),
    ]:
        signed(f"json-{name}", why, message)
    for name, why, old, new in [
        ("not-utf-8", "UTF-8 only", b":null", b':{"a":"\xff"}'),
        ("overlong-utf-8", "UTF-8 only", b":null", b':{"a":"\xc0\xaf"}'),
        ("lone-surrogate", "half a character", b":null", b':{"a":"\\ud800"}'),
        ("control", "a newline in a string", b":null", b':{"a":"\n"}'),
        ("trailing-comma", "no JSON", b":null", b":null,"),
        ("comment", "no JSON", b":null", b":/**/null"),
        ("nan", "no JSON", b":null", b':{"a":NaN}'),
        ("number-too-large", "a number that no double holds", b":null", b':{"a":1e999}'),
        ("leading-zero", "no JSON", b":null", b':{"a":01}'),
        ("optional-missing", "exact fields", b',"optional":null', b""),
        ("optional-array", "object or null", b":null", b":[]"),
        ("optional-string", "object or null", b":null", b':""'),
        ("optional-number", "object or null", b":null", b":0"),
        ("optional-bool", "object or null", b":null", b":false"),
        ("optional-case", "exact case", b'"optional"', b'"Optional"'),
        ("critical-case", "exact case", b'"critical"', b'"Critical"'),
        ("identity-case", "exact case", b'"identity"', b'"Identity"'),
        ("image-case", "exact case", b'"image":', b'"Image":'),
        ("type-case", "exact case", b'"type"', b'"Type"'),
        ("digest-case", "row 9: the specification's own example prints it so",
         b"docker-manifest-digest", b"Docker-manifest-digest"),
        ("digest-case-all", "row 9", b"docker-manifest-digest", b"Docker-Manifest-Digest"),
        ("reference-case", "exact case", b"docker-reference", b"Docker-reference"),
        ("kelvin", "Go folds a Kelvin sign into k", b"docker-reference", "doc\u212aer-reference".encode()),
        ("unknown-root", "no unknown field", b',"optional"', b',"x":1,"optional"'),
        ("unknown-critical", "row 9", kind, kind + b',"x":1'),
        ("unknown-image", "no unknown field", image, image[:-1] + b',"x":1}'),
        ("unknown-identity", "no unknown field", identity, identity[:-1] + b',"x":1}'),
        ("critical-twice", "row 8", b',"optional"', b',"critical":{},"optional"'),
        ("critical-first-good", "row 8", b'{"critical"', b'{"critical":null,"critical"'),
        ("critical-escaped-twice", "row 8", b',"optional"', b',"critic\\u0061l":{},"optional"'),
        ("optional-twice", "row 8", b":null", b':null,"optional":null'),
        ("image-twice", "row 8", image, image + b"," + image.replace(INSTANCE.encode(), OTHER.encode())),
        ("type-twice", "row 8", kind, kind + b"," + kind),
        ("digest-twice", "row 8", image, b'"image":{"docker-manifest-digest":"%s",' % OTHER.encode() + image[9:]),
        ("reference-twice", "row 8", identity, b'"identity":{"docker-reference":"x",' + identity[12:]),
        ("annotation-twice", "row 8", b":null", b':{"a":1,"a":1}'),
        ("annotation-deep-twice", "row 8", b":null", b':{"a":[{"b":1,"b":1}]}'),
        ("unknown-long", "no message as long as the payload", b',"optional"', b',"%s":1,"optional"' % (b"x" * 30000)),
        ("critical-null", "an object", plain[12:].split(b',"optional"')[0], b"null"),
        ("type-missing", "exact fields", b"," + kind, b""),
        ("image-missing", "exact fields", image + b",", b""),
        ("identity-missing", "exact fields", identity + b",", b""),
        ("image-null", "an object", image, b'"image":null'),
        ("image-string", "an object", image, b'"image":"%s"' % INSTANCE.encode()),
        ("image-array", "an object", image, b'"image":["%s"]' % INSTANCE.encode()),
        ("image-empty", "exact fields", image, b'"image":{}'),
        ("identity-null", "an object", identity, b'"identity":null'),
        ("identity-string", "an object", identity, b'"identity":"%s"' % REPOSITORY.encode()),
        ("identity-empty", "exact fields", identity, b'"identity":{}'),
        ("reference-number", "a string", identity, b'"identity":{"docker-reference":1}'),
        ("reference-null", "a string", identity, b'"identity":{"docker-reference":null}'),
        ("type-number", "a string", kind, b'"type":1'),
        ("type-null", "a string", kind, b'"type":null'),
    ]:
        changed(f"json-{name}", why, old, new)
    for name, value in [
        ("atomic", "atomic container signature"), ("case", "Cosign container image signature"),
        ("space", "cosign container image signature "), ("empty", ""),
        ("attestation", "cosign container image attestation"),
    ]:
        signed(f"type-{name}", "row 10", payload(kind=value))


def bad_claims(key):
    def signed(name, why, message, reason, exit_code=4):
        bad(name, why, message, {SIGNATURE: b64(sign(key, message))}, reason, exit_code)

    signed("digest-other-image", "row 4", payload(digest=OTHER), "OtherImage")
    signed("digest-of-payload", "a digest, but of nothing asked for", payload(digest=digest(payload())), "OtherImage")
    signed("digest-other-image-and-name", "of nothing that was asked for: no matter of names (L8)",
           payload(digest=OTHER, reference="registry.example:5000/other"), "OtherImage")
    hexadecimal = INSTANCE.removeprefix("sha256:")
    for name, value in [
        ("uppercase", "sha256:" + hexadecimal.upper()), ("short", INSTANCE[:-1]), ("long", INSTANCE + "0"),
        ("bare", hexadecimal), ("sha512", "sha512:" + hexadecimal * 2), ("md5", "md5:" + hexadecimal[:32]),
        ("algorithm-case", "SHA256:" + hexadecimal), ("traversal", "sha256:../../" + hexadecimal),
        ("space", INSTANCE + " "), ("empty", ""), ("two", f"{INSTANCE},{OTHER}"),
    ]:
        signed(f"digest-{name}", "row 33", payload(digest=value), "Payload")
    host, path = REPOSITORY.split("/", 1)
    for name, value in [
        ("other-repository", f"{host}/sysexts/other"), ("other-host", f"registry.invalid:5000/{path}"),
        ("other-port", f"registry.example:5001/{path}"), ("no-port", f"registry.example/{path}"),
        ("no-host", path), ("longer", REPOSITORY + "-extra"), ("shorter", REPOSITORY[:-1]),
        ("child", REPOSITORY + "/child"), ("parent", REPOSITORY.rsplit("/", 1)[0]),
        ("empty", ""), ("tag-only", ":41.hello"), ("uppercase", f"{host}/{path.upper()}"),
        ("host-case", f"{host.upper()}/{path}"), ("scheme", f"https://{REPOSITORY}"),
        ("transport", f"docker://{REPOSITORY}"), ("slash", REPOSITORY + "/"),
        ("dots", f"{host}/other/../{path}"), ("double-slash", f"{host}//{path}"),
        ("space", REPOSITORY + " "), ("newline", REPOSITORY + "\\n"), ("nul", REPOSITORY + "\\u0000"),
        ("empty-tag", REPOSITORY + ":"), ("bad-tag", REPOSITORY + ":-"), ("empty-digest", REPOSITORY + "@"),
        ("other-digest", f"{REPOSITORY}@{OTHER}"), ("userinfo", f"user@{REPOSITORY}"),
        ("homograph", REPOSITORY.replace("hello", "h\u0435llo")), ("percent", REPOSITORY.replace("hello", "h%65llo")),
    ]:
        signed(f"name-{name}", "row 5", payload(reference=value), "OtherName", 5)


def bad_keys(private, temporary):
    pem = (KEYS / "p256.pub").read_text()
    der = openssl("pkey", "-in", private["p256"], "-pubout", "-outform", "DER")

    def key(name, content):
        (REJECT_KEYS / f"{name}.pub").write_bytes(content if isinstance(content, bytes) else content.encode())

    def as_pem(data, label="PUBLIC KEY"):
        lines = base64.encodebytes(data).decode()
        return f"-----BEGIN {label}-----\n{lines}-----END {label}-----\n"

    key("empty", "")
    key("white-space", "\n \n")
    key("text", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== somebody\n")
    key("der", der)
    # Labels are enough: nothing of a private key is looked at.
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY",
                  "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY", "OPENSSH PRIVATE KEY"]:
        key(label.lower().replace(" ", "-"), as_pem(b"not a key", label))
    key("certificate", openssl("req", "-x509", "-key", private["p256"], "-subj", "/CN=somebody", "-days", "36500"))
    key("pgp", as_pem(b"not a key", "PGP PUBLIC KEY BLOCK"))
    key("label-case", pem.replace("PUBLIC KEY", "Public Key"))
    key("label-escape", pem.replace("PUBLIC KEY", "\x1b[31mKEY"))
    key("two-keys", pem + (KEYS / "other.pub").read_text())
    key("same-key-twice", pem + pem)
    key("text-before", "# the key\n" + pem)
    key("text-after", pem + "x\n")
    key("nul-after", pem + "\0")
    key("no-end", pem.split("-----END")[0])
    key("other-end", pem.replace("END PUBLIC", "END PRIVATE"))
    key("one-line", pem.replace("\n", ""))
    key("headers", pem.replace("-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1))
    key("base64-url", pem.replace("M", "-", 1))
    key("base64-padding", pem.replace("==\n", "\n"))
    key("der-longer", as_pem(der + b"\0"))
    key("der-truncated", as_pem(der[:-1]))
    key("der-empty", as_pem(b""))
    key("not-utf-8", b"\xff" + pem.encode())
    key("unused-bits", as_pem(der.replace(b"\x03\x42\x00", b"\x03\x42\x04")))
    key("off-curve", as_pem(flip(der, 8 * (len(der) - 1))))
    key("point-at-infinity", as_pem(bytes([0x30, 0x17]) + der[2:23] + b"\x03\x02\0\0"))
    key("compressed", openssl("ec", "-in", private["p256"], "-pubout", "-conv_form", "compressed"))
    key("explicit-curve", openssl("ec", "-in", private["p256"], "-pubout", "-param_enc", "explicit"))
    key("wrong-curve", as_pem(der.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030101"))))
    for name, kind in {
        "p224": ("EC", "ec_paramgen_curve:P-224"), "secp256k1": ("EC", "ec_paramgen_curve:secp256k1"),
        "brainpool": ("EC", "ec_paramgen_curve:brainpoolP256r1"),
        "rsa-1024": ("RSA", "rsa_keygen_bits:1024"), "rsa-2040": ("RSA", "rsa_keygen_bits:2040"),
        "rsa-pss": ("RSA-PSS", "rsa_keygen_bits:2048"), "ed448": ("ED448",), "x25519": ("X25519",),
    }.items():
        refused = private_key(temporary / f"refused-{name}", *kind)
        openssl("pkey", "-in", refused, "-pubout", "-out", REJECT_KEYS / f"{name}.pub")
    ed25519 = openssl("pkey", "-in", private["ed25519"], "-pubout", "-outform", "DER")
    key("ed25519-short", as_pem(b"\x30\x29" + ed25519[2:9] + b"\x03\x20" + ed25519[11:-1]))
    key("ed25519-parameters", as_pem(b"\x30\x2c\x30\x07\x06\x03\x2b\x65\x70\x05\x00" + ed25519[9:]))
    rsa = openssl("pkey", "-in", private["rsa2048"], "-pubout", "-outform", "DER")
    key("rsa-even-exponent", as_pem(rsa[:-1] + b"\0"))
    key("rsa-exponent-1", as_pem(rsa[:-3] + b"\0\0\1"))
    key("rsa-no-exponent", as_pem(rsa[:-5]))
    key("rsa-as-pkcs1", as_pem(rsa, "RSA PUBLIC KEY"))
    key("ml-dsa", as_pem(bytes.fromhex("3017300b0609608648016503040311") + b"\x03\x08\0" + bytes(7)))


if __name__ == "__main__":
    main()
