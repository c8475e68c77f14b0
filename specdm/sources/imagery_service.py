"""The imagery services Sentinel Hub and Copernicus Data Space Ecosystem: access, errors in words, what an account has.

Requests go through sentinelhub-py. Credentials come from the environment or from sentinelhub's own configuration file,
stay inside its objects, and stand in no message, file or cache: errors are retold and not chained.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from specdm.errors import UserError
from specdm.settings import AcquireSettings

WHERE_CREDENTIALS = (
    "set SH_CLIENT_ID and SH_CLIENT_SECRET in the environment, or save them with `sentinelhub.config` in sentinelhub's "
    "profile (SH_PROFILE names another than its default)"
)
ATTEMPTS = 4  # at a request that the server does not answer as it should
RATE_ATTEMPTS = 30  # at a request that is told to wait
LONGEST_WAIT_S = 600.0  # that the service may ask for: a used-up month would ask for days
FIRST_PAUSE_S = 5.0  # before a second attempt, three times as long before each further one


@dataclass(frozen=True)
class Provider:
    """Where a service is."""

    title: str
    base_url: str
    token_url: str


PROVIDERS = {
    "cdse": Provider(
        "Copernicus Data Space Ecosystem",
        "https://sh.dataspace.copernicus.eu",
        "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token",
    ),
    "sentinelhub": Provider(
        "Sentinel Hub",
        "https://services.sentinel-hub.com",
        "https://services.sentinel-hub.com/auth/realms/main/protocol/openid-connect/token",
    ),
}


@dataclass(frozen=True)
class Account:
    """What is left of an account's month."""

    requests: float
    units: float


class ImageryService:
    """A service, ready to be asked.

    Args:
        settings: which one.

    Attributes:
        provider: its addresses.
        config: sentinelhub's configuration, with the credentials.
        client: sentinelhub's client, one for all requests, so that all keep to the same pace.

    Raises:
        UserError: when there are no credentials.
    """

    def __init__(self, settings: AcquireSettings):
        from sentinelhub import SentinelHubDownloadClient

        for library in ("requests_oauthlib", "oauthlib"):  # at the level DEBUG they tell credentials and tokens
            logging.getLogger(library).setLevel(logging.INFO)
        known = PROVIDERS[settings.provider]
        self.provider = Provider(
            known.title, settings.base_url or known.base_url, settings.token_url or known.token_url
        )
        self.config = _config(self.provider)
        self.client = SentinelHubDownloadClient(config=self.config)
        self.client.rate_limit = _patient_for_minutes()

    def collection(self, api_id: str):
        """A data collection by its name at the service, bound to this service's address.

        sentinelhub-py binds its own collections to Sentinel Hub's address, which would overrule the configuration.
        """
        from sentinelhub import DataCollection

        own = [c for c in DataCollection if c.api_id == c.catalog_id == api_id]
        bound = next((c for c in own if c.service_url == self.provider.base_url), None)
        return bound or own[0].define_from(f"{api_id} at {self.provider.base_url}", service_url=self.provider.base_url)

    def account(self) -> Account | None:
        """What is left of the account's month, None where the service does not tell."""
        url = f"{self.provider.base_url}/api/v1/accounting/usage"
        try:
            with self.errors("asking for the account"):
                told = self.client.get_json_dict(url, use_session=True)
            return Account(*(_left(told, what) for what in ("requests", "processingUnits")))
        except (UserError, KeyError, TypeError, ValueError):
            return None  # not every kind of account may ask

    @contextlib.contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Retell what goes wrong with the service in one sentence that holds no credentials."""
        import requests
        from oauthlib.oauth2 import OAuth2Error
        from sentinelhub.exceptions import BaseSentinelHubException, OutOfRequestsException

        try:
            yield
        except OAuth2Error:
            problem = self._refused()
        except json.JSONDecodeError:
            problem = f"{self._named} answered with something else than what was asked for: try again later."
        except OutOfRequestsException:
            problem = f"{self._named} let no request through in {RATE_ATTEMPTS} attempts: run the command again later."
        except (BaseSentinelHubException, requests.RequestException) as error:
            problem = self._problem(error)
        else:
            return
        raise UserError(f"{doing}: {problem}") from None

    @property
    def _named(self) -> str:
        return self.provider.title

    def _refused(self) -> str:
        return f"{self._named} does not accept the credentials: {WHERE_CREDENTIALS}; each service has its own."

    def _problem(self, error: Exception) -> str:
        answer = getattr(getattr(error, "request_exception", None) or error, "response", None)
        status = getattr(answer, "status_code", None)
        again = "run the command again, it goes on where it stopped."
        if status == 401:
            return self._refused()
        if status == 403:
            return (
                f"{self._named} forbids it ({self._said(answer)}): the month may be used up, or the data not included."
            )
        if status is not None and status < 500:
            return f"{self._named} refuses the request ({self._said(answer)}): check the settings."
        if status is not None:
            return f"{self._named} answered with error {status} {ATTEMPTS} times: {again}"
        return f"{self._named} could not be reached at {self.provider.base_url}: check the network, then {again}"

    def _said(self, answer) -> str:
        """What the service says of an error, without credentials whatever it repeats."""
        try:
            told = answer.json()
            inner = told.get("error", told)
            text = inner.get("message") or inner.get("reason") or "" if isinstance(inner, dict) else str(inner)
        except (ValueError, AttributeError):
            text = ""
        for secret in filter(None, (self.config.sh_client_secret, self.config.sh_client_id)):
            text = text.replace(secret, "***")
        text = re.sub(r"[\w-]{24,}(\.[\w-]+)+", "***", text)  # a token
        return " ".join(text.split())[:200] or f"error {answer.status_code}"


def _left(told: dict, what: str) -> float:
    """What remains of a month, with what may be used beyond it."""
    return sum(float(told[f"{what}{part}"]["remaining"]) for part in ("Monthly", "Overage") if f"{what}{part}" in told)


def _config(provider: Provider):
    from sentinelhub import SHConfig

    own = {
        "sh_base_url": provider.base_url,
        "sh_token_url": provider.token_url,
        "max_download_attempts": ATTEMPTS,
        "download_sleep_time": FIRST_PAUSE_S,
        "max_retries": RATE_ATTEMPTS,
    }
    environ = {
        key: os.environ[key.upper()] for key in ("sh_client_id", "sh_client_secret") if key.upper() in os.environ
    }
    try:
        # Without a file sentinelhub would write one.
        saved = Path(SHConfig.get_config_location()).is_file()
        config = SHConfig(**own) if saved else SHConfig(use_defaults=True, **environ, **own)
    except (KeyError, OSError, TypeError, ValueError):  # a parser's error may quote the file
        raise UserError(
            f"sentinelhub's configuration file cannot be used: mend or remove {SHConfig.get_config_location()}, or "
            "choose a profile of it with SH_PROFILE."
        ) from None
    if not (config.sh_client_id and config.sh_client_secret):
        raise UserError(f"There are no credentials for {provider.title}: {WHERE_CREDENTIALS}.")
    return config


def _patient_for_minutes():
    """sentinelhub's pace of requests; it waits as long as the service asks, but not for hours."""
    from sentinelhub.download.rate_limit import SentinelHubRateLimit

    class Pace(SentinelHubRateLimit):
        def update(self, headers: dict, *, default: float) -> None:
            asked = headers.get(self.RETRY_HEADER, "")
            if not str(asked).isdigit():
                headers = {}
            elif int(asked) / 1000 > LONGEST_WAIT_S:
                raise UserError(
                    f"The service asks to wait for {int(asked) / 3.6e6:.1f} hours, the account's month is used up: run "
                    "the command again then, it goes on where it stopped."
                )
            super().update(headers, default=default)

    return Pace()
