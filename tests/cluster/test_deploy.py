"""The deployment files name things that exist."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from configs import load_profile

DEPLOY = Path(__file__).parents[2] / "cluster" / "deploy"
ROOT = DEPLOY.parents[1]


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    documents = list(yaml.safe_load_all((DEPLOY / "rayservice.yaml").read_text()))
    return next(one for one in documents if one["kind"] == "RayService")


def test_the_serve_config_is_valid_and_its_import_path_builds(service: dict[str, Any]) -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"]))
    (application,) = config.applications
    module, _, name = application.import_path.partition(":")
    build = getattr(importlib.import_module(module), name)
    arguments = importlib.import_module(module).Arguments.model_validate(application.args)
    assert build.__annotations__["args"] is type(arguments)
    assert load_profile(arguments.profile).name == "embedded"


def test_the_service_port_is_open_on_the_head(service: dict[str, Any]) -> None:
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    (head,) = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"]
    assert config["http_options"]["port"] in {port["containerPort"] for port in head["ports"]}


def test_workers_are_large_enough_for_the_profile(service: dict[str, Any]) -> None:
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (worker,) = group["template"]["spec"]["containers"]
    cluster = load_profile("embedded").cluster
    wanted = sum(cluster.of(tool).num_cpus for tool in type(cluster).model_fields)
    assert float(worker["resources"]["requests"]["cpu"]) * group["minReplicas"] >= wanted


def test_what_the_image_copies_exists_and_is_all_that_is_packaged() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (.+)$", text, re.M) for word in line.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= copied


def test_compose_builds_that_image() -> None:
    (service,) = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].values()
    context = (DEPLOY / service["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / service["build"]["dockerfile"]).is_file()
