"""A throw-away certificate authority and a server certificate for this machine, made by the openssl program."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True)
class Certificate:
    """Paths of PEM files: of the authority that clients trust, and of the server's certificate and key."""

    authority: Path
    server: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """Make a certificate for localhost and 127.0.0.1, valid for a day; skips the test where openssl is missing."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl program is missing: it makes the certificate of the local Sentinel Hub")
    made = Certificate(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    authority_key, request, extensions = folder / "authority.key", folder / "server.csr", folder / "extensions.txt"
    extensions.write_text(f"{NAMES}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    _run(
        openssl, "req", "-x509", *new_key, "-keyout", authority_key, "-out", made.authority, "-days", 1,
        "-subj", "/CN=Authority of the tests", *authority,
    )  # fmt: skip
    _run(openssl, "req", "-new", *new_key, "-keyout", made.key, "-out", request, "-subj", "/CN=localhost")
    _run(
        openssl, "x509", "-req", "-in", request, "-CA", made.authority, "-CAkey", authority_key, "-set_serial", 1,
        "-out", made.server, "-days", 1, "-extfile", extensions,
    )  # fmt: skip
    return made


def _run(*words: object) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
