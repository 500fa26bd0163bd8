#!/usr/bin/env python3
"""Writes what the archive of tools/tarball.sh says of itself: a bill of materials (SPDX 2.3), checksums and
a README.   usage: sbom.py COMPONENTS FOLDER; a line of COMPONENTS: name version suite licence...

The same files give the same bytes; SOURCE_DATE_EPOCH is the date."""
import datetime
import hashlib
import json
import os
import pathlib
import sys

README = """\
LatentSync {version} for Linux on x86-64 with glibc 2.28 or newer

    bin/latentsync sync video.mp4 speech.wav -o out.mp4
    bin/latentsync --help

This folder can be anywhere and be moved; nothing has to be installed. lib/liblatentsync.so is the
library for C, include/ has its headers, share/ man pages, completions, the built-in model, the
nodes for ComfyUI and licences.

Graphics cards: the driver of the system is used, for CUDA, Vulkan and NVENC.

Licences: LatentSync is under the Apache License 2.0. With x264 and x265 inside, this archive as a
whole may be passed on under the GNU General Public License, version 3 or later. What else is inside
is listed in sbom.spdx.json, and its licences are in share/licenses. Everything was built from
Debian's source packages:

{components}

Each is there as "apt-get source NAME=VERSION" in Debian, and for good in Debian's snapshot archive.
The source of LatentSync, with tools/tarball.sh that made this, has the version {version}.

`sha256sum -c SHA256SUMS` checks the files.
"""


def element(name, version, licence, **more):
    return {"SPDXID": f"SPDXRef-{name.replace('+', '-')}", "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False, "licenseConcluded": licence, "licenseDeclared": licence, "copyrightText": "NOASSERTION", **more}


def relation(what, kind, other):
    return {"spdxElementId": what["SPDXID"], "relationshipType": kind, "relatedSpdxElement": other["SPDXID"]}


def main(components, folder):
    folder = pathlib.Path(folder)
    date = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    rows = [line.split("\t") for line in pathlib.Path(components).read_text().splitlines()]
    (own, version, _, licence), *others = rows
    whole = element(own, version, licence, primaryPackagePurpose="APPLICATION")
    parts = [element(n, v, license, supplier="Organization: Debian", externalRefs=[
        {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
         "referenceLocator": f"pkg:deb/debian/{n}@{v.replace(':', '%3A')}?arch=source&distro={suite}"}]) for n, v, suite, license in others]
    width = max(len(n) for n, *_ in others)
    listed = "\n".join(f"    {n:{width}} {v} ({suite}), {license}" for n, v, suite, license in others)
    (folder / "README").write_text(README.format(version=version, components=listed))
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    files = [{"SPDXID": f"SPDXRef-File-{i}", "fileName": "./" + str(p.relative_to(folder)), "licenseConcluded": "NOASSERTION",
              "copyrightText": "NOASSERTION", "checksums": [
                  {"algorithm": a.upper(), "checksumValue": hashlib.new(a, p.read_bytes()).hexdigest()} for a in ("sha1", "sha256")]}
             for i, p in enumerate(paths)]
    document = {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": folder.name,
                "documentNamespace": f"urn:uuid:{hashlib.md5((folder.name + str(files)).encode()).hexdigest()}",
                "creationInfo": {"created": date.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: latentsync-tarball"]},
                "packages": [whole, *parts], "files": files}
    document["relationships"] = [relation(document, "DESCRIBES", whole), *(relation(whole, "CONTAINS", p) for p in parts),
                                 *(relation(whole, "CONTAINS", f) for f in files)]
    (folder / "sbom.spdx.json").write_text(json.dumps(document, indent=1) + "\n")
    paths = sorted([*paths, folder / "sbom.spdx.json"])
    (folder / "SHA256SUMS").write_text("".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder)}\n" for p in paths))


if __name__ == "__main__":
    main(*sys.argv[1:])
