"""Requests without a client library, as the admin."""

import requests


def raw(cluster, path, method="GET", **kwargs):
    url = f"https://{cluster.host}:{cluster.port}{path}"
    auth = (cluster.user, cluster.password)
    # Longer than any `return_timeout` that is asked for here.
    return requests.request(method, url, auth=auth, verify=cluster.ca, timeout=90, **kwargs)
