# SPDX-License-Identifier: Apache-2.0
"""Serves exported models over HTTP and gRPC.

    deeplab2-serve --model=models/mine --grpc_port=8500

answers in the formats of TensorFlow Serving and of the Open Inference Protocol.
New versions, models/mine/2, are loaded while it runs.
"""

import importlib
import ipaddress
import logging
import os
import pathlib
import re
import signal
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import native_logs, path_flags, program
from deeplab2_like.exports import exported_model
from deeplab2_like.storage import user_paths

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_MODEL = flags.DEFINE_multi_string(
    "model",
    [],
    "Folder with a folder for each version of a model (models/mine, with "
    "models/mine/1), or what deeplab2-export wrote. name=DIR sets the name, "
    "which is that of the folder otherwise. May be given several times. "
    "Required.",
    flag_values=_FLAGS,
)
_VERSION_LABEL = flags.DEFINE_multi_string(
    "version_label",
    [],
    "Label of a version, NAME:LABEL=VERSION, such as mine:stable=3; the "
    "version stays loaded.",
    flag_values=_FLAGS,
)
_NUM_VERSIONS = flags.DEFINE_integer(
    "num_versions",
    1,
    "How many of the newest versions are loaded.",
    lower_bound=1,
    flag_values=_FLAGS,
)
_POLL_SECONDS = flags.DEFINE_float(
    "poll_seconds",
    2.0,
    "Time between looks for new versions.",
    lower_bound=0.1,
    flag_values=_FLAGS,
)
_HOST = flags.DEFINE_string(
    "host",
    "127.0.0.1",
    "Address to listen on. Another one than that of this machine itself needs "
    "a key or --allow_unauthenticated.",
    flag_values=_FLAGS,
)
_PORT = flags.DEFINE_integer(
    "port",
    8501,
    "Port to listen on.",
    lower_bound=0,
    upper_bound=65535,
    flag_values=_FLAGS,
)
_GRPC_PORT = flags.DEFINE_integer(
    "grpc_port",
    None,
    "Port to listen on for gRPC, such as 8500; no gRPC if not given.",
    lower_bound=0,
    upper_bound=65535,
    flag_values=_FLAGS,
)
_API_KEY_FILE = path_flags.define(
    "api_key_file",
    None,
    "File with the key that clients must send (Authorization: Bearer KEY). The "
    "environment variable DEEPLAB2_API_KEY is taken otherwise.",
    flag_values=_FLAGS,
)
_ALLOW_UNAUTHENTICATED = flags.DEFINE_bool(
    "allow_unauthenticated",
    False,
    "Serve everyone who reaches --host, without a key.",
    flag_values=_FLAGS,
)
_PAGE = flags.DEFINE_bool(
    "page",
    True,
    "Serve a page at / on which the models are tried in a browser.",
    flag_values=_FLAGS,
)
_MAX_BATCH_SIZE = flags.DEFINE_integer(
    "max_batch_size",
    8,
    "Most images of a call of the model, of all requests that wait for the "
    "signature encoded_compact.",
    lower_bound=1,
    flag_values=_FLAGS,
)
_MAX_REQUESTS = flags.DEFINE_integer(
    "max_requests",
    64,
    "Most requests in work; more get 429.",
    lower_bound=1,
    flag_values=_FLAGS,
)
_MAX_BODY_BYTES = flags.DEFINE_integer(
    "max_body_bytes",
    32_000_000,
    "Most bytes of a request; larger ones get 413.",
    lower_bound=1,
    flag_values=_FLAGS,
)
_REQUEST_SECONDS = flags.DEFINE_float(
    "request_seconds",
    60.0,
    "How long a request may wait and be computed before it gets 504.",
    lower_bound=0.001,
    flag_values=_FLAGS,
)
_BODY_SECONDS = flags.DEFINE_float(
    "body_seconds",
    30.0,
    "How long a client may take to send a request.",
    lower_bound=0.001,
    flag_values=_FLAGS,
)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_KEY_VARIABLE = "DEEPLAB2_API_KEY"
_MIN_KEY = 16


def parse_models(texts: Sequence[str]) -> dict[str, pathlib.Path]:
    """Parses values of `--model`: the folders by name.

    Raises:
        ConfigError: There is none, or a name is missing or given twice.
        ExportError: A folder has no model.
    """
    if not texts:
        raise errors.ConfigError(
            "--model is missing. Give the folder of a model, for example "
            "--model=models/mine."
        )
    found: dict[str, pathlib.Path] = {}
    for text in texts:
        name, is_named, rest = text.partition("=")
        path = user_paths.expand_checkpoint(
            rest if is_named else text, "--model="
        )
        folder = pathlib.Path(os.path.abspath(path))
        if not is_named:
            name = folder.name
            if (
                name.isdigit()
                and (folder / exported_model.SAVED_MODEL_FILE).is_file()
            ):
                name = folder.parent.name
        if not _NAME.fullmatch(name):
            raise errors.ConfigError(
                f"--model={text} gives the model the name {name!r}. A name has "
                "letters, digits, '_', '.' and '-': give --model=name=DIR."
            )
        if name in found:
            raise errors.ConfigError(
                f"--model gives two models the name {name!r}. Name one of them "
                "otherwise: --model=name=DIR."
            )
        found[name] = folder
    return found


def parse_labels(
    texts: Sequence[str], names: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Parses values of `--version_label`: versions by label by model.

    Raises:
        ConfigError: One is not NAME:LABEL=VERSION, or names no model.
    """
    labels: dict[str, dict[str, int]] = {name: {} for name in names}
    for text in texts:
        match = re.fullmatch(r"([^:=]+):([^:=/]+)=(\d{1,18})", text)
        if match is None or match[1] not in labels:
            raise errors.ConfigError(
                f"--version_label={text} is not NAME:LABEL=VERSION with the "
                f"name of a model: {', '.join(names)}."
            )
        labels[match[1]][match[2]] = int(match[3])
    return labels


def read_key(path: str | None) -> str | None:
    """Reads the key that clients must send; None if there is none.

    Raises:
        ConfigError: The file cannot be read, or the key is short.
    """
    if path is None:
        key, what = os.environ.get(_KEY_VARIABLE), _KEY_VARIABLE
    else:
        what = f"--api_key_file={path}"
        try:
            key = pathlib.Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise errors.ConfigError(
                f"{what} cannot be read ({type(error).__name__}). Give a text "
                "file with the key."
            ) from error
    is_plain = key is None or (key.isascii() and key.isprintable())
    if key is not None and (len(key) < _MIN_KEY or not is_plain):
        raise errors.ConfigError(
            f"The key of {what} has {len(key)} characters. Give one line of at "
            f"least {_MIN_KEY} from ASCII, for example that of: openssl rand "
            "-hex 32."
        )
    return key


def check_host(host: str, *, is_protected: bool) -> None:
    """Checks that not everybody on a network can use the server unasked.

    Args:
        host: Address to listen on.
        is_protected: Whether there is a key, or none is wanted.

    Raises:
        ConfigError: The address is not that of this machine itself, and the
            server is not protected.
    """
    if is_protected or host == "localhost":
        return
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise errors.ConfigError(
            f"--host={host} can be reached from other machines. Give "
            "--api_key_file=FILE, or --allow_unauthenticated to serve everyone."
        )


def _check_folders(folders: dict[str, pathlib.Path]) -> None:
    """Checks that each model has a version that was exported."""
    from deeplab2_like.server import versions

    for folder in folders.values():
        found = versions.find_versions(folder)
        if not found:
            raise errors.ExportError(
                f"{folder} has no model: neither saved_model.pb nor folders "
                "named by numbers that have one. Give what deeplab2-export "
                "--out=models/mine/1 wrote, or models/mine."
            )
        exported_model.load_info(found[max(found)])


def _find_grpc_address() -> tuple[str, int] | None:
    """Finds out where to listen for gRPC, before anything is loaded.

    Raises:
        ConfigError: The address is not one of this machine, or in use.
    """
    from deeplab2_like.server import listener

    port = _GRPC_PORT.value
    if port is None:
        return None
    with listener.bind(_HOST.value, port, _GRPC_PORT.name) as bound:
        return bound.getsockname()[0], port


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    folders = parse_models(_MODEL.value)
    labels = parse_labels(_VERSION_LABEL.value, list(folders))
    key = read_key(_API_KEY_FILE.value)
    is_protected = key is not None or _ALLOW_UNAUTHENTICATED.value
    check_host(_HOST.value, is_protected=is_protected)
    # gRPC would tell what clients do wrong, which is their answer already.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from deeplab2_like.server import (
            json_logs,
            limits,
            listener,
            serving_app,
            versions,
        )

        if _GRPC_PORT.value is not None:
            for module in ("grpc", "grpc_health", "tensorflow_serving"):
                importlib.import_module(module)
    except ImportError as error:
        raise errors.InstallError(
            f"The server needs the package {error.name}. Install it with: pip "
            "install 'deeplab2-like[serve]'"
        ) from error
    _check_folders(folders)
    bound = listener.bind(_HOST.value, _PORT.value)
    grpc_address = _find_grpc_address()
    native_logs.load_tensorflow()
    app = serving_app.build(
        [
            versions.ModelOptions(
                name, folder, labels[name], _NUM_VERSIONS.value
            )
            for name, folder in folders.items()
        ],
        limits.Limits(
            max_body_bytes=_MAX_BODY_BYTES.value,
            max_requests=_MAX_REQUESTS.value,
            request_seconds=_REQUEST_SECONDS.value,
            body_seconds=_BODY_SECONDS.value,
        ),
        max_batch_size=_MAX_BATCH_SIZE.value,
        poll_seconds=_POLL_SECONDS.value,
        api_key=key,
        has_page=_PAGE.value,
    )
    beside = None
    if grpc_address is not None:
        from deeplab2_like.server import grpc_app

        beside = grpc_app.GrpcServer(app.state.frame, *grpc_address)
    json_logs.start(logging.INFO)
    # The server catches the signal, answers what waits, and raises it again.
    signal.signal(signal.SIGTERM, lambda *_: None)
    listener.make_server(app, beside).run(sockets=[bound])


def cli() -> None:
    """Serves exported models (console command deeplab2-serve)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
