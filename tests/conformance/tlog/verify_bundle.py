"""Checks an evidence bundle with nothing of the product: Python's hashlib, json and base64, and openssl for Ed25519.

    verify_bundle.py BUNDLE [VKEY]

Follows HOW-TO-VERIFY.txt step by step: the checkpoint's signature, each record's path to the root, each session's chain, each payload's
commitment, and that what is left out is listed. Then it does the same to bundles with one thing altered, which must all fail. Ends with one
line of counts, or with the first thing that does not hold.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile

ED25519_DER = bytes.fromhex("302a300506032b6570032100")


class Bad(Exception):
    pass


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def read(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def parse_vkey(text):
    name, key_hash, encoded = text.strip().split("+", 2)
    raw = base64.b64decode(encoded, validate=True)
    if len(raw) != 33 or raw[0] != 1 or sha256(name.encode(), b"\n", raw)[:4].hex() != key_hash:
        raise Bad("the public key does not fit its own hash")
    return name, bytes.fromhex(key_hash), raw[1:]


def ed25519_is_good(key, message, signature):
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("key", "message", "signature")]
        for path, content in zip(paths, (ED25519_DER + key, message, signature)):
            with open(path, "wb") as file:
                file.write(content)
        done = subprocess.run(
            ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", paths[0], "-rawin", "-in", paths[1], "-sigfile", paths[2]],
            capture_output=True, check=False)
        return done.returncode == 0


class Checkpoints:
    """Opens signed notes; one text is verified once."""

    def __init__(self, vkey):
        self.name, self.key_hash, self.key = parse_vkey(vkey)
        self.known = {}

    def open(self, note):
        if note not in self.known:
            self.known[note] = self.verify(note)
        return self.known[note]

    def verify(self, note):
        text, _, lines = note.rpartition("\n\n")
        text += "\n"
        for line in lines.splitlines():
            dash, name, encoded = line.split(" ")
            raw = base64.b64decode(encoded, validate=True)
            if dash != "\u2014" or name != self.name or raw[:4] != self.key_hash:
                continue
            if not ed25519_is_good(self.key, text.encode(), raw[4:]):
                raise Bad("the signature over the checkpoint is not good")
            origin, size, root = text.splitlines()[:3]
            if origin != self.name:
                raise Bad("the checkpoint is that of another log")
            return int(size), base64.b64decode(root, validate=True)
        raise Bad("the checkpoint is not signed by " + self.name)


def check_inclusion(index, size, leaf, proof, root):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        raise Bad("the record lies beyond the checkpoint")
    here, last, value = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise Bad("the proof is too long")
        if here & 1 or here == last:
            value = sha256(b"\1", sibling, value)
            while not here & 1 and here:
                here >>= 1
                last >>= 1
        else:
            value = sha256(b"\1", value, sibling)
        here >>= 1
        last >>= 1
    if last or value != root:
        raise Bad("the proof does not lead to the signed root")


def check(folder, vkey=None):
    counts = {"records": 0, "chains": 0, "payloads": 0, "withheld": 0}
    given = read(folder, "vkey").decode()
    if vkey is not None and vkey.strip() != given.strip():
        raise Bad("the bundle's key is not the one that is trusted")
    checkpoints = Checkpoints(given)
    checkpoints.open(read(folder, "checkpoint").decode())
    commitments = {}
    heads = {}
    for line in read(folder, "records.jsonl").splitlines():
        record = json.loads(line)
        index = record["index"]
        head, _, note = read(folder, "proofs/%d.tlog-proof" % index).decode().partition("\n\n")
        lines = head.splitlines()
        if lines[0] != "c2sp.org/tlog-proof@v1" or lines[1] != "index %d" % index:
            raise Bad("the proof of record %d is malformed" % index)
        size, root = checkpoints.open(note)
        leaf = sha256(b"\0", line)
        check_inclusion(index, size, leaf, [base64.b64decode(text, validate=True) for text in lines[2:]], root)
        chain = (record["run"], record["session"])
        if chain in heads:
            if record["previous"] != heads[chain].hex():
                raise Bad("record %d does not follow from the one before it in its session" % index)
        else:
            counts["chains"] += 1
        heads[chain] = leaf
        for payload in record["payloads"]:
            commitments[(index, payload["name"])] = payload
        counts["records"] += 1
    if os.path.exists(os.path.join(folder, "payloads.jsonl")):
        for line in read(folder, "payloads.jsonl").splitlines():
            payload = json.loads(line)
            wanted = commitments.pop((payload["index"], payload["name"]), None)
            content = base64.b64decode(payload["bytes"], validate=True)
            if wanted is None or wanted["bytes"] != len(content) or sha256(bytes.fromhex(payload["salt"]), content).hex() != wanted["commitment"]:
                raise Bad("a payload of record %d is not what it commits to" % payload["index"])
            counts["payloads"] += 1
    for line in read(folder, "redactions.jsonl").splitlines():
        withheld = json.loads(line)
        if commitments.pop((withheld["index"], withheld["name"]), None) is None:
            raise Bad("a redaction is listed that is none")
        counts["withheld"] += 1
    if commitments:
        raise Bad("%d payloads are neither there nor listed as withheld" % len(commitments))
    return counts


def must_fail(folder):
    """How many altered bundles are refused; all must be."""

    def edit(name, change):
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            before = file.read()
        after = change(before)
        if after == before:
            raise Bad("nothing was altered in " + name)
        with open(path, "wb") as file:
            file.write(after)
        try:
            check(folder)
        except (Bad, ValueError, KeyError, IndexError, FileNotFoundError):
            return 1
        finally:
            with open(path, "wb") as file:
                file.write(before)
        raise Bad("a bundle with an altered %s is taken for good" % name)

    lines = read(folder, "records.jsonl").splitlines(keepends=True)
    first = json.loads(lines[0])["index"]
    proof = "proofs/%d.tlog-proof" % first
    refused = 0
    for name, change in (
            ("records.jsonl", lambda b: b.replace(b'"agent":"', b'"agent":"x', 1)),
            ("records.jsonl", lambda b: b"".join([lines[1], lines[0]] + lines[2:]).replace(b'"index":', b'"index":1', 1)),
            ("records.jsonl", lambda b: b[: len(b) // 2]),
            ("checkpoint", lambda b: b.replace(b"\n", b"\n1", 1)),
            ("vkey", lambda b: b[:-6] + (b"A" if b[-6:-5] != b"A" else b"B") + b[-5:]),
            (proof, lambda b: b.replace(b"index %d" % first, b"index %d" % (first + 1), 1)),
            (proof, lambda b: b[:40] + (b"A" if b[40:41] != b"A" else b"B") + b[41:]),
            (proof, lambda b: b[:-8] + (b"A" if b[-8:-7] != b"A" else b"B") + b[-7:]),
            ("payloads.jsonl", lambda b: b.replace(b'"salt":"', b'"salt":"00', 1)),
            ("payloads.jsonl", lambda b: b"\n".join(b.splitlines()[1:]) + b"\n"),
            ("redactions.jsonl", lambda b: b + b'{"index":%d,"name":"arguments","why":"x"}\n' % first)):
        refused += edit(name, change)
    return refused


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: verify_bundle.py BUNDLE [VKEY]")
    try:
        counts = check(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else None)
        refused = must_fail(sys.argv[1])
    except Bad as problem:
        sys.exit("verify_bundle: %s" % problem)
    print("python and openssl alone: %(records)d records lead to the signed root, %(chains)d session chains hold, %(payloads)d payloads are what "
          "was committed to, %(withheld)d are listed as withheld; " % counts + "%d altered bundles are refused" % refused)


if __name__ == "__main__":
    main()
