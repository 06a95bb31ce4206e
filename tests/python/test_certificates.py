"""Clients that show a certificate instead of a password."""

import pytest
from netapp_ontap import HostConnection
from netapp_ontap.error import NetAppRestError
from netapp_ontap.resources import Cluster, Software


def chosen(cluster, how):
    path = f"/evenkeel/v1/users/{cluster.user}"
    answer = cluster.ask(path, method="PATCH", json={"certificate": how})
    assert answer.status_code == 200, answer.text


@pytest.fixture
def holder(cluster):
    """The admin, by certificate alone."""
    if cluster.client_certificate is None:
        pytest.skip("needs a client certificate")
    made = HostConnection(
        cluster.host,
        cert=cluster.client_certificate,
        key=cluster.client_key,
        verify=cluster.ca,
    )
    made.port = cluster.port
    yield made
    chosen(cluster, False)


def test_a_certificate_lets_in_whom_has_chosen_it(cluster, holder):
    def asked():
        with holder:
            found = Cluster()
            found.get(fields="name,version")
            return found

    chosen(cluster, False)
    with pytest.raises(NetAppRestError) as refused:
        asked()
    assert refused.value.status_code == 401
    chosen(cluster, True)
    assert asked().version.generation == 9
    with holder:
        # What needs the role is decided by the user's.
        with pytest.raises(NetAppRestError) as refused:
            Software().patch(action="pause")
    assert refused.value.status_code == 409, refused.value
