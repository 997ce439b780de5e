# SPDX-License-Identifier: Apache-2.0
"""The server as an application of Ray Serve: processes on one or many machines.

    serve run deeplab2_like.server.ray_app:build model=models/mine

Each replica is the application that deeplab2-serve runs, with all its models,
behind the proxies of Ray Serve for HTTP and, where it is started with
`ray_grpc.SERVICERS`, gRPC.
"""

import dataclasses
import pathlib
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deeplab2_like import errors
from deeplab2_like.server import main

if TYPE_CHECKING:
    from starlette.applications import Starlette

# Of the proxy: what waits in it beside what each replica has.
_QUEUE = 100
_HEALTH_SECONDS = 30
_DRAIN_SECONDS = 40


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Arguments of the application, as the flags of deeplab2-serve.

    Attributes:
        model: Folder of a model, or NAME=DIR; several with commas between
            them. Every machine must have them under the same path.
        num_versions: How many of the newest versions are loaded.
        poll_seconds: Time between looks for new versions.
        api_key_file: File with the key that clients must send; on every
            machine too. The environment variable DEEPLAB2_API_KEY is taken
            otherwise.
        max_batch_size: Most images of a call of a model.
        max_requests: Most requests in work of a replica.
        max_body_bytes: Most bytes of a request.
        request_seconds: How long a request may wait and be computed.
        body_seconds: How long a client may take to send a request.
        num_replicas: Number of processes that compute.
        num_cpus: Cores that Ray sets aside for each of them.
    """

    model: str
    num_versions: int = 1
    poll_seconds: float = 2.0
    api_key_file: str | None = None
    max_batch_size: int = 8
    max_requests: int = 64
    max_body_bytes: int = 32_000_000
    request_seconds: float = 60.0
    body_seconds: float = 30.0
    num_replicas: int = 2
    num_cpus: float = 1.0


def parse_arguments(values: Mapping[str, Any]) -> Arguments:
    """Parses the arguments of `serve run`, which are texts, or of a YAML file.

    Raises:
        ConfigError: One is unknown, missing, or no positive number.
    """
    kinds = typing.get_type_hints(Arguments)
    unknown = sorted(set(values) - set(kinds))
    if unknown or "model" not in values:
        problem = (
            f"{unknown[0]} is no argument" if unknown else "model is missing"
        )
        raise errors.ConfigError(
            f"{problem}. The arguments are {', '.join(kinds)}; for example "
            "model=models/mine."
        )
    parsed = {
        name: _parse_value(name, value, kinds[name])
        for name, value in values.items()
    }
    return Arguments(**parsed)


def _parse_value(name: str, value: Any, kind: Any) -> Any:
    if kind in (str, str | None):
        return str(value)
    assert not isinstance(kind, types.UnionType)
    try:
        number = kind(value)
    except (TypeError, ValueError):
        number = 0
    if not 0 < number < float("inf"):
        raise errors.ConfigError(
            f"{name}={value} must be a positive number of the type "
            f"{kind.__name__}."
        )
    return number


def make_app(arguments: Arguments) -> "Starlette":
    """Makes the application of a replica, with the models loaded.

    Raises:
        UserError: A model cannot be loaded.
    """
    from deeplab2_like.console import native_logs
    from deeplab2_like.server import limits, serving_app, versions

    native_logs.load_tensorflow()
    folders = main.parse_models(arguments.model.split(","))
    app = serving_app.build(
        [
            versions.ModelOptions(
                name, pathlib.Path(folder), {}, arguments.num_versions
            )
            for name, folder in folders.items()
        ],
        limits.Limits(
            max_body_bytes=arguments.max_body_bytes,
            max_requests=arguments.max_requests,
            request_seconds=arguments.request_seconds,
            body_seconds=arguments.body_seconds,
        ),
        max_batch_size=arguments.max_batch_size,
        poll_seconds=arguments.poll_seconds,
        api_key=main.read_key(arguments.api_key_file),
    )
    for name, model in app.state.store.models.items():
        model.poll()
        if not model.is_ready:
            problems = [s.problem for s in model.list_statuses() if s.problem]
            raise errors.ExportError(
                problems[0]
                if problems
                else f"{folders[name]} has no model. Give what deeplab2-export "
                "--out=models/mine/1 wrote, or models/mine."
            )
    return app


def build(values: Mapping[str, Any]) -> Any:
    """Builds the application (`ray.serve.Application`).

    Args:
        values: Arguments by name, see `Arguments`.

    Raises:
        UserError: The arguments are not as they must be, or Ray is missing.
    """
    arguments = parse_arguments(values)
    # Relative to here, and not to where a replica runs.
    folders = main.parse_models(arguments.model.split(","))
    models = ",".join(f"{name}={path}" for name, path in folders.items())
    arguments = dataclasses.replace(arguments, model=models)
    try:
        from ray import serve
    except ImportError as error:
        raise errors.InstallError(
            f"Ray Serve needs the package {error.name}. Install it with: pip "
            "install 'deeplab2-like[ray]'"
        ) from error
    from deeplab2_like.server import ray_grpc

    def make() -> "Starlette":
        return make_app(arguments)

    class Replica:
        """A process with all models."""

        def check_health(self) -> None:
            """Fails where the models do not answer; Ray then replaces it."""
            if not self.app.state.store.is_ready:  # type: ignore[attr-defined]
                raise RuntimeError("The models are not ready.")

    ray_grpc.add_methods(Replica)
    deployment: Any = serve.deployment(
        name="deeplab2",
        num_replicas=arguments.num_replicas,
        # Health and metadata must not wait behind what is computed.
        max_ongoing_requests=arguments.max_requests + 8,
        max_queued_requests=_QUEUE,
        graceful_shutdown_timeout_s=_DRAIN_SECONDS,
        health_check_timeout_s=_HEALTH_SECONDS,
        ray_actor_options={"num_cpus": arguments.num_cpus},
    )(serve.ingress(make)(Replica))
    return deployment.bind()
