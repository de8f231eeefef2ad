"""Videos and jobs over HTTP."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.jobs import Jobs
from tests.api.conftest import Bench, add, run, wait, write_video
from tools.errors import ToolUnavailable


def test_register_index_list_delete(client: TestClient, bench: Bench, video: Path) -> None:
    video_id = add(client, video)
    (listed,) = client.get("/v1/videos").json()
    assert listed["indexed"]
    assert listed["video"]["name"] == "talk.mp4"
    assert client.get(f"/v1/videos/{video_id}").json() == listed
    (job,) = client.get("/v1/jobs").json()
    assert job["seconds"] == job["total"] == pytest.approx(3.0, abs=0.2)
    assert job["clips"] == {"speech": 1}
    assert client.post("/v1/videos", json={"uri": str(video)}).status_code == 201
    assert client.delete(f"/v1/videos/{video_id}").status_code == 204
    assert client.get(f"/v1/videos/{video_id}").status_code == 404
    assert bench.store.clips == {}
    assert video.exists()


def test_upload_and_delete_leave_nothing(client: TestClient, bench: Bench, video: Path) -> None:
    reply = client.post("/v1/videos", files={"file": ("mine.mp4", video.read_bytes())}, data={"name": "Mine"})
    assert reply.status_code == 202
    wait(client, reply.json()["job"]["id"])
    shown = reply.json()["video"]
    assert shown["name"] == "Mine"
    assert Path(shown["path"]).parent == bench.home / "uploads"
    assert client.delete(f"/v1/videos/{shown['id']}").status_code == 204
    assert bench.files() == set()


def test_upload_without_indexing(client: TestClient, video: Path) -> None:
    reply = client.post("/v1/videos", files={"file": ("mine.mp4", video.read_bytes())}, data={"index": "false"})
    assert reply.status_code == 201
    assert reply.json()["job"] is None
    video_id = reply.json()["video"]["id"]
    assert client.post(f"/v1/videos/{video_id}/index").status_code == 202


def test_same_bytes_uploaded_and_registered_are_one_video(client: TestClient, bench: Bench, video: Path) -> None:
    video_id = add(client, video)
    reply = client.post("/v1/videos", files={"file": ("copy.mp4", video.read_bytes())})
    assert reply.status_code == 201
    assert reply.json()["video"]["id"] == video_id
    assert list((bench.home / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "name"), [(b"", "empty.mp4"), (b"this is a letter, not a film\n" * 50, "letter.mp4")]
)
def test_what_is_no_video_is_refused_and_forgotten(client: TestClient, bench: Bench, content: bytes, name: str) -> None:
    reply = client.post("/v1/videos", files={"file": (name, content)})
    assert reply.status_code == 422, reply.text
    assert reply.json()["field"] == "file"
    assert reply.json()["remedy"]
    assert name in reply.json()["detail"]
    assert str(bench.home) not in reply.text
    assert bench.files() == set()
    (bench.root / name).write_bytes(content)
    reply = client.post("/v1/videos", json={"uri": str(bench.root / name)})
    assert reply.status_code == 422
    assert bench.files() == set()


def test_truncated_file_gives_what_there_is_or_one_clear_error(client: TestClient, bench: Bench, video: Path) -> None:
    half = bench.root / "half.mp4"
    half.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    reply = client.post("/v1/videos", json={"uri": str(half)})
    assert reply.status_code in (202, 422)
    if reply.status_code == 422:
        assert reply.json()["remedy"]


def test_silent_video_is_ordinary(client: TestClient, bench: Bench) -> None:
    add(client, write_video(bench.root / "silent.mp4", audio=False, shade=9))


def test_upload_that_is_too_large(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_upload_mb=1)
    with TestClient(bench.app) as client:
        reply = client.post("/v1/videos", files={"file": ("big.mp4", bytes(2 << 20))})
        assert reply.status_code == 413
        assert reply.json()["field"] == "file"

        def pieces() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="big.mp4"\r\n\r\n'
            for _ in range(32):
                yield bytes(1 << 16)

        reply = client.post("/v1/videos", content=pieces(), headers={"content-type": "multipart/form-data; boundary=x"})
        assert reply.status_code == 413
        assert bench.files() == set()


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"data": {"name": "x"}, "files": {"other": ("a.mp4", b"x")}}, "file"),
        ({"files": {"file": ("a.mp4", b"x")}, "data": {"index": "maybe"}}, "index"),
        ({"files": {"file": ("a.mp4", b"x")}, "data": {"name": "x" * 201}}, "name"),
        ({"json": {}}, "uri"),
        ({"json": {"uri": ""}}, "uri"),
        ({"json": {"uri": "a", "indx": True}}, "indx"),
        ({"json": {"uri": "ftp://example.org/a.mp4"}}, "uri"),
        ({"json": {"uri": "\0"}}, "uri"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, "body"),
        ({"content": b"a", "headers": {"content-type": "text/plain"}}, "content-type"),
    ],
)
def test_bad_registrations_name_the_field(client: TestClient, form: dict[str, object], field: str) -> None:
    reply = client.post("/v1/videos", **form)  # type: ignore[arg-type]
    assert reply.status_code == 422, reply.text
    assert reply.json()["field"] == field


def test_paths_outside_the_roots_are_forbidden_whether_they_exist_or_not(
    client: TestClient, bench: Bench, video: Path
) -> None:
    outside = write_video(bench.home.parent / "outside.mp4")
    link = bench.root / "link.mp4"
    link.symlink_to(outside)
    replies = [
        client.post("/v1/videos", json={"uri": uri})
        for uri in (
            str(outside),
            str(outside) + ".nothing",
            str(bench.root / ".." / "outside.mp4"),
            str(link),
            f"file://{outside}",
            "/etc/passwd",
        )
    ]
    assert {reply.status_code for reply in replies} == {403}
    assert {reply.json()["field"] for reply in replies} == {"uri"}
    assert client.post("/v1/videos", json={"uri": f"file://{video}"}).status_code == 202


def test_missing_file_inside_the_roots(client: TestClient, bench: Bench) -> None:
    reply = client.post("/v1/videos", json={"uri": str(bench.root / "nothing.mp4")})
    assert reply.status_code == 404
    assert reply.json()["remedy"]


class Host(ThreadingHTTPServer):
    """Serves one file, a redirect to it, and an error."""

    def __init__(self, content: bytes) -> None:
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805
                self.asked.append(handler.path)
                if handler.path == "/talk.mp4":
                    handler.send_response(200)
                    handler.send_header("content-length", str(len(content)))
                    handler.end_headers()
                    handler.wfile.write(content)
                    return
                handler.send_response(302 if handler.path == "/moved" else 404)
                handler.send_header("location", "/talk.mp4")
                handler.send_header("content-length", "0")
                handler.end_headers()

            def log_message(self, *args: object) -> None:
                """Says nothing."""

        super().__init__(("127.0.0.1", 0), Handler)


def test_fetching_from_allowed_hosts_only(tmp_path: Path) -> None:
    bench = Bench(tmp_path, hosts=("127.0.0.1",))
    server = Host(write_video(bench.root / "talk.mp4").read_bytes())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        with TestClient(bench.app) as client:
            reply = client.post("/v1/videos", json={"uri": f"{base}/talk.mp4", "index": False})
            assert reply.status_code == 201, reply.text
            assert reply.json()["video"]["name"] == "talk.mp4"
            for bad, said in (("/moved", "302"), ("/gone", "404")):
                reply = client.post("/v1/videos", json={"uri": base + bad})
                assert reply.status_code == 422
                assert said in reply.json()["detail"]
            assert server.asked == ["/talk.mp4", "/moved", "/gone"]
            reply = client.post("/v1/videos", json={"uri": f"http://localhost:{server.server_port}/talk.mp4"})
            assert reply.status_code == 403
            assert reply.json()["field"] == "uri"
            assert len(server.asked) == 3
    finally:
        server.shutdown()
        server.server_close()


def test_job_shows_progress_and_can_be_stopped(client: TestClient, bench: Bench, video: Path) -> None:
    bench.ears.gate.clear()
    job = client.post("/v1/videos", json={"uri": str(video)}).json()["job"]
    again = client.post("/v1/videos", json={"uri": str(video)}).json()["job"]
    assert again["id"] == job["id"]
    stopped = client.delete(f"/v1/jobs/{job['id']}").json()
    assert stopped["status"] == "cancelled"
    bench.ears.gate.set()
    refused = client.delete(f"/v1/jobs/{job['id']}")
    assert refused.status_code == 422
    assert refused.json()["field"] == "job_id"
    assert add(client, video) == job["video_id"]


def test_failed_job_carries_its_problem(client: TestClient, bench: Bench, video: Path) -> None:
    bench.ears.fault = ToolUnavailable("the ears are blocked", remedy="unblock them", field="asr")
    job = wait(client, client.post("/v1/videos", json={"uri": str(video)}).json()["job"]["id"])
    assert job["status"] == "failed"
    assert job["error"]["remedy"] == "unblock them"
    bench.ears.fault = None
    add(client, video)


def test_deleting_a_video_stops_its_job(client: TestClient, bench: Bench, video: Path) -> None:
    bench.ears.gate.clear()
    job = client.post("/v1/videos", json={"uri": str(video)}).json()["job"]
    assert client.delete(f"/v1/videos/{job['video_id']}").status_code == 204
    assert client.get(f"/v1/jobs/{job['id']}").json()["status"] == "cancelled"


def test_a_service_that_stops_interrupts_its_jobs(bench: Bench, video: Path) -> None:
    bench.ears.gate.clear()
    with TestClient(bench.app) as client:
        job_id = client.post("/v1/videos", json={"uri": str(video)}).json()["job"]["id"]
        threading.Timer(0.5, bench.ears.gate.set).start()
    with TestClient(bench.app) as client:
        assert client.get(f"/v1/jobs/{job_id}").json()["status"] == "interrupted"
        add(client, video)


def test_a_job_stopped_before_its_first_step_has_ended(bench: Bench, video: Path) -> None:
    jobs = Jobs(bench.loupe, bench.home / "jobs")
    video_id = bench.loupe.library.add(video).id

    async def use() -> str:
        job = jobs.start(video_id)
        return (await jobs.cancel(job.id)).status

    assert run(use()) == "cancelled"


def test_jobs_of_an_earlier_life_are_interrupted(bench: Bench, video: Path) -> None:
    with TestClient(bench.app) as client:
        job_id = client.post("/v1/videos", json={"uri": str(video)}).json()["job"]["id"]
        wait(client, job_id)
    path = bench.home / "jobs" / f"{job_id}.json"
    path.write_text(path.read_text().replace('"done"', '"running"'))
    with TestClient(bench.app) as client:
        assert client.get(f"/v1/jobs/{job_id}").json()["status"] == "interrupted"


def test_unknown_jobs(client: TestClient) -> None:
    assert client.get("/v1/jobs/nothing").status_code == 404
    assert client.get("/v1/jobs/job-0000000000000000").status_code == 404
