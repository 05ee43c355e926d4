#!/usr/bin/env python3
"""Measures this program's labels and libselinux's side by side: whole processes in turns, the
compilation of the policy included. It prints the table of docs/performance.md.

    benches/selinux/compare.py WORK CONTEXTS LIST [ROUNDS]

WORK is a directory on a tmpfs, CONTEXTS one with file_contexts and its siblings, LIST a file with a
mode in octal, a tab and a path on each line. The files of the list are made below WORK, empty, for
setfiles, which also finds them and reads the labels that they have, and with -n writes none;
matchpathcon is told their names.
Must be root. These variables say which programs:
    LABELS       target/release/deps/labels-*  (cargo bench --bench labels --no-run)
    SETFILES, MATCHPATHCON   those of the newest libselinux
"""

import glob
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import time

work, contexts, listing = map(pathlib.Path, sys.argv[1:4])
rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 7
top = pathlib.Path(__file__).parent.parent.parent
built = [name for name in glob.glob(f"{top}/target/release/deps/labels-*") if not name.endswith(".d")]
labels = os.environ.get("LABELS") or max(built, key=os.path.getmtime)
setfiles = os.environ.get("SETFILES", "setfiles")
matchpathcon = os.environ.get("MATCHPATHCON", "matchpathcon")
STAT = {0o040000: "dir", 0o100000: "file", 0o120000: "lnk_file"}


def main():
    tree, policy = work / "tree", work / "policy"
    for directory in (tree, policy):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
    # Compiled forms would be read instead, if they were there.
    for file in contexts.glob("file_contexts*"):
        if file.suffix != ".bin":
            shutil.copy(file, policy)
    paths = make(tree)
    by_type = {}
    for mode, path in paths:
        by_type.setdefault(STAT[mode], []).append(path)
    (work / "list").write_text("".join(f"{mode:o}\t{path}\n" for mode, path in paths))
    for kind, names in by_type.items():
        (work / kind).write_text("\0".join(names))
    file_contexts = policy / "file_contexts"
    asks = " && ".join(
        f"xargs -0 -a {work / kind} {matchpathcon} -n -N -m {kind} -f {file_contexts} --" for kind in by_type
    )
    cases = {
        "ours": [labels, policy, work / "list", "once"],
        "setfiles": [setfiles, "-n", "-r", tree, file_contexts, tree],
        "matchpathcon": ["sh", "-ec", asks],
    }
    runs = {label: [] for label in cases}
    for number in range(rounds + 1):
        for label, command in cases.items():
            took = measure(command)
            # The first round fills the caches.
            if number > 0:
                runs[label].append(took)
    print(f"{len(paths)} paths, medians of {rounds} rounds\n\n| what | CPU ms | wall ms | CPU of ours | wall of ours |")
    print("|---|---|---|---|---|")
    for label, took in runs.items():
        cpu, wall = (statistics.median(column) * 1000 for column in zip(*took))
        # Pair by pair, so that a machine whose speed drifts does not matter.
        ratios = [[one / two for one, two in zip(*pair)] for pair in zip(runs["ours"], took)]
        of_cpu, of_wall = (statistics.median(column) for column in zip(*ratios))
        print(f"| {label} | {cpu:.1f} | {wall:.1f} | {of_cpu:.3f} | {of_wall:.3f} |")


def make(tree):
    """Makes the files, directories and links of the list, with the directories that they are in."""
    paths = []
    for line in listing.read_text(errors="replace").splitlines():
        mode, path = line.split("\t", 1)
        mode, file = int(mode, 8) & 0o170000, tree / path.lstrip("/")
        if mode not in STAT or "\ufffd" in path:
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if mode == 0o040000:
                file.mkdir(exist_ok=True)
            elif mode == 0o120000:
                file.symlink_to("target")
            else:
                file.open("x").close()
        except OSError:
            continue
        paths.append((mode, path))
    return paths


def measure(command):
    """The CPU and wall seconds of a command."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.returncode}\n{done.stderr.decode()}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


main()
