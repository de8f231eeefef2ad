"""The benchmark of the agent's own time runs and its questions are answered."""

from pathlib import Path

from agents.strategy import STRATEGIES
from evals.bench.agent import STEPS, run


def test_a_row_for_the_machinery_and_one_a_strategy(tmp_path: Path) -> None:
    rows = run(tmp_path, repeats=1)
    assert [row["strategy"] for row in rows] == ["zoom", *STRATEGIES]
    assert rows[0]["steps"] == STEPS
    # Frames alone do not say what is heard.
    assert all(row["answered"] == "grounded" for row in rows[1:] if row["strategy"] != "uniform")
    assert all(row["step_ms"] > 0 for row in rows)
