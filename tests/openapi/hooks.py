"""What schemathesis may not do to the lab that it works on, because everything after it would fail: take away
the users that it and the test log in as, or begin an update, which takes the node that answers away. What updates
do is the matter of other tests; here each is validated instead."""

import os

import schemathesis

USER = "/evenkeel/v1/users/{name}"
SOFTWARE = "/api/cluster/software"
VERSION = os.environ["EVENKEEL_LAB_VERSION"]
KEPT = set(os.environ["EVENKEEL_KEPT_USERS"].split(","))


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.operation.path == USER and case.path_parameters.get("name") in KEPT:
        case.path_parameters["name"] += "-of-others"
    is_change = case.operation.path == SOFTWARE and case.method == "PATCH"
    if is_change and isinstance(case.body, dict) and case.body.get("version") == VERSION:
        case.query = {**(case.query or {}), "validate_only": "true"}
