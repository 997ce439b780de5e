# SPDX-License-Identifier: Apache-2.0
"""Loads and checks configs and data set descriptors."""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

from google.protobuf import text_format
from google.protobuf.message import Message

from deeplab2_like.config import (
    path_fields,
    paths,
    placeholders,
    textproto,
    validation,
)
from deeplab2_like.config.problems import (
    ERROR,
    NOTE,
    InvalidConfigError,
    Location,
    Problem,
    describe_nearest,
    raise_if_any,
)
from deeplab2_like.config.report import Report, iterate_fields, show
from deeplab2_like.protos import config_pb2, dataset_descriptor_pb2

_OVERRIDE_FLAG = "--config_override"


@dataclasses.dataclass(frozen=True)
class Config:
    """A config that was read, completed and found valid.

    Attributes:
        options: The resolved `ExperimentOptions`: overrides merged,
            place-holders filled, class counts and head channels taken from
            the data set where they were not set.
        path: File that it was read from, or the name given to `parse`.
        sha256: SHA-256 of `text`, in hexadecimal.
        text: `options` in text format, as it is written to a model folder.
        warnings: Warnings and notes, no errors.
        unfilled: Names of the place-holders that the environment does not
            fill, by field path.
    """

    options: config_pb2.ExperimentOptions
    path: str
    sha256: str
    text: str
    warnings: tuple[Problem, ...] = ()
    unfilled: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict
    )

    def require_filled(self, *prefixes: str) -> None:
        """Raises if a field that a program needs has an unfilled place-holder.

        Args:
            *prefixes: Field paths, for example
                "train_dataset_options.file_pattern"; all fields if none is
                given.

        Raises:
            InvalidConfigError: There is one; the text says how to set it.
        """
        raise_if_any(
            _list_unfilled(
                {
                    path: names
                    for path, names in self.unfilled.items()
                    if not prefixes or _is_within(path, prefixes)
                },
                self.options,
                self.path,
                all_are_errors=True,
            )
        )


def _is_within(path: str, prefixes: Sequence[str]) -> bool:
    return any(
        path == prefix or path.startswith((f"{prefix}.", f"{prefix}["))
        for prefix in prefixes
    )


def _list_unfilled(
    unfilled: Mapping[str, Sequence[str]],
    options: Message,
    source: str,
    all_are_errors: bool,
) -> list[Problem]:
    problems = []
    for path, holder, field, value in iterate_fields(options):
        if path not in unfilled:
            continue
        names = list(dict.fromkeys(unfilled[path]))
        verb = "s are" if len(names) > 1 else " is"
        is_error = all_are_errors or not validation.may_be_unfilled(
            holder, field
        )
        problems.append(
            Problem(
                path,
                show(value),
                f"the environment variable{verb} not set: {', '.join(names)}",
                placeholders.describe_fix(names, path),
                severity=ERROR if is_error else NOTE,
                source=source,
            )
        )
    return problems


def load(
    name_or_path: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
    require_placeholders: bool = False,
) -> Config:
    """Reads, completes and checks a config.

    Args:
        name_or_path: A file, or the name of a shipped config such as
            "scenes/panoptic_deeplab_mobilenet_v3_small_os16".
        overrides: Text format fragments, merged over the file in order. A
            repeated field replaces the one of the file; `field: []` empties
            it.
        environ: Values of place-holders; the environment of the process when
            None.
        require_placeholders: Whether an unfilled place-holder is an error. If
            not, it stays in the text with a note in `warnings`, and
            `Config.require_filled` raises in the program that needs it.

    Raises:
        InvalidConfigError: There are errors; `problems` lists all of them.
    """
    path = paths.find_config(str(name_or_path))
    return parse(
        paths.read_text(path),
        overrides,
        source=str(path),
        environ=environ,
        require_placeholders=require_placeholders,
    )


def parse(
    text: str,
    overrides: Sequence[str] = (),
    *,
    source: str = "config",
    environ: Mapping[str, str] | None = None,
    require_placeholders: bool = False,
) -> Config:
    """Completes and checks a config given as text; see `load`.

    Args:
        text: Text format of `ExperimentOptions`.
        overrides: As in `load`.
        source: Path of the text, for messages; data set descriptors with a
            relative path are also looked up in its folder.
        environ: As in `load`.
        require_placeholders: As in `load`.

    Raises:
        InvalidConfigError: There are errors; `problems` lists all of them.
    """
    options = config_pb2.ExperimentOptions()
    places, _ = textproto.parse(text, options, source)
    if not options.ListFields():
        raise InvalidConfigError([_empty(source)])
    _merge_overrides(options, places, overrides)
    variables = os.environ if environ is None else environ
    unfilled = placeholders.fill(options, variables)
    report = Report(places, source)
    path_fields.expand(options, report)
    folder = pathlib.Path(source).parent
    datasets = _load_datasets(options, folder, unfilled, report)
    validation.complete(options, datasets)
    validation.check_options(options, datasets, unfilled, report)
    for note in _list_unfilled(unfilled, options, source, require_placeholders):
        report.problems.append(note.at(report.locate(note.path)))
    report.sort()
    raise_if_any(report.problems)
    resolved = text_format.MessageToString(options)
    return Config(
        options=options,
        path=source,
        sha256=hashlib.sha256(resolved.encode()).hexdigest(),
        text=resolved,
        warnings=tuple(report.problems),
        unfilled={path: tuple(names) for path, names in unfilled.items()},
    )


def validate(options: config_pb2.ExperimentOptions) -> list[Problem]:
    """Lists the problems of options that were built in code.

    Args:
        options: Options to check; not changed.

    Returns:
        Errors, warnings and notes, without lines.
    """
    completed = config_pb2.ExperimentOptions()
    completed.CopyFrom(options)
    report = Report({}, "")
    datasets = _load_datasets(completed, pathlib.Path(), {}, report)
    validation.complete(completed, datasets)
    validation.check_options(completed, datasets, {}, report)
    return report.problems


def _empty(source: str) -> Problem:
    fix = "Start from a shipped config; `--list` names them."
    return Problem("", "", "The config is empty", fix, source=source)


def _merge_overrides(
    options: Message, places: dict[str, Location], overrides: Sequence[str]
) -> None:
    problems: list[Problem] = []
    for index, fragment in enumerate(overrides):
        source = f"{_OVERRIDE_FLAG}[{index}]"
        patch = type(options)()
        try:
            found, entries = textproto.parse(fragment, patch, source)
        except InvalidConfigError as error:
            problems += error.problems
            continue
        _clear_empty_lists(entries, options, places, "")
        _merge(options, patch, places, "")
        places.update(found)
    raise_if_any(problems)


def _merge(
    base: Message, patch: Message, places: dict[str, Location], prefix: str
) -> None:
    """Merges `patch` into `base`; its lists replace those of `base`."""
    for field, value in patch.ListFields():
        path = prefix + field.name
        if textproto.is_repeated(field):
            _forget(places, path)
            base.ClearField(field.name)
            getattr(base, field.name).MergeFrom(value)
        elif field.message_type is not None:
            if not base.HasField(field.name):
                _forget(places, path)
            getattr(base, field.name).SetInParent()
            _merge(getattr(base, field.name), value, places, f"{path}.")
        else:
            setattr(base, field.name, value)


def _clear_empty_lists(
    entries: Sequence[textproto.Entry],
    base: Message,
    places: dict[str, Location],
    prefix: str,
) -> None:
    """Empties the lists that an override writes as `field: []`."""
    for entry in entries:
        field = base.DESCRIPTOR.fields_by_name[entry.name]
        path = prefix + entry.name
        if textproto.is_repeated(field):
            if not entry.values:
                _forget(places, path)
                base.ClearField(entry.name)
        elif field.message_type is not None and base.HasField(entry.name):
            for value in entry.values:
                if isinstance(value, list):
                    inner = getattr(base, entry.name)
                    _clear_empty_lists(value, inner, places, f"{path}.")


def _forget(places: dict[str, Location], path: str) -> None:
    for known in [k for k in places if _is_within(k, [path])]:
        del places[known]


def _load_datasets(
    options: config_pb2.ExperimentOptions,
    folder: pathlib.Path,
    unfilled: Mapping[str, Sequence[str]],
    report: Report,
) -> dict[str, dataset_descriptor_pb2.DatasetDescriptor]:
    """Returns the descriptors that `options` names, by name.

    A relative path to a descriptor becomes the path under which it was found.
    """
    found: dict[str, dataset_descriptor_pb2.DatasetDescriptor] = {}
    for split in ("train_dataset_options", "eval_dataset_options"):
        if not options.HasField(split):
            continue
        dataset_options = getattr(options, split)
        path = f"{split}.dataset"
        if not dataset_options.dataset or path in unfilled:
            continue
        try:
            file = _find_dataset(dataset_options.dataset, folder)
            if dataset_options.dataset.endswith(paths.SUFFIX):
                dataset_options.dataset = str(file)
            if dataset_options.dataset not in found:
                found[dataset_options.dataset] = read_dataset(file)
        except InvalidConfigError as error:
            for problem in error.problems:
                if not problem.source:
                    problem = dataclasses.replace(problem, path=path)
                    problem = problem.at(report.locate(path))
                report.problems.append(problem)
    return found


def _find_dataset(name: str, folder: pathlib.Path | None) -> pathlib.Path:
    file = paths.find_dataset(name, folder)
    if file is None:
        file = _find_alias(name)
    if file is not None:
        return file
    known = describe_nearest(name, paths.list_datasets())
    rule = f'the data set "{name}" is not known'
    fix = f"Known: {known}; or give the path of your own descriptor.textproto."
    raise InvalidConfigError([Problem("", "", rule, fix)])


def _find_alias(name: str) -> pathlib.Path | None:
    pattern = re.compile(rf'^alias: "{re.escape(name)}"', re.MULTILINE)
    for folder in paths.config_folders():
        for file in sorted((folder / paths.DATASETS).glob(f"*{paths.SUFFIX}")):
            if pattern.search(paths.read_text(file)):
                return file
    return None


def read_dataset(
    file: pathlib.Path,
) -> dataset_descriptor_pb2.DatasetDescriptor:
    """Reads and checks the file of a data set descriptor.

    Raises:
        InvalidConfigError: It has problems.
    """
    descriptor = dataset_descriptor_pb2.DatasetDescriptor()
    places, _ = textproto.parse(paths.read_text(file), descriptor, str(file))
    check_dataset(descriptor, places, str(file))
    return descriptor


def check_dataset(
    descriptor: dataset_descriptor_pb2.DatasetDescriptor,
    places: Mapping[str, Location] | None = None,
    source: str = "",
) -> None:
    """Checks a data set descriptor, for example one that was built in code.

    Args:
        descriptor: The descriptor to check; not changed.
        places: Place of each field path in the text, for messages.
        source: Path of the text, for messages.

    Raises:
        InvalidConfigError: It has problems; `problems` lists all of them.
    """
    report = Report(places or {}, source)
    validation.check_dataset(descriptor, report)
    report.sort()
    raise_if_any(report.problems)


def load_dataset(
    name: str, folder: str | os.PathLike[str] | None = None
) -> dataset_descriptor_pb2.DatasetDescriptor:
    """Reads and checks a data set descriptor.

    Args:
        name: Name of a shipped descriptor, or a path that ends in
            ".textproto".
        folder: Folder where a relative path is looked up first.

    Raises:
        InvalidConfigError: There is none of that name (the text lists the
            known ones), or it has problems.
    """
    base = None if folder is None else pathlib.Path(folder)
    return read_dataset(_find_dataset(name, base))
