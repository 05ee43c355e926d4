"""Measures how much memory layers at the limits of entries and names take.

limits.py DIR SELINUX [CASE…] [-- OPTION…]

Makes a signed OCI layout of each case in DIR, and prints the peak of the program in MiB and its CPU
time. SELINUX is a directory like Fedora's /etc/selinux. OCI2SYSEXT is the program
(default: target/release/oci2sysext). Needs gzip, openssl.
"""

import os
import subprocess
import sys

MILLION = 1_000_000
NAMES = 96 << 20
here = os.path.dirname(os.path.abspath(__file__))


def padded(data):
    return data + bytes(-len(data) % 512)


def header(name, kind, size=0, link=b"", mtime=0):
    """One header of the ustar format."""
    prefix = b""
    if len(name) > 100:
        cut = name.rindex(b"/", 0, 155)
        prefix, name = name[:cut], name[cut + 1 :]
    mode = b"0000755" if kind == b"5" else b"0000644"
    head = name.ljust(100, b"\0") + mode + b"\0" + b"0000000\0" * 2
    head += b"%011o\0%011o\0" % (size, mtime)
    tail = kind + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2
    tail += prefix.ljust(155, b"\0") + bytes(12)
    total = sum(head) + sum(tail) + 8 * 32
    return head + b"%06o\0 " % total + tail


def directory(name):
    return header(name + b"/", b"5")


def extended(records):
    """A PAX header that says more of the entry behind it."""
    body = b""
    for key, value in records:
        length = len(key) + len(value) + 3
        while len(b"%d" % length) + len(key) + len(value) + 3 != length:
            length = len(b"%d" % length) + len(key) + len(value) + 3
        body += b"%d %s=%s\n" % (length, key, value)
    return header(b"x", b"x", len(body)) + padded(body)


def attribute(name, value):
    return (b"SCHILY.xattr.user." + name, value)


def tops(*names):
    for name in (b"usr", b"usr/s", *names):
        yield directory(name)


def empty():
    yield from tops()
    for n in range(MILLION - 3):
        yield header(b"usr/s/%07d" % n, b"0")


def directories():
    yield from tops()
    for n in range(MILLION // 1002):
        yield directory(b"usr/s/%04d" % n)
        for m in range(1000):
            yield directory(b"usr/s/%04d/%04d" % (n, m))


def flat_directories():
    yield from tops()
    for n in range(MILLION - 3):
        yield directory(b"usr/s/%07d" % n)


def chains():
    """Directories with one entry each."""
    yield from tops()
    for n in range(MILLION // 46):
        path = b"usr/s/%05d" % n
        for _ in range(45):
            yield directory(path)
            path += b"/d"


def shuffled():
    """Names in no order."""
    yield from tops()
    for n in range(MILLION - 3):
        yield header(b"usr/s/%07d" % (n * 618_033 % (MILLION - 3)), b"0")


def hard_links():
    yield from tops()
    yield header(b"usr/s/f", b"0")
    for n in range(MILLION - 4):
        yield header(b"usr/s/%07d" % n, b"1", link=b"usr/s/f")


def paths():
    """Long paths."""
    stem = b"/".join([b"d" * 250] * 14)
    yield from tops()
    for n in range(NAMES // 3840):
        name = b"usr/s/%s/%s%05d" % (stem, b"f" * 200, n)
        yield extended([(b"path", name)]) + header(b"x", b"0")


def large_attributes():
    yield from tops()
    for n in range(NAMES // 65_600):
        value = b"%05d" % n + b"v" * 65_530
        yield extended([attribute(b"a", value)]) + header(b"usr/s/%07d" % n, b"0")


def many_attributes():
    yield from tops()
    for n in range(NAMES // (2000 * 12)):
        some = [attribute(b"%05x" % (n * 2000 + m), b"v") for m in range(2000)]
        yield extended(some) + header(b"usr/s/%07d" % n, b"0")


def contents():
    yield from tops()
    for n in range(MILLION - 3):
        yield header(b"usr/s/%07d" % n, b"0", 8) + padded(b"%08d" % n)


def named_contents():
    yield from tops()
    for n in range(MILLION - 3):
        name = b"usr/s/%07d" % n + b"n" * 75
        yield header(name, b"0", 8) + padded(b"%08d" % n)


def blocks():
    """Contents that take a block each."""
    yield from tops()
    for n in range(MILLION - 3):
        some = os.urandom(64) + bytes(4200 - 64)
        yield header(b"usr/s/%07d" % n, b"0", len(some)) + padded(some)


def symlinks():
    yield from tops()
    for n in range(MILLION - 3):
        yield header(b"usr/s/%07d" % n, b"2", link=b"%07d" % n + b"t" * 70)


def attributes():
    yield from tops()
    for n in range(MILLION - 3):
        own = extended([attribute(b"a", b"%07d" % n)])
        yield own + header(b"usr/s/%07d" % n, b"0")


def times():
    yield from tops()
    for n in range(MILLION - 3):
        yield header(b"usr/s/%07d" % n, b"0", mtime=n)


def held():
    """Defaults in /etc, which wait until all is known."""
    yield directory(b"etc") + directory(b"etc/s")
    yield from tops()
    for n in range(MILLION - 5):
        yield header(b"etc/s/%07d" % n, b"0", 8) + padded(b"%08d" % n)


def implied():
    """Files in directories that no entry describes."""
    yield from tops()
    for n in range((MILLION - 3) // 2):
        yield header(b"usr/s/%06d/f" % n, b"0")


def state():
    """Files in /var, which the host copies from elsewhere."""
    yield from tops()
    yield directory(b"var") + directory(b"var/s")
    for n in range(MILLION - 5):
        yield header(b"var/s/%07d" % n, b"0", 8) + padded(b"%08d" % n)


def dropped():
    yield from tops()
    yield directory(b"opt") + directory(b"opt/s")
    for n in range(MILLION - 5):
        yield header(b"opt/s/%07d" % n, b"0", 8) + padded(b"%08d" % n)


CASES = {
    "empty": empty,
    "shuffled": shuffled,
    "directories": directories,
    "flat-directories": flat_directories,
    "chains": chains,
    "hard-links": hard_links,
    "paths": paths,
    "large-attributes": large_attributes,
    "many-attributes": many_attributes,
    "contents": contents,
    "named-contents": named_contents,
    "blocks": blocks,
    "symlinks": symlinks,
    "attributes": attributes,
    "times": times,
    "held": held,
    "implied": implied,
    "state": state,
    "dropped": dropped,
}


def make(place, case, selinux):
    tar = os.path.join(place, case + ".tar")
    with open(tar, "wb", 1 << 20) as file:
        for part in CASES[case]():
            file.write(part)
        file.write(bytes(1024))
    with open(tar + ".gz", "wb") as file:
        subprocess.run(["gzip", "-1", "-n", "-c", tar], check=True, stdout=file)
    layout = os.path.join(place, case)
    script = os.path.join(here, "layout.py")
    subprocess.run([sys.executable, script, tar, tar + ".gz", layout, selinux], check=True)
    os.unlink(tar)


def measure(place, case, options):
    default = os.path.join(here, "../../target/release/oci2sysext")
    program = os.environ.get("OCI2SYSEXT", default)
    layout = os.path.join(place, case)
    output = os.path.join(place, "limits.raw")
    process = subprocess.Popen(
        [program, "-q", "--force", "--threads", "2", "--key", os.path.join(layout, "key.pub")]
        + ["-o", output, *options, "oci:" + layout]
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    print(f"| {case} | {usage.ru_maxrss / 1024:.0f} | {cpu:.1f} | {process.returncode} |", flush=True)


def main():
    arguments, options = sys.argv[1:], []
    if "--" in arguments:
        cut = arguments.index("--")
        arguments, options = arguments[:cut], arguments[cut + 1 :]
    place, selinux, *cases = arguments
    os.makedirs(place, exist_ok=True)
    print("| layer | peak, MiB | CPU, s | exit |\n|---|---|---|---|")
    for case in cases or CASES:
        if not os.path.exists(os.path.join(place, case, "index.json")):
            make(place, case, selinux)
        measure(place, case, options)


main()
