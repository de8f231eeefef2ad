"""The part of Qdrant's REST interface that a store uses, over qdrant-client's local mode.

No Qdrant server can be installed from a package registry, so the server backend is tested over real HTTP against this:
routes, bodies and errors are those of the server, the engine behind them is the client's own.
"""

import threading
import warnings
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from qdrant_client import QdrantClient, models


def make_app(api_key: str | None = None) -> FastAPI:
    """A fresh, empty server."""
    app = FastAPI()
    client = QdrantClient(":memory:")
    lock = threading.RLock()
    app.state.indexes = {}

    @app.middleware("http")
    async def _check_key(request: Request, call_next: Any) -> Any:
        if api_key is not None and request.headers.get("api-key") != api_key:
            return JSONResponse({"status": {"error": "Invalid API key"}}, 401)
        return await call_next(request)

    @app.exception_handler(ValueError)
    async def _refuse(_: Request, error: ValueError) -> JSONResponse:
        return JSONResponse({"status": {"error": str(error)}}, 400)

    def _ok(result: Any) -> dict[str, Any]:
        return {"result": result, "status": "ok", "time": 0.0}

    done = {"operation_id": 0, "status": "completed"}

    @app.get("/collections")
    def collections() -> Any:
        with lock:
            return _ok(client.get_collections().model_dump(mode="json"))

    @app.get("/collections/{name}/exists")
    def exists(name: str) -> Any:
        with lock:
            return _ok({"exists": client.collection_exists(name)})

    @app.get("/collections/{name}")
    def info(name: str) -> Any:
        with lock:
            return _ok(client.get_collection(name).model_dump(mode="json"))

    @app.put("/collections/{name}")
    def create(name: str, body: models.CreateCollection) -> Any:
        with lock:
            if client.collection_exists(name):
                return JSONResponse({"status": {"error": f"Collection `{name}` already exists!"}}, 409)
            return _ok(
                client.create_collection(name, vectors_config=body.vectors, sparse_vectors_config=body.sparse_vectors)
            )

    @app.put("/collections/{name}/index")
    def index(name: str, body: models.CreateFieldIndex) -> Any:
        app.state.indexes.setdefault(name, {})[body.field_name] = str(body.field_schema)
        return _ok(done)

    @app.put("/collections/{name}/points")
    def upsert(name: str, body: models.PointsList) -> Any:
        with lock:
            client.upsert(name, points=body.points)
            return _ok(done)

    @app.post("/collections/{name}/points")
    def retrieve(name: str, body: models.PointRequest) -> Any:
        with lock:
            found = client.retrieve(name, body.ids, with_payload=body.with_payload)
            return _ok([record.model_dump(mode="json") for record in found])

    @app.post("/collections/{name}/points/query")
    def query(name: str, body: models.QueryRequest) -> Any:
        with lock:
            found = client.query_points(
                name, query=body.query, prefetch=body.prefetch, limit=body.limit, with_payload=body.with_payload
            )
            return _ok(found.model_dump(mode="json"))

    @app.post("/collections/{name}/points/scroll")
    def scroll(name: str, body: models.ScrollRequest) -> Any:
        with lock:
            if body.order_by is not None:
                # A server orders only by a field that has an index.
                key = body.order_by if isinstance(body.order_by, str) else body.order_by.key
                if app.state.indexes.get(name, {}).get(key) != "float":
                    return JSONResponse({"status": {"error": f"No range index for `order_by` key: `{key}`"}}, 400)
            records, offset = client.scroll(
                name, scroll_filter=body.filter, limit=body.limit, order_by=body.order_by, offset=body.offset
            )
            return _ok({"points": [r.model_dump(mode="json") for r in records], "next_page_offset": offset})

    @app.post("/collections/{name}/points/count")
    def count(name: str, body: models.CountRequest) -> Any:
        with lock:
            return _ok({"count": client.count(name, count_filter=body.filter).count})

    @app.post("/collections/{name}/facet")
    def facet(name: str, body: models.FacetRequest) -> Any:
        with lock:
            if app.state.indexes.get(name, {}).get(body.key) != "keyword":
                return JSONResponse({"status": {"error": f"No index for `{body.key}`"}}, 400)
            found = client.facet(name, body.key, facet_filter=body.filter, limit=body.limit)
            return _ok(found.model_dump(mode="json"))

    @app.post("/collections/{name}/points/delete")
    def delete(name: str, body: models.FilterSelector) -> Any:
        with lock, warnings.catch_warnings():
            client.delete(name, points_selector=body)
            return _ok(done)

    return app
