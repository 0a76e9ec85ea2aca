"""Services: the server gives them an address that they keep; the API server itself has one too."""

from __future__ import annotations

from tests.apiserver.api import Api, Json


def service(name: str = "db", **spec: object) -> Json:
    ports = [{"name": "sql", "port": 5432}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": ports, **spec},
    }


async def test_a_service_gets_an_address_and_keeps_it(api: Api) -> None:
    made = await api.created("services", service())
    address = made["spec"]["clusterIP"]
    assert made["spec"]["clusterIPs"] == [address] and address.count(".") == 3
    other = await api.created("services", service("web"))
    assert other["spec"]["clusterIP"] != address

    wanted = service(ports=[{"name": "sql", "port": 5433}])
    wanted["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    changed = await api.put("services/db", wanted)
    assert changed.code == 200, changed.body
    assert changed["spec"]["clusterIP"] == address
    assert changed["spec"]["ports"][0]["port"] == 5433

    refused = await api.patch("services/db", {"spec": {"clusterIP": "10.0.0.250"}})
    assert refused.refusal == (422, "Invalid")


async def test_a_headless_service_has_none(api: Api) -> None:
    made = await api.created("services", service(clusterIP="None"))
    assert (made["spec"]["clusterIP"], made["spec"]["clusterIPs"]) == ("None", ["None"])


async def test_an_external_name_has_none(api: Api) -> None:
    wish = service(type="ExternalName", externalName="db.example.com")
    made = await api.created("services", wish)
    assert "clusterIP" not in made["spec"]


async def test_the_api_server_is_a_service_in_default(api: Api) -> None:
    found = await api.get("/api/v1/namespaces/default/services/kubernetes")
    assert found.code == 200
    port = found["spec"]["ports"][0]
    assert (port["name"], port["port"], port["protocol"]) == ("https", 443, "TCP")
    assert found["spec"]["clusterIP"].endswith(".1")
