"""What a starting service says that it is waiting for."""

import pytest

from cluster.readiness import _brief, lack
from cluster.spec import ToolSpec


@pytest.mark.parametrize(
    ("wanted", "total", "free", "said"),
    [
        ({"CPU": 1, "GPU": 1}, {"CPU": 4}, {"CPU": 4}, "waiting for 1 GPU (the cluster has none)"),
        ({"CPU": 1, "GPU": 0.5}, {"CPU": 4, "GPU": 2}, {"CPU": 4}, "waiting for 0.5 GPU (0 of 2 free)"),
        ({"CPU": 2}, {"CPU": 4}, {"CPU": 1.5}, "waiting for 2 CPU (1.5 of 4 free)"),
        ({"CPU": 2, "GPU": 0}, {"CPU": 4}, {"CPU": 2}, None),
    ],
)
def test_lacking_resources_are_named(
    wanted: dict[str, float], total: dict[str, float], free: dict[str, float], said: str | None
) -> None:
    assert lack(wanted, total, free) == said


def test_of_a_traceback_the_exception_is_told() -> None:
    text = "A replica failed.\nTraceback (most recent call last):\n  File x\nModuleNotFoundError: No module 'z'\n"
    assert _brief(text) == "ModuleNotFoundError: No module 'z'"
    assert _brief("Taken more than 30s to schedule. This may be due to x.") == "Taken more than 30s to schedule"
    assert _brief("") == ""


def test_options_of_a_deployment() -> None:
    fixed = ToolSpec("store", dict, num_cpus=0.5).options()
    assert fixed["num_replicas"] == 1
    assert "autoscaling_config" not in fixed
    scaled = ToolSpec("ocr", dict, min_replicas=0, max_replicas=4, num_gpus=0.25, max_ongoing_requests=6).options()
    assert scaled["autoscaling_config"] == {"min_replicas": 0, "max_replicas": 4, "target_ongoing_requests": 3}
    assert scaled["ray_actor_options"]["num_gpus"] == 0.25
    assert "num_replicas" not in scaled
