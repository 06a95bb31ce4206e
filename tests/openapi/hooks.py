"""What schemathesis may not do to the lab that it works on.

It must not take away the users that it and the test log in as, nor begin an update, which takes the node that
answers away: everything after that would fail. What updates do is the matter of other tests; here each is validated
instead. And it does not wait for downloads: there is nobody to download from, and a daemon tries for minutes."""

import os

import schemathesis

USER = "/evenkeel/v1/users/{name}"
SOFTWARE = "/api/cluster/software"
DOWNLOAD = "/api/cluster/software/download"
VERSION = os.environ["EVENKEEL_LAB_VERSION"]
KEPT = set(os.environ["EVENKEEL_KEPT_USERS"].split(","))


@schemathesis.hook
def before_call(context, case, kwargs):
    # Looking at them takes nothing away, and who is there must be found.
    takes_away = case.operation.path == USER and case.method != "GET"
    if takes_away and case.path_parameters.get("name") in KEPT:
        case.path_parameters["name"] += "-of-others"
    is_change = case.operation.path == SOFTWARE and case.method == "PATCH"
    if is_change and isinstance(case.body, dict) and case.body.get("version") == VERSION:
        case.query = {**(case.query or {}), "validate_only": "true"}
    is_download = case.operation.path == DOWNLOAD and case.method == "POST"
    if is_download and is_long((case.query or {}).get("return_timeout")):
        case.query = {**case.query, "return_timeout": 1}


def is_long(seconds):
    """Whether it is a time that is taken, of more than a moment."""
    return type(seconds) is int and 1 < seconds <= 120
