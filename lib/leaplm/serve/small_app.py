"""The smallest way from an endpoint of one's own to a port: an app with POST /predict and GET /metrics."""

import asyncio
import contextlib

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


def small_app(endpoint, work, close):
    """An ASGI app, for process.in_thread, uvicorn or any other server.

    endpoint: has `answer(body)`, async, -> (status, content, seconds to wait or None), and `metrics()` -> a dict.
    work: an async function () that answers the queue, started with the app. close: a function () that makes it end.

    >>> app = small_app(endpoint, lambda: answer_batches(queue, predict), queue.close)          # doctest: +SKIP
    """
    @contextlib.asynccontextmanager
    async def lifespan(app):
        worker = asyncio.create_task(work())
        yield
        close()
        await worker

    async def predict(request):
        status, content, retry_after = await endpoint.answer(await request.body())
        return JSONResponse(content, status, {"Retry-After": str(retry_after)} if retry_after else {})

    async def metrics(request):
        return JSONResponse(endpoint.metrics())

    return Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/metrics", metrics)], lifespan=lifespan)
