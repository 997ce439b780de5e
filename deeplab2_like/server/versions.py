# SPDX-License-Identifier: Apache-2.0
"""The versions of served models: found in folders, loaded, replaced."""

import dataclasses
import enum
import logging
import pathlib
import threading
from collections.abc import Callable, Mapping, Sequence

from deeplab2_like import errors
from deeplab2_like.exports import exported_model
from deeplab2_like.server import failures
from deeplab2_like.server.batching import Batcher
from deeplab2_like.server.model import Model

_LOGGER = logging.getLogger("deeplab2_like.server")


class State(enum.StrEnum):
    """States of a version, as TensorFlow Serving names them."""

    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """The state of a version.

    Attributes:
        version: Its number.
        state: Its state.
        problem: Why it could not be loaded; empty for others.
    """

    version: int
    state: State
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """A model to serve.

    Attributes:
        name: Its name.
        folder: Folder with a folder for each version, named by numbers; or
            one SavedModel.
        labels: Versions by label, which stay loaded.
        num_versions: How many of the newest versions are loaded.
    """

    name: str
    folder: pathlib.Path
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    num_versions: int = 1


def find_versions(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Finds the versions of a model: their folders by number.

    Folders without a SavedModel, which may still be copied, do not count.
    """
    if (folder / exported_model.SAVED_MODEL_FILE).is_file():
        name = folder.name
        return {int(name) if _is_version(name) else 1: folder}
    try:
        entries = list(folder.iterdir())
    except OSError:
        return {}
    return {
        int(entry.name): entry
        for entry in entries
        if _is_version(entry.name)
        and (entry / exported_model.SAVED_MODEL_FILE).is_file()
    }


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= 18


def parse_version(text: str) -> int:
    """Parses the number of a version that a client sent.

    Raises:
        RequestError: It is no number.
    """
    if not _is_version(text):
        raise failures.RequestError(
            failures.Kind.NOT_FOUND,
            f"The version is {failures.shorten(text)}. Versions are numbers.",
        )
    return int(text)


class ServedModel:
    """A model and its versions; threads may share it."""

    def __init__(
        self,
        options: ModelOptions,
        load: Callable[[pathlib.Path], Model],
        make_batcher: Callable[[Model], Batcher],
    ):
        """Loads nothing yet; see `poll`.

        Args:
            options: What to serve.
            load: Function that loads a version; a `UserError` says why it
                cannot.
            make_batcher: Function that makes the queue of a model.
        """
        self.options = options
        self._load = load
        self._make_batcher = make_batcher
        self._lock = threading.Lock()
        self._batchers: dict[int, Batcher] = {}
        self._statuses: dict[int, VersionStatus] = {}
        self._is_loaded = threading.Event()
        # What versions that could not be loaded looked like.
        self._failed: dict[int, object] = {}

    def poll(self) -> None:
        """Loads what is new, and then unloads what is no longer wanted.

        A version that could not be loaded is tried again when its files have
        changed; until then the earlier one stays.
        """
        found = find_versions(self.options.folder)
        wanted = set(sorted(found)[-self.options.num_versions :])
        wanted |= set(self.options.labels.values()) & set(found)
        for version in sorted(wanted - set(self._batchers)):
            stamp = _stamp(found[version])
            if self._failed.get(version) != stamp:
                self._failed.pop(version, None)
                if not self._load_version(version, found[version]):
                    self._failed[version] = stamp
        is_loaded = wanted & set(self._batchers)
        if wanted and wanted <= set(self._batchers):
            for version in sorted(set(self._batchers) - is_loaded):
                self._unload(version)

    def close(self) -> None:
        """Unloads all versions, after they have answered what waits."""
        for version in sorted(self._batchers):
            self._unload(version)

    def get(
        self, version: int | None = None, label: str | None = None
    ) -> tuple[int, Batcher]:
        """Returns a version: that with a number or label, or the newest.

        Raises:
            RequestError: There is no such version, or it is not loaded.
        """
        name = self.options.name
        if label is not None:
            if label not in self.options.labels:
                raise failures.RequestError(
                    failures.Kind.NOT_FOUND,
                    f"Model {name} has no label {failures.shorten(label)}.",
                )
            version = self.options.labels[label]
        with self._lock:
            if version is None and self._batchers:
                version = max(self._batchers)
            if version is not None and version in self._batchers:
                return version, self._batchers[version]
            status = None if version is None else self._statuses.get(version)
        if version is None or (status and status.state == State.LOADING):
            raise failures.RequestError(
                failures.Kind.UNAVAILABLE,
                f"Model {name} is not loaded yet. Send the request again "
                "later.",
            )
        raise failures.RequestError(
            failures.Kind.NOT_FOUND,
            f"Servable not found for request: Specific({name}, {version}).",
        )

    def list_statuses(self) -> list[VersionStatus]:
        """Lists the states of all versions that were seen, newest first."""
        with self._lock:
            return [self._statuses[v] for v in sorted(self._statuses)[::-1]]

    @property
    def is_ready(self) -> bool:
        """Whether a version answers requests."""
        return bool(self._batchers)

    def wait_until_ready(self, seconds: float) -> bool:
        """Waits until a version answers requests; returns whether one does."""
        return self._is_loaded.wait(seconds)

    def _load_version(self, version: int, folder: pathlib.Path) -> bool:
        self._set(version, State.LOADING)
        try:
            model = self._load(folder)
            model.warm_up()
        except Exception as error:
            problem = f"Loading failed ({type(error).__name__})."
            if isinstance(error, errors.UserError | failures.RequestError):
                problem = str(error)
            self._set(version, State.END, problem)
            return False
        batcher = self._make_batcher(model)
        with self._lock:
            self._batchers = {**self._batchers, version: batcher}
        self._set(version, State.AVAILABLE)
        self._is_loaded.set()
        return True

    def _unload(self, version: int) -> None:
        self._set(version, State.UNLOADING)
        with self._lock:
            others = dict(self._batchers)
            batcher = others.pop(version)
            self._batchers = others
        batcher.close()
        self._set(version, State.END)

    def _set(self, version: int, state: State, problem: str = "") -> None:
        with self._lock:
            self._statuses[version] = VersionStatus(version, state, problem)
        fields = {
            "model": self.options.name,
            "version": version,
            "state": state.value,
            **({"problem": problem} if problem else {}),
        }
        level = logging.ERROR if problem else logging.INFO
        _LOGGER.log(level, "Model version", extra={"fields": fields})


def _stamp(folder: pathlib.Path) -> object:
    """Returns a value that changes when a folder does."""
    entries = []
    for path in sorted(folder.rglob("*")):
        try:
            status = path.stat()
        except OSError:
            continue
        entries.append((str(path), status.st_mtime_ns, status.st_size))
    return entries


class Store:
    """The models of a server, looked after by a thread."""

    def __init__(self, models: Sequence[ServedModel], poll_seconds: float):
        """Loads nothing yet; see `start`.

        Args:
            models: The models, of different names.
            poll_seconds: Time between looks for new versions.
        """
        self.models = {model.options.name: model for model in models}
        self._poll_seconds = poll_seconds
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._look_after, daemon=True)

    def start(self) -> None:
        """Starts to load the models, and to look for new versions."""
        self._thread.start()

    def close(self) -> None:
        """Unloads all models after they have answered what waits."""
        self._is_closing.set()
        if self._thread.is_alive():
            self._thread.join()
        for model in self.models.values():
            model.close()

    def get(self, name: str) -> ServedModel:
        """Returns a model by name.

        Raises:
            RequestError: There is none of that name.
        """
        if name not in self.models:
            raise failures.RequestError(
                failures.Kind.NOT_FOUND,
                "Servable not found for request: "
                f"Latest({failures.show_name(name)}).",
            )
        return self.models[name]

    @property
    def is_ready(self) -> bool:
        """Whether all models answer requests."""
        is_open = not self._is_closing.is_set()
        return is_open and all(m.is_ready for m in self.models.values())

    def _look_after(self) -> None:
        while not self._is_closing.is_set():
            for model in self.models.values():
                try:
                    model.poll()
                except Exception as error:
                    fields = {"error": type(error).__name__}
                    _LOGGER.error("Poll failed", extra={"fields": fields})
            self._is_closing.wait(self._poll_seconds)
