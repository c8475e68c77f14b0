"""Fixtures of the local Sentinel Hub: `from tests.service.fixtures import hub, hub_certificate  # noqa: F401`."""

import secrets

import pytest

from tests.service.certificate import make_certificate
from tests.service.server import LocalSentinelHub


@pytest.fixture(scope="session")
def hub_certificate(tmp_path_factory):
    """The certificate of the local Sentinel Hub, made once."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def hub(hub_certificate, tmp_path_factory, monkeypatch):
    """A running local Sentinel Hub without acquisitions, and an environment in which the client trusts and enters it.

    Fill `hub.acquisitions`. The credentials are random and lie in SH_CLIENT_ID and SH_CLIENT_SECRET only; the user's
    own configuration of sentinelhub-py is out of sight.
    """
    from sentinelhub import SentinelHubDownloadClient

    client_id, client_secret = secrets.token_hex(12), secrets.token_hex(20)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(hub_certificate.authority))
    monkeypatch.setenv("SH_CLIENT_ID", client_id)
    monkeypatch.setenv("SH_CLIENT_SECRET", client_secret)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    for name in ("SH_PROFILE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    SentinelHubDownloadClient.clear_cache()
    with LocalSentinelHub(hub_certificate, client_id, client_secret) as running:
        yield running
    SentinelHubDownloadClient.clear_cache()
