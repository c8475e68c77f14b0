from tests.service.fixtures import hub, hub_certificate  # noqa: F401
