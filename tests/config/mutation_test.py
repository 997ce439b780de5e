# SPDX-License-Identifier: Apache-2.0
"""Broken configs: always a list of problems, never another exception."""

import random
import re

import pytest

from deeplab2_like import config
from deeplab2_like.config import report, textproto
from deeplab2_like.config.rules import fields as field_rules
from deeplab2_like.config.rules import kinds
from deeplab2_like.errors import ConfigError
from deeplab2_like.protos import config_pb2

_SHIPPED = config.list_configs()


def _mutate(data, rng):
    """Changes, removes, doubles or inserts some bytes."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        kind = rng.randrange(6)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at] = ord(rng.choice("{}<>[]:;,\"'\\#$-+.0123456789eEx \n\0"))
        elif kind == 2:
            del data[at : at + rng.randint(1, 20)]
        elif kind == 3:
            data[at:at] = data[at : at + rng.randint(1, 30)]
        elif kind == 4:
            data[at:at] = bytes(
                rng.randrange(256) for _ in range(rng.randint(1, 4))
            )
        else:
            other = rng.randrange(len(data))
            data[at], data[other] = data[other], data[at]
        if not data:
            return b"x"
    return bytes(data)


def _load_and_catch(path):
    """Returns the problems of a config; any other exception is a failure."""
    try:
        config.load(path, environ={})
    except ConfigError as error:
        return error.problems
    return ()


def _check_mutations(tmp_path, count, seed):
    rng = random.Random(seed)
    path = tmp_path / "mutant.textproto"
    outcomes = {"valid": 0, "refused": 0}
    originals = [
        (config.paths.find_config(name)).read_bytes() for name in _SHIPPED
    ]
    for _ in range(count):
        path.write_bytes(_mutate(rng.choice(originals), rng))
        problems = _load_and_catch(path)
        outcomes["refused" if problems else "valid"] += 1
        for problem in problems:
            assert problem.rule
            assert str(path) in str(problem)
    assert min(outcomes.values()) > 0


def test_mutated_bytes_give_config_errors_or_a_valid_config(tmp_path):
    _check_mutations(tmp_path, 400, seed=1)


@pytest.mark.slow
def test_many_mutated_bytes_give_config_errors_or_a_valid_config(tmp_path):
    _check_mutations(tmp_path, 5000, seed=2)


def test_truncated_files_give_config_errors_or_a_valid_config(tmp_path):
    data = config.paths.find_config(_SHIPPED[0]).read_bytes()
    path = tmp_path / "cut.textproto"
    for end in range(0, len(data.rstrip()), 17):
        path.write_bytes(data[:end])
        if _has_all_required(data[:end]):
            config.load(path, environ={})
            continue
        with pytest.raises(ConfigError):
            config.load(path, environ={})


def _has_all_required(data):
    """Whether a cut leaves every message whole that a config must have."""
    lines = re.sub(rb"#[^\n]*", b"", data).strip().decode()
    is_whole = lines.count("{") == lines.count("}") and lines.endswith("}")
    return is_whole and "eval_dataset_options" in lines


def test_deep_nesting_is_a_config_error():
    for text in ("a {" * 5000, "[" * 5000, "model_options {" * 5000):
        with pytest.raises(ConfigError):
            config.parse(text)


def _bad_values(rule, field):
    """Lists values of the right type that a rule does not allow."""
    if isinstance(rule, kinds.Free):
        return []
    if field.type == field.TYPE_STRING:
        return ['"no such name"']
    if field.type == field.TYPE_BOOL:
        return ["true"]
    values = ["-7", "2147483647"]
    if field.type == field.TYPE_FLOAT:
        values += ["nan", "inf", "-inf", "1e30"]
    return [v for v in values if rule.check(float(v))]


def _wrong_types(field):
    if field.enum_type is not None:
        return ['"x"', "NO_SUCH_NAME", "{ }"]
    if field.type == field.TYPE_STRING:
        return ["3", "{ }"]
    return ['"x"', "no", "{ }"]


def _replace(text, place, name, value):
    """Returns a field another value on its line.

    The value may be a list; only the first item is replaced.
    """
    lines = text.splitlines()
    number = place.line - 1
    pattern = rf'\b{name}: *(\[[^\]]*\]|"[^"]*"|[^\s}}]+)'
    separator = " " if value == "{ }" else ": "
    lines[number], count = re.subn(
        pattern, f"{name}{separator}{value}", lines[number], count=1
    )
    assert count == 1
    return "\n".join(lines)


def _parse_with_places(name):
    text = config.paths.find_config(name).read_text()
    options = config_pb2.ExperimentOptions()
    places, _ = textproto.parse(text, options, "x")
    return text, options, places


def _list_fields():
    """Lists the fields of each config; slow: those that others set before."""
    known = set()
    for name in _SHIPPED:
        fields = {
            field.full_name
            for _, _, field, _ in report.iterate_fields(
                _parse_with_places(name)[1]
            )
        }
        for kind, chosen, marks in (
            ("new", fields - known, []),
            ("known", fields & known, [pytest.mark.slow]),
        ):
            if chosen:
                yield pytest.param(
                    name, chosen, marks=marks, id=f"{name}-{kind}"
                )
        known |= fields


@pytest.mark.parametrize(("name", "fields"), list(_list_fields()))
def test_every_field_of_a_shipped_config_is_checked(name, fields, tmp_path):
    """Out of range and of the wrong type: line, path, value and remedy."""
    text, options, places = _parse_with_places(name)
    path = tmp_path / "mutant.textproto"
    for field_path, holder, field, _ in report.iterate_fields(options):
        if field.message_type is not None or field.full_name not in fields:
            continue
        rule = field_rules.SCALARS[f"{holder.DESCRIPTOR.name}.{field.name}"]
        place = places[field_path]
        mutants = [(v, True) for v in _wrong_types(field)]
        mutants += [(v, False) for v in _bad_values(rule, field)]
        for value, is_wrong_type in mutants:
            path.write_text(_replace(text, place, field.name, value))
            with pytest.raises(config.InvalidConfigError) as caught:
                config.load(path, environ={})
            stem = re.sub(r"\[\d+\]$", "", field_path)
            found = [
                problem
                for problem in caught.value.problems
                if problem.path.startswith(stem) and problem.line == place.line
            ]
            assert found, (field_path, value, str(caught.value))
            assert str(found[0]).startswith(f"{path}:{place.line}")
            assert field.name in str(found[0])
            if not is_wrong_type:
                assert found[0].fix


def test_every_misspelt_field_of_a_shipped_config_is_found():
    name = "nuclei/panoptic_deeplab_mobilenet_v3_small_os16_reference"
    text = config.paths.find_config(name).read_text()
    _, entries = textproto.parse(text, config_pb2.ExperimentOptions(), "x")

    def walk(found):
        for entry in found:
            yield entry
            for value in entry.values:
                if isinstance(value, list):
                    yield from walk(value)

    for entry in walk(entries):
        lines = text.splitlines()
        line, at = lines[entry.line - 1], entry.column - 1
        assert line[at:].startswith(entry.name)
        lines[entry.line - 1] = line[: at + 3] + "q" + line[at + 3 :]
        with pytest.raises(config.InvalidConfigError) as caught:
            config.parse("\n".join(lines), source="f")
        (problem,) = caught.value.problems
        assert (problem.line, problem.column) == (entry.line, entry.column)
        assert f"has: {entry.name}, " in problem.rule
