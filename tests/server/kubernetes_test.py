# SPDX-License-Identifier: Apache-2.0
"""The manifests: as the schemas of Kubernetes, and as the server is."""

import pathlib

import pytest
import yaml

from deeplab2_like.exports import xla_off
from deeplab2_like.server import listener, main

_FOLDER = pathlib.Path(__file__).parents[2] / "deploy" / "kubernetes"
_VERSIONS = ("1.30", "1.37")

# Fields of KServe's InferenceService, serving.kserve.io/v1beta1, that may be
# used here, and the types of their values; no package has its schema.
_INFERENCE_SERVICE = {
    "apiVersion": str,
    "kind": str,
    "metadata": {"name": str},
    "spec": {
        "predictor": {
            "minReplicas": int,
            "maxReplicas": int,
            "timeout": int,
            "model": {
                "modelFormat": {"name": str},
                "runtime": str,
                "runtimeVersion": str,
                "storageUri": str,
                "args": list,
                "resources": {
                    "requests": {"cpu": str, "memory": str},
                    "limits": {"cpu": str, "memory": str},
                },
            },
        }
    },
}


def _load(name):
    text = (_FOLDER / name).read_text(encoding="utf-8")
    return [document for document in yaml.safe_load_all(text) if document]


def _find(name, kind):
    (found,) = [x for x in _load(name) if x["kind"] == kind]
    return found


def _container(name):
    pod = _find(name, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


_SERVERS = ("deeplab2-serve.yaml", "tensorflow-serving.yaml")


@pytest.mark.parametrize("version", _VERSIONS)
@pytest.mark.parametrize("name", _SERVERS)
def test_the_manifests_are_as_the_schemas_say(name, version):
    validate = pytest.importorskip("kubernetes_validate")
    documents = _load(name)
    assert documents
    for document in documents:
        validate.validate(document, version, strict=True)


def test_a_wrong_manifest_is_found():
    validate = pytest.importorskip("kubernetes_validate")
    service = _find(_SERVERS[0], "Service")
    service["spec"]["port"] = 1
    with pytest.raises(validate.ValidationError):
        validate.validate(service, _VERSIONS[0], strict=True)


def _check_fields(value, allowed, where=""):
    if not isinstance(allowed, dict):
        assert isinstance(value, allowed), where
        return
    assert isinstance(value, dict), where
    assert set(value) <= set(allowed), where
    for key, part in value.items():
        _check_fields(part, allowed[key], f"{where}.{key}")


def test_the_inference_service_has_known_fields():
    (document,) = _load("kserve.yaml")
    assert document["apiVersion"] == "serving.kserve.io/v1beta1"
    assert document["kind"] == "InferenceService"
    _check_fields(document, _INFERENCE_SERVICE)
    model = document["spec"]["predictor"]["model"]
    assert model["modelFormat"]["name"] == "tensorflow"
    assert xla_off.SERVER_FLAG in model["args"]


def test_tensorflow_serving_compiles():
    _, container = _container("tensorflow-serving.yaml")
    assert xla_off.SERVER_FLAG in container["args"]


def test_the_arguments_are_those_of_the_program():
    _, container = _container("deeplab2-serve.yaml")
    flags = main._FLAGS
    flags.unparse_flags()
    try:
        rest = flags(["deeplab2-serve", *container["args"]])
        assert rest[1:] == []
        (port,) = container["ports"]
        assert flags["port"].value == port["containerPort"]
        assert main.parse_models(flags["model"].value) == {
            "mine": pathlib.Path("/models/mine")
        }
    finally:
        flags.unparse_flags()
        for name in flags:
            flags[name].unparse()


def test_the_probes_ask_for_what_needs_no_key(start):
    server = start(api_key="k" * 32)
    _, container = _container("deeplab2-serve.yaml")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        path = container[probe]["httpGet"]["path"]
        assert server.get(path).status_code == 200


@pytest.mark.parametrize("name", _SERVERS)
def test_containers_have_no_rights_and_write_nowhere_else(name):
    pod, container = _container(name)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] >= 10_000
    assert not pod["automountServiceAccountToken"]
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    for mount in container["volumeMounts"]:
        assert mount.get("readOnly") or mount["mountPath"] == "/tmp"


@pytest.mark.parametrize("name", _SERVERS)
def test_the_end_is_waited_for(name):
    pod, container = _container(name)
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    least = sleep + listener.DRAIN_SECONDS
    assert pod["terminationGracePeriodSeconds"] >= least + 10


@pytest.mark.parametrize("name", _SERVERS)
def test_everything_selects_the_servers(name):
    deployment = _find(name, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {x["name"] for x in _container(name)[1]["ports"]}
    for document in _load(name):
        spec = document["spec"]
        if document["kind"] == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]["name"]
            assert target == deployment["metadata"]["name"]
        elif document["kind"] == "Service":
            assert spec["selector"] == labels
            assert {x["targetPort"] for x in spec["ports"]} <= ports
        else:
            assert spec["selector"]["matchLabels"] == labels
