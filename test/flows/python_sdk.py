"""Reports one error by Sentry's Python SDK, as an application does, and prints the event's id."""

import sys

import sentry_sdk

sentry_sdk.init(dsn=sys.argv[1], release="python-app@1.2.3", environment="test")
sentry_sdk.set_tag("flavour", "python")
sentry_sdk.set_user({"id": "u-1", "email": "ada@example.com"})
sentry_sdk.set_context("deep", {"list": [1, "two", 3.5]})
try:
    {}["nothing"]
except KeyError as error:
    event_id = sentry_sdk.capture_exception(error)
sentry_sdk.flush(timeout=10)
print(event_id)
