"""The local Sentinel Hub's refusals and faults, as the real client sees them."""

import json
import traceback
from urllib.parse import urlencode

import numpy as np
import pytest
import requests

from tests.service.client import box, image, order, settings
from tests.service.scenes import sentinel2

JULY = "2024-07-03T10:10:31Z"
SMALL = (box(0, 0, 16, 12), (16, 12))


@pytest.fixture
def served(hub):
    """A local Sentinel Hub with one acquisition."""
    hub.acquisitions = [sentinel2(JULY)]
    return hub


def failure(hub, *arguments, **options):
    """The exception that the client raises for an order."""
    from sentinelhub.exceptions import DownloadFailedException

    with pytest.raises(DownloadFailedException) as caught:
        order(hub, *(arguments or SMALL), **options).get_data()
    return caught.value


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"size": (2501, 10)}, "COMMON_BAD_PAYLOAD", "between 1 and 2500"),
        ({"bands": ("B02", "B10")}, "RENDERER_EXCEPTION", "does not contain band 'B10'"),
        ({"units": "KELVIN"}, "RENDERER_EXCEPTION", "requested in unsupported units 'KELVIN'"),
        ({"other_args": {"processing": {"harmonise": True}}}, "COMMON_BAD_PAYLOAD", "unknown harmonise"),
    ],
)
def test_a_wrong_request_fails_at_once_with_the_services_words(served, options, code, says):
    error = failure(served, SMALL[0], options.pop("size", SMALL[1]), **options)
    answer = error.request_exception.response.json()["error"]
    assert (answer["status"], answer["reason"], answer["code"]) == (400, "Bad Request", code)
    assert says in answer["message"] and says in str(error)
    assert [request.status for request in served.sent("process")] == [400]
    assert served.units_spent == 0


def test_a_wrong_search_fails_with_the_catalogues_words(served):
    from sentinelhub import SentinelHubCatalog
    from sentinelhub.exceptions import DownloadFailedException

    search = SentinelHubCatalog(settings(served)).search("sentinel-2-l2a", time=("2024-07-01", "2024-07-02"), limit=500)
    with pytest.raises(DownloadFailedException, match="limit must be between 1 and 100"):
        list(search)


def test_other_paths_and_methods_do_not_exist(served):
    assert requests.post(served.base_url + "/api/v1/statistics", json={}).status_code == 404
    assert requests.get(served.base_url + "/api/v1/process").status_code == 405
    assert [request.endpoint for request in served.requests] == ["", "process"]


def _credentials(hub) -> dict:
    config = settings(hub)
    return {
        "grant_type": "client_credentials",
        "client_id": config.sh_client_id,
        "client_secret": config.sh_client_secret,
    }


def _token(hub) -> str:
    return requests.post(hub.token_url, data=_credentials(hub)).json()["access_token"]


def test_the_headers_matter(served):
    body = order(served, *SMALL).payload
    right = {"Authorization": f"Bearer {_token(served)}", "Content-Type": "application/json", "Accept": "image/tiff"}

    def status(**changes: str) -> int:
        headers = right | {name.replace("_", "-"): value for name, value in changes.items()}
        return requests.post(served.base_url + "/api/v1/process", json=body, headers=headers).status_code

    assert status() == 200
    assert status(Content_Type="text/plain") == 415
    assert status(Accept="application/tar") == 400
    assert status(Authorization=right["Authorization"].replace("Bearer", "Basic")) == 401
    assert status(Authorization="Bearer ") == 401


def test_the_body_must_be_json(served):
    headers = {"Authorization": f"Bearer {_token(served)}", "Content-Type": "application/json"}
    answer = requests.post(served.base_url + "/api/v1/process", data="{", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "COMMON_BAD_PAYLOAD")


def test_a_stranger_is_refused(served):
    from oauthlib.oauth2 import OAuth2Error

    secret = "not-the-secret-but-one-all-the-same"
    with pytest.raises(OAuth2Error) as caught:
        order(served, *SMALL, config=settings(served, sh_client_secret=secret)).get_data()
    assert type(caught.value).__name__ == "InvalidClientError" and caught.value.error == "invalid_client"
    assert "Invalid client or Invalid client credentials" in str(caught.value)
    assert secret not in "".join(traceback.format_exception(caught.value))
    assert [(request.endpoint, request.authorised, request.status) for request in served.requests] == [
        ("token", False, 401)
    ]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_secret": ""}, "invalid_client"),
        ({"scope": "all"}, "invalid_request"),
    ],
)
def test_a_wrong_token_request_is_refused(served, change, error):
    answer = requests.post(served.token_url, data=_credentials(served) | change)
    assert answer.status_code in (400, 401) and answer.json()["error"] == error


def test_a_token_request_is_a_form(served):
    form = urlencode(_credentials(served))
    for kind, status in (("application/x-www-form-urlencoded", 200), ("text/plain", 400)):
        assert requests.post(served.token_url, data=form, headers={"Content-Type": kind}).status_code == status


def test_nothing_of_the_secrets_is_noted(served):
    image(served, *SMALL)
    noted = repr(served.requests)
    known = _credentials(served)
    token = _token(served)
    assert served.requests[0].body == {"grant_type": "client_credentials"}
    assert known["client_secret"] not in noted and known["client_id"] not in noted and token not in noted
    assert [(request.endpoint, request.authorised, request.status) for request in served.requests[:2]] == [
        ("token", True, 200),
        ("process", True, 200),
    ]


def test_a_revoked_token_is_not_renewed_by_the_client(served):
    image(served, *SMALL)
    served.revoke_tokens()
    error = failure(served)
    assert "401" in str(error) and "You are not authorized!" in str(error)
    assert [request.endpoint for request in served.requests] == ["token", "process", "process"]
    assert served.requests[-1].authorised is False


def test_a_token_near_its_end_is_renewed(served):
    config = settings(served)
    for seconds, renewed in ((110, True), (3600, False)):  # the client renews two minutes before
        served.expires_in_s = seconds
        image(served, *SMALL, config=config)
        before = len(served.sent("token"))
        image(served, *SMALL, config=config)
        assert (len(served.sent("token")) > before) == renewed


def test_a_token_ends(served):
    served.expires_in_s = 600
    token = _token(served)
    ask = dict(url=served.base_url + "/api/v1/process", json={}, headers={"Authorization": f"Bearer {token}"})
    assert requests.post(**ask).status_code == 400
    served._tokens[token] -= 600  # as if so much time had passed
    assert requests.post(**ask).status_code == 401


def test_the_client_waits_as_many_milliseconds_as_it_is_told(served):
    from sentinelhub.exceptions import SHRateLimitWarning

    served.fail("process", status=429, times=2, retry_after_ms=150)
    with pytest.warns(SHRateLimitWarning):
        assert image(served, *SMALL)[..., 1].all()
    sent = served.sent("process")
    assert [request.status for request in sent] == [429, 429, 200]
    waits = np.diff([request.time_s for request in sent])
    assert (waits > 0.14).all() and (waits < 60).all()  # not 150 s
    assert served.units_spent == 0.005


def test_the_client_gives_up_after_max_retries(served):
    from sentinelhub.exceptions import OutOfRequestsException, SHRateLimitWarning

    served.fail("process", status=429, times=None, retry_after_ms=1)
    with pytest.warns(SHRateLimitWarning):
        error = failure(served, config=settings(served, max_retries=4))
    assert type(error) is OutOfRequestsException and error.request_exception is None
    assert len(served.sent("process")) == 4


@pytest.mark.parametrize(("status", "attempts"), [(403, 1), (401, 1), (400, 1), (500, 3), (503, 3)])
def test_an_error_is_final_or_tried_again(served, status, attempts):
    served.fail("process", status=status, times=None)
    error = failure(served)
    assert error.request_exception.response.status_code == status
    assert error.request_exception.response.json()["error"]["status"] == status
    assert len(served.sent("process")) == attempts


def test_a_passing_error_goes_unseen(served):
    right = image(served, *SMALL)
    served.fail("process", status=500, times=2)
    np.testing.assert_array_equal(image(served, *SMALL), right)


@pytest.mark.parametrize("kind", ["truncated", "dropped"])
def test_a_broken_connection_is_tried_again(served, kind):
    right = image(served, *SMALL)
    served.fail("process", kind)
    np.testing.assert_array_equal(image(served, *SMALL), right)
    assert len(served.sent("process")) == 3
    served.fail("process", kind, times=None)
    error = failure(served)
    assert isinstance(error.request_exception, requests.ConnectionError | requests.exceptions.ChunkedEncodingError)
    assert len(served.sent("process")) == 6


def test_a_slow_answer_runs_out_of_time(served):
    image(served, *SMALL)
    served.fail("process", delay_s=0.4)
    assert image(served, *SMALL).any()  # late, but in time
    served.fail("process", delay_s=0.4, times=None)
    error = failure(served, config=settings(served, download_timeout_seconds=0.1, max_download_attempts=2))
    assert isinstance(error.request_exception, requests.Timeout)


def test_garbage_fails_where_it_is_decoded(served):
    served.fail("process", "garbage", times=2)
    response = order(served, *SMALL).get_data(decode_data=False)[0]
    assert response.content.startswith(b"<!DOCTYPE html>") and response.headers["Content-Type"] == "text/html"
    with pytest.raises(Exception, match="not a TIFF file") as caught:
        order(served, *SMALL).get_data()
    assert type(caught.value).__name__ == "TiffFileError"  # none of the client's own exceptions
    served.fail("catalog", "garbage")
    from sentinelhub import SentinelHubCatalog

    with pytest.raises(json.JSONDecodeError):
        list(SentinelHubCatalog(settings(served)).search("sentinel-2-l2a", time=("2024-07-01", "2024-07-02")))


def test_a_wrong_size_is_not_noticed_by_the_client(served):
    served.fail("process", "wrong_size")
    assert image(served, *SMALL).shape == (11, 15, 2)
    assert image(served, *SMALL).shape == (12, 16, 2)


def test_faults_wait_for_their_turn(served):
    served.fail("process", status=403, after=1)
    served.fail("process", status=400, after=1)
    statuses = []
    for _ in range(4):
        try:
            image(served, *SMALL)
        except Exception as error:
            statuses.append(error.request_exception.response.status_code)
        else:
            statuses.append(200)
    assert statuses == [200, 403, 400, 200]


def test_a_refused_token_is_final(served):
    from oauthlib.oauth2 import OAuth2Error

    served.fail("token", status=401)
    with pytest.raises(OAuth2Error, match="invalid_client"):
        image(served, *SMALL)
    assert image(served, *SMALL).any()
    assert [request.status for request in served.requests] == [401, 200, 200]


def test_a_failing_token_service_shows_the_secret_only_in_the_request(served):
    """The message is clean, but exceptions of requests carry the form with the secret: never log them whole."""
    served.fail("token", status=500, times=None)
    error = failure(served)
    secret = settings(served).sh_client_secret
    assert secret not in "".join(traceback.format_exception(error))
    assert secret in str(error.request_exception.request.body)
    assert len(served.sent("token")) == 3


def test_an_unknown_authority_is_not_trusted(served, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    error = failure(served, config=settings(served, max_download_attempts=1))
    assert isinstance(error.request_exception, requests.exceptions.SSLError)
    assert served.requests == []


def test_a_fault_of_the_server_itself_is_told_at_its_end(hub_certificate, monkeypatch):
    from tests.service.server import LocalSentinelHub

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(hub_certificate.authority))
    with pytest.raises(AssertionError, match="itself failed"), LocalSentinelHub(hub_certificate, "a", "b") as broken:
        broken.acquisitions = None
        form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
        token = requests.post(broken.token_url, data=form).json()["access_token"]
        body = {"collections": ["sentinel-2-l2a"], "datetime": "2024-07-01T00:00:00Z/.."}
        url = broken.base_url + "/api/v1/catalog/1.0.0/search"
        assert requests.post(url, json=body, headers={"Authorization": f"Bearer {token}"}).status_code == 500
