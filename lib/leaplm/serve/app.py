"""The HTTP interface: POST /predict, and /healthz, /readyz, /metrics, /model. Every answer is JSON, also every error.

    {"texts": ["Very good soap."]}  ->  {"predictions": [{"label": "positive", "confidence": 0.97, "probabilities": {...}}]}
    anything wrong                  ->  {"error": {"code": "too_long", "message": "texts[0] has 9000 characters, ..."}}

400 not JSON · 401 no valid key · 408 too slow · 413 body too large · 422 not what is asked for · 429 too often · 503 busy.
With the last two comes Retry-After, in seconds.
"""

import asyncio
import contextlib
import logging
import math
import os
import time
import uuid
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from leaplm.serve.batching import Batcher, Overloaded
from leaplm.serve.keys import Gate
from leaplm.serve.logs import LOGGER
from leaplm.serve.metrics import Metrics
from leaplm.serve.requests import Problem, read_texts


@dataclass(frozen=True)
class Settings:
    """Limits of the service. max_batch, max_queue: texts; max_wait_ms: how long a first text waits for company;
    patience: seconds after which a waiting request is given up; log_texts: also log the texts, redacted."""

    max_batch: int = 16
    max_wait_ms: float = 10
    max_queue: int = 64
    patience: float = 10
    max_texts: int = 32
    max_characters: int = 2000
    max_body_bytes: int = 262_144
    body_seconds: float = 10
    log_texts: bool = False

    def __post_init__(self):
        for name, value in vars(self).items():
            if not isinstance(value, bool) and not value > 0 and name != "max_wait_ms":
                raise ValueError(f"{name}={value} must be greater than 0")
        if self.max_wait_ms < 0:
            raise ValueError(f"max_wait_ms={self.max_wait_ms} must be 0 or more")


def create_app(engine, settings=None, keys=(), logger=None):
    """The FastAPI app that serves `engine` (see serve.files). keys: a list of serve.keys.Key; none: open to everybody.

    >>> app = create_app(load_engine("artifacts/sentiment-cpu.safetensors"))            # doctest: +SKIP
    """
    service = Service(engine, settings or Settings(), keys, logger or logging.getLogger(LOGGER))
    app = FastAPI(title="LeapLM", lifespan=service.lifespan, docs_url=None, redoc_url=None)  # their pages need a CDN
    app.state.service = service
    add_errors(app)
    add_routes(app, service)
    return app


class Service:
    """What lives behind the routes: the batcher, the gate, the metrics and the log."""

    def __init__(self, engine, settings, keys, logger):
        self.engine, self.settings, self.gate, self.logger = engine, settings, Gate(keys), logger
        self.metrics, self.ready = Metrics(), False
        self.batcher = Batcher(engine.predict, settings.max_batch, settings.max_wait_ms / 1000, settings.max_queue,
                               settings.patience, self.metrics.saw_batch)
        self.metrics.queue.set_function(lambda: self.batcher.queue.texts_waiting)

    @contextlib.asynccontextmanager
    async def lifespan(self, app):
        await self.batcher.start()
        self.ready = True
        yield
        self.ready = False
        await self.batcher.stop()

    def identify(self, request):
        """The name behind the request's key; Problem 401 without a valid one."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = request.headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
        name = self.gate.name(given)
        if name is None:
            raise Problem(401, "no_valid_key", "send your key in the header `X-API-Key` or `Authorization: Bearer`")
        return name

    def admit(self, request):
        """Key and rate limit, looked at before the body is read."""
        request.state.key = name = self.identify(request)
        if wait := self.gate.wait(name):
            self.metrics.shed.labels("rate_limit").inc()
            raise Problem(429, "too_many_requests", "this key has used up its requests for now", math.ceil(wait))
        queue = self.batcher.queue
        if queue.is_full():  # before anything is read: under overload, saying no must cost little
            raise self.counted(Overloaded("queue_full", queue.retry_after()))

    async def read(self, request):
        """The texts of a request; a Problem for a body that does not come as asked for."""
        limits = self.settings
        return read_texts(await read_body(request, limits), limits.max_body_bytes, limits.max_texts, limits.max_characters)

    async def predict(self, texts):
        """Probabilities (n, classes); Problem 503 when the queue is full, the service closes, or the wait was too long, 500
        when the model fails."""
        try:
            return await self.batcher.submit(texts)
        except Overloaded as busy:
            raise self.counted(busy) from None
        except Exception as error:  # told here and not further up: the server's own log would quote its message
            self.logger.error("failed", exc_info=error)
            raise Problem(500, "internal", "the model failed on these texts; the place is in the log") from None

    def counted(self, overloaded):
        """The Problem of a request that is turned away, counted."""
        self.metrics.shed.labels(overloaded.reason).inc()
        return overloaded

    def report(self, rows):
        """The answer's list of predictions, counted in the metrics."""
        best, labels = rows.argmax(axis=1), self.engine.labels
        self.metrics.saw_predictions([labels[i] for i in best], rows.max(axis=1).tolist())
        return [{"label": labels[i], "confidence": round(float(row[i]), 6),
                 "probabilities": {name: round(float(p), 6) for name, p in zip(labels, row, strict=True)}}
                for i, row in zip(best, rows, strict=True)]

    def log(self, request, status, started, code=None):
        """One line a request: who, how much, how long; texts only when asked for, and redacted."""
        state = request.state
        fields = {"id": state.id, "key": getattr(state, "key", None), "status": status, "code": code,
                  "texts": getattr(state, "count", None), "ms": round(1000 * (time.monotonic() - started), 1)}
        if self.settings.log_texts:
            fields["said"] = getattr(state, "said", None)
        self.logger.info("predict", extra={"fields": {k: v for k, v in fields.items() if v is not None}})


def add_routes(app, service):
    @app.post("/predict")
    async def predict(request: Request):
        started, request.state.id, status, code = time.monotonic(), uuid.uuid4().hex[:7], 500, None
        try:
            service.admit(request)
            texts = await service.read(request)
            request.state.count, request.state.said = len(texts), texts
            answer = {"predictions": service.report(await service.predict(texts)), "id": request.state.id}
            status = 200
            service.metrics.seconds.observe(time.monotonic() - started)
            return JSONResponse(answer)
        except Problem as problem:
            status, code = problem.status, problem.code
            raise
        finally:
            service.metrics.requests.labels(str(status)).inc()
            service.log(request, status, started, code)

    @app.get("/healthz")
    async def healthz():
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz():
        if not service.ready or service.batcher.queue.closed:
            raise Problem(503, "not_ready", "the service is starting or closing", 5)
        return {"status": "ready"}

    @app.get("/metrics")
    async def metrics(request: Request):
        service.identify(request)
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/model")
    async def model(request: Request):
        service.identify(request)
        card = service.engine.card
        return {"labels": service.engine.labels, "engine": service.engine.name, "process": os.getpid(),
                **{name: card[name] for name in ("lab", "language", "test_accuracy") if name in card}}


async def read_body(request, settings):
    """The request's body (bytes); a Problem for one that is too large, too slow, or does not come whole."""
    too_large = Problem(413, "body_too_large", f"the body may have at most {settings.max_body_bytes} bytes")
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > settings.max_body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > settings.max_body_bytes:
                    raise too_large
    except TimeoutError:
        raise Problem(408, "too_slow", f"the body did not come within {settings.body_seconds:g} s") from None
    except ClientDisconnect:
        raise Problem(400, "gone", "the client left before its request was complete") from None
    return bytes(body)


def add_errors(app):
    """Every error as {"error": {code, message}}, with Retry-After where waiting helps."""
    def answer(status, code, message, retry_after=None):
        headers = {"Retry-After": str(retry_after)} if retry_after else {}
        if status in (408, 413):
            headers["Connection"] = "close"  # the rest of the body is not read
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse({"error": {"code": code, "message": message}}, status, headers)

    @app.exception_handler(Problem)
    async def problem(request, error):
        return answer(error.status, error.code, error.message, error.retry_after)

    @app.exception_handler(RequestValidationError)
    async def invalid(request, error):
        return answer(422, "not_valid", "the request is not what this address takes")

    @app.exception_handler(HTTPException)
    async def http(request, error):
        return answer(error.status_code, "http", str(error.detail))

    @app.exception_handler(Exception)
    async def unexpected(request, error):
        logging.getLogger(LOGGER).error("failed", extra={"fields": {"path": request.url.path}}, exc_info=error)
        return answer(500, "internal", "something went wrong here; it is in the log")
