"""The same app with several replicas: Ray Serve shares the requests between them, and starts and stops them with the load.

    python -m leaplm.serve.ray_app artifacts/sentiment-cpu.safetensors --max-replicas 2

Needs the extra `scale`: pip install "leaplm[scale]". It runs on one machine as here, or joins a cluster that `ray start`
made (RAY_ADDRESS). Rate limits, queues and /metrics are each replica's own: with n replicas a key gets up to n times its
limit, and Prometheus should read Ray's metrics or each replica's.
"""

import argparse
import contextlib
import logging
import os
import socket
import time

import httpx2

from leaplm.serve.app import Settings, create_app
from leaplm.serve.files import load_engine
from leaplm.serve.keys import read_keys


def make_deployment(path, engine="torch", keys=None, min_replicas=1, max_replicas=2, cores=1, **limits):
    """A Ray Serve application of `leaplm serve`'s app: one engine in each replica, which takes `cores` cores.

    A new replica starts when the running ones have more than 8 requests each for 10 s, and stops after 60 s with less. A
    replica holds at most its queue's requests; what comes beyond waits, as many again, and then gets 503 from Ray.
    """
    from ray import serve

    path, settings = os.path.abspath(path), Settings(**limits)
    known = read_keys(keys) if keys else []

    def app():
        return create_app(load_engine(path, engine, threads=cores), settings, known)

    scaling = {"min_replicas": min_replicas, "max_replicas": max_replicas, "initial_replicas": min_replicas,
               "target_ongoing_requests": 8, "upscale_delay_s": 10, "downscale_delay_s": 60}

    @serve.deployment(name="leaplm", autoscaling_config=scaling, ray_actor_options={"num_cpus": cores},
                      max_ongoing_requests=settings.max_queue, max_queued_requests=settings.max_queue,
                      graceful_shutdown_timeout_s=20)
    @serve.ingress(app)
    class Replica:
        pass

    return Replica.bind()


@contextlib.contextmanager
def running(path, host="127.0.0.1", port=None, cores=1, max_replicas=2, **settings):
    """The address of the app under Ray Serve; everything that Ray started here ends with the block.

    Ray keeps to max_replicas * cores of the machine's cores. Raises ModuleNotFoundError where ray is not installed.

    >>> with running("artifacts/sentiment-cpu.safetensors", min_replicas=2) as address:      # doctest: +SKIP
    ...     print(replicas_seen(address))
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # and warns of GPUs that are not there
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")  # after 5 s it kills what a busy machine starts
    logging.getLogger("ray").setLevel(logging.ERROR)
    import ray
    from ray import serve

    port = port or free_port(host)
    shared = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": max_replicas * cores, "include_dashboard": False,
                                                       "object_store_memory": 100 * 2**20}
    start_ray(**shared)
    try:
        start_serve(http_options={"host": host, "port": port}, logging_config={"log_level": "ERROR"})
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        serve.run(make_deployment(path, cores=cores, max_replicas=max_replicas, **settings), name="leaplm")
        yield f"http://{host}:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


def start_ray(attempts=3, **settings):
    """ray.init, again where the machine was too busy: Ray gives its helpers 15 s to start, and this cannot be changed.

    See https://github.com/ray-project/ray/issues/65983. The second time its files are in memory, and it is faster.
    """
    import ray

    return in_attempts(attempts, "Ray", Exception, lambda: ray.init(log_to_driver=False, logging_level="error", **settings),
                       ray.shutdown)  # Ray raises this very class


def start_serve(attempts=3, **settings):
    """serve.start, again where the machine was too busy: Serve gives its proxy 60 s, and this cannot be changed either."""
    from ray import serve

    return in_attempts(attempts, "Ray Serve", TimeoutError, lambda: serve.start(**settings), serve.shutdown)


def in_attempts(attempts, name, too_late, start, end):
    """What start() gives; where it raises `too_late`, end() and once more. RuntimeError after so many attempts."""
    for left in reversed(range(attempts)):
        try:
            return start()
        except too_late as error:
            end()
            if not left:
                raise RuntimeError(f"{name} did not start in {attempts} attempts; is this machine very busy?") from error


def free_port(host):
    with socket.create_server((host, 0)) as listening:
        return listening.getsockname()[1]


def replicas_seen(address, key=None, asks=40):
    """How many requests each replica answered, {process id: n}, of `asks` requests one after the other."""
    headers, seen = {"X-API-Key": key} if key else {}, {}
    for _ in range(asks):
        # A new connection each time: Ray shares out requests, but a test should not depend on it.
        answer = httpx2.get(f"{address}/model", headers=headers, trust_env=False, timeout=30).json()
        seen[answer["process"]] = seen.get(answer["process"], 0) + 1
    return seen


def main(argv=None):
    parser = argparse.ArgumentParser(description="Serve a classifier with several replicas (Ray Serve).")
    parser.add_argument("path")
    parser.add_argument("--keys")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--min-replicas", type=int, default=1)
    parser.add_argument("--max-replicas", type=int, default=2)
    parser.add_argument("--cores", type=int, default=1, help="of each replica")
    settings = vars(parser.parse_args(argv))
    with running(settings.pop("path"), **settings) as address, contextlib.suppress(KeyboardInterrupt):
        print(f"{address}  ·  Ctrl-C ends", flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
